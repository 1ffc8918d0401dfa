//! The whole main job, whichever way the functions came.

use crate::fleet;
use crate::stage::{Stage, uuid};
use e2e::cluster::branch::Branch;
use e2e::cluster::functions::{self, object};
use e2e::cluster::kubectl::{apply, get, kubectl};
use e2e::eventually;
use e2e::shop::{Shop, books_agree, espresso, stock};
use serde_json::{Value, json};
use std::time::Duration;

/// A schedule of every minute, and what a busy machine needs beside.
const A_MINUTE: Duration = Duration::from_secs(90);

pub(crate) async fn the_rest_api_deploys_a_shop_that_works(stage: &Stage) {
    let branch = stage.rest().await;
    works(stage, branch).await;
    // It is a Function object too, and marked as what may be changed here.
    let object = functions::is_ready("order", &branch.namespace).await;
    assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "crema-gateway", "{object}");
    // Another schedule is an update.
    let mut order = branch.deployments().into_iter().find(|deployment| deployment.service == "order").unwrap();
    order.annotations.insert("schedule".to_owned(), "@every 2s".to_owned());
    stage.deploy(&order).await;
    stage.logged("order", &branch.namespace, "POST / - 200", A_MINUTE).await;
    order.annotations.insert("schedule".to_owned(), "* * * * *".to_owned());
    stage.deploy(&order).await;
    stage.opens(branch).await;
}

pub(crate) async fn kubectl_applies_a_shop_that_works(stage: &Stage) {
    let branch = stage.kubectl().await;
    works(stage, branch).await;
    // The schedule of stack.yml itself.
    stage.logged("order", &branch.namespace, "POST / - 200", A_MINUTE).await;
    // What kubectl has applied is not the REST API's to change, and it says who may.
    for (method, body) in [
        ("PUT", json!({"service": "order", "namespace": branch.namespace, "image": "docker.io/crema/other:1"})),
        ("DELETE", json!({"functionName": "order", "namespace": branch.namespace})),
    ] {
        let answer = stage.system(method, "/system/functions", &body).await;
        assert!(matches!(answer.status, 403 | 409), "{method}: {} {}", answer.status, answer.text());
        assert!(answer.text().contains("order"), "{}", answer.text());
    }
    // Applying the same again restarts nothing.
    let deployment = async || get(&["deployment", "order", "-n", &branch.namespace]).await;
    let before = deployment().await.unwrap();
    for applied in branch.deployments() {
        apply(&object(&applied)).await.unwrap();
    }
    functions::is_ready("order", &branch.namespace).await;
    assert_eq!(deployment().await.unwrap()["metadata"]["generation"], before["metadata"]["generation"]);
}

pub(crate) async fn fleets_bundles_render_a_shop_that_works(stage: &Stage) {
    let branch = stage.fleet().await;
    works(stage, branch).await;
    stage.logged("order", &branch.namespace, "POST / - 200", A_MINUTE).await;
    // A drift is put right by rendering the same again; how many there are stays whoever's it is that scales.
    let scaled = ["scale", "functions.openfaas.com", "fridge-temp", "-n", &branch.namespace, "--replicas=2"];
    kubectl(&scaled).await.unwrap();
    let drift = r#"{"spec":{"environment":{"limit_fahrenheit":"1000"}}}"#;
    let patch =
        ["patch", "functions.openfaas.com", "fridge-temp", "-n", &branch.namespace, "--type=merge", "-p", drift];
    kubectl(&patch).await.unwrap();
    fleet::apply(&branch.namespace).await;
    functions::is_ready("fridge-temp", &branch.namespace).await;
    let object = functions::find("fridge-temp", &branch.namespace).await.unwrap();
    assert_eq!(object["spec"]["environment"]["limit_fahrenheit"], "95", "{object}");
    stage.has_replicas("fridge-temp", &branch.namespace, 2).await;
    kubectl(&[&scaled[..5], &["--replicas=1"]].concat()).await.unwrap();
    stage.has_replicas("fridge-temp", &branch.namespace, 1).await;
}

pub(crate) async fn shops_of_several_namespaces_stay_separate(stage: &Stage) {
    let shops = [stage.rest().await, stage.kubectl().await, stage.fleet().await];
    for (own, other) in [(shops[0], shops[1]), (shops[1], shops[2]), (shops[2], shops[0])] {
        let (before, others) = (stock(own).await, stock(other).await);
        let id = uuid();
        let answer = own.http().post(&own.at("function", "order"), espresso(&id).to_string()).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(stock(own).await.on_hand, before.on_hand - 1);
        assert_eq!(stock(other).await, others, "an order of {} touched {}", own.namespace, other.namespace);
        let unknown = other.http().get(&other.at("function", &format!("order/{id}"))).await.unwrap();
        assert_eq!(unknown.status, 404, "{}", unknown.text());
        // One shop's key opens no other's till.
        let body = json!({"id": "theft", "sku": "espresso", "quantity": 1}).to_string();
        let url = other.at("function", "inventory/restock");
        let answer = own.http().send("POST", &url, &[("X-Shop-Key", &own.key())], body).await.unwrap();
        assert_eq!(answer.status, 401, "{}", answer.text());
        // Nor does a reading reach another's fridge.
        assert!(stage.publish(&own.topic(), "97.25").await);
        stage.logged("fridge-temp", &own.namespace, "97.25", e2e::PATIENCE).await;
        let elsewhere = json!(stage.logs("fridge-temp", &other.namespace).await.unwrap()).to_string();
        assert!(!elsewhere.contains(&own.topic()), "{elsewhere}");
    }
}

/// Orders of all three ends, a reading, logs, what is told of functions, secrets.
pub(crate) async fn works(stage: &Stage, branch: &Branch) {
    orders(stage, branch).await;
    readings(stage, branch).await;
    told(stage, branch).await;
    secrets(stage, branch).await;
}

async fn orders(stage: &Stage, branch: &Branch) {
    let namespace = &branch.namespace;
    let [sold, later, declined, by_topic] = [(); 4].map(|()| uuid());
    let before = stock(branch).await.on_hand;
    let place = |route: &str, order: Value| {
        let url = branch.at(route, "order");
        async move { branch.http().post(&url, order.to_string()).await.unwrap() }
    };
    let answer = place("function", espresso(&sold)).await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (201, Some("confirmed")), "{}", answer.text());
    let mut order = espresso(&declined);
    order["payment"]["token"] = json!("tok_chargeDeclined");
    let answer = place("function", order).await;
    assert_eq!(answer.status, 402, "{}", answer.text());
    let answer = place("async-function", espresso(&later)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.header("x-call-id").unwrap();
    eventually(&format!("an asynchronous order in {namespace} is done"), || async {
        let call = stage.try_system("GET", &format!("/system/calls/{id}"), &Value::Null).await?.text();
        let told: Value = serde_json::from_str(&call).map_err(|error| format!("{error}: {call}"))?;
        if told["state"] == "done" && told["status"] == 201 { Ok(()) } else { Err(call) }
    })
    .await;
    let mut placed = vec![sold, later];
    if branch.has_machines {
        assert!(stage.publish(&branch.orders_topic(), &espresso(&by_topic).to_string()).await);
        placed.push(by_topic);
    }
    let ended = books_agree(branch, &placed, &[declined], before).await;
    assert_eq!((ended.confirmed, ended.cancelled), (placed.len(), 1), "{ended:?}");
}

async fn readings(stage: &Stage, branch: &Branch) {
    assert!(stage.publish(&branch.topic(), r#"{"temp":97.4,"unit":"F"}"#).await);
    stage.logged("fridge-temp", &branch.namespace, "Warning: Too hot!", e2e::PATIENCE).await;
    assert!(stage.publish(&branch.topic(), "38.2").await);
    stage.logged("fridge-temp", &branch.namespace, "Temperature OK", e2e::PATIENCE).await;
}

/// The list, the description and the log lines are what faas-cli shows.
async fn told(stage: &Stage, branch: &Branch) {
    let namespace = branch.namespace.as_str();
    let list = stage.done("GET", &format!("/system/functions?namespace={namespace}"), &Value::Null).await.json();
    let names: Vec<&str> = list.as_array().unwrap().iter().filter_map(|function| function["name"].as_str()).collect();
    for deployment in branch.deployments() {
        let name = deployment.service.as_str();
        assert!(names.contains(&name), "{name} is not among {names:?}");
        let status = stage.status(name, namespace).await.unwrap();
        assert_eq!(status["name"], name, "{status}");
        assert_eq!(status["namespace"], namespace, "{status}");
        assert_eq!(status["image"], deployment.image, "{status}");
        assert_eq!((&status["replicas"], &status["availableReplicas"]), (&json!(1), &json!(1)), "{status}");
        for (key, value) in &deployment.annotations {
            assert_eq!(status["annotations"][key], *value, "{status}");
        }
        assert!(status["createdAt"].is_string(), "{status}");
    }
    let namespaces = stage.done("GET", "/system/namespaces", &Value::Null).await.json();
    assert!(namespaces.as_array().unwrap().contains(&json!(namespace)), "{namespaces}");
    let lines = stage.logs("fridge-temp", namespace).await.unwrap();
    let line = lines.last().unwrap();
    assert_eq!((&line["name"], &line["namespace"]), (&json!("fridge-temp"), &json!(namespace)), "{line}");
    assert!(line["instance"].as_str().is_some_and(|instance| instance.starts_with("fridge-temp")), "{line}");
    assert!(line["timestamp"].is_string(), "{line}");
}

/// The secret is mounted, and its text is told to nobody.
async fn secrets(stage: &Stage, branch: &Branch) {
    let url = branch.at("function", "inventory/restock");
    let body = json!({"id": uuid(), "sku": "latte", "quantity": 1}).to_string();
    let answer = branch.http().send("POST", &url, &[("X-Shop-Key", &branch.key())], body.clone()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = branch.http().post(&url, body).await.unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text());
    let path = format!("/system/secrets?namespace={}", branch.namespace);
    let told = stage.done("GET", &path, &Value::Null).await.text();
    assert!(!told.contains(&branch.key()), "{told}");
}
