//! The reconcile loop: wakes when a wish or a replica changes or a pause is over, plans, and does what is planned.

use crate::desired::{Desired, Entry};
use crate::logs::Logs;
use crate::plan::{self, Action, History, Observed, Phase, ReplicaId, Wanted};
use crate::replica::{self, Event};
use crate::runtime::{Order, Running, Runtime};
use crate::state::{Seen, State};
use daemon::Stop;
use provider::Replica;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use wire::FunctionName;

/// How much longer than their grace replicas are waited for when the platform stops: to be reaped and cleared up.
const CLEARING: Duration = Duration::from_secs(1);
/// A new version that has failed so often without ever being ready gives way to the one before it.
const GO_BACK_AFTER: u32 = 3;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) start: Duration,
    pub(crate) shutdown: Duration,
}

/// Called, on a blocking thread, when a version of a function that has one before it is ready for the first time.
pub(crate) type Proven = Arc<dyn Fn(&FunctionName, u64) + Send + Sync>;

/// The loop.
pub(crate) struct Reconciler {
    state: Arc<State>,
    runtime: Arc<dyn Runtime>,
    logs: Arc<Logs>,
    patience: Patience,
    proven: Proven,
    live: BTreeMap<FunctionName, Live>,
    lives: JoinSet<()>,
    teller: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    next_id: ReplicaId,
}

/// What there is of one function.
#[derive(Default)]
struct Live {
    members: Vec<Member>,
    history: History,
    /// The wanted version has been given up for the one before it, whose failures count apart.
    gone_back: bool,
    history_before: History,
    trouble: Option<String>,
}

struct Member {
    id: ReplicaId,
    generation: u64,
    phase: Phase,
    instance: String,
    started_at: Instant,
    ready_at: Option<Instant>,
    running: Option<Arc<dyn Running>>,
    end: watch::Sender<Option<Duration>>,
}

impl Reconciler {
    pub(crate) fn new(
        state: Arc<State>,
        runtime: Arc<dyn Runtime>,
        logs: Arc<Logs>,
        patience: Patience,
        proven: Proven,
    ) -> Self {
        // Unbounded: each replica tells at most three things in its life.
        let (teller, events) = mpsc::unbounded_channel();
        Self {
            state,
            runtime,
            logs,
            patience,
            proven,
            live: BTreeMap::new(),
            lives: JoinSet::new(),
            teller,
            events,
            next_id: 0,
        }
    }

    /// Runs until stopped; then nothing of any replica is left.
    pub(crate) async fn run(mut self, mut stop: Stop) {
        self.runtime.clear_survivors().await;
        loop {
            let wake_at = self.reconcile(Instant::now());
            let pause = async {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.wait() => break,
                Some(event) = self.events.recv() => self.note(event),
                () = self.state.wish.notified() => {}
                () = pause => {}
            }
            while let Ok(event) = self.events.try_recv() {
                self.note(event);
            }
            while self.lives.try_join_next().is_some() {}
        }
        self.shut_down().await;
    }

    /// Plans for every function and does it; gives when to look again.
    fn reconcile(&mut self, now: Instant) -> Option<Instant> {
        let functions = self.state.functions();
        let names: BTreeSet<FunctionName> = functions.keys().chain(self.live.keys()).cloned().collect();
        names.iter().filter_map(|name| self.reconcile_one(name, functions.get(name), now)).min()
    }

    fn reconcile_one(&mut self, name: &FunctionName, entry: Option<&Entry>, now: Instant) -> Option<Instant> {
        let live = self.live.entry(name.clone()).or_default();
        let desired = match entry {
            Some(Entry::Known(desired)) => Some(live.turn_to(desired)),
            Some(Entry::Unreadable(_)) | None => None,
        };
        let wanted = desired.as_ref().map(|desired| Wanted {
            generation: desired.generation,
            replicas: desired.replicas,
            exclusive: desired.is_exclusive(),
        });
        let history = if live.gone_back { &live.history_before } else { &live.history };
        let plan = plan::plan(wanted, &live.observed(), history, now);
        for action in &plan.actions {
            match (action, &desired) {
                (Action::Stop(id), _) => self.live.entry(name.clone()).or_default().mark_stopping(*id),
                (Action::Start, Some(desired)) => self.start(name, desired, now),
                (Action::Start, None) => {}
            }
        }
        self.publish(name, desired.as_deref());
        // Only now that no one finds them in the table.
        if let Some(live) = self.live.get(name) {
            live.order_ends(Duration::MAX);
        }
        if desired.is_none() && self.live.get(name).is_some_and(|live| live.members.is_empty()) {
            self.live.remove(name);
        }
        plan.wake_at
    }

    fn start(&mut self, name: &FunctionName, desired: &Arc<Desired>, now: Instant) {
        let Some(live) = self.live.get_mut(name) else { return };
        self.next_id += 1;
        let short = format!("{:08x}", rand::random::<u32>());
        let instance = format!("{}-{short}", name.name());
        let (end, ordered) = watch::channel(None);
        let order = Order { name: name.clone(), id: short, instance: instance.clone(), desired: Arc::clone(desired) };
        tracing::debug!(function = %name, instance, "Replica starts");
        live.members.push(Member {
            id: self.next_id,
            generation: desired.generation,
            phase: Phase::Starting,
            instance,
            started_at: now,
            ready_at: None,
            running: None,
            end,
        });
        let (runtime, teller) = (Arc::clone(&self.runtime), self.teller.clone());
        self.lives.spawn(replica::live(self.next_id, order, runtime, self.patience.start, ordered, teller));
    }

    /// Takes in what happened to a replica.
    fn note(&mut self, event: Event) {
        let id = match &event {
            Event::Started(id, _) | Event::Ready(id) | Event::Ended { id, .. } => *id,
        };
        let found = self.live.iter_mut().find_map(|(name, live)| {
            let at = live.members.iter().position(|member| member.id == id)?;
            Some((name, live, at))
        });
        let Some((name, live, at)) = found else { return };
        let now = Instant::now();
        let member = &mut live.members[at];
        match event {
            Event::Started(_, running) => member.running = Some(running),
            Event::Ready(_) if member.phase == Phase::Starting => {
                member.phase = Phase::Ready;
                member.ready_at = Some(now);
                let millis = now.duration_since(member.started_at).as_millis();
                tracing::info!(function = %name, instance = member.instance, millis, "Replica ready");
                if is_first_of(self.state.get(name), member.generation) {
                    let (proven, name, generation) = (Arc::clone(&self.proven), name.clone(), member.generation);
                    self.lives.spawn_blocking(move || proven(&name, generation));
                }
            }
            Event::Ready(_) => {}
            Event::Ended { how, .. } => {
                let member = live.members.remove(at);
                if member.phase == Phase::Stopping {
                    tracing::info!(function = %name, instance = member.instance, how, "Replica stopped");
                    return;
                }
                let ready_for = member.ready_at.map(|at| now.duration_since(at));
                let entry = self.state.get(name);
                let text = live.fail(&member, &how, now, ready_for, entry.as_ref());
                tracing::warn!(function = %name, instance = member.instance, text, "Replica failed");
                if entry.is_some() {
                    self.logs.of(name).note(&member.instance, &text);
                }
            }
        }
    }

    /// Tells what is seen of a function.
    fn publish(&mut self, name: &FunctionName, desired: Option<&Desired>) {
        let Some(live) = self.live.get_mut(name) else { return };
        if desired.is_none_or(|desired| !live.gone_back && live.is_fulfilled(desired)) {
            live.trouble = None;
        }
        let seen = (!live.members.is_empty() || live.trouble.is_some()).then(|| live.seen());
        self.state.see(name, seen);
    }

    /// Ends all replicas, at the same time.
    async fn shut_down(mut self) {
        for (name, live) in &mut self.live {
            live.members.iter_mut().for_each(|member| member.phase = Phase::Stopping);
            self.state.see(name, Some(live.seen()));
            live.order_ends(self.patience.shutdown);
        }
        let all_ended = async { while self.lives.join_next().await.is_some() {} };
        if timeout(self.patience.shutdown + CLEARING, all_ended).await.is_err() {
            tracing::warn!("Some replicas did not end in time and are killed");
        }
        while let Ok(event) = self.events.try_recv() {
            self.note(event);
        }
        self.live.keys().for_each(|name| self.state.see(name, None));
    }
}

impl Live {
    /// The version to run for what is wanted: that, or, after it has failed, the one before it. A version wanted anew
    /// starts without a past.
    fn turn_to(&mut self, desired: &Arc<Desired>) -> Arc<Desired> {
        if self.history.generation() != desired.generation {
            self.trouble = None;
            self.gone_back = false;
        }
        self.history.turn_to(desired.generation);
        let Some(before) = self.gone_back.then(|| desired.gone_back()).flatten() else { return Arc::clone(desired) };
        self.history_before.turn_to(before.generation);
        Arc::new(before)
    }

    /// Notes a replica that ended without being asked to; gives the words for it.
    fn fail(
        &mut self,
        member: &Member,
        how: &str,
        now: Instant,
        ready_for: Option<Duration>,
        entry: Option<&Entry>,
    ) -> String {
        let history = match member.generation {
            generation if generation == self.history.generation() => Some(&mut self.history),
            generation if self.gone_back && generation == self.history_before.generation() => {
                Some(&mut self.history_before)
            }
            _ => None,
        };
        let mut text = match history {
            Some(history) => {
                history.failed(member.generation, now, ready_for);
                describe(member, how, now, history)
            }
            None => format!("replica {} {how}; its version is being replaced", member.instance),
        };
        let is_served = self.members.iter().any(|member| member.phase == Phase::Ready);
        if let Some(Entry::Known(desired)) = entry
            && !self.gone_back
            && desired.before.is_some()
            && self.history.failures() >= GO_BACK_AFTER
            && (desired.is_exclusive() || !is_served)
        {
            self.gone_back = true;
            text = format!("{text}; it is given up, and the version before it runs until another one is deployed");
        }
        self.trouble = Some(text.clone());
        text
    }

    fn observed(&self) -> Vec<Observed> {
        let observe = |member: &Member| Observed { id: member.id, generation: member.generation, phase: member.phase };
        self.members.iter().map(observe).collect()
    }

    fn mark_stopping(&mut self, id: ReplicaId) {
        self.members.iter_mut().filter(|member| member.id == id).for_each(|member| member.phase = Phase::Stopping);
    }

    /// Gives the order to end to all that are stopping and may take longer.
    fn order_ends(&self, at_most: Duration) {
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

    fn is_fulfilled(&self, desired: &Desired) -> bool {
        let is_ready = |member: &&Member| member.phase == Phase::Ready && member.generation == desired.generation;
        self.members.iter().filter(is_ready).count() >= usize::try_from(desired.replicas).unwrap_or(usize::MAX)
    }

    fn seen(&self) -> Seen {
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

/// Whether a version that is ready has one before it still, for the case that it would never get ready.
fn is_first_of(entry: Option<Entry>, generation: u64) -> bool {
    matches!(entry, Some(Entry::Known(desired)) if desired.generation == generation && desired.before.is_some())
}

fn describe(member: &Member, how: &str, now: Instant, history: &History) -> String {
    let lasted = now.duration_since(member.started_at).as_secs_f32();
    let next = match history.pause() {
        Duration::ZERO => "it is started again".to_owned(),
        pause => format!("it is started again after a pause of {} s", pause.as_secs()),
    };
    let (instance, failures) = (&member.instance, history.failures());
    format!("replica {instance} {how} after {lasted:.1} s, failure {failures} in a row; {next}")
}

#[cfg(test)]
mod tests;
