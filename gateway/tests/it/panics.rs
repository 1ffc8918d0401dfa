//! A panic ends one request, not the process.

use crate::stage::{Function, Stage, eventually};
use daemon::clock::Sleep;
use daemon::{Clock, SystemClock};
use gateway::{Config, Gateway, Parts};
use jiff::Timestamp;
use provider::memory::MemoryProvider;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A clock that breaks once.
#[derive(Default)]
struct Broken(AtomicBool);

impl Clock for Broken {
    fn now(&self) -> Timestamp {
        assert!(!self.0.swap(false, Ordering::Relaxed), "the clock broke, as the test wants");
        SystemClock.now()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep<'_> {
        Box::pin(async move { SystemClock.sleep_until(at).await })
    }
}

#[tokio::test]
async fn a_panic_ends_one_call() {
    let clock = Arc::new(Broken::default());
    let provider = Arc::new(MemoryProvider::new());
    let port = "127.0.0.1:0".parse().unwrap();
    let config = Config { listen: port, metrics: port, workers: 1, ..Config::default() };
    let parts = Parts { provider: Arc::clone(&provider) as _, queue: None, clock: Arc::clone(&clock) as _ };
    let stage = Stage::run(Gateway::build(config, parts).unwrap(), provider).await;
    let function = Function::ok().await;
    stage.function("f", function.address).await;
    for path in ["/function/f", "/async-function/f"] {
        clock.0.store(true, Ordering::Relaxed);
        let answer = stage.send("POST", path, "", "").await;
        assert_eq!((answer.status, answer.header("x-openfaas-internal")), (500, vec!["gateway".into()]), "{path}");
    }
    assert_eq!(stage.get("/function/f").await.status, 200);
    eventually("the one call is counted", async || stage.scrape().await.contains(r#"code="200""#)).await;
}
