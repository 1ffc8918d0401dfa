//! Whoever is killed at whatever step of an update: the functions answer with one version or the other, whole, and
//! nothing is left.

use e2e::actors::levels;
use e2e::update_kills::kill_during_updates;

/// A quarter each: helper, platform, function, platform. Many more are in `e2e --long`.
const ROUNDS: u32 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_half_done_when_platform_helper_or_function_is_killed_during_an_update() {
    let name = "nothing_is_half_done_when_platform_helper_or_function_is_killed_during_an_update";
    for level in levels() {
        let Some(killed) = kill_during_updates(level, ROUNDS, name).await else { continue };
        assert!(killed.platform > 0 && killed.function > 0, "{killed:?}");
        e2e::report(format_args!("{level}: {killed:?}"));
    }
}
