use super::*;
use serde_json::{Value, json};

fn function() -> Function {
    let object = json!({"apiVersion": "openfaas.com/v1", "kind": "Function",
        "metadata": {"name": "order", "namespace": "shop", "generation": 4},
        "spec": {"name": "order", "image": "crema/order:1"}});
    serde_json::from_value(object).unwrap()
}

fn deployment(replicas: i32, status: Value) -> Deployment {
    let object = json!({"metadata": {"name": "order", "generation": 2},
        "spec": {"replicas": replicas, "selector": {}, "template": {}}, "status": status});
    serde_json::from_value(object).unwrap()
}

fn rolled_out(replicas: i32, available: i32) -> Deployment {
    let progressing = json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
    deployment(
        replicas,
        json!({"observedGeneration": 2, "replicas": replicas, "updatedReplicas": replicas,
        "availableReplicas": available, "conditions": [progressing]}),
    )
}

fn applied() -> Outcome {
    Outcome::Applied { profiles: Vec::new(), notes: Vec::new() }
}

fn seen(outcome: &Outcome, deployment: Option<&Deployment>, trouble: Option<&Trouble>) -> FunctionState {
    state(&function(), None, outcome, Seen { deployment, trouble }, Timestamp::UNIX_EPOCH)
}

fn words(state: &FunctionState) -> Vec<String> {
    let word = |condition: &Condition| format!("{}={} {}", condition.type_, condition.status, condition.reason);
    state.conditions.iter().map(word).collect()
}

fn trouble() -> Trouble {
    Trouble { reason: "ImagePullBackOff".to_owned(), message: "image a:1 cannot be pulled: not found".to_owned() }
}

#[test]
fn a_function_that_runs_is_ready_and_healthy() {
    let state = seen(&applied(), Some(&rolled_out(2, 2)), None);
    assert_eq!(words(&state), ["Ready=True Applied", "Healthy=True ReplicasReady"]);
    assert_eq!((state.replicas, state.available_replicas, state.unavailable_replicas), (2, 2, 0));
    assert_eq!(state.observed_generation, Some(4));
    assert_eq!(state.selector.as_deref(), Some("faas_function=order"));
    assert!(state.conditions.iter().all(|condition| condition.observed_generation == Some(4)));
}

#[test]
fn at_zero_it_stays_ready() {
    let state = seen(&applied(), Some(&rolled_out(0, 0)), None);
    assert_eq!(words(&state), ["Ready=True Applied", "Healthy=False ScaledToZero"]);
}

#[test]
fn being_scaled_or_losing_a_replica_is_no_roll_out() {
    let state = seen(&applied(), Some(&rolled_out(5, 1)), None);
    assert_eq!(words(&state), ["Ready=True Applied", "Healthy=True ReplicasReady"]);
    assert_eq!(state.unavailable_replicas, 4);
    let crashed = seen(&applied(), Some(&rolled_out(1, 0)), Some(&trouble()));
    assert_eq!(words(&crashed), ["Ready=True Applied", "Healthy=False ReplicasFailing"]);
}

#[test]
fn a_first_look_and_a_deployment_that_is_not_looked_at_are_on_their_way() {
    let state = seen(&Outcome::Accepted, None, None);
    assert_eq!(words(&state)[..2], ["Ready=Unknown Accepted", "Reconciling=True Accepted"]);
    let unseen = deployment(
        1,
        json!({"observedGeneration": 1, "availableReplicas": 1, "conditions":
        [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]}),
    );
    let state = seen(&applied(), Some(&unseen), None);
    assert_eq!(words(&state), ["Ready=False RollingOut", "Reconciling=True RollingOut", "Healthy=True ReplicasReady"]);
}

#[test]
fn a_bad_image_says_why_and_that_the_former_one_serves() {
    let going = deployment(
        1,
        json!({"observedGeneration": 2, "replicas": 2, "availableReplicas": 1, "conditions":
        [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]}),
    );
    let state = seen(&applied(), Some(&going), Some(&trouble()));
    let reconciling = condition(Some(&state), RECONCILING).unwrap();
    assert_eq!(reconciling.reason, "ReplicasFailing");
    assert_eq!(
        reconciling.message,
        "ImagePullBackOff: image a:1 cannot be pulled: not found; the version before keeps serving"
    );
    assert_eq!(condition(Some(&state), HEALTHY).unwrap().status, "True");

    let stuck = deployment(
        1,
        json!({"observedGeneration": 2, "replicas": 2, "availableReplicas": 1, "conditions":
        [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}),
    );
    let state = seen(&applied(), Some(&stuck), Some(&trouble()));
    assert_eq!(words(&state)[..2], ["Ready=False ImagePullBackOff", "Stalled=True ImagePullBackOff"]);
    assert_eq!(condition(Some(&state), STALLED).unwrap().message, reconciling.message);
    let silent = seen(&applied(), Some(&stuck), None);
    assert_eq!(condition(Some(&silent), STALLED).unwrap().reason, "ProgressDeadlineExceeded");
}

#[test]
fn pods_that_may_not_be_made_stall_it() {
    let refused = deployment(
        1,
        json!({"observedGeneration": 2, "conditions": [
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated"},
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}]}),
    );
    let state = seen(&applied(), Some(&refused), None);
    assert_eq!(words(&state)[1], "Stalled=True FailedCreate");
    assert_eq!(condition(Some(&state), STALLED).unwrap().message, "exceeded quota: small");
}

#[test]
fn a_quota_that_is_met_while_it_is_scaled_stalls_no_version_that_is_rolled_out() {
    let met = |replicas: i32, updated: i32, available: i32| {
        deployment(
            5,
            json!({"observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated,
            "availableReplicas": available, "conditions": [
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}]}),
        )
    };
    let state = seen(&applied(), Some(&met(3, 3, 3)), None);
    assert_eq!(words(&state), ["Ready=True Applied", "Healthy=True ReplicasReady"]);
    let healthy = condition(Some(&state), HEALTHY).unwrap();
    assert_eq!(healthy.message, "at least one replica is ready; more cannot be made: exceeded quota: small");

    let none = seen(&applied(), Some(&met(0, 0, 0)), None);
    assert_eq!(words(&none), ["Ready=True Applied", "Healthy=False ReplicasFailing"]);
    let healthy = condition(Some(&none), HEALTHY).unwrap();
    assert_eq!(healthy.message, "FailedCreate: exceeded quota: small");

    // Back to the version before: the replicas that are there are not of it, whether or not others can be made.
    let progressing = json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
    let back = deployment(
        3,
        json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 0, "availableReplicas": 3,
        "conditions": [progressing]}),
    );
    let state = seen(&applied(), Some(&back), None);
    assert_eq!(words(&state)[0], "Ready=False RollingOut");
    let back = seen(&applied(), Some(&met(3, 0, 3)), None);
    assert_eq!(words(&back)[1], "Stalled=True FailedCreate");
}

#[test]
fn what_stalls_is_said_while_the_former_objects_are_counted() {
    let outcome = Outcome::Stalled(Stalled::BadConstraint("disk".to_owned()));
    let state = seen(&outcome, Some(&rolled_out(1, 1)), None);
    assert_eq!(
        words(&state),
        ["Ready=False BadConstraint", "Stalled=True BadConstraint", "Healthy=True ReplicasReady"]
    );
    assert_eq!(state.available_replicas, 1);
}

#[test]
fn notes_stand_with_ready() {
    let outcome =
        Outcome::Applied { profiles: Vec::new(), notes: vec!["1 runs".to_owned(), "it stays at 1Gi".to_owned()] };
    let state = seen(&outcome, Some(&rolled_out(1, 1)), None);
    assert_eq!(condition(Some(&state), READY).unwrap().message, "1 runs; it stays at 1Gi");
}

#[test]
fn a_condition_keeps_its_time_until_its_status_turns() {
    let former = seen(&applied(), Some(&rolled_out(1, 1)), None);
    let later = Timestamp::from_second(3600).unwrap();
    let again = |deployment: &Deployment| {
        let seen = Seen { deployment: Some(deployment), trouble: None };
        state(&function(), Some(&former), &applied(), seen, later)
    };
    assert_eq!(again(&rolled_out(1, 1)), former);
    let down = again(&rolled_out(1, 0));
    assert_eq!(condition(Some(&down), READY).unwrap().last_transition_time.0, Timestamp::UNIX_EPOCH);
    assert_eq!(condition(Some(&down), HEALTHY).unwrap().last_transition_time.0, later);
}
