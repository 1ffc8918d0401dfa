//! Many functions at zero: what they cost there, and that each answers when it is called.

use crate::actors::{actor, has_replicas, scale, stage};
use crate::binaries::actors;
use crate::platform::{Platform, State};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// So many are deployed, or called, at a time.
const AT_ONCE: usize = 8;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// How long all deployments took.
    pub deployed_in: Duration,
    /// What a function at zero adds to the memory of a platform that has just started.
    pub bytes_each: f64,
    /// How long the platform's start took without functions.
    pub empty_start: Duration,
    /// How long it took with all of them.
    pub full_start: Duration,
    /// How long the first call of a function took: the median and the longest, `AT_ONCE` at a time.
    pub first_calls: (Duration, Duration),
}

/// Deploys functions at zero, starts the platform again, calls each once, and scales all back.
pub async fn many(level: &str, count: usize) -> Measured {
    let state = State::default();
    state.copy_images(actors());
    let (platform, empty_start) = timed(stage(&state, level, &[])).await;
    let empty_bytes = anonymous_bytes(&platform);
    let platform = Arc::new(platform);
    let begun = Instant::now();
    for_each(count, &platform, async |platform, name| {
        crate::actors::deploy(&platform, &actor(&name, 1)).await;
        assert!(scale(&platform, &name, 0).await < 300, "{name}");
        Duration::ZERO
    })
    .await;
    let deployed_in = begun.elapsed();
    are_at_zero(&platform, count).await;
    Arc::into_inner(platform).unwrap().stop().await;

    let (platform, full_start) = timed(stage(&state, level, &[])).await;
    let bytes_each = anonymous_bytes(&platform).saturating_sub(empty_bytes) as f64 / count as f64;
    let platform = Arc::new(platform);
    let mut took = for_each(count, &platform, async |platform, name| {
        let begun = Instant::now();
        let answer = platform.http.post(&platform.url(&format!("/function/{name}")), "").await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, crate::actors::answer(1)), "{name}");
        let took = begun.elapsed();
        assert!(scale(&platform, &name, 0).await < 300, "{name}");
        took
    })
    .await;
    took.sort_unstable();
    are_at_zero(&platform, count).await;
    let (status, _) = Arc::into_inner(platform).unwrap().stop().await;
    assert!(status.success(), "{status}");
    Measured { deployed_in, bytes_each, empty_start, full_start, first_calls: (took[count / 2], took[count - 1]) }
}

async fn are_at_zero(platform: &Platform, count: usize) {
    for number in 0..count {
        has_replicas(platform, &name(number), 0).await;
    }
}

fn name(number: usize) -> String {
    format!("many-{number}")
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    (work.await, begun.elapsed())
}

async fn for_each<F>(count: usize, platform: &Arc<Platform>, work: F) -> Vec<Duration>
where
    F: AsyncFn(Arc<Platform>, String) -> Duration,
{
    let turns = Semaphore::new(AT_ONCE);
    let (work, turns) = (&work, &turns);
    let all = (0..count).map(|number| async move {
        let _turn = turns.acquire().await.unwrap();
        work(Arc::clone(platform), name(number)).await
    });
    futures_util::future::join_all(all).await
}

/// Its own memory, without what it has mapped of files.
fn anonymous_bytes(platform: &Platform) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", platform.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
