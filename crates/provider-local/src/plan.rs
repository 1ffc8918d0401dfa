//! The planner: what is wanted, what is there and the time give what to do. It does nothing itself.
//!
//! A new version starts beside the old one, and the old one goes as the new one gets ready; a function with a data
//! directory has one process at a time, so there the old one goes first. What ends by itself is started again, with
//! pauses that grow while it keeps failing.

use std::time::Duration;
use tokio::time::Instant;

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A replica ready for so long has not failed: what came before it is forgotten.
const GOOD_AFTER: Duration = Duration::from_secs(60);

/// A replica's number, never used twice.
pub(crate) type ReplicaId = u64;

/// What is wanted of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) generation: u64,
    pub(crate) replicas: u32,
    /// No two processes at once.
    pub(crate) exclusive: bool,
}

/// Where a replica stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Stopping,
}

/// A replica that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    pub(crate) id: ReplicaId,
    pub(crate) generation: u64,
    pub(crate) phase: Phase,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    Start,
    Stop(ReplicaId),
}

/// What to do now, and when to look again.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) wake_at: Option<Instant>,
}

/// How the replicas of one generation have failed so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    generation: u64,
    failures: u32,
    pause: Duration,
    not_before: Option<Instant>,
}

impl History {
    /// Forgets what another generation did.
    pub(crate) fn turn_to(&mut self, generation: u64) {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
    }

    /// Notes that a replica of a generation ended without being asked to, after `ready_for` when it ever got ready.
    pub(crate) fn failed(&mut self, generation: u64, now: Instant, ready_for: Option<Duration>) {
        if generation != self.generation {
            return;
        }
        if ready_for.is_some_and(|time| time >= GOOD_AFTER) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.pause = match (self.failures, ready_for) {
            // What worked until now is likely to work again at once.
            (1, Some(_)) => Duration::ZERO,
            (failures, _) => {
                FIRST_PAUSE.saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
            }
        };
        self.not_before = Some(now + self.pause);
    }

    /// Whose failures these are.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Failures in a row.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// The pause after the last failure.
    pub(crate) const fn pause(&self) -> Duration {
        self.pause
    }
}

/// What to do for one function. `wanted` is `None` when it is gone.
pub(crate) fn plan(wanted: Option<Wanted>, observed: &[Observed], history: &History, now: Instant) -> Plan {
    let Some(wanted) = wanted else { return stop_all(observed) };
    let (current, old): (Vec<Observed>, Vec<Observed>) = observed
        .iter()
        .filter(|replica| replica.phase != Phase::Stopping)
        .partition(|replica| replica.generation == wanted.generation);
    let count = usize::try_from(wanted.replicas).unwrap_or(usize::MAX);
    let mut plan = Plan::default();

    plan.actions.extend(surplus(&current, count).map(Action::Stop));
    plan.actions.extend(outdated(&current, &old, count, wanted.exclusive).map(Action::Stop));

    let missing = count.saturating_sub(current.len());
    let blocked = wanted.exclusive && observed.len() > current.len();
    if missing == 0 || blocked {
        return plan;
    }
    match history.not_before.filter(|at| *at > now) {
        Some(at) => plan.wake_at = Some(at),
        None => plan.actions.extend(std::iter::repeat_n(Action::Start, missing)),
    }
    plan
}

fn stop_all(observed: &[Observed]) -> Plan {
    let stops =
        observed.iter().filter(|replica| replica.phase != Phase::Stopping).map(|replica| Action::Stop(replica.id));
    Plan { actions: stops.collect(), wake_at: None }
}

/// Those of the wanted generation that are too many: such as are not ready first, then the youngest.
fn surplus(current: &[Observed], count: usize) -> impl Iterator<Item = ReplicaId> {
    let mut by_worth: Vec<_> = current.iter().map(|replica| (replica.phase != Phase::Ready, replica.id)).collect();
    by_worth.sort_unstable();
    by_worth.into_iter().skip(count).map(|(_, id)| id)
}

/// Those of other generations that may go: one for every new one that is ready, and all that never served.
fn outdated(current: &[Observed], old: &[Observed], count: usize, exclusive: bool) -> impl Iterator<Item = ReplicaId> {
    let ready = current.iter().filter(|replica| replica.phase == Phase::Ready).count();
    let keep = if exclusive { 0 } else { count.saturating_sub(ready) };
    // The youngest stays longest: it is the last version known to work.
    let mut by_worth: Vec<_> =
        old.iter().map(|replica| (replica.phase != Phase::Ready, std::cmp::Reverse(replica.id))).collect();
    by_worth.sort_unstable();
    let serving = by_worth.iter().filter(|(unready, _)| !unready).count();
    by_worth.into_iter().skip(keep.min(serving)).map(|(_, id)| id.0)
}

#[cfg(test)]
mod tests;
