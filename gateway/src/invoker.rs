//! A call's way to a replica: function -> scaler -> balancer -> forward. One for each thread, without locks.

use crate::counters::Counter;
use crate::metrics::{FunctionMetrics, seconds};
use crate::scaler::NoReplica;
use crate::state::State;
use forward::{Body, ForwardError, Limits, Pool, Response, Settings, Switched, Target};
use hyper::Request;
use hyper::header::HeaderValue;
use prometheus::{Histogram, IntCounter};
use provider::{Address, FunctionReplicas, ReplicaTable, Replicas};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::FunctionName;

/// How long a call waits for the replica table to change when no replica in it can be connected to: the provider is
/// about to find out.
const SETTLE: Duration = Duration::from_secs(2);
/// How often a call waits for a replica that is gone again by the time the call looks for it.
const WAITS: usize = 3;

/// Why a call did not get an answer of the function.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    NoReplica(#[from] NoReplica),
    #[error("the gateway could not get an answer of {function}: {error}")]
    Forward { function: FunctionName, error: ForwardError },
}

/// Calls functions from one thread.
pub(crate) struct Invoker {
    state: Arc<State>,
    pool: Pool,
    table: RefCell<ReplicaTable>,
    known: RefCell<Replicas>,
    /// By the name as callers write it. Holds deployed functions only, so it does not grow with what is asked for.
    functions: RefCell<HashMap<Box<str>, Rc<Function>>>,
}

/// A deployed function as one thread sees it, until something about it changes.
pub(crate) struct Function {
    pub(crate) name: FunctionName,
    pub(crate) replicas: Arc<FunctionReplicas>,
    label: String,
    endpoints: Vec<Endpoint>,
    next: Cell<usize>,
    counter: Arc<Counter>,
    metrics: FunctionMetrics,
    ended: RefCell<Vec<(u16, IntCounter, Histogram)>>,
}

/// A replica.
pub(crate) struct Endpoint {
    target: Rc<Target>,
    /// The function's own address, for `Host`.
    pub(crate) host: HeaderValue,
}

/// Lets go of replicas that have gone, also on a thread that has no calls: what was a replica's may be held by its
/// address.
async fn follow(invoker: Weak<Invoker>, mut table: ReplicaTable) {
    while table.changed().await {
        // Calls look for themselves; many changes are one to whoever has none.
        tokio::time::sleep(SETTLE).await;
        let Some(invoker) = invoker.upgrade() else { return };
        invoker.refresh();
    }
}

impl Invoker {
    /// One for this thread, which must be inside a `LocalSet`.
    pub(crate) fn new(state: Arc<State>) -> Rc<Self> {
        let settings = Settings { idle_per_upstream: state.config.idle_per_host, ..Settings::default() };
        let mut table = state.provider.replicas();
        let known = table.refreshed().unwrap_or_else(|| table.snapshot());
        let invoker = Rc::new(Self {
            state,
            pool: Pool::new(settings),
            table: RefCell::new(table.clone()),
            known: RefCell::new(known),
            functions: RefCell::default(),
        });
        // Ends with the invoker or the provider.
        drop(tokio::task::spawn_local(follow(Rc::downgrade(&invoker), table)));
        invoker
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The function that a caller names; `None` when none of that name is deployed.
    pub(crate) fn function(&self, text: &str) -> Option<Rc<Function>> {
        self.refresh();
        if let Some(function) = self.functions.borrow().get(text) {
            return Some(Rc::clone(function));
        }
        let name = self.state.name(text).ok()?;
        let replicas = Arc::clone(self.known.borrow().get(&name)?);
        let function = Rc::new(self.make(name, replicas));
        self.functions.borrow_mut().insert(text.into(), Rc::clone(&function));
        Some(function)
    }

    fn knows(&self, name: &FunctionName) -> bool {
        self.refresh();
        self.known.borrow().contains_key(name)
    }

    /// Forgets what the table says otherwise by now.
    fn refresh(&self) {
        let Some(table) = self.table.borrow_mut().refreshed() else { return };
        self.functions.borrow_mut().retain(|_, function| {
            table.get(&function.name).is_some_and(|replicas| Arc::ptr_eq(replicas, &function.replicas))
        });
        *self.known.borrow_mut() = table;
    }

    fn make(&self, name: FunctionName, replicas: Arc<FunctionReplicas>) -> Function {
        let endpoint = |address: &Address| {
            let host = HeaderValue::try_from(address.host()).expect("an address is a valid header value");
            Endpoint { target: self.pool.target(address), host }
        };
        let label = name.to_string();
        Function {
            endpoints: replicas.ready.iter().map(|replica| endpoint(&replica.address)).collect(),
            next: Cell::new(0),
            counter: self.state.counters.of(&name),
            metrics: self.state.metrics.function(&label),
            ended: RefCell::default(),
            label,
            replicas,
            name,
        }
    }

    /// Calls a function. `request` makes the request for the replica chosen; it is called again when that is safe
    /// (see [`Target::send`]) and returns `None` when it cannot be made again.
    pub(crate) async fn call(
        &self,
        function: &Rc<Function>,
        limit: Duration,
        mut request: impl FnMut(&Endpoint) -> Option<Request<Body>>,
    ) -> Result<Response, CallError> {
        let limits = Limits { total: limit, ..Limits::default() };
        self.reach(function, async |endpoint| endpoint.target.send(limits, || request(endpoint)).await).await
    }

    /// Calls a function that may switch the connection to `protocol`. The limit holds until its answer begins, and for
    /// all of an answer in HTTP.
    pub(crate) async fn switch(
        &self,
        function: &Rc<Function>,
        limit: Duration,
        protocol: &HeaderValue,
        mut request: impl FnMut(&Endpoint) -> Request<Body>,
    ) -> Result<Switched, CallError> {
        let limits = Limits { total: limit, ..Limits::default() };
        self.reach(function, async |endpoint| endpoint.target.switch(limits, protocol, request(endpoint)).await).await
    }

    /// Does an exchange with a replica, as soon as there is one that can be connected to.
    async fn reach<T>(
        &self,
        function: &Rc<Function>,
        mut exchange: impl AsyncFnMut(&Endpoint) -> Result<T, ForwardError>,
    ) -> Result<T, CallError> {
        // The client's body may have taken its time: replicas that have left since get no call.
        let mut current = self.current(function)?;
        let mut settled = false;
        loop {
            if current.endpoints.is_empty() {
                current = self.wait(current).await?;
            }
            match current.try_each(&mut exchange).await {
                Ok(response) => return Ok(response),
                Err(error) if error.unread() && !settled => {
                    settled = true;
                    tracing::debug!(function = %current.label, %error, "no replica can be connected to");
                    self.settle(&current).await;
                    current = self.current(&current)?;
                }
                Err(error) => return Err(CallError::Forward { function: current.name.clone(), error }),
            }
        }
    }

    /// Waits for a replica: what it returns has one at least.
    async fn wait(&self, mut function: Rc<Function>) -> Result<Rc<Function>, CallError> {
        for _ in 0..WAITS {
            let began = Instant::now();
            let starts = &function.metrics.cold_starts;
            let waited = self.state.scaler.ready(&function.name, &self.state.metrics, starts).await;
            function.metrics.cold_waits.observe(seconds(began.elapsed()));
            waited?;
            function = self.current(&function)?;
            if !function.endpoints.is_empty() {
                return Ok(function);
            }
        }
        let trouble = "its replicas end as soon as they are ready".to_owned();
        Err(NoReplica::Trouble { name: function.name.clone(), trouble }.into())
    }

    /// Waits until the table says something else of a function whose replicas are not there.
    async fn settle(&self, function: &Function) {
        let mut table = self.table.borrow().clone();
        let before = Arc::clone(&function.replicas);
        let changed = table.wait_for(&function.name, move |known| known != Some(&*before));
        drop(tokio::time::timeout(SETTLE, changed).await);
    }

    /// A function as the table has it now.
    fn current(&self, function: &Rc<Function>) -> Result<Rc<Function>, NoReplica> {
        self.refresh();
        let same = |replicas: &Arc<FunctionReplicas>| Arc::ptr_eq(replicas, &function.replicas);
        if self.known.borrow().get(&function.name).is_some_and(same) {
            return Ok(Rc::clone(function));
        }
        self.function(&function.label).ok_or_else(|| NoReplica::Gone(function.name.clone()))
    }
}

impl Function {
    /// Tries the replicas, the least busy first, until one can be connected to.
    async fn try_each<T>(
        &self,
        exchange: &mut impl AsyncFnMut(&Endpoint) -> Result<T, ForwardError>,
    ) -> Result<T, ForwardError> {
        let first = self.least_busy();
        let count = self.endpoints.len();
        let mut tried = 0;
        loop {
            let endpoint = &self.endpoints[(first + tried) % count];
            tried += 1;
            match exchange(endpoint).await {
                Err(error) if error.unread() && tried < count => {
                    tracing::debug!(function = %self.label, %error, "trying another replica");
                }
                done => return done,
            }
        }
    }

    /// The replica with the fewest calls of this thread, starting at another one each time.
    fn least_busy(&self) -> usize {
        let count = self.endpoints.len();
        if count == 1 {
            return 0;
        }
        let start = self.next.get();
        self.next.set((start + 1) % count);
        let order = (0..count).map(|offset| (start + offset) % count);
        order.min_by_key(|index| self.endpoints[*index].target.in_flight()).unwrap_or(0)
    }

    /// A call begins.
    pub(crate) fn begin(self: &Rc<Self>, invoker: &Rc<Invoker>) -> Underway {
        self.metrics.started.inc();
        self.metrics.in_flight.inc();
        Underway { function: Rc::clone(self), invoker: Rc::clone(invoker), began: Instant::now(), code: CLIENT_GONE }
    }

    fn ended(&self, code: u16, invoker: &Invoker, took: Duration) {
        self.counter.increment();
        let mut ended = self.ended.borrow_mut();
        let index = match ended.iter().position(|(known, ..)| *known == code) {
            Some(index) => index,
            // Deleted while the call ran: its series are gone and must not come back.
            None if !invoker.knows(&self.name) => return,
            None => {
                let (total, seconds) = invoker.state.metrics.ended(&self.label, code);
                ended.push((code, total, seconds));
                ended.len() - 1
            }
        };
        let (_, total, histogram) = &ended[index];
        total.inc();
        histogram.observe(seconds(took));
    }
}

/// What is counted when a client leaves before there is an answer (nginx's code for it; no client sees it).
const CLIENT_GONE: u16 = 499;

/// A call that has begun; counted when it is dropped.
pub(crate) struct Underway {
    pub(crate) function: Rc<Function>,
    invoker: Rc<Invoker>,
    began: Instant,
    code: u16,
}

impl Underway {
    /// The status the caller gets.
    pub(crate) fn answered(&mut self, code: u16) {
        self.code = code;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.function.metrics.in_flight.dec();
        self.function.ended(self.code, &self.invoker, self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::scaler::Scaler;
    use crate::{Config, Parts};
    use provider::Provider;
    use provider::memory::{MemoryProvider, Script};
    use wire::function::FunctionDeployment;

    async fn provider(script: Script) -> Arc<MemoryProvider> {
        let provider = Arc::new(MemoryProvider::new());
        provider.script(&"f".parse().unwrap(), script);
        let deployment = FunctionDeployment {
            service: "f".to_owned(),
            image: "owner/f:1".to_owned(),
            ..FunctionDeployment::default()
        };
        provider.deploy(deployment).await.unwrap();
        provider
    }

    #[tokio::test]
    async fn a_replica_that_is_gone_as_soon_as_it_is_ready_is_told_of() {
        // The scaler sees it ready, the call sees it gone: what a crash between two looks is.
        let (ready, gone) =
            (provider(Script::default()).await, provider(Script { at_most: 0, ..Script::default() }).await);
        let parts = Parts { provider: gone, queue: None, clock: Arc::new(daemon::SystemClock) };
        let mut state =
            State::new(Config::default(), parts, Metrics::new().unwrap(), crate::counters::Counters::default());
        state.scaler = Scaler::new(ready, Duration::from_secs(1), 1);
        let calling = async {
            let invoker = Invoker::new(Arc::new(state));
            let function = invoker.function("f").unwrap();
            invoker.call(&function, Duration::from_secs(1), |_| panic!("there is nobody to send it to")).await.err()
        };
        let error = tokio::task::LocalSet::new().run_until(calling).await.unwrap();
        assert!(matches!(error, CallError::NoReplica(NoReplica::Trouble { .. })), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_is_gone_is_let_go_of_without_a_call() {
        let provider = provider(Script::default()).await;
        let parts = Parts { provider: Arc::clone(&provider) as _, queue: None, clock: Arc::new(daemon::SystemClock) };
        let state = State::new(Config::default(), parts, Metrics::new().unwrap(), crate::counters::Counters::default());
        let calls = async {
            let invoker = Invoker::new(Arc::new(state));
            let replicas = Arc::downgrade(&invoker.function("f").unwrap().replicas);
            provider.delete(&"f".parse().unwrap(), false).await.unwrap();
            while replicas.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), tokio::task::LocalSet::new().run_until(calls)).await.unwrap();
    }
}
