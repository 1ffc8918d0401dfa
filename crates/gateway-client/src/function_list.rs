//! A live list of the functions of all namespaces, or of some, for connectors.
//!
//! Unlike upstream's, it outlives a gateway that restarts: what was known last stays until there is a newer list.

use crate::{ClientError, GatewayClient};
use daemon::{Env, EnvError, Stop};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wire::FunctionName;
use wire::function::FunctionStatus;

/// All functions, sorted by namespace and name, none twice. Figures that change by themselves (invocations, replicas,
/// usage) are zero, so that the list changes only when someone deploys.
pub type Functions = Arc<Vec<FunctionStatus>>;

/// How often the list is asked for until there is a first one.
const FIRST_INTERVAL: Duration = Duration::from_millis(100);

/// Follows the functions of all namespaces. Cheap to clone; the last clone ends the following.
#[derive(Clone, Debug)]
pub struct FunctionList {
    functions: watch::Receiver<Option<Functions>>,
    // Held for its drop.
    _follower: Arc<Follower>,
}

/// The task that follows; ends with its owner.
#[derive(Debug)]
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FunctionList {
    /// The interval unless `rebuild_interval` says otherwise.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
    /// The variable with the time between two looks.
    pub const ENV_INTERVAL: &'static str = "rebuild_interval";

    /// The variable with the namespaces to follow, comma-separated; all of them when it is not set.
    pub const ENV_NAMESPACES: &'static str = "CREMA_NAMESPACES";

    /// Follows the functions of `client`'s gateway until `stop`, as `rebuild_interval` and `CREMA_NAMESPACES` say.
    pub fn from_env(client: GatewayClient, env: &impl Env, stop: Stop) -> Result<Self, EnvError> {
        let interval = env.duration(Self::ENV_INTERVAL, Self::DEFAULT_INTERVAL)?;
        let Some(text) = env.get(Self::ENV_NAMESPACES) else { return Ok(Self::follow(client, interval, stop)) };
        let namespaces: Vec<String> = wire::annotation::items(&text).map(str::to_owned).collect();
        for namespace in &namespaces {
            wire::name::check_label("namespace", namespace)
                .map_err(|why| EnvError::new(Self::ENV_NAMESPACES, namespace, why))?;
        }
        Ok(Self::follow_some(client, interval, namespaces, stop))
    }

    /// Follows the functions of `client`'s gateway, one look every `interval`, until `stop`. It never gives up.
    #[must_use]
    pub fn follow(client: GatewayClient, interval: Duration, stop: Stop) -> Self {
        Self::follow_some(client, interval, Vec::new(), stop)
    }

    /// Like [`follow`](Self::follow), but only the functions of these namespaces, which may come and go; of all when
    /// there are none.
    #[must_use]
    pub fn follow_some(client: GatewayClient, interval: Duration, namespaces: Vec<String>, stop: Stop) -> Self {
        let (sender, functions) = watch::channel(None);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = follow(&client, interval, &namespaces, &sender) => {}
                () = stop.stopped() => {}
            }
        });
        Self { functions, _follower: Arc::new(Follower(task)) }
    }

    /// Waits for the first complete list; `None` when the following stopped before.
    pub async fn first(&self) -> Option<Functions> {
        let mut functions = self.functions.clone();
        let first = functions.wait_for(Option::is_some).await.ok()?;
        first.clone()
    }

    /// The newest list; `None` before the first complete one.
    #[must_use]
    pub fn current(&self) -> Option<Functions> {
        self.functions.borrow().clone()
    }

    /// The list as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Functions>> {
        self.functions.clone()
    }
}

async fn follow(
    client: &GatewayClient,
    interval: Duration,
    namespaces: &[String],
    sender: &watch::Sender<Option<Functions>>,
) {
    let mut failing = false;
    loop {
        match list(client, namespaces).await {
            Ok(functions) => {
                if failing {
                    tracing::info!(gateway = client.url(), "The gateway lists its functions again");
                }
                failing = false;
                sender.send_if_modified(|known| {
                    let changed = known.as_deref() != Some(&functions);
                    if changed {
                        *known = Some(Arc::new(functions));
                    }
                    changed
                });
            }
            Err(error) if failing => tracing::debug!(%error, "The gateway does not list its functions"),
            Err(error) => {
                failing = true;
                tracing::warn!(%error, "The gateway does not list its functions; what was known last stays in force");
            }
        }
        let known = sender.borrow().is_some();
        tokio::time::sleep(if known { interval } else { interval.min(FIRST_INTERVAL) }).await;
    }
}

/// One complete list of these namespaces, or of all when there are none; else the first thing that went wrong.
async fn list(client: &GatewayClient, only: &[String]) -> Result<Vec<FunctionStatus>, ClientError> {
    let asked = match only {
        [] => all_namespaces(client).await?,
        some => some.to_vec(),
    };
    let mut functions = BTreeMap::new();
    for namespace in &asked {
        let listed = match client.functions(namespace).await {
            // One that is not there yet has no functions.
            Err(error) if error.is_not_found() && !only.is_empty() => Vec::new(),
            listed => listed?,
        };
        for mut function in listed {
            if function.namespace.is_empty() {
                function.namespace.clone_from(namespace);
            }
            let name = match FunctionName::new(&function.name, &function.namespace) {
                Ok(name) => name,
                Err(error) => {
                    tracing::debug!(%error, "The gateway lists a function that no one can call");
                    continue;
                }
            };
            name.namespace().clone_into(&mut function.namespace);
            function.invocation_count = 0.0;
            function.replicas = 0;
            function.available_replicas = 0;
            function.usage = None;
            functions.insert((name.namespace().to_owned(), name.name().to_owned()), function);
        }
    }
    Ok(functions.into_values().collect())
}

/// The names of all namespaces; one without a name, for one un-namespaced list, when the gateway knows none.
async fn all_namespaces(client: &GatewayClient) -> Result<Vec<String>, ClientError> {
    let namespaces = match client.namespaces().await {
        // An older provider without namespaces.
        Err(error) if error.is_not_found() => Vec::new(),
        namespaces => namespaces?,
    };
    Ok(if namespaces.is_empty() { vec![String::new()] } else { namespaces })
}
