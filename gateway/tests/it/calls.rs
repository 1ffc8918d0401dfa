//! `/system/calls/ID` and `/system/dead-letters`: what became of asynchronous calls.

use crate::system::Running;
use provider::memory::MemoryProvider;
use queue::{Invocation, Outcome, Queue, Source, sqlite};
use std::sync::Arc;
use wire::call::{CallState, CallStatus};

/// 2026-01-02T03:04:05Z.
pub(crate) const ACCEPTED_AT: u64 = 1_767_323_045_000;
/// In the year 2100.
const LATER: u64 = 4_102_444_800_000;

pub(crate) fn invocation(call_id: &str) -> Invocation {
    Invocation {
        call_id: call_id.to_owned(),
        function: "hello".parse().unwrap(),
        method: "POST".to_owned(),
        path_and_query: "/".to_owned(),
        headers: Vec::new(),
        body: "secret of the caller".into(),
        callback_url: None,
        accepted_at: ACCEPTED_AT,
        trace: None,
        source: Source::Http,
        key: None,
    }
}

/// A queue with one call of each fate.
async fn fates(queue: &Arc<dyn Queue>) {
    let outcome = |status, reason: Option<&str>| Outcome { status, reason: reason.map(str::to_owned) };
    for call_id in ["done", "dead-1", "dead-2", "waiting"] {
        queue.push(vec![invocation(call_id)]).await.unwrap();
        let lease = queue.lease(1, Vec::new(), ACCEPTED_AT).await.unwrap().remove(0);
        match call_id {
            "done" => queue.finish(lease.sequence, outcome(Some(200), None), ACCEPTED_AT + 5).await.unwrap(),
            "waiting" => queue.retry(lease.sequence, outcome(Some(503), Some("no room")), LATER).await.unwrap(),
            _ => queue.bury(lease.sequence, outcome(None, Some("gone")), ACCEPTED_AT + 9).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn the_fate_of_every_call_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let queue = sqlite::open(directory.path()).unwrap();
    fates(&queue).await;
    let gateway = Running::with_queue(MemoryProvider::new(), None, Some(queue)).await;
    let call = async |id: &str| {
        let answer = gateway.expect("GET", &format!("/system/calls/{id}"), "", 200).await;
        assert!(!answer.body.contains("secret of the caller"), "{}", answer.body);
        serde_json::from_str::<CallStatus>(&answer.body).unwrap()
    };
    let done = call("done").await;
    assert_eq!((done.state, done.status, done.attempts), (CallState::Done, Some(200), 1));
    assert_eq!((done.function.as_str(), done.accepted_at.as_str()), ("hello.openfaas-fn", "2026-01-02T03:04:05Z"));
    assert!(done.finished_at.is_some());
    let waiting = call("waiting").await;
    assert_eq!((waiting.state, waiting.status), (CallState::Queued, Some(503)));
    assert_eq!((waiting.reason.as_deref(), waiting.not_before.is_some()), (Some("no room"), true));
    let dead = call("dead-1").await;
    assert_eq!((dead.state, dead.reason.as_deref()), (CallState::Dead, Some("gone")));
    let answer = gateway.expect("GET", "/system/calls/nope", "", 404).await;
    assert!(answer.body.contains("call nope not found"), "{}", answer.body);
}

#[tokio::test]
async fn dead_letters_come_newest_first_and_not_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let queue = sqlite::open(directory.path()).unwrap();
    fates(&queue).await;
    let gateway = Running::with_queue(MemoryProvider::new(), None, Some(queue)).await;
    let letters = async |query: &str| {
        let answer = gateway.expect("GET", &format!("/system/dead-letters{query}"), "", 200).await;
        let letters: Vec<CallStatus> = serde_json::from_str(&answer.body).unwrap();
        letters.into_iter().map(|letter| letter.call_id).collect::<Vec<_>>()
    };
    assert_eq!(letters("").await, ["dead-2", "dead-1"]);
    assert_eq!(letters("?limit=1").await, ["dead-2"]);
    assert_eq!(letters("?limit=5").await.len(), 2);
}

#[tokio::test]
async fn a_dead_letter_begins_anew_and_nothing_else_does() {
    let directory = tempfile::tempdir().unwrap();
    let queue = sqlite::open(directory.path()).unwrap();
    fates(&queue).await;
    let gateway = Running::with_queue(MemoryProvider::new(), None, Some(Arc::clone(&queue))).await;
    assert!(gateway.expect("POST", "/system/dead-letters/dead-1", "", 202).await.body.is_empty());
    let call = queue.call("dead-1").await.unwrap().unwrap();
    assert_eq!((call.state, call.attempts), (CallState::Queued, 0));
    for (id, status, says) in [
        ("dead-1", 409, "call dead-1 is no dead letter"),
        ("done", 409, "call done is no dead letter"),
        ("nope", 404, "call nope not found"),
    ] {
        let answer = gateway.expect("POST", &format!("/system/dead-letters/{id}"), "", status).await;
        assert!(answer.body.contains(says), "{}", answer.body);
    }
    let lease = queue.lease(10, Vec::new(), LATER - 1).await.unwrap().remove(0);
    assert_eq!(lease.invocation, invocation("dead-1"));
}

#[tokio::test]
async fn without_a_queue_there_are_no_calls() {
    let gateway = Running::with_queue(MemoryProvider::new(), None, None).await;
    for path in ["/system/calls/x", "/system/dead-letters"] {
        let answer = gateway.expect("GET", path, "", 404).await;
        assert!(answer.body.contains("no queue"), "{}", answer.body);
    }
    gateway.expect("POST", "/system/dead-letters/x", "", 404).await;
}
