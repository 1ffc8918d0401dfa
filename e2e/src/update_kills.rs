//! Updates that are interrupted by the death of whoever is at it: the platform, the helper, the function.

use crate::actors::{actor, answers, deploy, is_given, is_whole, keeper, stage, update};
use crate::leftovers::{Networks, children, data_belongs_to, no_process_is_left, nothing_is_left, users};
use crate::platform::{Platform, State};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// What a helper is called.
const HELPER: &str = "crema-sandbox";
/// An update takes about as long, from the request to the old version's end.
const LONGEST: Duration = Duration::from_millis(600);
/// How long the processes of a platform may outlive it, on a busy machine.
const OUTLIVE: Duration = Duration::from_secs(5);
/// A helper lives for milliseconds: it is looked for as long.
const LOOK: Duration = Duration::from_millis(300);

/// How often who was killed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Killed {
    /// The platform.
    pub platform: u32,
    /// A helper that makes a function's process.
    pub helper: u32,
    /// A function's process.
    pub function: u32,
    /// The longest that a process outlived its platform.
    pub outlived: Duration,
}

/// Kills at `rounds` moments of updates, and checks after each that the functions answer with a whole version, and at
/// the end that nothing is left. `None` where the machine does not give the level.
pub async fn kill_during_updates(level: &str, rounds: u32, test: &str) -> Option<Killed> {
    let state = State::default();
    let mut killed = Killed::default();
    let mut platform = stage(&state, level, &[]).await;
    deploy(&platform, &actor("plain", 0)).await;
    deploy(&platform, &keeper("keeper", 0)).await;
    are_whole(&platform).await;
    if !is_given(&platform, "plain", level, test).await {
        return None;
    }
    for round in 1..=rounds {
        let version = round as usize;
        // The requests may be what is interrupted.
        let updates = async {
            tokio::join!(
                try_update(&platform, actor("plain", version)),
                try_update(&platform, keeper("keeper", version))
            )
        };
        let at = LONGEST.mul_f64((f64::from(round) * 0.618_033_988_75).fract());
        let kill = async {
            match round % 4 {
                1 => {
                    let pid = platform.pid();
                    killed.helper += tokio::task::spawn_blocking(move || kill_a_helper(pid)).await.unwrap();
                }
                3 => {
                    tokio::time::sleep(at).await;
                    killed.function += kill_functions(&platform);
                }
                _ => tokio::time::sleep(at).await,
            }
        };
        if round % 4 % 2 == 1 {
            tokio::join!(updates, kill);
        } else {
            tokio::select! { biased; () = kill => {}, () = async { updates.await; std::future::pending().await } => {} }
            let seen = Networks::of_children(platform.pid());
            platform.kill();
            killed.platform += 1;
            let begun = Instant::now();
            if let Some((at, last)) = no_process_is_left(&state, &seen).await {
                killed.outlived = killed.outlived.max(at.duration_since(begun));
                assert!(
                    at.duration_since(begun) < OUTLIVE,
                    "{:?} after it there were {last}",
                    at.duration_since(begun)
                );
            }
            platform = stage(&state, level, &[]).await;
        }
        are_whole(&platform).await;
        data_belongs_to(&state, "keeper");
    }
    let users_before = users(&state);
    // Whatever was interrupted: the next update goes through.
    let last = rounds as usize + 1;
    update(&platform, &actor("plain", last)).await;
    update(&platform, &keeper("keeper", last)).await;
    for function in ["plain", "keeper"] {
        answers(&platform, function, |said| said == crate::actors::answer(last)).await;
    }
    let seen = Networks::of_children(platform.pid());
    let (status, _) = platform.stop().await;
    assert!(status.success(), "{status}");
    nothing_is_left(&state, &seen).await;
    assert_eq!(users(&state), users_before);
    data_belongs_to(&state, "keeper");
    Some(killed)
}

async fn try_update(platform: &Platform, deployment: serde_json::Value) {
    platform.try_system("PUT", "/system/functions", &deployment.to_string()).await.map(drop).unwrap_or_default();
}

async fn are_whole(platform: &Platform) {
    answers(platform, "plain", is_whole).await;
    answers(platform, "keeper", is_whole).await;
}

fn kill_functions(platform: &Platform) -> u32 {
    let functions = children(platform.pid()).into_iter().filter(|(_, command)| command.contains("/function"));
    functions.map(|(pid, _)| kill(pid)).sum()
}

/// Looks for a helper, and kills the first there is.
fn kill_a_helper(platform: u32) -> u32 {
    let begun = Instant::now();
    while begun.elapsed() < LOOK {
        if let Some((pid, _)) = children(platform).into_iter().find(|(_, command)| command.starts_with(HELPER)) {
            return kill(pid);
        }
    }
    0
}

/// Kills a process that may have ended meanwhile.
fn kill(pid: u32) -> u32 {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return 0 };
    rustix::process::kill_process(pid, Signal::KILL).map_or(0, |()| 1)
}
