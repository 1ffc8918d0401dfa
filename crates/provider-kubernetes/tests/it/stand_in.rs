//! Stands in for the operator and the kubelet: every function gets as many ready pods as are wanted, at addresses where
//! nobody listens.

use futures_util::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use kubernetes::Function;
use serde_json::json;
use std::pin::pin;
use std::time::Duration;

/// Works until it is dropped, in the namespaces whose names begin so.
pub(crate) async fn run(client: Client, prefix: String) {
    let functions: Api<Function> = Api::all(client.clone());
    let mut events = pin!(watcher::watcher(functions, watcher::Config::default()));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(function) | Event::InitApply(function)) if of(&function).starts_with(&prefix) => {
                // A namespace that goes away meanwhile takes everything along.
                make(&client, &function).await.unwrap_or_default();
            }
            Ok(Event::Delete(function)) if of(&function).starts_with(&prefix) => {
                slices(&client, &function).delete(&function.name_any(), &DeleteParams::default()).await.ok();
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn of(function: &Function) -> String {
    function.namespace().unwrap_or_default()
}

fn slices(client: &Client, function: &Function) -> Api<EndpointSlice> {
    Api::namespaced(client.clone(), &of(function))
}

async fn make(client: &Client, function: &Function) -> kube::Result<()> {
    let name = function.name_any();
    let least = function.spec.labels.as_ref().and_then(|labels| labels.get("com.openfaas.scale.min")?.parse().ok());
    let wanted = function.spec.replicas.unwrap_or_else(|| least.unwrap_or(1));
    let endpoint = |number: i32| {
        json!({"addresses": [format!("10.200.0.{}", number + 1)], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "name": format!("{name}-{number}")}})
    };
    let slice = json!({
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/service-name": name, "faas_function": name},
            "ownerReferences": [function.controller_owner_ref(&())],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": (0..wanted).map(endpoint).collect::<Vec<_>>(),
    });
    let mut slice: EndpointSlice = serde_json::from_value(slice).map_err(kube::Error::SerdeError)?;
    let slices = slices(client, function);
    match slices.get_opt(&name).await? {
        None => slices.create(&PostParams::default(), &slice).await?,
        Some(known) => {
            slice.metadata.resource_version = known.metadata.resource_version;
            slices.replace(&name, &PostParams::default(), &slice).await?
        }
    };
    Ok(())
}
