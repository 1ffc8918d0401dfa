use crate::support::World;
use bundle::{Chart, Installer, Options, Root, SecretToMake, Source, verify};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A program that answers as helm does: the second time with another password. What is run is never written: while
/// another thread's fork has a file open for writing it cannot be.
fn chart(world: &World, says: &str) -> Chart {
    world.write("says", &format!("echo \"$@\" >> {}\n{says}\n", world.path("said").display()));
    if !world.path("helm").exists() {
        symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/helm"), world.path("helm")).unwrap();
    }
    world.write(
        "chart/crds/f.yaml",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: f}\n",
    );
    Chart {
        folder: world.path("chart"),
        helm: world.path("helm"),
        name: "crema".to_owned(),
        namespace: "openfaas".to_owned(),
        values: vec![world.path("store.yaml")],
        set: vec!["a=b".to_owned()],
    }
}

const RENDERED: &str = "cat <<END
---
# Source: a
apiVersion: v1
kind: Namespace
metadata: {name: openfaas}
---
apiVersion: v1
kind: Secret
metadata: {name: basic-auth, namespace: openfaas}
data:
  user: YWRtaW4=
  password: $(head -c 24 /dev/urandom | base64)
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
END";

#[test]
fn a_chart_is_rendered_and_its_random_secrets_are_left_to_the_store() {
    let world = World::new();
    let source = Source { chart: Some(chart(&world, RENDERED)), ..world.source() };
    let created = source.write(&world.path("crema.tar")).unwrap();
    assert!(created.notes.iter().any(|note| note.contains("openfaas/basic-auth")), "{:?}", created.notes);
    let said = fs::read_to_string(world.path("said")).unwrap();
    assert!(
        said.contains("--namespace openfaas") && said.contains("store.yaml") && said.contains("--set a=b"),
        "{said}"
    );
    let again = world.path("again.tar");
    source.write(&again).unwrap();
    assert_eq!(fs::read(world.path("crema.tar")).unwrap(), fs::read(&again).unwrap());
    let names: Vec<_> = verify(&again, None).unwrap().sizes.keys().map(|entry| entry.name.clone()).collect();
    for name in ["crema-00-crds.yaml", "crema-05-namespaces.yaml", "crema-20-platform.yaml"] {
        assert!(names.iter().any(|there| there == name), "{names:?}");
    }
    let install = |root: &str| {
        fs::create_dir_all(world.path(root)).unwrap();
        let installer = Installer::new(Root::open(&world.path(root), Path::new("k3s")).unwrap());
        installer.install(&again, &Options::default()).unwrap();
        let secrets = world.path(root).join("k3s/server/manifests/crema-10-secrets.yaml");
        assert_eq!(fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o600);
        fs::read_to_string(secrets).unwrap()
    };
    let one = install("one");
    assert!(one.contains("\"user\": \"YWRtaW4=\"") && one.contains("\"password\": "), "{one}");
    assert_ne!(one, install("other"));
    assert_eq!(one, install("one"));
}

#[test]
fn a_secret_can_be_left_to_the_store_without_a_chart() {
    let world = World::new();
    let secret: SecretToMake = "openfaas/basic-auth:basic-auth-user=admin,basic-auth-password".parse().unwrap();
    let source = Source { secrets: vec![secret], ..world.source() };
    source.write(&world.path("crema.tar")).unwrap();
    fs::create_dir(world.path("root")).unwrap();
    let installer = Installer::new(Root::open(&world.path("root"), Path::new("k3s")).unwrap());
    installer.install(&world.path("crema.tar"), &Options::default()).unwrap();
    let made = fs::read_to_string(world.path("root/k3s/server/manifests/crema-10-secrets.yaml")).unwrap();
    assert!(made.contains("\"basic-auth-user\": \"YWRtaW4=\"") && made.contains("\"basic-auth-password\""), "{made}");
    for text in ["", "a/b", "a:b", "a/b:", "a/b:c,", "a b/c:d", "../x:y"] {
        assert!(text.parse::<SecretToMake>().is_err(), "{text}");
    }
}

#[test]
fn what_helm_says_against_a_chart_is_passed_on() {
    let world = World::new();
    let error =
        |chart| Source { chart: Some(chart), ..Source::default() }.write(&world.path("x.tar")).unwrap_err().to_string();
    let refused = error(chart(&world, "echo no such value >&2; exit 1"));
    assert!(refused.contains("no such value"), "{refused}");
    let uneven = error(chart(&world, "echo 'apiVersion: v1\nkind: Pod\nmetadata: {name: p'$$'}'"));
    assert!(uneven.contains("differently each time"), "{uneven}");
    let missing = Chart { helm: world.path("none"), ..chart(&world, "") };
    assert!(error(missing).contains("--manifests"));
}
