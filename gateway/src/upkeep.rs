//! What goes on beside the calls: the counters are saved, and what is told of functions follows the replica table.

use crate::state::State;
use daemon::Stop;
use provider::Replicas;
use std::sync::Arc;
use std::time::Duration;

/// How often counters that changed are saved: a kill may lose as much.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often peers are asked for their counts.
const COUNT_EVERY: Duration = Duration::from_secs(2);

/// Saves the counters until the gateway stops, and once more then.
pub(crate) async fn save_counters(state: Arc<State>, mut stop: Stop) {
    let Some(path) = state.config.counters.clone() else { return };
    let mut told = false;
    loop {
        let stopped = tokio::time::timeout(SAVE_EVERY, stop.wait()).await.is_ok();
        match state.counters.save(&path) {
            Ok(()) => told = false,
            Err(error) if !told => {
                told = true;
                tracing::warn!(%error, path = %path.display(), "the invocation counts cannot be saved");
            }
            Err(_) => {}
        }
        if stopped {
            return;
        }
    }
}

/// Keeps what peers count at hand until the gateway stops, so that whoever lists functions waits for nobody.
pub(crate) async fn count_with_peers(state: Arc<State>, mut stop: Stop) {
    let Some(peers) = &state.peers else { return };
    loop {
        tokio::select! {
            () = peers.count() => {}
            () = stop.wait() => return,
        }
        state.metrics.peers_silent.set(i64::try_from(peers.silent().len()).unwrap_or(i64::MAX));
        if tokio::time::timeout(COUNT_EVERY, stop.wait()).await.is_ok() {
            return;
        }
    }
}

/// Keeps `gateway_service_count` right and forgets deleted functions, until the gateway stops.
pub(crate) async fn follow_table(state: Arc<State>, mut stop: Stop) {
    let mut table = state.provider.replicas();
    let mut known = Replicas::default();
    loop {
        let now = table.refreshed().unwrap_or_else(|| table.snapshot());
        for (name, function) in now.iter() {
            // One function changes at a time, of hundreds.
            if !known.get(name).is_some_and(|before| Arc::ptr_eq(before, function)) {
                state.metrics.replicas(&name.to_string()).set(f64::from(function.desired));
            }
        }
        for gone in known.keys().filter(|name| !now.contains_key(*name)) {
            state.metrics.forget(&gone.to_string());
            state.counters.forget(gone);
        }
        known = now;
        tokio::select! {
            alive = table.changed() => if !alive { return },
            () = stop.wait() => return,
        }
    }
}
