//! What there is of one function: its replicas, how they have failed, and what is told of it.

use crate::desired::Desired;
use crate::plan::{Failure, History, Observed, Phase, ReplicaId};
use crate::runtime::Running;
use crate::state::Seen;
use provider::Replica;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What there is of one function.
#[derive(Default)]
pub(super) struct Live {
    pub(super) members: Vec<Member>,
    /// Of the version that is to run.
    pub(super) history: History,
    /// Why it is not as it is wanted.
    pub(super) trouble: Option<String>,
    /// How its last replica failed.
    pub(super) last_failure: Option<String>,
    /// When to look again though nothing happens.
    pub(super) wake_at: Option<Instant>,
}

pub(super) struct Member {
    pub(super) id: ReplicaId,
    pub(super) generation: u64,
    pub(super) phase: Phase,
    pub(super) instance: String,
    pub(super) started_at: Instant,
    pub(super) ready_at: Option<Instant>,
    pub(super) running: Option<Arc<dyn Running>>,
    pub(super) end: watch::Sender<Option<Duration>>,
}

/// A replica that failed.
pub(super) struct Failed {
    pub(super) instance: String,
    pub(super) generation: u64,
    /// How long it had been ready, when it ever got so.
    pub(super) ready_for: Option<Duration>,
    pub(super) lasted: Duration,
    pub(super) how: String,
    pub(super) was_late: bool,
}

impl Member {
    pub(super) fn is_ready_one_of(&self, generation: u64) -> bool {
        self.phase == Phase::Ready && self.generation == generation
    }
}

impl Live {
    /// Notes a replica that failed; gives the words for it.
    pub(super) fn fail(&mut self, failed: &Failed, now: Instant) -> String {
        let Failed { generation, ready_for, was_late, .. } = *failed;
        self.history.failed(Failure { generation, ready_for, was_late }, now);
        let text = match self.history.is_of(generation) {
            true => {
                let failure = describe(failed, self.history.failures());
                let text = format!("{failure}; {}", next(self.history.pause()));
                self.last_failure = Some(failure);
                text
            }
            false => format!("replica {} {}; its version is being replaced", failed.instance, failed.how),
        };
        self.trouble = Some(text.clone());
        text
    }

    /// Notes a replica that ended as it was asked to.
    pub(super) fn stopped(&mut self, member: &Member, now: Instant) {
        let is_last = !self.members.iter().any(|other| other.is_ready_one_of(member.generation));
        if let Some(ready_at) = member.ready_at.filter(|_| is_last) {
            self.history.served(member.generation, now.duration_since(ready_at));
        }
    }

    /// A version wanted anew starts without a past.
    pub(super) fn turn_to(&mut self, generation: u64) {
        if !self.history.is_of(generation) {
            self.history.turn_to(generation);
            self.trouble = None;
            self.last_failure = None;
        }
    }

    /// When a version that stays ready until then has proved itself: at once when there is none to go back to.
    pub(super) fn proven_at(&self, generation: u64, is_on_probation: bool) -> Option<Instant> {
        let ready = self.members.iter().filter(|member| member.is_ready_one_of(generation));
        let since = ready.filter_map(|member| member.ready_at).min()?;
        Some(if is_on_probation { self.history.good_at(since) } else { since })
    }

    pub(super) fn observed(&self) -> Vec<Observed> {
        let observe = |member: &Member| Observed { id: member.id, generation: member.generation, phase: member.phase };
        self.members.iter().map(observe).collect()
    }

    pub(super) fn mark_stopping(&mut self, id: ReplicaId) {
        self.members.iter_mut().filter(|member| member.id == id).for_each(|member| member.phase = Phase::Stopping);
    }

    /// The function that had generations up to this one was deleted: none of its replicas goes on, whatever is wanted now.
    pub(super) fn mark_deleted(&mut self, generation: u64) {
        let deleted = self.members.iter_mut().filter(|member| member.generation <= generation);
        deleted.for_each(|member| member.phase = Phase::Stopping);
    }

    /// Gives the order to end to all that are stopping and may take longer.
    pub(super) fn order_ends(&self, at_most: Duration) {
        for member in self.members.iter().filter(|member| member.phase == Phase::Stopping) {
            member.end.send_if_modified(|order| {
                let shorter = order.is_none_or(|earlier| at_most < earlier);
                if shorter {
                    *order = Some(at_most);
                }
                shorter
            });
        }
    }

    pub(super) fn is_fulfilled(&self, desired: &Desired) -> bool {
        let ready = self.members.iter().filter(|member| member.is_ready_one_of(desired.generation)).count();
        ready >= usize::try_from(desired.replicas).unwrap_or(usize::MAX)
    }

    /// Whether there is nothing to remember: a function at zero costs nothing here.
    pub(super) fn is_blank(&self, desired: Option<&Desired>) -> bool {
        self.members.is_empty() && desired.is_none_or(|desired| desired.replicas == 0 && !desired.is_on_probation())
    }

    pub(super) fn seen(&self) -> Seen {
        let ready = self.members.iter().filter(|member| member.phase == Phase::Ready).filter_map(|member| {
            let address = member.running.as_ref()?.address();
            Some(Arc::new(Replica { instance: member.instance.clone(), address }))
        });
        Seen {
            ready: ready.collect(),
            running: self.members.iter().filter_map(|member| member.running.clone()).collect(),
            trouble: self.trouble.clone(),
        }
    }
}

fn describe(failed: &Failed, failures: u32) -> String {
    let Failed { instance, how, lasted, .. } = failed;
    format!("replica {instance} {how} after {:.1} s, failure {failures} in a row", lasted.as_secs_f32())
}

fn next(pause: Duration) -> String {
    match pause {
        Duration::ZERO => "it is started again".to_owned(),
        pause => format!("it is started again after a pause of {} s", pause.as_secs()),
    }
}
