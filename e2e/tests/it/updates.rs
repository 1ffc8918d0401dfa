//! Updates while tills call: no call fails, and what does not work undoes itself.

use crate::{espresso, shop};
use e2e::eventually;
use e2e::http::Http;
use e2e::load::processes_of_function;
use e2e::platform::{Platform, State};
use e2e::shop::plenty;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;

const CALLERS: usize = 8;

/// Calls one after the other until told to stop; how often which status came.
struct Callers {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<BTreeMap<String, usize>>>,
}

impl Callers {
    fn new(url: &str, body: impl Fn(usize, usize) -> String + Copy + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..CALLERS).map(|caller| {
            let (url, stop) = (url.to_owned(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (http, mut statuses) = (Http::default(), BTreeMap::new());
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let said = match http.post(&url, body(caller, number)).await {
                        Ok(answer) if matches!(answer.status, 200 | 201) => "good".to_owned(),
                        Ok(answer) => format!("{}: {}", answer.status, answer.text()),
                        Err(error) => error,
                    };
                    *statuses.entry(said).or_default() += 1;
                }
                statuses
            })
        });
        let callers = callers.collect();
        Self { stop, callers }
    }

    /// Stops them; how many calls there were, all of which were answered well.
    async fn all_good(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::<String, usize>::new();
        for caller in self.callers {
            for (said, count) in caller.await.unwrap() {
                *all.entry(said).or_default() += count;
            }
        }
        let good = all.remove("good").unwrap_or(0);
        assert_eq!(all, BTreeMap::new(), "beside {good} that were answered well");
        good
    }
}

/// What is deployed of a function, with a variable more.
async fn with_variable(platform: &Platform, function: &str, name: &str, value: &str) -> Value {
    let mut deployment = platform.system("GET", &format!("/system/function/{function}"), "").await.json();
    deployment["service"] = deployment["name"].clone();
    if deployment["envVars"].is_null() {
        deployment["envVars"] = json!({});
    }
    deployment["envVars"][name] = value.into();
    deployment
}

async fn update(platform: &Platform, deployment: &Value) {
    let answer = platform.system("PUT", "/system/functions", &deployment.to_string()).await;
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
}

/// Waits until one process more of a function has started and the one before it is gone.
async fn is_replaced(state: &State, function: &str, before: &BTreeSet<u32>) {
    eventually("the new version alone", || async {
        let now = processes_of_function(state, function);
        (now.len() == 1 && now.is_disjoint(before)).then_some(()).ok_or(now)
    })
    .await;
}

async fn updates_fail_nothing(
    function: &str,
    rounds: usize,
    body: impl Fn(usize, usize) -> String + Copy + Send + 'static,
) {
    let state = State::default();
    let platform = shop(&state).await;
    plenty(&platform).await;
    let callers = Callers::new(&platform.url(&format!("/function/{function}")), body);
    for round in 0..rounds {
        let before = processes_of_function(&state, function);
        update(&platform, &with_variable(&platform, function, "ROUND", &round.to_string()).await).await;
        is_replaced(&state, function, &before).await;
    }
    let good = callers.all_good().await;
    assert!(good > rounds * CALLERS, "{good} calls are too few to say anything");
    let (status, _) = platform.stop().await;
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_under_load_fail_no_call() {
    updates_fail_nothing("fridge-temp", 10, |_, _| "38.2".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_held_while_a_function_with_data_is_replaced() {
    updates_fail_nothing("order", 3, |caller, number| espresso(&format!("u-{caller}-{number}")).to_string()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_does_not_work_is_taken_back_and_everybody_can_see_why() {
    let state = State::default();
    let platform = shop(&state).await;
    let callers = Callers::new(&platform.url("/function/fridge-temp"), |_, _| "38.2".to_owned());
    update(&platform, &with_variable(&platform, "fridge-temp", "limit_fahrenheit", "warm").await).await;
    let said = eventually("it is taken back", || async {
        let status = platform.system("GET", "/system/function/fridge-temp", "").await.json();
        let said = status["annotations"]["com.crema.status"].as_str().map(str::to_owned);
        said.filter(|said| said.contains("is taken back")).ok_or(status)
    })
    .await;
    assert!(said.contains("exited with status"), "{said}");
    callers.all_good().await;
    platform.logged("fridge-temp", "is taken back").await;
    // The platform dies, and the next one does not try it again.
    platform.kill();
    let platform = shop(&state).await;
    let answer = platform.http.post(&platform.url("/function/fridge-temp"), "38.2").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let status = platform.system("GET", "/system/function/fridge-temp", "").await.json();
    assert!(
        status["annotations"]["com.crema.status"].as_str().is_some_and(|said| said.contains("is taken back")),
        "{status}"
    );
    let (status, _) = platform.stop().await;
    assert!(status.success());
}
