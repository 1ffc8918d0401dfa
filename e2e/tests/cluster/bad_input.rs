//! Function objects that cannot be: their status says what is wrong and what to do, and nothing else is touched.

use crate::stage::Stage;
use e2e::cluster::functions::{actor, answer, find, is_ready, is_stalled, namespace, says_why};
use e2e::cluster::kubectl::{apply, create, delete, delete_namespaces, get, kubectl, seen};
use serde_json::{Value, json};

const NAMESPACE: &str = "e2e-bad-input";
/// Longer than the annotations of any object may be together.
const LONG: usize = 1_000_000;

pub(crate) async fn what_cannot_run_says_so_and_heals_itself(stage: &Stage) {
    apply(&namespace(NAMESPACE)).await.unwrap();
    let with = |name: &str, key: &str, value: Value| {
        let mut object = actor(name, NAMESPACE, 1);
        object["spec"][key] = value;
        object
    };
    // What the schema can tell is refused at once, and what it cannot is told in the status.
    for (key, value, says) in [
        ("limits", json!({"memory": "12XB"}), "12XB"),
        ("requests", json!({"cpu": "lots"}), "lots"),
        ("image", json!("Not An Image"), "Not An Image"),
        ("constraints", json!(["no equals sign"]), "no equals sign"),
        ("labels", json!({"not a label!": "x"}), "not a label!"),
        ("environment", json!({"=": "x"}), "environment"),
        ("name", json!("another-name"), "another-name"),
    ] {
        let name = format!("bad-{key}");
        match apply(&with(&name, key, value)).await {
            Err(refused) => assert!(refused.contains(says) || refused.contains(key), "{key}: {refused}"),
            Ok(_) => {
                says_why(&name, NAMESPACE, &[says]).await;
                // Put right, it runs.
                apply(&actor(&name, NAMESPACE, 1)).await.unwrap();
                is_ready(&name, NAMESPACE).await;
            }
        }
    }
    // A secret that comes later heals what waits for it, and the status says how to make it.
    apply(&with("no-secret", "secrets", json!(["e2e-later"]))).await.unwrap();
    is_stalled("no-secret", NAMESPACE, &["e2e-later"]).await;
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "e2e-later", "namespace": NAMESPACE}});
    apply(&secret).await.unwrap();
    is_ready("no-secret", NAMESPACE).await;
    answers(stage, "no-secret").await;
    // The REST API refuses the same before anything is made.
    let body = |change: Value| {
        let mut body = e2e::cluster::functions::actor_deployment("refused", NAMESPACE, 1);
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    for (change, says) in [
        (json!({"limits": {"memory": "12XB"}}), "12XB"),
        (json!({"secrets": ["e2e-never"]}), "e2e-never"),
        (json!({"service": "Not-A-Name"}), "Not-A-Name"),
        (json!({"image": "Not An Image"}), "Not An Image"),
        (json!({"namespace": "kube-system"}), "kube-system"),
        (json!({"namespace": "default"}), "default"),
    ] {
        let answer = stage.system("POST", "/system/functions", &body(change.clone())).await;
        assert!((400..500).contains(&answer.status), "{change}: {} {}", answer.status, answer.text());
        assert!(answer.text().contains(says), "{change}: {}", answer.text());
    }
    assert!(find("refused", NAMESPACE).await.is_err(), "what is refused is not there");
}

pub(crate) async fn what_belongs_to_others_is_not_touched(stage: &Stage) {
    apply(&namespace(NAMESPACE)).await.unwrap();
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "somebody"}, "ports": [{"port": 80}]},
    });
    apply(&service).await.unwrap();
    let before = get(&["service", "taken", "-n", NAMESPACE]).await.unwrap();
    apply(&actor("taken", NAMESPACE, 1)).await.unwrap();
    is_stalled("taken", NAMESPACE, &["Service", "taken"]).await;
    assert_eq!(get(&["service", "taken", "-n", NAMESPACE]).await.unwrap(), before);
    // Nor when the Function goes.
    delete(&["functions.openfaas.com", "taken", "-n", NAMESPACE]).await;
    seen("the function goes", || async { is_gone("functions.openfaas.com", "taken").await }).await;
    assert_eq!(get(&["service", "taken", "-n", NAMESPACE]).await.unwrap(), before);
    apply(&actor("taken", NAMESPACE, 1)).await.unwrap();
    is_stalled("taken", NAMESPACE, &["Service", "taken"]).await;
    delete(&["service", "taken", "-n", NAMESPACE]).await;
    is_ready("taken", NAMESPACE).await;
    answers(stage, "taken").await;
}

pub(crate) async fn annotations_that_are_too_long_are_named(stage: &Stage) {
    apply(&namespace(NAMESPACE)).await.unwrap();
    let mut object = actor("long", NAMESPACE, 1);
    object["spec"]["annotations"] = json!({"com.example.long": "x".repeat(LONG)});
    // `apply` writes the object down in an annotation, which would be refused for that alone.
    match create(&object).await {
        Err(refused) => assert!(refused.contains("annotations"), "{refused}"),
        Ok(_) => drop(is_stalled("long", NAMESPACE, &["annotations"]).await),
    }
    let mut body = e2e::cluster::functions::actor_deployment("long-by-rest", NAMESPACE, 1);
    body["annotations"] = object["spec"]["annotations"].clone();
    let answer = stage.system("POST", "/system/functions", &body).await;
    assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.text());
    // Others are made meanwhile.
    apply(&actor("short", NAMESPACE, 1)).await.unwrap();
    is_ready("short", NAMESPACE).await;
    delete(&["functions.openfaas.com", "long", "-n", NAMESPACE]).await;
}

pub(crate) async fn what_changes_during_its_deletion_goes(_: &Stage) {
    apply(&namespace(NAMESPACE)).await.unwrap();
    apply(&actor("leaving", NAMESPACE, 1)).await.unwrap();
    is_ready("leaving", NAMESPACE).await;
    // What it owns goes first, and until then it is there and can be changed.
    let delete = ["delete", "functions.openfaas.com", "leaving", "-n", NAMESPACE];
    kubectl(&[&delete[..], &["--cascade=foreground", "--wait=false"]].concat()).await.unwrap();
    let change = r#"{"spec":{"environment":{"changed":"meanwhile"}}}"#;
    let patch = ["patch", "functions.openfaas.com", "leaving", "-n", NAMESPACE, "--type=merge", "-p", change];
    // It may be gone already.
    kubectl(&patch).await.map(drop).unwrap_or_default();
    for kind in ["functions.openfaas.com", "deployment", "service"] {
        seen(&format!("{kind} leaving goes"), || async { is_gone(kind, "leaving").await }).await;
    }
    // Deployed again at once it is a new one.
    apply(&actor("leaving", NAMESPACE, 2)).await.unwrap();
    is_ready("leaving", NAMESPACE).await;
}

pub(crate) async fn a_namespace_deleted_underneath_harms_nobody(stage: &Stage) {
    let gone = "e2e-gone";
    apply(&namespace(NAMESPACE)).await.unwrap();
    apply(&namespace(gone)).await.unwrap();
    for name in ["one", "two", "three"] {
        apply(&actor(name, gone, 1)).await.unwrap();
    }
    apply(&actor("stays", NAMESPACE, 1)).await.unwrap();
    is_ready("stays", NAMESPACE).await;
    delete_namespaces(&[gone]).await;
    e2e::eventually("the gateway forgets the functions", || async {
        let answer = stage.http.post(&stage.url(&format!("/function/one.{gone}")), "").await?;
        if answer.status == 404 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
    })
    .await;
    answers(stage, "stays").await;
    let list = stage.done("GET", "/system/namespaces", &Value::Null).await.text();
    assert!(!list.contains(gone), "{list}");
    let answer = stage.system("GET", &format!("/system/functions?namespace={gone}"), &Value::Null).await;
    assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.text());
    // It comes back as a new one.
    apply(&namespace(gone)).await.unwrap();
    apply(&actor("one", gone, 1)).await.unwrap();
    is_ready("one", gone).await;
    delete_namespaces(&[gone, NAMESPACE]).await;
}

async fn is_gone(kind: &str, name: &str) -> Result<(), String> {
    let found = kubectl(&["get", kind, name, "-n", NAMESPACE, "--ignore-not-found", "-o", "name"]).await?;
    if found.is_empty() { Ok(()) } else { Err(found) }
}

async fn answers(stage: &Stage, name: &str) {
    e2e::eventually(&format!("{name} answers"), || async {
        let said = stage.http.post(&stage.url(&format!("/function/{name}.{NAMESPACE}")), "").await?.text();
        if said == answer(1) { Ok(()) } else { Err(said) }
    })
    .await;
}
