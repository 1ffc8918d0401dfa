//! Of two operators one acts.

use crate::cluster::{Running, eventually, test};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::jiff::SignedDuration;
use kube::api::Api;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long the lead may take to move.
const MOVES: Duration = Duration::from_secs(15);

async fn holder(leases: &Api<Lease>) -> Option<String> {
    leases.get_opt(operator::LEASE).await.unwrap()?.spec?.holder_identity
}

async fn lease(leases: &Api<Lease>) -> LeaseSpec {
    leases.get(operator::LEASE).await.unwrap().spec.unwrap()
}

/// Nobody takes a Lease before it has run out.
fn had_run_out(before: &LeaseSpec, after: &LeaseSpec) {
    let (renewed, taken) = (before.renew_time.as_ref().unwrap().0, after.acquire_time.as_ref().unwrap().0);
    assert!(taken.duration_since(renewed) >= SignedDuration::from_secs(10), "renewed {renewed}, taken {taken}");
}

#[test]
fn the_lead_moves_after_a_kill_when_the_lease_runs_out_and_at_once_after_a_stop() {
    test("the_lead_moves_after_a_kill_when_the_lease_runs_out_and_at_once_after_a_stop", |cluster| async move {
        let leases: Api<Lease> = cluster.api();
        let first = Running::start(cluster.candidate("first")).await;
        eventually("the first leads", async || holder(&leases).await.as_deref() == Some("first")).await;
        let second = Running::start(cluster.candidate("second")).await;
        cluster.function("one", json!({})).await;
        cluster.ready("one").await;
        assert!(second.asked().is_empty(), "the second only looks at the Lease");

        let before = lease(&leases).await;
        let killed = Instant::now();
        first.kill().await;
        cluster.function("two", json!({})).await;
        cluster.until::<Deployment>("two", |_| true).await;
        let moved = killed.elapsed();
        eprintln!("the lead moved, and a Function had its Deployment, {moved:?} after the kill");
        assert!(moved < MOVES, "{moved:?}");
        let after = lease(&leases).await;
        had_run_out(&before, &after);
        assert_eq!((after.holder_identity.as_deref(), after.lease_transitions), (Some("second"), Some(1)));
        assert_eq!(after.lease_duration_seconds, Some(10));

        let third = Running::start(cluster.candidate("third")).await;
        let stopped = Instant::now();
        second.stop().await;
        eventually("the third leads", async || holder(&leases).await.as_deref() == Some("third")).await;
        // It waits for no Lease to run out.
        assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
        third.stop().await;
        assert_eq!(holder(&leases).await.as_deref(), Some(""));
    });
}

#[test]
fn a_leader_whose_line_is_cut_stops_before_another_begins() {
    test("a_leader_whose_line_is_cut_stops_before_another_begins", |cluster| async move {
        let leases: Api<Lease> = cluster.api();
        let first = Running::start(cluster.candidate("first")).await;
        eventually("the first leads", async || holder(&leases).await.as_deref() == Some("first")).await;
        let second = Running::start(cluster.candidate("second")).await;
        let before = lease(&leases).await;
        first.cut(true);
        let cut = Instant::now();
        eventually("the second leads", async || holder(&leases).await.as_deref() == Some("second")).await;
        assert!(cut.elapsed() < MOVES, "{:?}", cut.elapsed());
        had_run_out(&before, &lease(&leases).await);
        first.cut(false);
        first.asked();
        cluster.function("one", json!({})).await;
        cluster.ready("one").await;
        assert!(first.asked().is_empty(), "the first acts no more");
        first.stop().await;
        assert_eq!(holder(&leases).await.as_deref(), Some("second"));
        second.stop().await;
    });
}
