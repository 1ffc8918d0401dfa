//! The reconcile loop: wakes when a wish or a replica changes or a pause is over, plans, and does what is planned.
//!
//! It looks at nothing but the functions concerned: what many cost that have nothing to do is memory.

mod live;

use crate::desired::{Desired, Entry, Standing};
use crate::logs::Logs;
use crate::plan::{self, Action, Phase, ReplicaId, Wanted};
use crate::replica::{self, Event};
use crate::runtime::{Order, Runtime};
use crate::state::State;
use daemon::Stop;
use live::{Failed, Live, Member};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use wire::FunctionName;

/// How much longer than their grace replicas are waited for when the platform stops: to be reaped and cleared up.
const CLEARING: Duration = Duration::from_secs(1);

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) start: Duration,
    pub(crate) shutdown: Duration,
}

/// Called, on a blocking thread, when a wish has been changed here and is to be put on disk.
pub(crate) type Save = Arc<dyn Fn(&FunctionName) + Send + Sync>;

/// The loop.
pub(crate) struct Reconciler {
    state: Arc<State>,
    runtime: Arc<dyn Runtime>,
    logs: Arc<Logs>,
    patience: Patience,
    save: Save,
    live: BTreeMap<FunctionName, Live>,
    /// Whose replica is whose.
    homes: HashMap<ReplicaId, FunctionName>,
    /// When to look at which function though nothing happens.
    due: BTreeSet<(Instant, FunctionName)>,
    /// Functions that something has happened to.
    touched: BTreeSet<FunctionName>,
    lives: JoinSet<()>,
    teller: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    next_id: ReplicaId,
}

impl Reconciler {
    pub(crate) fn new(
        state: Arc<State>,
        runtime: Arc<dyn Runtime>,
        logs: Arc<Logs>,
        patience: Patience,
        save: Save,
    ) -> Self {
        // Unbounded: each replica tells at most four things in its life.
        let (teller, events) = mpsc::unbounded_channel();
        Self {
            state,
            runtime,
            logs,
            patience,
            save,
            live: BTreeMap::new(),
            homes: HashMap::new(),
            due: BTreeSet::new(),
            touched: BTreeSet::new(),
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

    /// Plans for every function concerned and does it; gives when to look again.
    fn reconcile(&mut self, now: Instant) -> Option<Instant> {
        let touched = self.state.touched();
        for (name, touch) in &touched {
            if let (Some(generation), Some(live)) = (touch.deleted, self.live.get_mut(name)) {
                live.mark_deleted(generation);
            }
        }
        let mut names: BTreeSet<FunctionName> = touched.into_keys().collect();
        names.append(&mut self.touched);
        while let Some((at, _)) = self.due.first()
            && *at <= now
            && let Some((_, name)) = self.due.pop_first()
        {
            if let Some(live) = self.live.get_mut(&name) {
                live.wake_at = None;
            }
            names.insert(name);
        }
        for name in &names {
            self.reconcile_one(name, now);
        }
        self.due.first().map(|(at, _)| *at)
    }

    fn reconcile_one(&mut self, name: &FunctionName, now: Instant) {
        self.judge(name, now);
        let desired = match self.state.get(name) {
            Some(Entry::Known(desired)) => Some(desired.to_run()),
            Some(Entry::Unreadable(_)) | None => None,
        };
        let live = self.live.entry(name.clone()).or_default();
        if let Some(desired) = &desired {
            live.turn_to(desired.generation);
        }
        let wanted = desired.as_ref().map(|desired| Wanted {
            generation: desired.generation,
            replicas: desired.replicas,
            exclusive: desired.is_exclusive(),
        });
        let plan = plan::plan(wanted, &live.observed(), &live.history, now);
        for action in &plan.actions {
            match (action, &desired) {
                (Action::Stop(id), _) => self.live.entry(name.clone()).or_default().mark_stopping(*id),
                (Action::Start, Some(desired)) => self.start(name, desired, now),
                (Action::Start, None) => {}
            }
        }
        self.publish(name, desired.as_deref());
        self.wake(name, plan.wake_at);
        let Some(live) = self.live.get(name) else { return };
        // Only now that no one finds them in the table.
        live.order_ends(Duration::MAX);
        if live.is_blank(desired.as_deref()) {
            self.wake(name, None);
            self.live.remove(name);
        }
    }

    /// Says of a new version that it works, or takes it back.
    fn judge(&mut self, name: &FunctionName, now: Instant) {
        let Some(live) = self.live.get_mut(name) else { return };
        let Some(Entry::Known(desired)) = self.state.get(name) else { return };
        if desired.standing != Standing::New || !live.history.is_of(desired.generation) {
            return;
        }
        let generation = desired.generation;
        let is_wanted = |desired: &Desired| desired.generation == generation;
        if live.proven_at(generation, desired.before.is_some()).is_some_and(|at| at <= now) {
            let prove = |desired: &Desired| is_wanted(desired).then(|| desired.proven());
            if self.state.change(name, prove) {
                tracing::info!(function = %name, image = desired.deployment.image, "Version works");
                self.keep(name, None);
            }
            return;
        }
        let Some(before) = desired.before.as_ref().filter(|_| desired.replicas > 0) else { return };
        if !live.history.says_go_back(&live.observed(), now) {
            return;
        }
        let (image, before) = (&desired.deployment.image, &before.deployment.image);
        let why = live.last_failure.as_deref().unwrap_or("it does not get ready");
        let text = format!(
            "{image} is taken back: {why}. {before}, the version before it, runs until another one is deployed"
        );
        // Whoever reads that it is taken back finds none of its dead in the table, and no trouble besides.
        live.trouble = None;
        self.state.see(name, Some(live.seen()));
        let take_back = |desired: &Desired| is_wanted(desired).then(|| desired.taken_back(&text));
        if self.state.change(name, take_back) {
            tracing::error!(function = %name, text, "Version taken back");
            self.keep(name, Some(text));
        }
    }

    /// Puts a changed wish on disk, and a line in the function's log.
    fn keep(&mut self, name: &FunctionName, line: Option<String>) {
        let (save, logs, name) = (Arc::clone(&self.save), Arc::clone(&self.logs), name.clone());
        self.lives.spawn_blocking(move || {
            save(&name);
            if let Some(line) = line {
                logs.of(&name).note("", &line);
            }
        });
    }

    /// Notes when to look at a function again: at a pause's end, or when its new version has proved itself.
    fn wake(&mut self, name: &FunctionName, pause_ends: Option<Instant>) {
        let Some(live) = self.live.get_mut(name) else { return };
        let proven_at = match self.state.get(name) {
            Some(Entry::Known(desired)) if desired.is_on_probation() => live.proven_at(desired.generation, true),
            _ => None,
        };
        let at = pause_ends.into_iter().chain(proven_at).min();
        if at == live.wake_at {
            return;
        }
        if let Some(before) = live.wake_at.take() {
            self.due.remove(&(before, name.clone()));
        }
        live.wake_at = at;
        if let Some(at) = at {
            self.due.insert((at, name.clone()));
        }
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
        self.homes.insert(self.next_id, name.clone());
        self.lives.spawn(replica::live(self.next_id, order, runtime, self.patience.start, ordered, teller));
    }

    /// Takes in what happened to a replica.
    fn note(&mut self, event: Event) {
        let id = event.replica();
        let Some(name) = self.homes.get(&id).cloned() else { return };
        let Some(live) = self.live.get_mut(&name) else { return };
        let Some(at) = live.members.iter().position(|member| member.id == id) else { return };
        let now = Instant::now();
        let member = &mut live.members[at];
        match event {
            Event::Started(_, running) => member.running = Some(running),
            Event::Ready(_) if member.phase == Phase::Starting => {
                member.phase = Phase::Ready;
                member.ready_at = Some(now);
                let millis = now.duration_since(member.started_at).as_millis();
                tracing::info!(function = %name, instance = member.instance, millis, "Replica ready");
            }
            Event::Ready(_) => {}
            Event::Sick(_, why) if member.phase != Phase::Stopping => {
                // Another one starts at once; this one's end is no second failure.
                member.phase = Phase::Stopping;
                let (instance, generation) = (member.instance.clone(), member.generation);
                let ready_for = member.ready_at.take().map(|at| now.duration_since(at));
                let lasted = now.duration_since(member.started_at);
                self.failed(&name, &Failed { instance, generation, ready_for, lasted, how: why, was_late: false }, now);
            }
            Event::Sick(..) => {}
            Event::Ended { how, was_late, .. } => {
                self.homes.remove(&id);
                let member = live.members.remove(at);
                if member.phase == Phase::Stopping {
                    tracing::info!(function = %name, instance = member.instance, how, "Replica stopped");
                    live.stopped(&member, now);
                } else {
                    let ready_for = member.ready_at.map(|at| now.duration_since(at));
                    let lasted = now.duration_since(member.started_at);
                    let Member { instance, generation, .. } = member;
                    self.failed(&name, &Failed { instance, generation, ready_for, lasted, how, was_late }, now);
                }
            }
        }
        self.touched.insert(name);
    }

    fn failed(&mut self, name: &FunctionName, failed: &Failed, now: Instant) {
        let Some(live) = self.live.get_mut(name) else { return };
        let text = live.fail(failed, now);
        tracing::warn!(function = %name, instance = failed.instance, text, "Replica failed");
        if self.state.get(name).is_some() {
            self.logs.of(name).note(&failed.instance, &text);
        }
    }

    /// Tells what is seen of a function.
    fn publish(&mut self, name: &FunctionName, desired: Option<&Desired>) {
        let Some(live) = self.live.get_mut(name) else { return };
        if desired.is_none_or(|desired| live.is_fulfilled(desired)) {
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
        self.runtime.close().await;
    }
}

#[cfg(test)]
mod tests;
