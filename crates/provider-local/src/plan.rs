//! The planner: what is wanted, what is there and the time give what to do. It does nothing itself.
//!
//! A new version starts beside the old one, and the old one goes as the new one gets ready; a function with a data
//! directory has one process at a time, so there the old one goes first. What ends by itself is started again, with
//! pauses that grow while it keeps failing. A new version is on probation until it has been ready for a while; one that
//! keeps failing in that time gives way to the version before it.

use std::time::Duration;
use tokio::time::Instant;

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A replica ready for so long has not failed: what came before it is forgotten, and its version has proved itself.
pub(crate) const GOOD_AFTER: Duration = Duration::from_secs(60);
/// A replica ready for so long is started again without a pause the first times: no caller is to wait for one.
const SERVED: Duration = Duration::from_secs(10);
/// A version on probation that has failed so often in a row gives way to the one before it.
const GO_BACK_AFTER: u32 = 3;

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

/// How the replicas of one generation have failed so far, and how long they have been good since.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    generation: u64,
    failures: u32,
    pause: Duration,
    not_before: Option<Instant>,
    good: Duration,
    is_hopeless: bool,
}

/// A replica's end that nobody asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) generation: u64,
    /// How long it had been ready, when it ever got so.
    pub(crate) ready_for: Option<Duration>,
    /// It had all the time to get ready: another try would take as long.
    pub(crate) was_late: bool,
}

impl History {
    /// Forgets what another generation did.
    pub(crate) fn turn_to(&mut self, generation: u64) {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
    }

    /// Notes a failure.
    pub(crate) fn failed(&mut self, failure: Failure, now: Instant) {
        if failure.generation != self.generation {
            return;
        }
        if failure.ready_for.is_some_and(|time| time >= GOOD_AFTER) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.good = Duration::ZERO;
        self.is_hopeless |= failure.was_late;
        self.pause = match (self.failures, failure.ready_for) {
            // What worked until now is likely to work again at once.
            (1, Some(_)) => Duration::ZERO,
            (failures, Some(time)) if failures < GO_BACK_AFTER && time >= SERVED => Duration::ZERO,
            (failures, _) => {
                FIRST_PAUSE.saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
            }
        };
        self.not_before = Some(now + self.pause);
    }

    /// Notes that a generation's last replica was ready for so long and ended as it was asked to.
    pub(crate) fn served(&mut self, generation: u64, ready_for: Duration) {
        if generation == self.generation {
            self.good = self.good.saturating_add(ready_for);
        }
    }

    /// When a generation with a replica ready since then has been good for long enough.
    pub(crate) fn good_at(&self, ready_since: Instant) -> Instant {
        ready_since + GOOD_AFTER.saturating_sub(self.good)
    }

    /// Whether the version before is to run instead: after some failures, or when nobody would serve during a pause.
    pub(crate) fn says_go_back(&self, observed: &[Observed], now: Instant) -> bool {
        let is_served = observed.iter().any(|replica| replica.phase == Phase::Ready);
        let pauses = self.not_before.is_some_and(|at| at > now);
        self.failures > 0 && (self.failures >= GO_BACK_AFTER || self.is_hopeless || (pauses && !is_served))
    }

    /// Whether it is this generation's.
    pub(crate) const fn is_of(&self, generation: u64) -> bool {
        self.generation == generation
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
    let most = if wanted.exclusive { 1 } else { u32::MAX };
    let count = usize::try_from(wanted.replicas.min(most)).unwrap_or(usize::MAX);
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
