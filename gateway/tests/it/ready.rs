//! Whether calls are to be sent to a gateway, and whether it lives.

use crate::stage::{Function, Stage, build, raw, read_request};
use gateway::{Config, Readiness};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

async fn ask(stage: &Stage, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = raw(stage.metrics, request.as_bytes()).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_gateway_is_ready_from_when_the_functions_are_known_until_the_process_is_about_to_stop() {
    let (gateway, provider) = build(Config::default(), None);
    let ((known, listed), (process, stop)) = (watch::channel(false), daemon::stop::pair());
    let gateway = gateway.with_readiness(Readiness::new(stop, listed));
    let stage = Stage::run(gateway, provider).await;
    let (status, why) = ask(&stage, "/ready").await;
    assert_eq!((status, why.contains("functions")), (503, true), "{why}");
    assert_eq!(ask(&stage, "/healthz").await.0, 200);
    known.send(true).unwrap();
    assert_eq!(ask(&stage, "/ready").await, (200, "OK".to_owned()));
    process.stop();
    let (status, why) = ask(&stage, "/ready").await;
    assert_eq!((status, why.contains("stopping")), (503, true), "{why}");
    // It serves until it is told to stop itself.
    assert_eq!((ask(&stage, "/healthz").await.0, stage.get("/healthz").await.status), (200, 200));
}

#[tokio::test]
async fn a_gateway_that_lets_calls_end_is_not_ready() {
    let stage = Stage::new().await;
    assert_eq!(ask(&stage, "/ready").await.0, 200);
    let (release, released) = tokio::sync::watch::channel(false);
    let (arrived, mut arrives) = tokio::sync::mpsc::channel::<()>(1);
    let slow = Function::scripted(move |mut stream| {
        let (arrived, mut released) = (arrived.clone(), released.clone());
        async move {
            read_request(&mut stream).await.unwrap();
            arrived.send(()).await.unwrap();
            released.wait_for(|released| *released).await.unwrap();
            stream.write_all(crate::stage::ok("late").as_bytes()).await.unwrap();
        }
    })
    .await;
    stage.function("f", slow.address).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    arrives.recv().await.unwrap();
    stage.stopper.stop();
    assert_eq!((ask(&stage, "/ready").await.0, ask(&stage, "/healthz").await.0), (503, 200));
    release.send(true).unwrap();
    drop(client);
    tokio::time::timeout(crate::stage::PATIENCE, stage.task).await.unwrap().unwrap().unwrap();
}
