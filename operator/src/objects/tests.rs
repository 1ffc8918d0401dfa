use super::*;
use k8s_openapi::api::core::v1::{Container, Probe};
use serde_json::{Value, json};
use std::collections::BTreeMap;

mod extras;

#[derive(Default)]
struct World {
    secrets: BTreeMap<&'static str, SecretKind>,
    profiles: BTreeMap<&'static str, Value>,
}

impl Around for World {
    fn secret(&self, namespace: &str, name: &str) -> Option<SecretKind> {
        self.secrets.get(name).copied().filter(|_| namespace == "shop")
    }

    fn profile(&self, name: &str) -> Option<Arc<Profile>> {
        let spec = serde_json::from_value(self.profiles.get(name)?.clone()).unwrap();
        Some(Arc::new(Profile::new(name, spec)))
    }
}

fn function(spec: Value) -> Function {
    let mut all = json!({"name": "order", "image": "docker.io/crema/order:1"});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({"apiVersion": "openfaas.com/v1", "kind": "Function", "spec": all,
        "metadata": {"name": "order", "namespace": "shop", "uid": "7", "generation": 3}});
    serde_json::from_value(object).unwrap()
}

fn built(spec: Value) -> Objects {
    in_world(spec, &World::default()).unwrap()
}

fn in_world(spec: Value, world: &World) -> Result<Objects, Stalled> {
    build(&function(spec), world, &Config::default())
}

fn refused(spec: Value) -> Stalled {
    in_world(spec, &World::default()).unwrap_err()
}

fn annotated(annotations: Value) -> Value {
    json!({ "annotations": annotations })
}

fn pod(objects: &Objects) -> &PodSpec {
    pod_of(&objects.deployment).unwrap()
}

fn container(objects: &Objects) -> &Container {
    &pod(objects).containers[0]
}

fn variables(objects: &Objects) -> BTreeMap<&str, &str> {
    container(objects).env.iter().flatten().map(|var| (var.name.as_str(), var.value.as_deref().unwrap())).collect()
}

fn path(probe: Option<&Probe>) -> &str {
    probe.unwrap().http_get.as_ref().unwrap().path.as_deref().unwrap()
}

#[test]
fn a_plain_function_is_a_deployment_and_a_service_of_its_name() {
    let objects =
        built(json!({"labels": {"team": "core", "faas_function": "other"}, "annotations": {"topic": "orders"}}));
    assert_eq!(objects.claim, None);
    for metadata in [&objects.deployment.metadata, &objects.service.metadata] {
        assert_eq!(metadata.name.as_deref(), Some("order"));
        assert_eq!(metadata.namespace.as_deref(), Some("shop"));
        let labels = metadata.labels.as_ref().unwrap();
        assert_eq!(labels["team"], "core");
        assert_eq!(labels["faas_function"], "order");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "crema");
        let annotations = metadata.annotations.as_ref().unwrap();
        assert_eq!(annotations["topic"], "orders");
        assert_eq!(annotations["prometheus.io.scrape"], "false");
        let owner = &metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("Function", "7", Some(true)));
        assert_eq!(owner.api_version, "openfaas.com/v1");
        assert_eq!(owner.block_owner_deletion, None);
    }
    let spec = objects.deployment.spec.as_ref().unwrap();
    let selector = BTreeMap::from([("faas_function".to_owned(), "order".to_owned())]);
    assert_eq!(spec.selector.match_labels.as_ref(), Some(&selector));
    assert_eq!(spec.replicas, Some(1));
    assert_eq!(spec.revision_history_limit, Some(2));
    assert_eq!(spec.progress_deadline_seconds, Some(120));
    let rolling = spec.strategy.as_ref().unwrap().rolling_update.as_ref().unwrap();
    assert_eq!(rolling.max_surge, Some(IntOrString::Int(1)));
    assert_eq!(rolling.max_unavailable, Some(IntOrString::Int(0)));
    let template = spec.template.metadata.as_ref().unwrap();
    assert_eq!(template.labels.as_ref().unwrap()["faas_function"], "order");
    assert_eq!(template.annotations.as_ref().unwrap()["topic"], "orders");

    let service = objects.service.spec.as_ref().unwrap();
    assert_eq!(service.selector.as_ref(), Some(&selector));
    let port = &service.ports.as_ref().unwrap()[0];
    assert_eq!(
        (port.name.as_deref(), port.port, port.target_port.as_ref()),
        (Some("http"), 8080, Some(&IntOrString::Int(8080)))
    );
}

#[test]
fn the_container_may_do_nothing_but_serve() {
    let objects = built(json!({}));
    let (pod, container) = (pod(&objects), container(&objects));
    assert_eq!(container.name, "order");
    assert_eq!(container.image.as_deref(), Some("docker.io/crema/order:1"));
    assert_eq!(container.image_pull_policy.as_deref(), Some("IfNotPresent"));
    assert_eq!(container.ports.as_ref().unwrap()[0].container_port, 8080);
    let own = container.security_context.as_ref().unwrap();
    assert_eq!(own.allow_privilege_escalation, Some(false));
    assert_eq!(own.capabilities.as_ref().unwrap().drop.as_ref().unwrap(), &["ALL"]);
    assert_eq!(own.read_only_root_filesystem, Some(true));
    let all = pod.security_context.as_ref().unwrap();
    assert_eq!((all.run_as_non_root, all.run_as_user), (Some(true), Some(12000)));
    assert_eq!(all.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
    assert_eq!(all.fs_group, None);
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.service_account_name, None);
    assert_eq!(pod.enable_service_links, Some(false));
    assert_eq!(container.volume_mounts.as_ref().unwrap()[0].mount_path, "/tmp");
    assert!(pod.volumes.as_ref().unwrap()[0].empty_dir.is_some());
    let stop = container.lifecycle.as_ref().unwrap().pre_stop.as_ref().unwrap();
    assert!(stop.exec.is_none() && stop.sleep.is_some());

    let writable = built(json!({"readOnlyRootFilesystem": false}));
    assert_eq!(pod_of(&writable.deployment).unwrap().volumes, None);
    let user = Config { nonroot_user: false, readonly_root: false, ..Config::default() };
    let image_user = build(&function(json!({})), &World::default(), &user).unwrap();
    let own = pod_of(&image_user.deployment).unwrap().security_context.as_ref().unwrap();
    assert_eq!((own.run_as_user, own.run_as_group, own.run_as_non_root), (None, None, Some(true)));
    let root = World {
        profiles: [("root", json!({"podSecurityContext": {"runAsNonRoot": false}}))].into(),
        ..World::default()
    };
    let rooted = annotated(json!({"com.openfaas.profile": "root"}));
    let rooted = build(&function(rooted), &root, &user).unwrap();
    let own = pod_of(&rooted.deployment).unwrap().security_context.as_ref().unwrap();
    assert_eq!((own.run_as_user, own.run_as_non_root), (None, Some(false)));
    assert_eq!(pod_of(&image_user.deployment).unwrap().volumes, None);
}

#[test]
fn a_service_account_is_named_by_annotation() {
    let objects = built(annotated(json!({"com.openfaas.serviceaccount": "reader"})));
    assert_eq!(pod(&objects).service_account_name.as_deref(), Some("reader"));
    assert_eq!(pod(&objects).automount_service_account_token, Some(true));
}

#[test]
fn what_was_deployed_wins_in_the_environment_but_not_over_what_it_cannot_be_reached_without() {
    let objects = built(
        json!({"handler": "./run --fast", "annotations": {"com.crema.data.path": "/data"}, "environment":
        {"LOG": "debug", "gateway_url": "http://mine", "port": "9", "OPENFAAS_NAME": "x", "fprocess": "cat", "data_path": "/x"}}),
    );
    let given = variables(&objects);
    for (name, value) in [
        ("LOG", "debug"),
        ("gateway_url", "http://mine"),
        ("fprocess", "./run --fast"),
        ("OPENFAAS_NAME", "order"),
        ("OPENFAAS_NAMESPACE", "shop"),
        ("port", "8080"),
        ("secret_mount_path", "/var/openfaas/secrets"),
        ("data_path", "/data"),
        ("healthcheck_interval", "1s"),
    ] {
        assert_eq!(given[name], value, "{name}");
    }
    let plain = built(json!({}));
    assert_eq!(variables(&plain)["gateway_url"], "http://gateway.openfaas:8080");
    assert!(!variables(&plain).contains_key("fprocess"));
    let names: Vec<_> = container(&objects).env.as_ref().unwrap().iter().map(|var| &var.name).collect();
    assert!(names.is_sorted());
}

#[test]
fn probes_follow_the_annotations_and_ask_for_health_otherwise() {
    let objects = built(json!({}));
    let plain = container(&objects);
    for probe in [&plain.startup_probe, &plain.readiness_probe, &plain.liveness_probe] {
        assert_eq!(path(probe.as_ref()), "/_/health");
    }
    assert_eq!(plain.readiness_probe.as_ref().unwrap().period_seconds, Some(5));
    assert_eq!(plain.liveness_probe.as_ref().unwrap().period_seconds, Some(10));
    assert_eq!(plain.startup_probe.as_ref().unwrap().period_seconds, Some(1));

    let objects = built(annotated(json!({
        "com.openfaas.health.http.path": "/alive", "com.openfaas.health.http.initialDelay": "30s",
        "com.openfaas.health.http.failureThreshold": "5", "com.openfaas.health.http.timeoutSeconds": "4",
        "com.openfaas.ready.http.path": "/_/ready", "com.openfaas.ready.http.periodSeconds": "7",
        "com.openfaas.ready.http.successThreshold": "2"})));
    let own = container(&objects);
    let (start, ready, live) = (own.startup_probe.as_ref(), own.readiness_probe.as_ref(), own.liveness_probe.as_ref());
    assert_eq!((path(start), path(ready), path(live)), ("/_/ready", "/_/ready", "/alive"));
    let (start, ready, live) = (start.unwrap(), ready.unwrap(), live.unwrap());
    assert_eq!(
        (live.initial_delay_seconds, live.failure_threshold, live.timeout_seconds),
        (Some(30), Some(5), Some(4))
    );
    assert_eq!((ready.period_seconds, ready.success_threshold), (Some(7), Some(2)));
    assert_eq!(live.success_threshold, Some(1));
    assert_eq!(start.failure_threshold, Some(90));

    let only_health = built(annotated(json!({"com.openfaas.health.http.path": "/alive"})));
    assert_eq!(path(container(&only_health).readiness_probe.as_ref()), "/alive");
    let mut config = Config::default();
    config.probes.http = false;
    let by_tcp = build(&function(json!({})), &World::default(), &config).unwrap();
    assert!(container(&by_tcp).liveness_probe.as_ref().unwrap().tcp_socket.is_some());

    for (name, value) in [
        ("com.openfaas.health.http.path", "alive"),
        ("com.openfaas.health.http.periodSeconds", "0"),
        ("com.openfaas.ready.http.timeoutSeconds", "soon"),
        ("com.openfaas.ready.http.failureThreshold", "-1"),
    ] {
        let stalled = refused(annotated(json!({ name: value })));
        assert_eq!(stalled.reason(), "BadAnnotation");
        assert!(stalled.to_string().contains(name) && stalled.to_string().contains(value), "{stalled}");
    }
}

#[test]
fn the_last_call_may_take_its_whole_time() {
    let grace =
        |environment: Value| pod(&built(json!({ "environment": environment }))).termination_grace_period_seconds;
    assert_eq!(grace(json!({})), Some(35));
    assert_eq!(grace(json!({"write_timeout": "2m"})), Some(125));
    assert_eq!(grace(json!({"write_timeout": "5", "healthcheck_interval": "10s"})), Some(19));
    assert_eq!(grace(json!({"write_timeout": "soon"})), Some(35));
}

#[test]
fn secrets_are_files_or_pull_the_image_and_missing_ones_are_named() {
    let world = World {
        secrets: [("key", SecretKind::Files), ("db", SecretKind::Files), ("registry", SecretKind::Pull)].into(),
        ..World::default()
    };
    let objects = in_world(json!({"secrets": ["key", "registry", "db", "key"]}), &world).unwrap();
    let volume = pod(&objects).volumes.as_ref().unwrap().iter().find(|volume| volume.name == "secrets").unwrap();
    let sources = volume.projected.as_ref().unwrap().sources.as_ref().unwrap();
    let names: Vec<_> = sources.iter().map(|source| source.secret.as_ref().unwrap()).collect();
    assert!(names.iter().all(|secret| secret.items.is_none()));
    assert_eq!(names.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(), ["db", "key"]);
    let mounts = container(&objects).volume_mounts.as_ref().unwrap();
    let mount = mounts.iter().find(|mount| mount.name == "secrets").unwrap();
    assert_eq!((mount.mount_path.as_str(), mount.read_only), ("/var/openfaas/secrets", Some(true)));
    assert_eq!(pod(&objects).image_pull_secrets.as_ref().unwrap()[0].name, "registry");

    let stalled = in_world(json!({"secrets": ["key", "nobody", "none"]}), &world).unwrap_err();
    assert_eq!(stalled.reason(), "SecretMissing");
    assert!(
        stalled.to_string().starts_with("secrets nobody, none are not in namespace shop: create them"),
        "{stalled}"
    );
}

#[test]
fn constraints_become_a_node_selector() {
    let objects = built(json!({"constraints": ["disk=ssd"]}));
    assert_eq!(pod(&objects).node_selector.as_ref().unwrap()["disk"], "ssd");
    assert_eq!(refused(json!({"constraints": ["disk"]})).reason(), "BadConstraint");
}

#[test]
fn names_that_cannot_be_are_refused() {
    assert_eq!(refused(json!({"name": "other"})).reason(), "BadName");
    let mut digit = function(json!({"name": "0rder"}));
    digit.metadata.name = Some("0rder".to_owned());
    let stalled = build(&digit, &World::default(), &Config::default()).unwrap_err();
    assert_eq!(stalled, Stalled::BadName("0rder".to_owned()));
}

#[test]
fn images_that_cannot_be_are_refused_with_what_to_write() {
    let stalled = refused(json!({"image": "Not An Image"}));
    assert_eq!(stalled.reason(), "BadImage");
    let said = stalled.to_string();
    assert!(said.starts_with("spec.image: image \"Not An Image\" is not a valid reference: "), "{said}");
    assert!(said.ends_with("write it like ghcr.io/owner/name:1.0.0"), "{said}");
    assert_eq!(refused(json!({"image": "owner/order:"})).reason(), "BadImage");
    let outside_git = "owner/echo:0.1.0-fatal: not a git repository (or any of the parent directories): .git";
    assert!(refused(json!({"image": outside_git})).to_string().contains("fatal: not a git repository"));
    let digest = format!("127.0.0.1:5000/Owner/order@sha256:{}", "a".repeat(64));
    assert_eq!(refused(json!({"image": digest})).reason(), "BadImage");
    let image = digest.to_lowercase();
    assert_eq!(container(&built(json!({"image": image}))).image.as_deref(), Some(&*image));
}

#[test]
fn annotations_of_a_megabyte_are_refused_with_what_is_allowed() {
    let stalled = refused(annotated(json!({"big": "x".repeat(1 << 20)})));
    assert_eq!(stalled.reason(), "AnnotationsTooLarge");
    assert!(stalled.to_string().contains("262144"), "{stalled}");
}

#[test]
fn the_same_function_gives_the_same_objects_and_pods_change_with_their_template_alone() {
    let revision = |spec: Value| {
        let template = built(spec).deployment.spec.unwrap().template.metadata.unwrap();
        template.annotations.unwrap()[ANNOTATION_REVISION].clone()
    };
    assert_eq!(built(json!({"environment": {"A": "1"}})), built(json!({"environment": {"A": "1"}})));
    assert_eq!(revision(json!({})), revision(json!({"replicas": 7})));
    assert_ne!(revision(json!({})), revision(json!({"environment": {"A": "1"}})));
}
