//! Deploy, update, scale and delete, as a function sees them.

use crate::bench::{Bench, FOREIGN_IMAGE, IMAGE, OTHER_IMAGE, behaving, call, deployment, image_with};
use crate::function::{eventually, processes_of, runs};
use image::Store;
use provider::{Deployed, Provider, ProviderError};
use std::time::{Duration, Instant};
use wire::function::{FunctionDeployment, Resources};
use wire::{DEFAULT_NAMESPACE, FunctionName, annotation};

fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

fn with_data(deployment: FunctionDeployment) -> FunctionDeployment {
    let annotations = [(annotation::DATA_PATH.to_owned(), "/var/data".to_owned())].into();
    FunctionDeployment { annotations, ..deployment }
}

#[tokio::test]
async fn a_function_gets_its_environment_and_nothing_of_the_platforms() {
    let bench = Bench::with(|config| config.inherited = vec![("TZ".to_owned(), "Europe/Berlin".to_owned())]);
    let mut wanted = deployment("hello");
    wanted.env_vars.insert("GREETING".to_owned(), "two\nlines".to_owned());
    let socket = bench.deployed(wanted).await;
    let environment = call(&socket, "/env").await;
    for line in [
        "OPENFAAS_NAME=hello",
        "OPENFAAS_NAMESPACE=openfaas-fn",
        "gateway_url=http://127.0.0.1:8081",
        "VERSION=1",
        "TZ=Eu",
    ] {
        assert!(environment.contains(line), "no {line} in {environment}");
    }
    assert!(environment.contains("GREETING=two\nlines"));
    for foreign in ["CARGO", "HOME=", "USER=", "data_path="] {
        assert!(!environment.contains(foreign), "{foreign} in {environment}");
    }
    assert!(call(&socket, "/cwd").await.ends_with("/home/app"));
    bench.stop().await;
}

#[tokio::test]
async fn images_that_need_a_sandbox_are_refused_with_the_reason() {
    let bench = Bench::new();
    let foreign = FunctionDeployment { image: FOREIGN_IMAGE.to_owned(), ..deployment("foreign") };
    let error = bench.provider.deploy(foreign).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Invalid(text) if text.contains("file system of its own")), "{error}");
}

#[tokio::test]
async fn an_update_swaps_when_the_new_version_is_ready() {
    let bench = Bench::new();
    let socket = bench.deployed(deployment("swap")).await;
    let old = bench.pid(&name("swap")).await;
    let next = FunctionDeployment { image: OTHER_IMAGE.to_owned(), ..deployment("swap") };
    assert_eq!(bench.provider.update(next).await.unwrap(), Deployed::Changed);
    eventually("the new version", || {
        let found = bench.table().get(&name("swap")).unwrap();
        assert!(!found.ready.is_empty(), "nobody serves in between");
        bench.socket(&name("swap")) != socket && found.ready.len() == 1
    })
    .await;
    assert!(call(&bench.socket(&name("swap")), "/env").await.contains("VERSION=2"));
    eventually("the old one's end", || !runs(old)).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_tag_that_moved_is_a_change_when_it_is_deployed_again() {
    let bench = Bench::new();
    bench.deployed(deployment("tag")).await;
    assert_eq!(bench.provider.update(deployment("tag")).await.unwrap(), Deployed::Unchanged);
    image_with(&Store::open(bench.dir.path().join("images")).unwrap(), IMAGE, "moved", true);
    assert_eq!(bench.provider.update(deployment("tag")).await.unwrap(), Deployed::Changed);
    eventually("one replica", || bench.table().get(&name("tag")).unwrap().ready.len() == 1).await;
    bench.stop().await;
}

#[tokio::test]
async fn with_a_data_directory_there_is_one_process_and_the_data_stay() {
    let bench = Bench::new();
    let socket = bench.deployed(with_data(deployment("keeper"))).await;
    assert_eq!(call(&socket, "/data?precious").await, "precious");
    let error = bench.provider.scale(&name("keeper"), 2).await.unwrap_err();
    assert!(matches!(error, ProviderError::Invalid(_)), "{error}");
    let old = bench.pid(&name("keeper")).await;
    let next = FunctionDeployment { image: OTHER_IMAGE.to_owned(), ..with_data(deployment("keeper")) };
    bench.provider.update(next).await.unwrap();
    eventually("the new version", || bench.table().get(&name("keeper")).unwrap().ready.iter().any(|_| !runs(old)))
        .await;
    let socket = bench.ready(&name("keeper"), 1).await;
    assert_eq!(call(&socket, "/data").await, "precious");

    bench.provider.delete(&name("keeper"), false).await.unwrap();
    let socket = bench.deployed(with_data(deployment("keeper"))).await;
    assert_eq!(call(&socket, "/data").await, "precious");
    bench.provider.delete(&name("keeper"), true).await.unwrap();
    let socket = bench.deployed(with_data(deployment("keeper"))).await;
    assert_eq!(call(&socket, "/data").await, "");
    bench.stop().await;
}

#[tokio::test]
async fn a_new_secret_value_reaches_what_runs() {
    let bench = Bench::new();
    bench.provider.create_secret(DEFAULT_NAMESPACE, "key", b"one".to_vec()).await.unwrap();
    bench.provider.create_secret(DEFAULT_NAMESPACE, "other", b"x".to_vec()).await.unwrap();
    let wanted = FunctionDeployment { secrets: vec!["key".to_owned()], ..deployment("needy") };
    let socket = bench.deployed(wanted).await;
    assert_eq!(call(&socket, "/secret?key").await, "one");
    assert_eq!(call(&socket, "/secret?other").await, "");
    bench.provider.update_secret(DEFAULT_NAMESPACE, "key", b"two".to_vec()).await.unwrap();
    assert_eq!(call(&socket, "/secret?key").await, "two");
    bench.stop().await;
}

#[tokio::test]
async fn readiness_may_have_a_path_of_its_own() {
    let bench = Bench::new();
    let annotations = [(annotation::READY_PATH.to_owned(), "custom".to_owned())].into();
    bench.deployed(FunctionDeployment { annotations, ..behaving("custom", "custom-ready") }).await;
    let annotations = [(annotation::READY_PATH.to_owned(), "/a b".to_owned())].into();
    let error = bench.provider.deploy(FunctionDeployment { annotations, ..deployment("bad") }).await.unwrap_err();
    assert!(matches!(error, ProviderError::Invalid(_)), "{error}");
    bench.stop().await;
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_ended_with_all_it_started() {
    let bench = Bench::with(|config| config.stop_grace = Duration::from_millis(100));
    let socket = bench.deployed(behaving("stubborn", "stubborn")).await;
    let child: i32 = call(&socket, "/child").await.parse().unwrap();
    bench.provider.scale(&name("stubborn"), 0).await.unwrap();
    eventually("the end of all", || processes_of(bench.dir.path()).is_empty() && !runs(child)).await;
    eventually("no directory left", || std::fs::read_dir(bench.dir.path().join("run/fn")).unwrap().count() == 0).await;
    bench.stop().await;
}

#[tokio::test]
async fn stopping_takes_no_longer_than_its_limit() {
    let bench = Bench::with(|config| config.shutdown_grace = Duration::from_millis(200));
    for index in 0..3 {
        bench.deployed(behaving(&format!("stubborn-{index}"), "stubborn")).await;
    }
    let began = Instant::now();
    bench.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn usage_is_told_when_it_is_asked_for() {
    let bench = Bench::new();
    bench.deployed(deployment("busy")).await;
    assert!(bench.provider.status(&name("busy"), false).await.unwrap().usage.is_none());
    let usage = bench.provider.status(&name("busy"), true).await.unwrap().usage.unwrap();
    assert!(usage.total_memory_bytes > 10_000.0 && usage.cpu >= 0.0, "{usage:?}");
    bench.provider.scale(&name("busy"), 0).await.unwrap();
    eventually("zero", || bench.table().get(&name("busy")).unwrap().ready.is_empty()).await;
    bench.stop().await;
}

#[tokio::test]
async fn what_is_not_enforced_is_kept_and_said() {
    let bench = Bench::new();
    let limits = Some(Resources { memory: "64Mi".to_owned(), ..Resources::default() });
    bench.deployed(FunctionDeployment { limits: limits.clone(), ..deployment("limited") }).await;
    assert_eq!(bench.provider.status(&name("limited"), false).await.unwrap().limits, limits);
    bench.logged(&name("limited"), "not enforced at isolation level none: limits").await;
    bench.stop().await;
}
