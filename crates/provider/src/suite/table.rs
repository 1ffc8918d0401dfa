//! Promises about the table of replicas.

use super::{PATIENCE, Promise, Trial, map, ready, refused};
use std::collections::HashSet;
use wire::function::FunctionDeployment;

/// The hot path knows a function as soon as its deployer does, with its labels and annotations.
pub async fn the_table_has_a_function_when_deploy_returns(trial: &Trial) -> Promise {
    let table = trial.provider.replicas();
    let name = "hello".parse().unwrap();
    assert!(table.get(&name).is_none());
    let wanted = FunctionDeployment {
        labels: map([("team", "core")]),
        annotations: map([("topic", "orders")]),
        ..trial.deployment("hello")
    };
    trial.provider.deploy(wanted.clone()).await?;
    let found = table.get(&name).unwrap();
    assert_eq!((found.desired, found.at_least), (1, 1));
    assert_eq!((&found.labels, &found.annotations), (&wanted.labels, &wanted.annotations));
    let next = FunctionDeployment { annotations: map([("topic", "returns")]), ..wanted };
    trial.provider.update(next.clone()).await?;
    assert_eq!(table.get(&name).unwrap().annotations, next.annotations);
    Ok(())
}

/// Replicas come and go as they are wanted; the status counts the ready ones; a function at zero stays in the table.
pub async fn replicas_get_ready_and_go_with_scaling(trial: &Trial) -> Promise {
    let name = trial.deployed("elastic").await;
    let table = trial.provider.replicas();
    ready(table.clone(), &name, 1).await;
    for replicas in [2, 0, 1] {
        trial.provider.scale(&name, replicas).await?;
        ready(table.clone(), &name, replicas as usize).await;
        assert_eq!(table.get(&name).unwrap().desired, replicas);
        assert_eq!(trial.provider.status(&name, false).await?.available_replicas, u64::from(replicas));
    }
    Ok(())
}

/// Logs tell replicas apart, and calls reach each of them.
pub async fn replicas_of_one_function_have_names_of_their_own(trial: &Trial) -> Promise {
    let name = trial.deployed("twins").await;
    trial.provider.scale(&name, 2).await?;
    ready(trial.provider.replicas(), &name, 2).await;
    let found = trial.provider.replicas().get(&name).unwrap();
    let names: HashSet<&str> = found.ready.iter().map(|replica| replica.instance.as_str()).collect();
    assert_eq!(names.len(), 2);
    Ok(())
}

/// `com.openfaas.scale.min` is what a function starts with and comes back to.
pub async fn the_fewest_replicas_follow_the_label(trial: &Trial) -> Promise {
    let labels = map([("com.openfaas.scale.min", "2")]);
    trial.provider.deploy(FunctionDeployment { labels, ..trial.deployment("pair") }).await?;
    let name = "pair".parse().unwrap();
    ready(trial.provider.replicas(), &name, 2).await;
    let found = trial.provider.replicas().get(&name).unwrap();
    assert_eq!((found.desired, found.at_least), (2, 2));
    trial.provider.scale(&name, 0).await?;
    assert_eq!(trial.provider.replicas().get(&name).unwrap().at_least, 2);
    Ok(())
}

/// Nobody is sent to a function that is gone.
pub async fn a_deleted_function_leaves_the_table(trial: &Trial) -> Promise {
    let name = trial.deployed("leaving").await;
    let mut table = trial.provider.replicas();
    ready(table.clone(), &name, 1).await;
    trial.provider.delete(&name, false).await?;
    let gone = tokio::time::timeout(PATIENCE, table.wait_for(&name, |found| found.is_none())).await;
    assert!(gone.is_ok_and(|alive| alive), "the table still has {name}");
    assert!(table.snapshot().is_empty());
    Ok(())
}

/// What runs goes on running, under the same names, when an update is refused.
pub async fn a_failed_update_leaves_the_table_alone(trial: &Trial) -> Promise {
    let name = trial.deployed("steady").await;
    let table = trial.provider.replicas();
    ready(table.clone(), &name, 1).await;
    let before = table.get(&name);
    let secretless = FunctionDeployment { secrets: vec!["not-there".to_owned()], ..trial.deployment("steady") };
    refused!(trial.provider.update(secretless).await, Invalid);
    assert_eq!(table.get(&name), before);
    Ok(())
}
