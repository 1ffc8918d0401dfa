//! Updates and scaling while clients call without pause: no call fails, and none is answered by half a version.

use e2e::actors::{
    actor, answer, answers, deploy, has_replicas, is_given, is_whole, keeper, levels, scale, stage, update,
};
use e2e::callers::{Callers, Heard};
use e2e::leftovers::data_belongs_to;
use e2e::platform::{Platform, State};
use e2e::report;
use serde_json::Value;

const CALLERS: usize = 8;
const UPDATES: usize = 20;
/// Each holds the calls while it lasts.
const UPDATES_WITH_DATA: usize = 10;

async fn updates(platform: &Platform, function: &str, version: impl Fn(&str, usize) -> Value, count: usize) -> Heard {
    let callers = Callers::call(&platform.url(&format!("/function/{function}")), CALLERS);
    for number in 1..=count {
        update(platform, &version(function, number)).await;
        answers(platform, function, |said| said == answer(number)).await;
    }
    callers.stop().await
}

fn is_good(heard: &Heard, what: &str) {
    heard.without_failure(what);
    let mixed: Vec<_> = heard.answers.keys().filter(|said| !is_whole(said)).collect();
    assert!(mixed.is_empty(), "{what}: {mixed:?}");
    report(format_args!("{what}: {} calls, the longest took {:?}", heard.good(), heard.longest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_and_scaling_under_load_fail_no_call_at_any_level() {
    for level in levels() {
        let state = State::default();
        let platform = stage(&state, level, &[]).await;
        deploy(&platform, &actor("plain", 0)).await;
        deploy(&platform, &keeper("keeper", 0)).await;
        for function in ["plain", "keeper"] {
            answers(&platform, function, is_whole).await;
        }
        let name = "updates_and_scaling_under_load_fail_no_call_at_any_level";
        if !is_given(&platform, "plain", level, name).await {
            continue;
        }
        let (plain, keeper) = tokio::join!(
            updates(&platform, "plain", actor, UPDATES),
            updates(&platform, "keeper", keeper, UPDATES_WITH_DATA),
        );
        is_good(&plain, &format!("{level}, {UPDATES} updates"));
        is_good(&keeper, &format!("{level}, {UPDATES_WITH_DATA} updates with data"));
        data_belongs_to(&state, "keeper");

        let callers = Callers::call(&platform.url("/function/plain"), CALLERS);
        for replicas in [3, 1, 3, 1] {
            assert!(scale(&platform, "plain", replicas).await < 300);
            has_replicas(&platform, "plain", replicas).await;
        }
        is_good(&callers.stop().await, &format!("{level}, scaled to 3 and back twice"));
        assert_eq!(scale(&platform, "keeper", 2).await, 400);
        let (status, _) = platform.stop().await;
        assert!(status.success(), "{status}");
    }
}
