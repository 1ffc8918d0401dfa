//! Logs of pods: merged, cut, followed.

use crate::bench::{Bench, NAMESPACE};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::Method;
use provider::{LogQuery, Provider};
use serde_json::json;
use std::time::Duration;
use wire::FunctionName;
use wire::log::LogLine;

async fn talking() -> (Bench, FunctionName) {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    for (pod, lines) in [("order-a", [1, 4, 5]), ("order-b", [2, 3, 6])] {
        start(&bench, pod);
        for second in lines {
            write(&bench, pod, second, &format!("line {second}"));
        }
    }
    bench.api.put("pods", NAMESPACE, json!({"metadata": {"name": "other-a", "labels": {"faas_function": "other"}}}));
    write(&bench, "other-a", 1, "of another function");
    (bench, name)
}

fn start(bench: &Bench, pod: &str) {
    bench.api.put("pods", NAMESPACE, json!({"metadata": {"name": pod, "labels": {"faas_function": "order"}}}));
}

fn write(bench: &Bench, pod: &str, second: u32, text: &str) {
    bench.api.write(NAMESPACE, pod, &format!("2026-01-02T03:04:{second:02}.5Z {text}"));
}

async fn texts(bench: &Bench, name: &FunctionName, query: LogQuery) -> Vec<String> {
    bench.provider.logs(name, query).await.unwrap().map(|line| line.text).collect().await
}

async fn next(lines: &mut BoxStream<'static, LogLine>) -> String {
    tokio::time::timeout(Duration::from_secs(60), lines.next()).await.unwrap().unwrap().text
}

#[tokio::test(start_paused = true)]
async fn lines_of_all_replicas_come_by_time() {
    let (bench, name) = talking().await;
    let all = bench.provider.logs(&name, LogQuery::default()).await.unwrap().collect::<Vec<_>>().await;
    let expected: Vec<String> = (1..=6).map(|second| format!("line {second}")).collect();
    assert_eq!(all.iter().map(|line| line.text.clone()).collect::<Vec<_>>(), expected);
    assert_eq!((all[0].instance.as_str(), all[1].instance.as_str()), ("order-a", "order-b"));
    assert_eq!((all[0].name.as_str(), all[0].namespace.as_str()), ("order", NAMESPACE));
    assert_eq!(all[0].timestamp, "2026-01-02T03:04:01.5Z");
    let tail = LogQuery { tail: Some(2), ..LogQuery::default() };
    assert_eq!(texts(&bench, &name, tail).await, ["line 5", "line 6"]);
    let since = LogQuery { since: Some("2026-01-02T04:04:04.500+01:00".to_owned()), ..LogQuery::default() };
    assert_eq!(texts(&bench, &name, since).await, ["line 4", "line 5", "line 6"]);
    let one = LogQuery { instance: Some("order-b".to_owned()), ..LogQuery::default() };
    assert_eq!(texts(&bench, &name, one).await, ["line 2", "line 3", "line 6"]);
}

#[tokio::test(start_paused = true)]
async fn followed_logs_go_on_with_pods_that_start_later() {
    let (bench, name) = talking().await;
    let query = LogQuery { follow: true, tail: Some(2), ..LogQuery::default() };
    let mut lines = bench.provider.logs(&name, query).await.unwrap();
    assert_eq!((next(&mut lines).await, next(&mut lines).await), ("line 5".to_owned(), "line 6".to_owned()));
    write(&bench, "order-a", 7, "line 7");
    assert_eq!(next(&mut lines).await, "line 7");
    start(&bench, "order-c");
    write(&bench, "order-c", 8, "hello from c");
    assert_eq!(next(&mut lines).await, "hello from c");
    bench.api.remove("pods", NAMESPACE, "order-a");
    write(&bench, "order-b", 9, "line 9");
    assert_eq!(next(&mut lines).await, "line 9");
    bench.provider.delete(&name, false).await.unwrap();
    let rest = tokio::time::timeout(Duration::from_secs(60), lines.next()).await;
    assert_eq!(rest.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_loses_and_repeats_no_line() {
    let (bench, name) = talking().await;
    let mut lines = bench.provider.logs(&name, LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    for second in 1..=6 {
        assert_eq!(next(&mut lines).await, format!("line {second}"));
    }
    write(&bench, "order-a", 7, "line 7");
    assert_eq!(next(&mut lines).await, "line 7");
    bench.api.drop_watches(true);
    write(&bench, "order-a", 7, "line 7 too");
    write(&bench, "order-a", 8, "line 8");
    assert_eq!((next(&mut lines).await, next(&mut lines).await), ("line 7 too".to_owned(), "line 8".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_log_of_which_nothing_comes_is_asked_for_less_and_less_until_a_line_comes() {
    let (bench, name) = talking().await;
    let one = LogQuery { follow: true, instance: Some("order-a".to_owned()), ..LogQuery::default() };
    let mut lines = bench.provider.logs(&name, one).await.unwrap();
    for second in [1, 4, 5] {
        assert_eq!(next(&mut lines).await, format!("line {second}"));
    }
    let asked = || bench.api.requests().iter().filter(|request| request.ends_with("/pods/order-a/log")).count();
    bench.api.refuse(Method::GET, "pods", 400, "the container is waiting to start");
    bench.api.drop_watches(false);
    let before = asked();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let refused = asked() - before;
    assert!((5..=15).contains(&refused), "{refused} times in a minute");

    bench.api.refuse_nothing();
    write(&bench, "order-a", 7, "line 7");
    assert_eq!(next(&mut lines).await, "line 7");
    bench.api.refuse(Method::GET, "pods", 400, "the container is waiting to start");
    bench.api.drop_watches(false);
    let before = asked();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(asked() - before >= 2, "it begins anew after a line");
}
