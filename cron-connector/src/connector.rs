//! Follows the functions' schedules and posts what is due, until the gateway says 202 or the next moment has come.

use crate::ticker::{Firing, Problem, Ticker};
use daemon::health::{Figure, Report};
use daemon::{Clock, Env, EnvError, Stop};
use gateway_client::{CallId, FunctionList, GatewayClient, HeaderMap, HeaderValue};
use jiff::tz::TimeZone;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use wire::{CRON_TOPIC, FunctionName, header};

/// `X-Connector` of calls from here.
const CONNECTOR: &str = "crema/cron-connector";
/// The variable with the zone of schedules that name none.
const ENV_ZONE: &str = "TZ";
/// The first wait before a call is posted again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait before a call is posted again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often the clock is looked at, so that one that was set back is noticed.
const LOOK: Duration = Duration::from_secs(1);
/// How long a due call may take when the connector stops.
const DRAIN: Duration = Duration::from_secs(1);

/// How schedules are read.
#[derive(Clone, Debug)]
pub struct Config {
    /// The zone of expressions that name none: `TZ`, or else the machine's.
    pub zone: TimeZone,
}

impl Default for Config {
    fn default() -> Self {
        Self { zone: TimeZone::system() }
    }
}

impl Config {
    /// Reads `TZ`.
    pub fn from_env(env: &impl Env) -> Result<Self, EnvError> {
        let Some(name) = env.get(ENV_ZONE) else { return Ok(Self::default()) };
        // Unix allows a colon in front.
        let zone = TimeZone::get(name.trim_start_matches(':')).or_else(|_| TimeZone::posix(&name));
        let refuse = |_| EnvError::new(ENV_ZONE, &name, "there is no such time zone; give one like Europe/London");
        Ok(Self { zone: zone.map_err(refuse)? })
    }
}

/// Calls functions on schedule.
pub struct CronConnector {
    config: Config,
    client: GatewayClient,
    list: FunctionList,
    clock: Arc<dyn Clock>,
    problems: watch::Sender<Option<Vec<Problem>>>,
    counts: Arc<Counts>,
}

/// What became of due calls.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    lost: AtomicU64,
}

struct CronReport {
    list: FunctionList,
    problems: watch::Receiver<Option<Vec<Problem>>>,
    counts: Arc<Counts>,
}

impl Report for CronReport {
    fn not_ready(&self) -> Option<String> {
        self.list.current().is_none().then(|| "the functions are not known yet".to_owned())
    }

    fn figures(&self) -> Vec<Figure> {
        let Counts { accepted, lost } = &*self.counts;
        let (accepted, lost) = (accepted.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
        let problems = self.problems.borrow().as_ref().map_or(0, Vec::len);
        let problems = u64::try_from(problems).unwrap_or(u64::MAX);
        vec![
            Figure::counter("crema_cron_accepted_total", "Due calls that the gateway took.", accepted),
            Figure::counter("crema_cron_lost_total", "Due calls that it refused, or did not take in time.", lost),
            Figure::gauge("crema_cron_problems", "Schedules that cannot be followed.", problems),
        ]
    }
}

impl CronConnector {
    /// Takes what it needs; it begins in [`run`](Self::run).
    #[must_use]
    pub fn build(config: Config, client: GatewayClient, list: FunctionList, clock: Arc<dyn Clock>) -> Self {
        Self { config, client, list, clock, problems: watch::Sender::new(None), counts: Arc::default() }
    }

    /// Schedules that cannot be followed, as they come and go; `None` before the first complete list of functions.
    #[must_use]
    pub fn problems(&self) -> watch::Receiver<Option<Vec<Problem>>> {
        self.problems.subscribe()
    }

    /// What it says of itself to whoever asks how it is.
    #[must_use]
    pub fn report(&self) -> impl Report + use<> {
        let counts = Arc::clone(&self.counts);
        CronReport { list: self.list.clone(), problems: self.problems.subscribe(), counts }
    }

    /// Calls what is due until `stop`.
    pub async fn run(self, mut stop: Stop) {
        let mut ticker = Ticker::new(self.config.zone.clone(), self.clock.now());
        let mut functions = self.list.watch();
        let mut calls = Calls::default();
        let mut gone = false;
        self.follow(&mut ticker, &mut calls);
        loop {
            let due = ticker.due();
            let waiting = async {
                match due {
                    Some(at) => self.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.wait() => break,
                changed = functions.changed(), if !gone => match changed {
                    Ok(()) => self.follow(&mut ticker, &mut calls),
                    Err(_) => gone = true,
                },
                () = waiting => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            for firing in ticker.tick(self.clock.now()) {
                calls.start(firing, &self);
            }
        }
        calls.close().await;
    }

    fn follow(&self, ticker: &mut Ticker, calls: &mut Calls) {
        let Some(functions) = self.list.current() else { return };
        if ticker.follow(&functions, self.clock.now()) {
            calls.keep(|function| ticker.has(function));
        }
        let problems = Some(ticker.problems());
        self.problems.send_if_modified(|known| {
            let changed = *known != problems;
            *known = problems;
            changed
        });
    }
}

/// Calls that are on their way to the gateway, one for each function at most.
#[derive(Default)]
struct Calls {
    tasks: JoinSet<()>,
    under_way: HashMap<FunctionName, AbortHandle>,
}

impl Calls {
    /// Begins a call. One that is still on its way gives up by itself: its time is over.
    fn start(&mut self, firing: Firing, connector: &CronConnector) {
        while self.tasks.try_join_next().is_some() {}
        let function = firing.function.clone();
        tracing::debug!(%function, at = %firing.at, "Due");
        let CronConnector { client, clock, counts, .. } = connector;
        let task = self.tasks.spawn(call(firing, client.clone(), Arc::clone(clock), Arc::clone(counts)));
        self.under_way.insert(function, task);
    }

    /// Ends the calls of functions that are not scheduled any more.
    fn keep(&mut self, scheduled: impl Fn(&FunctionName) -> bool) {
        self.under_way.retain(|function, task| {
            let keep = scheduled(function);
            if !keep {
                task.abort();
            }
            keep && !task.is_finished()
        });
    }

    async fn close(mut self) {
        let drained = tokio::time::timeout(DRAIN, async { while self.tasks.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!("Due calls did not reach the gateway before the stop");
        }
    }
}

/// Posts until the gateway has it on disk, the function is gone, or it is due again.
async fn call(firing: Firing, client: GatewayClient, clock: Arc<dyn Clock>, counts: Arc<Counts>) {
    let Firing { function, at, until } = firing;
    // One id for all posts: where only the 202 was lost, the function can tell that both are one call.
    let id = CallId::new(clock.unix_millis());
    let over = async {
        match until {
            Some(until) => clock.sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    let accepted = tokio::select! {
        accepted = post(&function, &id, &client) => accepted,
        () = over => {
            tracing::warn!(%function, %at, "A due call did not reach the gateway before the next one; it is dropped");
            false
        }
    };
    let count = if accepted { &counts.accepted } else { &counts.lost };
    count.fetch_add(1, Ordering::Relaxed);
}

/// False when the gateway refuses for good.
async fn post(function: &FunctionName, id: &CallId, client: &GatewayClient) -> bool {
    let mut wait = FIRST_WAIT;
    loop {
        let headers = HeaderMap::from_iter([
            (header_name(header::TOPIC), HeaderValue::from_static(CRON_TOPIC)),
            (header_name(header::CONNECTOR), HeaderValue::from_static(CONNECTOR)),
            (header_name(header::CALL_ID), id.header()),
        ]);
        match client.post_async(function, headers, Default::default()).await {
            Ok(call) => {
                tracing::debug!(%function, %call, "The due call is on disk");
                return true;
            }
            Err(error) if error.is_temporary() || error.is_not_found() => {
                // Not found: between two looks at the list, or no queue. Either way the next firing ends it.
                if wait == FIRST_WAIT {
                    tracing::warn!(%function, %error, "A due call is posted again until the gateway takes it");
                }
            }
            Err(error) => {
                tracing::error!(%function, %error, "A due call is refused for good");
                return false;
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn header_name(name: &'static str) -> gateway_client::HeaderName {
    gateway_client::HeaderName::from_static(name)
}
