//! Versions that do not work: the one before serves, and everybody can see why.

use crate::bench::{Bench, OTHER_IMAGE, behaving, call, deployment, image_of};
use crate::function::{eventually, runs};
use image::Store;
use provider::{Deployed, Provider};
use std::time::Duration;
use wire::function::FunctionDeployment;
use wire::{FunctionName, annotation};

const IMAGE_UNDER_TEST: &str = "test/bad:1";
/// Where its command is.
const FUNCTION: &str = "/bin/function";

fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

fn with_data(deployment: FunctionDeployment) -> FunctionDeployment {
    let annotations = [(annotation::DATA_PATH.to_owned(), "/var/data".to_owned())].into();
    FunctionDeployment { annotations, ..deployment }
}

/// Waits until a function's status says why its version was taken back.
async fn taken_back(bench: &Bench, name: &FunctionName) -> String {
    for _ in 0..3000 {
        let status = bench.provider.status(name, false).await.unwrap();
        if let Some(text) = status.annotations.get(annotation::STATUS).filter(|text| text.contains("is taken back")) {
            return text.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never taken back: {:?}", bench.table().get(name));
}

/// Updates a function that works to something that does not.
async fn fails(bench: &Bench, bad: FunctionDeployment, why: &str) {
    let name = name(&bad.service);
    let pid = bench.pid(&name).await;
    bench.provider.update(bad).await.unwrap();
    let text = taken_back(bench, &name).await;
    assert!(text.contains(why), "no {why:?} in {text:?}");
    assert_eq!(bench.pid(&name).await, pid, "the one before has served throughout");
    bench.logged(&name, why).await;
    bench.logged(&name, "is taken back").await;
}

#[tokio::test]
async fn a_version_that_does_not_get_ready_leaves_the_one_before_serving() {
    let bench = Bench::with(|config| config.start_timeout = Duration::from_millis(1500));
    bench.deployed(deployment("steady")).await;
    fails(&bench, behaving("steady", "never-ready"), "was not ready within 1.5 s").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_version_that_does_not_work_leaves_the_one_before_serving() {
    let bench = Bench::new();
    bench.deployed(deployment("steady")).await;
    fails(&bench, behaving("steady", "crash"), "was ended by signal 6").await;
    let store = Store::open(bench.dir.path().join("images")).unwrap();
    let bad = || FunctionDeployment { image: IMAGE_UNDER_TEST.to_owned(), ..deployment("steady") };
    image_of(&store, IMAGE_UNDER_TEST, FUNCTION, b"#!/bin/sh\nexit 3\n");
    fails(&bench, bad(), "exited with status 3").await;
    // The head of a program for another machine.
    let mut foreign = std::fs::read("/proc/self/exe").unwrap()[..4096].to_vec();
    foreign[18] = 0x99;
    image_of(&store, IMAGE_UNDER_TEST, FUNCTION, &foreign);
    fails(&bench, bad(), "failure 3 in a row").await;
    image_of(&store, IMAGE_UNDER_TEST, "/bin/elsewhere", b"");
    fails(&bench, bad(), "\"/bin/function\" is not there").await;
    // What works ends it.
    bench.provider.update(FunctionDeployment { image: OTHER_IMAGE.to_owned(), ..deployment("steady") }).await.unwrap();
    let status = bench.provider.status(&name("steady"), false).await.unwrap();
    assert_eq!(status.annotations.get(annotation::STATUS), None);
    bench.stop().await;
}

#[tokio::test]
async fn a_taken_back_version_stays_so_when_the_platform_starts_again() {
    let bench = Bench::new();
    bench.deployed(deployment("lasting")).await;
    fails(&bench, behaving("lasting", "crash"), "signal 6").await;
    let file = bench.dir.path().join("functions/openfaas-fn/lasting.json");
    eventually("it is on disk", || std::fs::read_to_string(&file).unwrap().contains("takenBack")).await;
    let bench = Bench::at(bench.stop().await, |_| {});
    let socket = bench.ready(&name("lasting"), 1).await;
    assert!(!call(&socket, "/env").await.contains("TEST_BEHAVIOUR"));
    assert!(taken_back(&bench, &name("lasting")).await.contains("signal 6"));
    // The same again is another try.
    assert_eq!(bench.provider.update(behaving("lasting", "crash")).await.unwrap(), Deployed::Changed);
    taken_back(&bench, &name("lasting")).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_version_that_dies_after_it_was_ready_is_taken_back() {
    let bench = Bench::new();
    bench.deployed(deployment("fragile")).await;
    bench.provider.update(behaving("fragile", "mortal")).await.unwrap();
    let text = taken_back(&bench, &name("fragile")).await;
    assert!(text.contains("signal 6"), "{text}");
    let socket = bench.ready(&name("fragile"), 1).await;
    assert!(!call(&socket, "/env").await.contains("TEST_BEHAVIOUR"));
    assert!(bench.table().get(&name("fragile")).unwrap().trouble.is_none(), "it is as it is to be");
    bench.stop().await;
}

#[tokio::test]
async fn with_a_data_directory_a_version_that_never_gets_ready_gives_way_to_the_one_before() {
    let bench = Bench::new();
    let socket = bench.deployed(with_data(deployment("keeper"))).await;
    let old = bench.pid(&name("keeper")).await;
    let bad = with_data(behaving("keeper", "crash"));
    bench.provider.update(bad.clone()).await.unwrap();
    bench.logged(&name("keeper"), "is taken back").await;
    eventually("another process", || bench.table().get(&name("keeper")).unwrap().ready.iter().any(|_| !runs(old)))
        .await;
    let again = bench.ready(&name("keeper"), 1).await;
    assert_ne!(again, socket);
    assert!(!call(&again, "/env").await.contains("TEST_BEHAVIOUR"));
    let status = bench.provider.status(&name("keeper"), false).await.unwrap();
    assert_eq!(status.env_vars, bad.env_vars, "what was deployed is what is shown");
    // Something better is the end of it.
    let better = with_data(behaving("keeper", "better"));
    bench.provider.update(better.clone()).await.unwrap();
    eventually("the better one", || bench.sockets(&name("keeper")).first().is_some_and(|other| *other != again)).await;
    let socket = bench.ready(&name("keeper"), 1).await;
    assert!(call(&socket, "/env").await.contains("TEST_BEHAVIOUR=better"));
    assert_eq!(bench.provider.update(better).await.unwrap(), Deployed::Unchanged);
    bench.stop().await;
}

#[tokio::test]
async fn one_that_fails_its_health_probe_is_replaced_and_the_log_says_so() {
    let bench = Bench::new();
    let mut wanted = deployment("ill");
    for (key, value) in [("path", "/alive"), ("initialDelaySeconds", "1"), ("failureThreshold", "1")] {
        wanted.annotations.insert(format!("{}{key}", annotation::HEALTH_PROBE), value.to_owned());
    }
    // Ready by its own path, and then asked for one that it does not know.
    wanted.annotations.insert(annotation::READY_PATH.to_owned(), "/custom".to_owned());
    let socket = bench.deployed(wanted).await;
    bench.logged(&name("ill"), "failed its health probe: GET /alive answered 404 Not Found").await;
    eventually("another one", || bench.sockets(&name("ill")).first().is_some_and(|other| *other != socket)).await;
    bench.stop().await;
}

#[tokio::test]
async fn what_a_status_says_is_nothing_that_is_deployed() {
    let bench = Bench::new();
    let mut wanted = deployment("honest");
    wanted.annotations.insert(annotation::STATUS.to_owned(), "fine".to_owned());
    bench.deployed(wanted).await;
    assert!(bench.provider.status(&name("honest"), false).await.unwrap().annotations.is_empty());
    bench.stop().await;
}
