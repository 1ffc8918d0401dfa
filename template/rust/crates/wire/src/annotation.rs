//! Annotation names: OpenFaaS's as they are, our own under one prefix.

use std::collections::BTreeMap;

/// Event topics of a function, comma-separated.
pub const TOPIC: &str = "topic";
/// Cron expressions of a function whose `topic` names `cron-function`, separated by `;`.
pub const SCHEDULE: &str = "schedule";

/// The prefix of every annotation of our own.
pub const PREFIX: &str = "com.crema.";
/// Asks for a data directory that outlives the function's replicas; the value is the path inside the function.
pub const DATA_PATH: &str = "com.crema.data.path";
/// The quota of the data directory, a memory quantity.
pub const DATA_SIZE: &str = "com.crema.data.size";
/// What a function reaches over the network.
pub const NETWORK: &str = "com.crema.network";
/// The isolation level a function needs at least.
pub const ISOLATION: &str = "com.crema.isolation";
/// How far a function is confined, as its provider says it in a status. Nothing that can be deployed.
pub const ISOLATION_GIVEN: &str = "com.crema.isolation.given";
/// What is wrong with a function, as its provider says it in a status. Nothing that can be deployed.
pub const STATUS: &str = "com.crema.status";
/// The header whose value orders asynchronous invocations: those of one value run one after another.
pub const QUEUE_KEY: &str = "com.crema.queue.key";

/// How often an asynchronous invocation is tried (gateway-api §5.4).
pub const RETRY_ATTEMPTS: &str = "com.openfaas.retry.attempts";
/// Which status codes are tried again, comma-separated.
pub const RETRY_CODES: &str = "com.openfaas.retry.codes";
/// The first wait between tries, a Go duration.
pub const RETRY_MIN_WAIT: &str = "com.openfaas.retry.min_wait";
/// The longest wait between tries, a Go duration.
pub const RETRY_MAX_WAIT: &str = "com.openfaas.retry.max_wait";
/// The health path of a function, instead of `/_/health`.
pub const HEALTH_PATH: &str = "com.openfaas.health.http.path";
/// The readiness path of a function, instead of `/_/ready`.
pub const READY_PATH: &str = "com.openfaas.ready.http.path";
/// What a probe's settings begin with.
pub const HEALTH_PROBE: &str = "com.openfaas.health.http.";
/// The same of the readiness probe.
pub const READY_PROBE: &str = "com.openfaas.ready.http.";

/// Splits a comma-separated annotation into its trimmed, non-empty items.
pub fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The topics a set of annotations names; none when there is no `topic`.
pub fn topics(annotations: &BTreeMap<String, String>) -> Vec<&str> {
    annotations.get(TOPIC).map(|value| items(value).collect()).unwrap_or_default()
}
