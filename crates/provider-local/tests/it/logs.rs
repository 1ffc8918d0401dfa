//! What functions write, on disk and followed.

use crate::bench::{Bench, call, deployment};
use futures_util::StreamExt;
use provider::{LogQuery, Provider};
use provider_local::LogLimits;
use std::time::Duration;
use wire::FunctionName;
use wire::log::LogLine;

fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

async fn read(bench: &Bench, query: LogQuery) -> Vec<LogLine> {
    let lines = bench.provider.logs(&name("talker"), query).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), lines.collect()).await.unwrap()
}

/// Waits for a line: the two outputs are read apart.
async fn logged(bench: &Bench, text: &str) {
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let lines = bench.provider.logs(&name("talker"), query).await.unwrap();
    let mut found = lines.filter(|line| std::future::ready(line.text == text));
    tokio::time::timeout(Duration::from_secs(20), found.next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn both_outputs_are_kept_over_a_restart_and_can_be_asked_for_in_part() {
    let bench = Bench::new();
    let socket = bench.deployed(deployment("talker")).await;
    call(&socket, "/say?first").await;
    logged(&bench, "first").await;
    logged(&bench, "and first").await;
    let instance = bench.table().get(&name("talker")).unwrap().ready[0].instance.clone();
    let bench = Bench::at(bench.stop().await, |_| {});
    let socket = bench.ready(&name("talker"), 1).await;
    call(&socket, "/say?second").await;
    logged(&bench, "second").await;
    logged(&bench, "and second").await;

    let all = read(&bench, LogQuery::default()).await;
    let texts: Vec<&str> = all.iter().map(|line| line.text.as_str()).filter(|text| text.contains("and ")).collect();
    assert_eq!(texts, ["and first", "and second"]);
    assert!(all.iter().all(|line| line.timestamp.len() == "2026-01-02T03:04:05.000000000Z".len()), "{all:?}");
    let old = read(&bench, LogQuery { instance: Some(instance), ..LogQuery::default() }).await;
    assert!(old.iter().any(|line| line.text == "first") && old.iter().all(|line| line.text != "second"));
    let tail = read(&bench, LogQuery { tail: Some(1), ..LogQuery::default() }).await;
    assert_eq!(tail, [all.last().unwrap().clone()]);
    let since = all.iter().find(|line| line.text == "second").unwrap().timestamp.clone();
    let late = read(&bench, LogQuery { since: Some(since), ..LogQuery::default() }).await;
    assert!(late.iter().any(|line| line.text == "second") && late.iter().all(|line| line.text != "first"));
    bench.stop().await;
}

#[tokio::test]
async fn a_flood_is_capped_and_its_end_is_kept() {
    let limits = LogLimits { files: 3, bytes: 10_000 };
    let bench = Bench::with(|config| config.log_limits = limits);
    let socket = bench.deployed(deployment("talker")).await;
    call(&socket, "/flood?2000").await;
    bench.logged(&name("talker"), "1999 xxx").await;
    let dir = bench.dir.path().join("logs/openfaas-fn/talker");
    let sizes: Vec<u64> =
        std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    // One read of the pipe goes into one file, whole.
    assert!(sizes.len() <= 3 && sizes.iter().all(|size| *size < 50_000), "{sizes:?}");
    let kept = read(&bench, LogQuery::default()).await;
    assert!(kept.last().unwrap().text.starts_with("1999 ") && kept.len() < 1000, "{} lines", kept.len());
    bench.stop().await;
}

#[tokio::test]
async fn a_follower_misses_nothing_between_old_and_new() {
    let bench = Bench::new();
    let socket = bench.deployed(deployment("talker")).await;
    let flood = tokio::spawn(async move { call(&socket, "/flood?500").await });
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut lines = bench.provider.logs(&name("talker"), query).await.unwrap();
    let mut next = 0;
    let followed = async {
        while next < 500 {
            let line = lines.next().await.unwrap();
            if let Some((number, _)) = line.text.split_once(" xxx") {
                assert_eq!(number.parse(), Ok(next));
                next += 1;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), followed).await.unwrap();
    flood.await.unwrap();
    bench.stop().await;
}
