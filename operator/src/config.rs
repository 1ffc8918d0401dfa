//! Settings, with OpenFaaS's variable names where it has one.

use daemon::{Env, EnvError};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The namespace whose Functions are made true.
pub const ENV_FUNCTION_NAMESPACE: &str = "function_namespace";
/// Whether all namespaces with the annotation `openfaas` are looked after.
pub const ENV_CLUSTER_ROLE: &str = "cluster_role";
/// Where profiles are.
pub const ENV_PROFILES_NAMESPACE: &str = "profiles_namespace";
/// Whether several operators agree on one that acts.
pub const ENV_LEADER_ELECTION: &str = "leader_election";
/// Where the Lease is.
pub const ENV_LEASE_NAMESPACE: &str = "lease_namespace";
/// What functions are told the gateway's address is.
pub const ENV_GATEWAY_URL: &str = "gateway_url";
/// When images are pulled.
pub const ENV_IMAGE_PULL_POLICY: &str = "image_pull_policy";
/// Whether functions are probed by HTTP; by opening a connection when not.
pub const ENV_HTTP_PROBE: &str = "http_probe";
/// Whether functions run as a user of their own, whatever their image says.
pub const ENV_SET_NONROOT_USER: &str = "set_nonroot_user";
/// Whether the root file system of functions that do not say is read-only.
pub const ENV_READONLY_ROOT: &str = "readonly_root_filesystem";
/// Memory set aside for a function that names none.
pub const ENV_MEMORY_REQUEST: &str = "function_memory_request";
/// CPU set aside for a function that names none.
pub const ENV_CPU_REQUEST: &str = "function_cpu_request";
/// What a function that names no limit may use of memory.
pub const ENV_MEMORY_LIMIT: &str = "function_memory_limit";
/// The storage class of data directories.
pub const ENV_STORAGE_CLASS: &str = "data_storage_class";
/// How long a roll-out may go without progress.
pub const ENV_PROGRESS_DEADLINE: &str = "progress_deadline_seconds";
/// Where `/healthz`, `/ready` and `/metrics` are served.
pub const ENV_METRICS: &str = "CREMA_METRICS";
/// What a pod is called.
const ENV_HOST_NAME: &str = "HOSTNAME";

/// What an operator is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace whose Functions are made true; `openfaas-fn`.
    pub function_namespace: String,
    /// Looks after all namespaces with the annotation `openfaas` too; off.
    pub cluster_role: bool,
    /// Where profiles are; `openfaas`.
    pub profiles_namespace: String,
    /// Who this operator is when several agree on one that acts, and the namespace of their Lease, `openfaas`. `None`:
    /// it acts at once.
    pub election: Option<Election>,
    /// What functions are told the gateway's address is; `http://gateway.openfaas:8080`.
    pub gateway_url: String,
    /// `Always`, `IfNotPresent` or `Never`; `IfNotPresent`, so that a store without a link starts what it has.
    pub image_pull_policy: String,
    /// How functions are probed.
    pub probes: Probes,
    /// Functions run as user and group 12000, whatever their image says; on.
    pub nonroot_user: bool,
    /// The root file system of functions that do not say is read-only; on.
    pub readonly_root: bool,
    /// For functions that name none.
    pub resources: DefaultResources,
    /// The storage class of data directories; the cluster's default one.
    pub storage_class: Option<String>,
    /// How long a roll-out may go without progress until it is called stalled; 120 s.
    pub progress_deadline: Duration,
    /// Where `/healthz`, `/ready` and `/metrics` are served; `127.0.0.1:8083`.
    pub metrics: SocketAddr,
}

/// Who takes part in an election, and where.
#[derive(Clone, Debug)]
pub struct Election {
    /// The Lease's namespace.
    pub namespace: String,
    /// This operator's name among the others: the pod's.
    pub identity: String,
}

/// How functions are probed unless their annotations say otherwise.
#[derive(Clone, Debug)]
pub struct Probes {
    /// By HTTP; by opening a connection when not.
    pub http: bool,
    /// Whether a replica takes calls.
    pub readiness: Probe,
    /// Whether a replica is alive.
    pub liveness: Probe,
}

/// One probe's settings, in seconds and times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    /// After the container's start.
    pub initial_delay: i32,
    /// From one to the next.
    pub period: i32,
    /// For an answer.
    pub timeout: i32,
    /// Good ones in a row until it counts as good.
    pub successes: i32,
    /// Bad ones in a row until it counts as bad.
    pub failures: i32,
}

/// Resources of functions that name none: small, as a store has 2 GB for all of them.
#[derive(Clone, Debug)]
pub struct DefaultResources {
    /// 16Mi.
    pub memory_request: String,
    /// 10m.
    pub cpu_request: String,
    /// 256Mi.
    pub memory_limit: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            function_namespace: wire::DEFAULT_NAMESPACE.to_owned(),
            cluster_role: false,
            profiles_namespace: PLATFORM_NAMESPACE.to_owned(),
            election: None,
            gateway_url: "http://gateway.openfaas:8080".to_owned(),
            image_pull_policy: PULL_POLICIES[1].to_owned(),
            probes: Probes::default(),
            nonroot_user: true,
            readonly_root: true,
            resources: DefaultResources::default(),
            storage_class: None,
            progress_deadline: Duration::from_secs(120),
            metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, 8083)),
        }
    }
}

impl Default for Probes {
    fn default() -> Self {
        let readiness = Probe { initial_delay: 0, period: 5, timeout: 2, successes: 1, failures: 3 };
        Self { http: true, readiness, liveness: Probe { period: 10, timeout: 5, ..readiness } }
    }
}

impl Default for DefaultResources {
    fn default() -> Self {
        Self { memory_request: "16Mi".to_owned(), cpu_request: "10m".to_owned(), memory_limit: "256Mi".to_owned() }
    }
}

/// Where the platform itself is.
const PLATFORM_NAMESPACE: &str = "openfaas";
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

impl Config {
    /// Reads the environment.
    pub fn from_env(env: &impl Env) -> Result<Self, EnvError> {
        let plain = Self::default();
        let text = |name, default: String| env.get(name).unwrap_or(default);
        let election = env.flag(ENV_LEADER_ELECTION, true)?.then(|| Election {
            namespace: text(ENV_LEASE_NAMESPACE, PLATFORM_NAMESPACE.to_owned()),
            identity: env.get(ENV_HOST_NAME).unwrap_or_else(|| format!("operator-{}", uuid::Uuid::new_v4())),
        });
        Ok(Self {
            function_namespace: text(ENV_FUNCTION_NAMESPACE, plain.function_namespace),
            cluster_role: env.flag(ENV_CLUSTER_ROLE, plain.cluster_role)?,
            profiles_namespace: text(ENV_PROFILES_NAMESPACE, plain.profiles_namespace),
            election,
            gateway_url: text(ENV_GATEWAY_URL, plain.gateway_url),
            image_pull_policy: pull_policy(env)?,
            probes: Probes::from_env(env)?,
            nonroot_user: env.flag(ENV_SET_NONROOT_USER, plain.nonroot_user)?,
            readonly_root: env.flag(ENV_READONLY_ROOT, plain.readonly_root)?,
            resources: DefaultResources::from_env(env)?,
            storage_class: env.get(ENV_STORAGE_CLASS),
            progress_deadline: env.duration(ENV_PROGRESS_DEADLINE, plain.progress_deadline)?,
            metrics: env.parse(ENV_METRICS, plain.metrics)?,
        })
    }
}

fn pull_policy(env: &impl Env) -> Result<String, EnvError> {
    let Some(given) = env.get(ENV_IMAGE_PULL_POLICY) else { return Ok(PULL_POLICIES[1].to_owned()) };
    let known = PULL_POLICIES.into_iter().find(|policy| policy.eq_ignore_ascii_case(&given));
    let refuse = || EnvError::new(ENV_IMAGE_PULL_POLICY, &given, "give Always, IfNotPresent or Never");
    known.map(str::to_owned).ok_or_else(refuse)
}

impl Probes {
    fn from_env(env: &impl Env) -> Result<Self, EnvError> {
        let plain = Self::default();
        Ok(Self {
            http: env.flag(ENV_HTTP_PROBE, plain.http)?,
            readiness: Probe {
                initial_delay: count(env, "readiness_probe_initial_delay_seconds", plain.readiness.initial_delay, 0)?,
                period: count(env, "readiness_probe_period_seconds", plain.readiness.period, 1)?,
                timeout: count(env, "readiness_probe_timeout_seconds", plain.readiness.timeout, 1)?,
                successes: count(env, "readiness_probe_success_threshold", plain.readiness.successes, 1)?,
                failures: count(env, "readiness_probe_failure_threshold", plain.readiness.failures, 1)?,
            },
            liveness: Probe {
                initial_delay: count(env, "liveness_probe_initial_delay_seconds", plain.liveness.initial_delay, 0)?,
                period: count(env, "liveness_probe_period_seconds", plain.liveness.period, 1)?,
                timeout: count(env, "liveness_probe_timeout_seconds", plain.liveness.timeout, 1)?,
                // Kubernetes allows no other.
                successes: 1,
                failures: count(env, "liveness_probe_failure_threshold", plain.liveness.failures, 1)?,
            },
        })
    }
}

fn count(env: &impl Env, name: &'static str, default: i32, least: i32) -> Result<i32, EnvError> {
    let value = env.parse(name, default)?;
    if value < least {
        return Err(EnvError::new(name, &value.to_string(), format!("give a number from {least} on")));
    }
    Ok(value)
}

impl DefaultResources {
    fn from_env(env: &impl Env) -> Result<Self, EnvError> {
        let plain = Self::default();
        let memory = |name, default| match env.get(name) {
            None => Ok(default),
            Some(text) => {
                wire::quantity::memory(&text).map_err(|error| EnvError::new(name, &text, error)).map(|_| text)
            }
        };
        let cpu = |name, default| match env.get(name) {
            None => Ok(default),
            Some(text) => wire::quantity::cpu(&text).map_err(|error| EnvError::new(name, &text, error)).map(|_| text),
        };
        Ok(Self {
            memory_request: memory(ENV_MEMORY_REQUEST, plain.memory_request)?,
            cpu_request: cpu(ENV_CPU_REQUEST, plain.cpu_request)?,
            memory_limit: memory(ENV_MEMORY_LIMIT, plain.memory_limit)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_environment_is_the_chart_s_default() {
        let config = Config::from_env(&[("HOSTNAME", "operator-0")]).unwrap();
        assert_eq!(config.function_namespace, "openfaas-fn");
        assert_eq!(config.image_pull_policy, "IfNotPresent");
        assert_eq!(config.election.unwrap().identity, "operator-0");
        assert!(config.nonroot_user && config.readonly_root && !config.cluster_role);
        assert!(Config::from_env(&[("leader_election", "false")]).unwrap().election.is_none());
    }

    #[test]
    fn a_bad_setting_names_its_variable() {
        for (name, value) in [
            ("image_pull_policy", "Sometimes"),
            ("readiness_probe_period_seconds", "0"),
            ("liveness_probe_timeout_seconds", "soon"),
            ("function_memory_limit", "lots"),
            ("function_cpu_request", "many"),
            ("cluster_role", "maybe"),
            ("CREMA_METRICS", "8083"),
        ] {
            let error = Config::from_env(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}={value}: ")), "{error}");
        }
        assert_eq!(Config::from_env(&[("image_pull_policy", "never")]).unwrap().image_pull_policy, "Never");
    }
}
