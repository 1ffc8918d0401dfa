//! Updates while callers call: nothing fails.

use crate::bench::{Bench, IMAGE, OTHER_IMAGE, behaving};
use crate::function;
use provider::{Address, Provider, ReplicaTable};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use wire::function::FunctionDeployment;
use wire::{FunctionName, annotation};

const CALLERS: usize = 8;
/// As long as a call waits for a replica.
const PATIENCE: Duration = Duration::from_secs(30);

/// Callers that go on until told to stop, and what they were answered.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<BTreeMap<String, usize>>>,
    callers: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn on(name: &FunctionName, table: &ReplicaTable) -> Self {
        let (stop, answers) = (Arc::default(), Arc::default());
        let callers = (0..CALLERS).map(|caller| {
            let (name, mut table, stop, answers) =
                (name.clone(), table.clone(), Arc::<AtomicBool>::clone(&stop), Arc::<Mutex<_>>::clone(&answers));
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                for turn in caller.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let socket = runtime.block_on(replica(&name, &mut table, turn));
                    let answer = function::call(&socket, "/").unwrap_or_else(|error| format!("failed: {error}"));
                    let mut answers: std::sync::MutexGuard<'_, BTreeMap<String, usize>> = answers.lock().unwrap();
                    *answers.entry(answer).or_default() += 1;
                }
            })
        });
        let callers = callers.collect();
        Self { stop, answers, callers }
    }

    /// Waits until so many calls have been answered so.
    async fn answered(&self, answer: &str, more: usize) {
        let count = || self.answers.lock().unwrap().get(answer).copied().unwrap_or(0);
        let from = count();
        function::eventually(answer, || count() >= from + more).await;
    }

    fn finish(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.into_iter().for_each(|caller| caller.join().unwrap());
        std::mem::take(&mut *self.answers.lock().unwrap())
    }
}

/// Waits as a call at the gateway does, and takes one replica after the other.
async fn replica(name: &FunctionName, table: &mut ReplicaTable, turn: usize) -> PathBuf {
    let mut address = None;
    let ready = table.wait_for(name, |found| {
        let ready = found.map_or(&[][..], |found| &found.ready);
        address = ready.get(turn % ready.len().max(1)).map(|replica| replica.address.clone());
        address.is_some()
    });
    assert!(tokio::time::timeout(PATIENCE, ready).await.is_ok_and(|alive| alive), "no replica came");
    match address {
        Some(Address::Unix(socket)) => socket.path(),
        other => panic!("no socket: {other:?}"),
    }
}

fn version(image: &str, has_data: bool) -> FunctionDeployment {
    let mut deployment = FunctionDeployment { image: image.to_owned(), ..behaving("busy", "drains") };
    if has_data {
        deployment.annotations.insert(annotation::DATA_PATH.to_owned(), "/data".to_owned());
    }
    deployment
}

async fn updates_fail_nothing(has_data: bool, replicas: u32) {
    let bench = Bench::new();
    let name: FunctionName = "busy".parse().unwrap();
    bench.deployed(version(IMAGE, has_data)).await;
    bench.provider.scale(&name, replicas).await.unwrap();
    bench.ready(&name, replicas as usize).await;
    let load = Load::on(&name, &bench.table());
    load.answered("1", 20).await;
    for _ in 0..2 {
        for (image, answer) in [(OTHER_IMAGE, "2"), (IMAGE, "1")] {
            bench.provider.update(version(image, has_data)).await.unwrap();
            load.answered(answer, 40).await;
        }
    }
    let answers = load.finish();
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["1", "2"], "{answers:?}");
    bench.stop().await;
}

#[tokio::test]
async fn an_update_under_load_fails_no_call() {
    updates_fail_nothing(false, 1).await;
}

#[tokio::test]
async fn an_update_of_several_replicas_under_load_fails_no_call() {
    updates_fail_nothing(false, 3).await;
}

#[tokio::test]
async fn calls_wait_while_a_function_with_data_is_stopped_and_started() {
    updates_fail_nothing(true, 1).await;
}
