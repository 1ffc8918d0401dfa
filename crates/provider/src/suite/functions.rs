//! Promises about functions: deploy, update, delete, scale, status, list, logs.

use super::{Promise, Trial, map, ready, refused};
use crate::{Deployed, LogQuery};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::function::{FunctionDeployment, Resources};
use wire::{DEFAULT_NAMESPACE, FunctionName};

/// Everything a deployment can say.
fn full(trial: &Trial, name: &str) -> FunctionDeployment {
    let resources = |memory: &str, cpu: &str| {
        Some(Resources { memory: memory.to_owned(), cpu: cpu.to_owned(), others: BTreeMap::default() })
    };
    FunctionDeployment {
        env_vars: map([("LOG", "debug"), ("EMPTY", "")]),
        constraints: vec!["disk=ssd".to_owned()],
        secrets: vec!["api-key".to_owned()],
        labels: map([("team", "core"), ("com.openfaas.scale.max", "5")]),
        annotations: map([("topic", "orders, more"), ("schedule", "* * * * *")]),
        limits: resources("128Mi", "500m"),
        requests: resources("64Mi", "50m"),
        ..trial.deployment(name)
    }
}

/// List and status give back every field, with the namespace written out and a time of creation.
pub async fn a_function_is_listed_as_it_was_deployed(trial: &Trial) -> Promise {
    trial.provider.create_secret(DEFAULT_NAMESPACE, "api-key", b"x".to_vec()).await?;
    let wanted = full(trial, "full");
    assert_eq!(trial.provider.deploy(wanted.clone()).await?, Deployed::Changed);
    let status = trial.provider.status(&"full".parse().unwrap(), false).await?;
    assert_eq!((status.name.as_str(), status.namespace.as_str()), ("full", DEFAULT_NAMESPACE));
    assert_eq!((status.image, status.env_vars), (wanted.image, wanted.env_vars));
    assert_eq!((status.constraints, status.secrets), (wanted.constraints, wanted.secrets));
    assert_eq!((status.labels, status.annotations), (wanted.labels, wanted.annotations));
    assert_eq!((status.limits, status.requests), (wanted.limits, wanted.requests));
    assert_eq!((status.env_process, status.read_only_root_filesystem), (String::new(), false));
    assert_eq!(status.replicas, 1);
    assert!(status.created_at.len() >= "2026-01-02T03:04:05Z".len() && status.created_at.contains('T'));
    assert!(status.invocation_count.abs() < f64::EPSILON, "the gateway counts");
    let listed = trial.provider.list(DEFAULT_NAMESPACE).await?;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), &listed[0].created_at), ("full", &status.created_at));
    Ok(())
}

/// The list is in the order of names; an empty one is no error.
pub async fn functions_are_listed_by_name(trial: &Trial) -> Promise {
    assert!(trial.names(DEFAULT_NAMESPACE).await.is_empty());
    for name in ["b", "c", "a"] {
        trial.deployed(name).await;
    }
    assert_eq!(trial.names(DEFAULT_NAMESPACE).await, ["a", "b", "c"]);
    Ok(())
}

/// Deploying what exists is refused and changes nothing.
pub async fn what_is_deployed_is_not_deployed_again(trial: &Trial) -> Promise {
    let name = trial.deployed("twice").await;
    let again = FunctionDeployment { image: trial.subject.other_image(), ..trial.deployment("twice") };
    refused!(trial.provider.deploy(again).await, Exists);
    assert_eq!(trial.provider.status(&name, false).await?.image, trial.subject.image());
    Ok(())
}

/// What an update leaves out is gone; the time of creation stays.
pub async fn an_update_replaces_the_specification(trial: &Trial) -> Promise {
    let first = FunctionDeployment { env_vars: map([("A", "1")]), ..trial.deployment("changing") };
    trial.provider.deploy(first).await?;
    let name: FunctionName = "changing".parse().unwrap();
    let created_at = trial.provider.status(&name, false).await?.created_at;
    let next = FunctionDeployment {
        image: trial.subject.other_image(),
        labels: map([("team", "core")]),
        ..trial.deployment("changing")
    };
    assert_eq!(trial.provider.update(next.clone()).await?, Deployed::Changed);
    let status = trial.provider.status(&name, true).await?;
    assert_eq!((status.image, status.labels), (next.image, next.labels));
    assert!(status.env_vars.is_empty());
    assert_eq!(status.created_at, created_at);
    Ok(())
}

/// An update to what is there says so, also when the default namespace is written out, and restarts nothing.
pub async fn the_same_update_changes_nothing(trial: &Trial) -> Promise {
    let name = trial.deployed("same").await;
    ready(trial.provider.replicas(), &name, 1).await;
    let before = trial.provider.replicas().get(&name);
    assert_eq!(trial.provider.update(trial.deployment("same")).await?, Deployed::Unchanged);
    let spelt = FunctionDeployment { namespace: DEFAULT_NAMESPACE.to_owned(), ..trial.deployment("same") };
    assert_eq!(trial.provider.update(spelt).await?, Deployed::Unchanged);
    assert_eq!(trial.provider.replicas().get(&name), before, "the replica was replaced");
    Ok(())
}

/// An update of what is not there makes nothing.
pub async fn an_update_of_an_unknown_function_is_refused(trial: &Trial) -> Promise {
    refused!(trial.provider.update(trial.deployment("nope")).await, NoFunction);
    assert!(trial.names(DEFAULT_NAMESPACE).await.is_empty());
    Ok(())
}

/// After an update that was refused everything is as it was.
pub async fn a_failed_update_harms_nothing(trial: &Trial) -> Promise {
    let name = trial.deployed("steady").await;
    ready(trial.provider.replicas(), &name, 1).await;
    let before = trial.provider.status(&name, false).await?;
    for bad in bad_deployments(trial, "steady") {
        refused!(trial.provider.update(bad).await, Invalid);
    }
    let after = trial.provider.status(&name, false).await?;
    assert_eq!(after, before);
    Ok(())
}

/// A valid function name with something else wrong.
fn bad_deployments(trial: &Trial, name: &str) -> Vec<FunctionDeployment> {
    let memory = |text: &str| Some(Resources { memory: text.to_owned(), ..Resources::default() });
    let cpu = |text: &str| Some(Resources { cpu: text.to_owned(), ..Resources::default() });
    let base = || trial.deployment(name);
    let mut bad = vec![
        FunctionDeployment { image: String::new(), ..base() },
        FunctionDeployment {
            image: "owner/echo:0.1.0-fatal: not a git repository (or any of the parent directories): .git".to_owned(),
            ..base()
        },
        FunctionDeployment { limits: memory("12XB"), ..base() },
        FunctionDeployment { requests: memory("lots"), ..base() },
        FunctionDeployment { limits: cpu("fast"), ..base() },
        FunctionDeployment { labels: map([("com.openfaas.scale.min", "few")]), ..base() },
        FunctionDeployment {
            labels: map([("com.openfaas.scale.min", "3"), ("com.openfaas.scale.max", "2")]),
            ..base()
        },
        FunctionDeployment { secrets: vec!["not-there".to_owned()], ..base() },
        FunctionDeployment { secrets: vec!["../../etc/passwd".to_owned()], ..base() },
        FunctionDeployment { annotations: map([("com.crema.data.path", "/a/../../etc")]), ..base() },
    ];
    if let Some(image) = trial.subject.missing_image() {
        bad.push(FunctionDeployment { image, ..base() });
    }
    bad
}

/// What is against the rules is refused, whether it is deployed or updated, and leaves nothing.
pub async fn bad_deployments_are_refused(trial: &Trial) -> Promise {
    for bad in bad_deployments(trial, "bad") {
        refused!(trial.provider.deploy(bad).await, Invalid);
    }
    let long = "x".repeat(300);
    for service in ["", "../x", "Upper", "a.b", "-a", "a b", "a/b", "a\0", long.as_str()] {
        refused!(trial.provider.deploy(trial.deployment(service)).await, Invalid);
        refused!(trial.provider.update(trial.deployment(service)).await, Invalid);
    }
    for namespace in ["../x", "Upper", "a.b", long.as_str()] {
        let bad = FunctionDeployment { namespace: namespace.to_owned(), ..trial.deployment("bad") };
        refused!(trial.provider.deploy(bad).await, Invalid);
    }
    assert!(trial.names(DEFAULT_NAMESPACE).await.is_empty());
    Ok(())
}

/// The error of an image that is not there names it.
pub async fn a_missing_image_is_refused(trial: &Trial) -> Promise {
    let Some(image) = trial.subject.missing_image() else { return Ok(()) };
    let missing = FunctionDeployment { image: image.clone(), ..trial.deployment("pictureless") };
    let error = trial.provider.deploy(missing).await.unwrap_err();
    assert!(error.to_string().contains(&image), "{error}");
    refused!(Err::<(), _>(error), Invalid);
    Ok(())
}

/// What is deleted is neither listed nor known, and cannot be deleted twice.
pub async fn a_deleted_function_is_gone(trial: &Trial) -> Promise {
    let name = trial.deployed("leaving").await;
    trial.deployed("staying").await;
    trial.provider.delete(&name, false).await?;
    assert_eq!(trial.names(DEFAULT_NAMESPACE).await, ["staying"]);
    refused!(trial.provider.status(&name, false).await, NoFunction);
    refused!(trial.provider.delete(&name, false).await, NoFunction);
    refused!(trial.provider.delete(&name, true).await, NoFunction);
    refused!(trial.provider.scale(&name, 1).await, NoFunction);
    Ok(())
}

/// A name that was deleted is free, at once, also when its data is purged.
pub async fn a_deleted_function_can_be_deployed_again(trial: &Trial) -> Promise {
    for purge in [false, true] {
        let name = trial.deployed("again").await;
        ready(trial.provider.replicas(), &name, 1).await;
        trial.provider.delete(&name, purge).await?;
    }
    let name = trial.deployed("again").await;
    ready(trial.provider.replicas(), &name, 1).await;
    Ok(())
}

/// Scaling is a wish that the status tells at once; it outlives an update.
pub async fn scaling_changes_what_is_wanted(trial: &Trial) -> Promise {
    let name = trial.deployed("elastic").await;
    for replicas in [3, 0, 2] {
        trial.provider.scale(&name, replicas).await?;
        assert_eq!(trial.provider.status(&name, false).await?.replicas, u64::from(replicas));
    }
    let next = FunctionDeployment { env_vars: map([("A", "1")]), ..trial.deployment("elastic") };
    trial.provider.update(next).await?;
    assert_eq!(trial.provider.status(&name, false).await?.replicas, 2);
    refused!(trial.provider.scale(&"nope".parse().unwrap(), 1).await, NoFunction);
    Ok(())
}

/// There is no log without a function, and no `since` that is no moment.
pub async fn logs_of_an_unknown_function_are_refused(trial: &Trial) -> Promise {
    refused!(trial.provider.logs(&"nope".parse().unwrap(), LogQuery::default()).await, NoFunction);
    let name = trial.deployed("known").await;
    for since in ["yesterday", "", "2026-13-01T00:00:00Z"] {
        let query = LogQuery { since: Some(since.to_owned()), ..LogQuery::default() };
        refused!(trial.provider.logs(&name, query).await, Invalid);
    }
    Ok(())
}

/// Without `follow` the stream ends with what there is; with it the stream waits, and ends with the function.
pub async fn logs_without_following_end(trial: &Trial) -> Promise {
    let limit = Duration::from_secs(30);
    let name = trial.deployed("talking").await;
    for query in [
        LogQuery::default(),
        LogQuery { tail: Some(0), ..LogQuery::default() },
        LogQuery { tail: Some(5), since: Some("2000-01-01T00:00:00+02:00".to_owned()), ..LogQuery::default() },
        LogQuery { instance: Some("nobody".to_owned()), ..LogQuery::default() },
    ] {
        let lines = trial.provider.logs(&name, query.clone()).await?.collect::<Vec<_>>();
        let lines = tokio::time::timeout(limit, lines).await.unwrap();
        assert!(lines.iter().all(|line| line.name == "talking" && line.namespace == DEFAULT_NAMESPACE));
        assert!(query.tail.is_none_or(|tail| lines.len() <= tail) && (query.instance.is_none() || lines.is_empty()));
    }
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let followed = trial.provider.logs(&name, follow).await?.count();
    trial.provider.delete(&name, false).await?;
    assert!(tokio::time::timeout(limit, followed).await.is_ok(), "the log of a deleted function never ends");
    Ok(())
}

/// What was promised is there after a crash: functions as they were deployed and scaled, and those deleted are not.
pub async fn a_crash_loses_no_function(trial: &Trial) -> Promise {
    trial.provider.create_secret(DEFAULT_NAMESPACE, "api-key", b"x".to_vec()).await?;
    trial.provider.create_namespace(super::namespace("shop")).await?;
    trial.provider.deploy(full(trial, "kept")).await?;
    trial.provider.deploy(FunctionDeployment { namespace: "shop".to_owned(), ..trial.deployment("sold") }).await?;
    let gone = trial.deployed("gone").await;
    let kept: FunctionName = "kept".parse().unwrap();
    trial.provider.scale(&kept, 0).await?;
    trial.provider.delete(&gone, false).await?;
    let before = trial.provider.status(&kept, false).await?;
    let Some(again) = trial.subject.after_a_crash().await else { return Ok(()) };
    let after = again.status(&kept, false).await?;
    assert_eq!((after.labels, after.env_vars), (before.labels, before.env_vars));
    assert_eq!((after.replicas, after.created_at), (0, before.created_at));
    assert_eq!(again.update(full(trial, "kept")).await?, Deployed::Unchanged);
    assert_eq!(again.list("shop").await?.len(), 1);
    assert_eq!(again.secrets(DEFAULT_NAMESPACE).await?, ["api-key"]);
    refused!(again.status(&gone, false).await, NoFunction);
    assert_eq!(again.replicas().get(&kept).map(|replicas| replicas.desired), Some(0));
    ready(again.replicas(), &"sold.shop".parse().unwrap(), 1).await;
    Ok(())
}
