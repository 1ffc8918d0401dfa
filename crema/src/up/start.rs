//! Builds every part, runs them together, and stops them in order.

use super::apply::{Applied, say_removed};
use super::ready::{Addresses, announce};
use super::run_dir::RunDir;
use super::secrets;
use crate::cli::{QueueEngine, Up};
use crate::credentials::Credentials;
use crate::terminal::say;
use anyhow::{Context, bail};
use cron_connector::CronConnector;
use daemon::part::{Part, first_end};
use daemon::{Clock, Env, ProcessEnv, StateDir, Stop, SystemClock, program, stop};
use dispatch::Dispatcher;
use gateway::Gateway;
use gateway_client::{ClientConfig, FunctionList, GatewayClient};
use image::Store;
use mqtt_broker::Broker;
use mqtt_connector::MqttConnector;
use provider_local::{Isolation, IsolationConfig, LocalProvider};
use queue::Queue;
use stack::Stack;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use wire::function::FunctionStatus;

/// How long the gateway may take to answer after its start.
const GATEWAY_STARTS: Duration = Duration::from_secs(10);
/// How long `up` waits for the functions of its stack before it says that it is ready all the same.
const FUNCTIONS_START: Duration = Duration::from_secs(30);

/// Refuses what would open more to the network than was asked for, before anything is built.
pub(super) fn check_openness(up: &Up) -> anyhow::Result<()> {
    if up.no_auth && !up.listen.ip().is_loopback() {
        bail!("--no-auth lets everyone on the network deploy: leave it out, or --listen on a loopback address");
    }
    if !up.listen.ip().is_loopback() && up.tls_cert.is_none() && !up.plain_http {
        bail!(
            "--listen {} can be reached from the network: give --tls-cert and --tls-key, or --plain-http if whoever is \
             on the network may read passwords and calls",
            up.listen
        );
    }
    if up.broker.is_none() && !up.mqtt.ip().is_loopback() && up.mqtt_passwords.is_none() && !up.mqtt_anonymous {
        bail!(
            "--mqtt {} can be reached from the network: give --mqtt-passwords FILE, or --mqtt-anonymous if everyone on \
             the network may publish",
            up.mqtt
        );
    }
    Ok(())
}

/// Starts the platform, deploys the stack, and runs until it is told to stop.
pub(super) async fn serve(up: &Up, state: &StateDir, stack: &Stack, store: Store) -> anyhow::Result<()> {
    let env = ProcessEnv;
    let _traces = daemon::log::init(&env, "crema")?;
    let stop = stop::on_signals()?;
    program::raise_file_limit();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let credentials = Credentials::open(&state.join("auth")).context("the password's files")?;
    let run_dir = RunDir::open(state).context("the directory for sockets")?;

    let mut provider_config = provider_local::Config::new(state.path(), run_dir.path().to_owned(), String::new());
    provider_config.inherited =
        ["TZ", "LANG"].iter().filter_map(|name| Some(((*name).to_owned(), env.get(name)?))).collect();
    provider_config.start_timeout = env.duration(provider_local::ENV_START_TIMEOUT, provider_config.start_timeout)?;
    let isolation =
        IsolationConfig { least: up.isolation_min, most: up.isolation_max, ..IsolationConfig::new(state.path()) };
    let isolation = Arc::new(Isolation::probe(&isolation).await.map_err(anyhow::Error::msg)?);
    provider_config.isolation = Arc::clone(&isolation);
    let provider = LocalProvider::build(provider_config, store.clone(), Arc::clone(&clock))?;
    let queue = open_queue(up.queue, state)?;
    let gateway = Gateway::build(
        gateway_config(up, state, &credentials)?,
        gateway::Parts {
            provider: Arc::clone(&provider) as _,
            queue: Some(Arc::clone(&queue)),
            clock: Arc::clone(&clock),
        },
    )?;
    let gateway_url = format!("http://{}", gateway.functions_address());
    provider.set_gateway_url(&gateway_url);
    provider.set_door(Arc::new(gateway.door()));
    let client = client(&gateway_url, &credentials)?;
    let (lister, listing) = stop::pair();
    let events = Events::build(up, state, &gateway_url, &credentials, &clock, listing)?;
    let addresses = Addresses {
        gateway: gateway.address(),
        https: up.tls_cert.is_some(),
        metrics: gateway.metrics_address(),
        mqtt: events.address(),
    };

    let provider = Part::start("provider", move |stop| async move {
        provider.run(stop).await;
        anyhow::Ok(())
    });
    let worker = gateway.worker(queue::worker::Config::from_env(&env)?);
    let worker = worker.map(|worker| Part::start("queue worker", move |stop| worker.run(stop)));
    let gateway = Part::start("gateway", move |stop| gateway.run(stop));
    let ready = async {
        client.wait_ready(GATEWAY_STARTS).await?;
        let functions = deploy(&client, stack, &store, state).await?;
        events.know(&functions).await?;
        anyhow::Ok(functions)
    };
    let mut parts: Vec<Part> = worker.into_iter().chain([gateway, provider]).collect();
    let ended = tokio::select! {
        functions = ready => functions.map(Some),
        () = stop.clone().stopped() => Ok(None),
    };
    let ended = match ended {
        Ok(Some(functions)) => {
            // Sensors and schedules come in once the functions of the stack are known.
            parts.splice(0..0, events.start());
            match addresses.publish(&state.join("run")) {
                Ok(_published) => {
                    announce(up, &addresses, state.path(), &isolation, &functions);
                    tokio::select! {
                        () = stop.stopped() => Ok(()),
                        error = first_end(&mut parts) => Err(error.into()),
                    }
                }
                Err(error) => Err(error).context("the file with the addresses cannot be written"),
            }
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    say("Stopping: calls in flight are finished. Press Ctrl-C again to stop at once.");
    lister.stop();
    for part in parts {
        part.stop().await;
    }
    queue.close().await;
    ended
}

fn open_queue(engine: QueueEngine, state: &StateDir) -> anyhow::Result<Arc<dyn Queue>> {
    let directory = state.join("queue");
    Ok(match engine {
        QueueEngine::Sqlite => queue::sqlite::open(&directory)?,
        QueueEngine::Sled => queue::sled::open(&directory)?,
    })
}

fn gateway_config(up: &Up, state: &StateDir, credentials: &Credentials) -> anyhow::Result<gateway::Config> {
    let mut config = gateway::Config::from_env(&ProcessEnv)?;
    config.listen = up.listen;
    config.metrics = up.metrics;
    // Functions and connectors come in here: plain HTTP on loopback whatever the public listener speaks.
    config.functions = Some((Ipv4Addr::LOCALHOST, 0).into());
    config.plain_http = up.plain_http;
    config.counters = Some(state.join("invocations.json"));
    config.tls =
        up.tls_cert.clone().zip(up.tls_key.clone()).map(|(certificate, key)| gateway::Tls { certificate, key });
    config.auth = (!up.no_auth)
        .then(|| gateway::Credentials { user: credentials.user.clone(), password: credentials.password.clone() });
    Ok(config)
}

fn client(gateway_url: &str, credentials: &Credentials) -> anyhow::Result<GatewayClient> {
    let credentials = gateway_client::Credentials::new(&credentials.user, &credentials.password);
    Ok(GatewayClient::new(&ClientConfig::new(gateway_url, Some(credentials)))?)
}

/// Makes what the stack needs and deploys what changed; waits until the functions are ready.
async fn deploy(
    client: &GatewayClient,
    stack: &Stack,
    store: &Store,
    state: &StateDir,
) -> anyhow::Result<Vec<FunctionStatus>> {
    let wanted = stack.deployments();
    secrets::make(client, &stack.generate_secrets, &wanted).await?;
    let mut applied = Applied::read(state.join("applied.json"));
    for deployment in &wanted {
        let digest = deployment.image.parse().ok().and_then(|image| store.find(&image).ok().flatten());
        let digest = digest.map(|image| image.digest);
        let fate = applied
            .apply(client, deployment, digest.as_deref())
            .await
            .with_context(|| format!("{} is not deployed", deployment.service))?;
        tracing::debug!(function = deployment.service, ?fate, "applied");
    }
    let mut functions = list(client).await?;
    let begun = std::time::Instant::now();
    while begun.elapsed() < FUNCTIONS_START
        && functions.iter().any(|function| function.available_replicas < function.replicas)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
        functions = list(client).await?;
    }
    for function in functions.iter().filter(|function| function.available_replicas < function.replicas) {
        say(format_args!("{} is not ready yet: `faas-cli logs {}` tells more", function.name, function.name));
    }
    say_removed(&wanted, &functions);
    Ok(functions)
}

async fn list(client: &GatewayClient) -> anyhow::Result<Vec<FunctionStatus>> {
    let mut functions = Vec::new();
    for namespace in client.namespaces().await? {
        functions.extend(client.functions(&namespace).await?);
    }
    Ok(functions)
}

/// What brings events in: the built-in broker or a connector to another one, and the cron connector.
struct Events {
    mqtt: Mqtt,
    cron: CronConnector,
    list: FunctionList,
}

enum Mqtt {
    Broker(Broker),
    Connector(MqttConnector),
}

impl Events {
    fn build(
        up: &Up,
        state: &StateDir,
        gateway_url: &str,
        credentials: &Credentials,
        clock: &Arc<dyn Clock>,
        listing: Stop,
    ) -> anyhow::Result<Self> {
        let client = client(gateway_url, credentials)?;
        let interval = ProcessEnv.duration(FunctionList::ENV_INTERVAL, FunctionList::DEFAULT_INTERVAL)?;
        let list = FunctionList::follow(client.clone(), interval, listing);
        let dispatcher = Dispatcher::new(client.clone(), list.clone());
        let mqtt = match &up.broker {
            Some(url) => {
                let mut config = mqtt_connector::Config::from_env_for(url, &ProcessEnv)?;
                config.state = Some(state.join("mqtt-connector"));
                Mqtt::Connector(MqttConnector::build(config, dispatcher)?)
            }
            None => {
                let mut config = mqtt_broker::Config::from_env(&ProcessEnv)?;
                config.listen = up.mqtt;
                if up.mqtt_passwords.is_some() {
                    config.password_file.clone_from(&up.mqtt_passwords);
                }
                config.anonymous = up.mqtt_anonymous.then_some(true);
                Mqtt::Broker(Broker::build(config, dispatcher)?)
            }
        };
        let cron = CronConnector::build(
            cron_connector::Config::from_env(&ProcessEnv)?,
            client,
            list.clone(),
            Arc::clone(clock),
        );
        Ok(Self { mqtt, cron, list })
    }

    /// Waits until the connectors' list has what was deployed: an event that comes in before would be acknowledged and
    /// reach no one.
    async fn know(&self, functions: &[FunctionStatus]) -> anyhow::Result<()> {
        let mut list = self.list.watch();
        let all = list.wait_for(|known| {
            let same = |function: &FunctionStatus, known: &FunctionStatus| {
                (&function.name, &function.namespace, &function.annotations)
                    == (&known.name, &known.namespace, &known.annotations)
            };
            known
                .as_ref()
                .is_some_and(|known| functions.iter().all(|function| known.iter().any(|known| same(function, known))))
        });
        let known = tokio::time::timeout(GATEWAY_STARTS, all).await;
        known
            .context("the gateway does not list to connectors what it has deployed")?
            .map(drop)
            .context("the list ended")
    }

    fn address(&self) -> Option<std::net::SocketAddr> {
        match &self.mqtt {
            Mqtt::Broker(broker) => Some(broker.address()),
            Mqtt::Connector(_) => None,
        }
    }

    fn start(self) -> [Part; 2] {
        let mqtt = match self.mqtt {
            Mqtt::Broker(broker) => Part::start("MQTT broker", move |stop| broker.run(stop)),
            Mqtt::Connector(connector) => Part::start("MQTT connector", move |stop| connector.run(stop)),
        };
        let cron = self.cron;
        let mut problems = cron.problems();
        let cron = Part::start("cron connector", move |stop| async move {
            let said = async {
                while problems.changed().await.is_ok() {
                    for problem in problems.borrow_and_update().iter().flatten() {
                        say(format_args!("{}: {}", problem.function, problem.why));
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! { () = cron.run(stop) => {}, () = said => {} }
            anyhow::Ok(())
        });
        [mqtt, cron]
    }
}
