//! Functions that die, and platforms that do.

use crate::bench::{Bench, behaving, call, deployment, images};
use crate::function::{eventually, get, processes_of, runs};
use crate::host;
use provider::Provider;
use std::sync::Arc;
use wire::FunctionName;

fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_killed_function_comes_back_and_its_children_do_not_stay() {
    let bench = Bench::new();
    let socket = bench.deployed(deployment("phoenix")).await;
    let (pid, child) = (bench.pid(&name("phoenix")).await, call(&socket, "/child").await.parse().unwrap());
    kill(pid);
    eventually("another process", || bench.sockets(&name("phoenix")).first().is_some_and(|other| *other != socket))
        .await;
    eventually("nothing of it runs", || !runs(pid) && !runs(child)).await;
    bench.logged(&name("phoenix"), "was ended by signal 9").await;
    assert!(bench.table().get(&name("phoenix")).unwrap().trouble.is_none());
    bench.stop().await;
}

#[tokio::test]
async fn a_killed_functions_child_in_a_group_of_its_own_does_not_stay() {
    let bench = Bench::new();
    let socket = bench.deployed(deployment("outcast")).await;
    let outcast = call(&socket, "/outcast").await.parse().unwrap();
    assert!(runs(outcast));
    kill(bench.pid(&name("outcast")).await);
    eventually("the replica's directory is removed", || !socket.parent().unwrap().exists()).await;
    eventually("it does not outlive its replica", || !runs(outcast)).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_function_gets_no_rights_from_the_programs_it_runs() {
    let bench = Bench::new();
    let socket = bench.deployed(deployment("modest")).await;
    let status = call(&socket, "/status").await;
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
    bench.stop().await;
}

#[tokio::test]
async fn a_crash_loop_is_visible_and_pauses() {
    let bench = Bench::new();
    bench.provider.deploy(behaving("loop", "crash")).await.unwrap();
    bench.logged(&name("loop"), "failure 1 in a row; it is started again after a pause of 1 s").await;
    bench.logged(&name("loop"), "failure 2 in a row; it is started again after a pause of 2 s").await;
    let found = bench.table().get(&name("loop")).unwrap();
    assert!(found.ready.is_empty() && found.desired == 1);
    assert!(found.trouble.as_ref().is_some_and(|text| text.contains("signal 6")), "{:?}", found.trouble);
    // A new version does not wait for the old one's pause.
    bench.provider.update(deployment("loop")).await.unwrap();
    bench.ready(&name("loop"), 1).await;
    assert_eq!(bench.table().get(&name("loop")).unwrap().trouble, None);
    bench.stop().await;
}

#[tokio::test]
async fn functions_die_with_the_platform_and_the_next_one_is_clean() {
    let dir = Arc::new(tempfile::Builder::new().prefix("pl").tempdir().unwrap());
    images(dir.path());
    let mut platform = host::start(dir.path());
    eventually("a call", || host::sockets(dir.path()).iter().any(|socket| get(socket, "/pid").is_ok())).await;
    let socket = host::sockets(dir.path()).remove(0);
    let pid: i32 = get(&socket, "/pid").unwrap().parse().unwrap();
    let child: i32 = get(&socket, "/child").unwrap().parse().unwrap();
    let outcast: i32 = get(&socket, "/outcast").unwrap().parse().unwrap();
    platform.kill();
    eventually("the function's end", || !runs(pid)).await;
    assert!(runs(child) && runs(outcast), "what the function started outlives the platform: the next one ends it");

    let bench = Bench::at(Arc::clone(&dir), |_| {});
    bench.ready(&name(host::FUNCTION), 1).await;
    assert!(!runs(child) && !runs(outcast), "a leftover is still there");
    assert!(!socket.exists());
    assert_eq!(processes_of(dir.path()).len(), 1);
    bench.stop().await;
    assert_eq!(std::fs::read_dir(dir.path().join("run/fn")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_unreadable_wish_is_shown_and_can_be_replaced() {
    let bench = Bench::new();
    bench.deployed(deployment("torn")).await;
    let dir = bench.stop().await;
    let file = dir.path().join("functions/openfaas-fn/torn.json");
    std::fs::write(&file, "{\"format\":1").unwrap();
    let bench = Bench::at(dir, |_| {});
    assert_eq!(bench.provider.list("openfaas-fn").await.unwrap()[0].name, "torn");
    let trouble = bench.table().get(&name("torn")).unwrap().trouble.clone().unwrap();
    assert!(trouble.contains("torn.json"), "{trouble}");
    assert!(bench.provider.scale(&name("torn"), 1).await.is_err());
    bench.provider.update(deployment("torn")).await.unwrap();
    bench.ready(&name("torn"), 1).await;
    bench.stop().await;
}
