//! A store without a link: what `crema bundle` puts in place is taken as K3s takes it, on a cluster without a platform.

use e2e::binaries::{binary, root};
use e2e::cluster::functions::function;
use e2e::cluster::images::{archives, image, platform};
use e2e::cluster::installed::{FUNCTIONS, Installed, PLATFORM, await_ready, uninstall};
use e2e::cluster::kubectl::{apply_server_side, delete, delete_namespaces, kubectl, seen_within};
use e2e::cluster::{is_kept, load};
use e2e::skipped;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const PRIORITY_CLASS: &str = "crema-stick";
/// Pods are made anew on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A stick and the root of a store's file system.
struct Stick {
    folder: TempDir,
    images: PathBuf,
}

impl Stick {
    async fn new() -> Self {
        let images = tokio::task::spawn_blocking(platform).await.unwrap();
        let stick = Self { folder: tempfile::tempdir().unwrap(), images };
        std::fs::create_dir(stick.path("root")).unwrap();
        stick.crema(&["keygen", "--output", &stick.text("key")]).unwrap();
        stick
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs `crema bundle`; what it said, or what it said was wrong.
    fn crema(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(binary("crema")).arg("bundle").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    /// A bundle with a function that finds `limit` too hot, and more manifests.
    fn bundle(&self, version: &str, limit: &str, more: &[(&str, serde_json::Value)]) -> String {
        let spec = json!({
            "name": "fridge-temp", "image": image("fridge-temp"), "environment": {"limit_fahrenheit": limit},
        });
        let values = json!({
            "priorityClass": {"name": PRIORITY_CLASS},
            "base": {"generateSecrets": []},
            "functions": {"readinessProbe": {"periodSeconds": 1}},
        });
        let (values_file, manifests) = (self.text("values.json"), self.path(&format!("manifests-{version}")));
        std::fs::write(&values_file, values.to_string()).unwrap();
        std::fs::create_dir(&manifests).unwrap();
        let functions = ("functions.json", function("fridge-temp", FUNCTIONS, spec));
        for (name, object) in [functions].iter().chain(more) {
            std::fs::write(manifests.join(name), object.to_string()).unwrap();
        }
        let archive = self.text(&format!("crema-{version}.tar"));
        let (chart, images) = (root().join("chart"), &self.images);
        let mut arguments = vec!["create", "--version", version, "--output", &archive, "--values", &values_file];
        let key = self.text("key.key");
        let places = [("--images", images), ("--chart", &chart), ("--manifests", &manifests)];
        arguments.extend(places.iter().flat_map(|(flag, place)| [*flag, place.to_str().unwrap()]));
        arguments.extend(["--sign-key", &key]);
        self.crema(&arguments).unwrap();
        archive
    }

    fn install(&self, archive: &str) -> Result<String, String> {
        self.crema(&["install", archive, "--root", &self.text("root"), "--verify-key", &self.text("key.pub")])
    }

    /// What K3s does with its folders: archives, then manifests, in the order of their names.
    async fn taken(&self) {
        let data = self.path("root/var/lib/rancher/k3s");
        for archive in archives(&data.join("agent/images")) {
            load(&[&archive]).await;
        }
        let manifests = std::fs::read_dir(data.join("server/manifests")).unwrap().map(|entry| entry.unwrap().path());
        let mut manifests: Vec<PathBuf> = manifests.collect();
        manifests.sort();
        for manifest in manifests {
            applied(&manifest).await;
        }
        await_ready().await;
    }
}

/// A file whose kinds are not served yet is tried again, as K3s does.
async fn applied(manifest: &Path) {
    let text = std::fs::read_to_string(manifest).unwrap();
    seen_within(PATIENCE, &manifest.display().to_string(), || async { apply_server_side(&text).await.map(drop) }).await;
}

async fn answers(store: &Installed, degrees: &str, expected: &str) {
    seen_within(PATIENCE, &format!("{degrees} degrees are {expected}"), || async {
        let answer = store.http.send("POST", &store.url("/function/fridge-temp"), &[], degrees.to_owned()).await?;
        if answer.status == 200 && answer.text().contains(expected) { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

pub(crate) async fn a_stick_brings_a_store_up_and_the_version_before_back() {
    if is_kept() {
        skipped("a_stick_brings_a_store_up_and_the_version_before_back", "unset CREMA_E2E_KEEP: it needs the cluster");
        return;
    }
    uninstall().await;
    let stick = Stick::new().await;
    let extra = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra", "namespace": FUNCTIONS}});
    let one = stick.bundle("1.0.0", "95", &[("extra.json", extra)]);
    let two = stick.bundle("2.0.0", "30", &[]);

    stick.install(&one).unwrap();
    stick.taken().await;
    let store = Installed::find().await;
    answers(&store, "38.2", "Temperature OK").await;
    answers(&store, "97.4", "Too hot").await;

    let said = stick.install(&two).unwrap();
    assert!(said.contains("K3s keeps the objects of crema-50-extra.json"), "{said}");
    stick.taken().await;
    answers(&store, "38.2", "Too hot").await;
    let after = Installed::find().await;
    assert_eq!(after.password(), store.password(), "a new version changes no password");
    kubectl(&["get", "configmap", "extra", "-n", FUNCTIONS]).await.unwrap();

    let mut bytes = std::fs::read(&one).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(stick.path("damaged.tar"), bytes).unwrap();
    let said = stick.install(&stick.text("damaged.tar")).unwrap_err();
    assert!(said.contains("is damaged") && said.contains("Nothing was changed"), "{said}");
    let said = stick.install(&two).unwrap();
    assert!(said.contains("nothing changed"), "{said}");

    stick.crema(&["rollback", "--root", &stick.text("root")]).unwrap();
    stick.taken().await;
    answers(&store, "38.2", "Temperature OK").await;

    delete_namespaces(&[FUNCTIONS, PLATFORM]).await;
    delete(&["priorityclass", PRIORITY_CLASS]).await;
}
