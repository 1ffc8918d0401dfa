//! The connector with a clock of the test's and a gateway made of paper.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use cron_connector::{Config, CronConnector, Problem};
use daemon::{Clock, Stopper, TestClock};
use gateway_client::testing::FakeGateway;
use gateway_client::{ClientConfig, FunctionList, GatewayClient};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const SCHEDULED: &str = "cron-function";

struct Running {
    clock: Arc<TestClock>,
    problems: watch::Receiver<Option<Vec<Problem>>>,
    stopper: Stopper,
    task: JoinHandle<()>,
}

async fn start(gateway: &FakeGateway) -> Running {
    let client = GatewayClient::new(&ClientConfig::new(&gateway.url(), None)).unwrap();
    let (stopper, stop) = daemon::stop::pair();
    let list = FunctionList::follow(client.clone(), Duration::from_millis(10), stop.clone());
    let clock = Arc::new(TestClock::new("2026-11-23T00:00:30Z".parse().unwrap()));
    let told: Arc<dyn Clock> = clock.clone();
    let connector = CronConnector::build(Config { zone: TimeZone::UTC }, client, list, told);
    let mut problems = connector.problems();
    let task = tokio::spawn(connector.run(stop));
    problems.wait_for(Option::is_some).await.unwrap();
    Running { clock, problems, stopper, task }
}

impl Running {
    fn set(&self, time: &str) {
        self.clock.set(format!("2026-11-23T{time}Z").parse::<Timestamp>().unwrap());
    }

    /// Waits until as many functions have a schedule that cannot be followed.
    async fn problems(&mut self, count: usize) -> Vec<Problem> {
        let as_many = |problems: &Option<Vec<Problem>>| problems.as_ref().is_some_and(|all| all.len() == count);
        self.problems.wait_for(as_many).await.unwrap().clone().unwrap()
    }

    async fn stop(self) {
        self.stopper.stop();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_due_function_is_called_without_a_body() {
    let gateway = FakeGateway::start().await;
    gateway.set_namespaces(&["shop"]);
    gateway.deploy("order", "shop", &[("topic", SCHEDULED), ("schedule", "* * * * *")]);
    let connector = start(&gateway).await;
    connector.set("00:01:00");
    let posted = gateway.accepted(1).await;
    assert_eq!(posted[0].path, "/async-function/order.shop");
    assert_eq!(posted[0].headers["x-topic"], "cron-function");
    assert_eq!(posted[0].headers["x-connector"], "crema/cron-connector");
    assert!(posted[0].body.is_empty() && !posted[0].headers.contains_key("content-type"));
    connector.set("00:02:00");
    let posted = gateway.accepted(2).await;
    assert_ne!(posted[0].headers["x-call-id"], posted[1].headers["x-call-id"], "another call");
    connector.stop().await;
}

#[tokio::test]
async fn a_call_is_posted_until_the_gateway_takes_it() {
    let mut gateway = FakeGateway::start().await;
    gateway.deploy("order", "openfaas-fn", &[("topic", SCHEDULED), ("schedule", "* * * * *")]);
    gateway.answer("order.openfaas-fn", 503);
    let connector = start(&gateway).await;
    connector.set("00:01:00");
    gateway.arrived(1).await;
    gateway.stop().await;
    gateway.answer("order.openfaas-fn", 202);
    gateway.restart().await;
    gateway.accepted(1).await;
    connector.stop().await;
    let posted = gateway.posted();
    assert_eq!(posted.iter().filter(|post| post.status == 202).count(), 1);
    let ids: Vec<_> = posted.iter().map(|post| &post.headers["x-call-id"]).collect();
    assert!(ids.len() > 1 && ids.iter().all(|id| *id == ids[0]), "every post has the same id: {ids:?}");
}

#[tokio::test]
async fn a_call_that_is_late_gives_way_to_the_next() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("order", "openfaas-fn", &[("topic", SCHEDULED), ("schedule", "* * * * *")]);
    gateway.answer("order.openfaas-fn", 503);
    let connector = start(&gateway).await;
    connector.set("00:01:00");
    gateway.arrived(1).await;
    connector.set("00:02:00");
    gateway.arrived(2).await;
    gateway.answer("order.openfaas-fn", 202);
    gateway.accepted(1).await;
    // Longer than the wait between two posts of one call: a third post would come now.
    let more = tokio::time::timeout(Duration::from_millis(800), gateway.accepted(2)).await;
    assert!(more.is_err(), "the call whose time was over was posted on");
    connector.stop().await;
}

#[tokio::test]
async fn a_bad_schedule_is_seen_and_harms_no_other() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("good", "openfaas-fn", &[("topic", SCHEDULED), ("schedule", "* * * * *")]);
    gateway.deploy("bad", "openfaas-fn", &[("topic", SCHEDULED), ("schedule", "TZ=UTC")]);
    let mut connector = start(&gateway).await;
    let problem = connector.problems(1).await.remove(0);
    assert_eq!(problem.function.name(), "bad");
    assert!(problem.why.contains("TZ=UTC"), "{}", problem.why);
    connector.set("00:01:00");
    assert!(gateway.accepted(1).await[0].path.ends_with("/good.openfaas-fn"));
    gateway.deploy("bad", "openfaas-fn", &[("topic", SCHEDULED), ("schedule", "*/2 * * * *")]);
    connector.problems(0).await;
    connector.set("00:02:00");
    gateway.accepted(3).await;
    connector.stop().await;
}

#[tokio::test]
async fn a_function_that_is_removed_is_called_no_more() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("one", "openfaas-fn", &[("topic", SCHEDULED), ("schedule", "* * * * *")]);
    gateway.deploy("two", "openfaas-fn", &[("topic", SCHEDULED), ("schedule", "bad")]);
    let mut connector = start(&gateway).await;
    connector.problems(1).await;
    gateway.remove("one", "openfaas-fn");
    gateway.deploy("two", "openfaas-fn", &[("topic", SCHEDULED), ("schedule", "* * * * *")]);
    connector.problems(0).await;
    connector.set("00:01:00");
    assert!(gateway.accepted(1).await[0].path.ends_with("/two.openfaas-fn"));
    connector.set("00:02:00");
    assert!(gateway.accepted(2).await.iter().all(|post| post.path.ends_with("/two.openfaas-fn")));
    connector.stop().await;
}
