//! kill -9 while 32 producers push: everything acknowledged is there afterwards.

use crate::stores::{Store, invocation};
use daemon::{Env, ProcessEnv};
use queue::Invocation;
use rstest::rstest;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::tempdir;

const DIRECTORY: &str = "QUEUE_TEST_DIRECTORY";
const STORE: &str = "QUEUE_TEST_STORE";
const ROUND: &str = "QUEUE_TEST_ROUND";
const PRODUCERS: usize = 32;
/// Acknowledged invocations of a round before the kill.
const ENOUGH: usize = 500;
const ROUNDS: usize = 3;

/// Not a test of its own: what [`what_was_acknowledged_survives_a_kill`] starts and kills.
#[test]
#[ignore = "the child of the test that kills it"]
fn the_child_that_pushes() {
    let variable = |name| ProcessEnv.get(name).unwrap_or_default();
    let store = if variable(STORE) == "Sled" { Store::Sled } else { Store::Sqlite };
    let round = variable(ROUND);
    let queue = store.open(Path::new(&variable(DIRECTORY)));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut producers = tokio::task::JoinSet::new();
        for producer in 0..PRODUCERS {
            let (queue, round) = (Arc::clone(&queue), round.clone());
            producers.spawn(async move {
                for count in 0.. {
                    let call_id = format!("{round}/{producer}/{count}");
                    let body = vec![b'x'; (count % 7) * 300];
                    queue.push(vec![Invocation { body: body.into(), ..invocation(&call_id, "f") }]).await.unwrap();
                    // One write each, so that no line is cut.
                    std::io::stdout().lock().write_all(format!("acknowledged {call_id}\n").as_bytes()).unwrap();
                }
            });
        }
        producers.join_all().await;
    });
}

fn child(store: Store, directory: &Path, round: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["killed::the_child_that_pushes", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(STORE, format!("{store:?}"))
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Pushes, kills, and returns what was acknowledged.
fn push_and_kill(store: Store, directory: &Path, round: usize) -> Vec<String> {
    let mut child = child(store, directory, round);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    for line in output.lines().map_while(Result::ok) {
        // The harness prints before it, on the same line.
        if let Some((_, call_id)) = line.split_once("acknowledged ") {
            acknowledged.push(call_id.to_owned());
        }
        if acknowledged.len() == ENOUGH {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(acknowledged.len() >= ENOUGH, "the child ended by itself: {status}");
    acknowledged
}

#[rstest]
#[case(Store::Sqlite)]
#[case(Store::Sled)]
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill(#[case] store: Store) {
    let directory = tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.extend(push_and_kill(store, directory.path(), round));
    }
    let queue = store.open(directory.path());
    let leases = queue.lease(usize::MAX >> 1, Vec::new(), u64::MAX >> 1).await.unwrap();
    let there: HashSet<&str> = leases.iter().map(|lease| lease.invocation.call_id.as_str()).collect();
    assert_eq!(there.len(), leases.len(), "none is there twice");
    let lost: Vec<_> = acknowledged.iter().filter(|call_id| !there.contains(call_id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} were lost: {lost:?}", lost.len(), acknowledged.len());
    queue.close().await;
}
