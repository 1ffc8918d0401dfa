//! The settings every function has, by the names OpenFaaS's watchdog gave them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use wire::{duration, env};

/// Where to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listen {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket; one that an earlier process left behind is replaced.
    Unix(PathBuf),
}

/// The settings every function has.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to serve: the Unix socket `CREMA_SOCKET`, else TCP `port` (8080) on all addresses.
    pub listen: Listen,
    /// Where to serve metrics: the Unix socket `CREMA_METRICS_SOCKET`, else TCP 8081 when serving on TCP.
    pub metrics: Option<Listen>,
    /// `read_timeout`: how long a request may take to arrive; 30 s, none when 0.
    pub read_timeout: Option<Duration>,
    /// `write_timeout`: how long a request may take in all, and how long a drain waits; 30 s.
    pub write_timeout: Duration,
    /// `exec_timeout`: how long the function may work on a call; 30 s, no limit when 0.
    pub exec_timeout: Option<Duration>,
    /// `healthcheck_interval`: how long calls are still taken after SIGTERM on TCP; `write_timeout` unless set.
    pub healthcheck_interval: Duration,
    /// `max_inflight`: calls at the same time; unlimited when 0.
    pub max_inflight: usize,
    /// `body_limit`: the largest request body that is held in memory, in bytes; 16 MiB.
    pub body_limit: usize,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}={value}: {why}")]
pub struct SettingError {
    name: &'static str,
    value: String,
    why: String,
}

impl SettingError {
    /// Says which variable, its value and why it is refused.
    pub fn new(name: &'static str, value: &str, why: impl std::fmt::Display) -> Self {
        Self { name, value: value.chars().take(120).collect(), why: why.to_string() }
    }
}

/// The exit code of settings that cannot be used (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

const PORT: u16 = 8080;
const METRICS_PORT: u16 = 8081;
const TIMEOUT: Duration = Duration::from_secs(30);
const BODY_LIMIT: usize = 16 * 1024 * 1024;

impl Settings {
    /// Reads the settings; `env` gives a variable's value, `None` when it is unset or empty.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let any = |port| Listen::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        let socket = |name| env(name).map(|path| Listen::Unix(PathBuf::from(path)));
        let listen = match socket(env::SOCKET) {
            Some(socket) => socket,
            None => any(number(&env, env::PORT, PORT)?),
        };
        let metrics = match (socket(env::METRICS_SOCKET), &listen) {
            (None, Listen::Tcp(_)) => Some(any(METRICS_PORT)),
            (socket, _) => socket,
        };
        let write_timeout = time(&env, "write_timeout", TIMEOUT)?;
        if write_timeout.is_zero() {
            return Err(SettingError::new(
                "write_timeout",
                "0",
                "no answer could be written; give a time, such as 30s",
            ));
        }
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        Ok(Self {
            listen,
            metrics,
            read_timeout: some(time(&env, "read_timeout", TIMEOUT)?),
            write_timeout,
            exec_timeout: some(time(&env, "exec_timeout", TIMEOUT)?),
            healthcheck_interval: time(&env, "healthcheck_interval", write_timeout)?,
            max_inflight: number(&env, "max_inflight", 0)?,
            body_limit: number(&env, "body_limit", BODY_LIMIT)?,
        })
    }
}

fn time(
    env: &impl Fn(&str) -> Option<String>,
    name: &'static str,
    default: Duration,
) -> Result<Duration, SettingError> {
    let Some(value) = env(name) else { return Ok(default) };
    duration::parse(&value).map_err(|error| SettingError::new(name, &value, error))
}

fn number<T>(env: &impl Fn(&str) -> Option<String>, name: &'static str, default: T) -> Result<T, SettingError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let Some(value) = env(name) else { return Ok(default) };
    value.trim().parse().map_err(|error| SettingError::new(name, &value, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::from_env(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_function_on_a_socket_opens_no_port() {
        let settings = read(&[("CREMA_SOCKET", "run/a.sock"), ("port", "9000")]).unwrap();
        assert_eq!((settings.listen, settings.metrics), (Listen::Unix("run/a.sock".into()), None));
        let settings = read(&[("port", "9000")]).unwrap();
        assert_eq!(settings.listen, Listen::Tcp("0.0.0.0:9000".parse().unwrap()));
        assert_eq!(settings.metrics, Some(Listen::Tcp("0.0.0.0:8081".parse().unwrap())));
    }

    #[test]
    fn times_are_seconds_or_gos_notation_and_what_is_neither_is_named() {
        let settings = read(&[("write_timeout", "1m30s"), ("exec_timeout", "0"), ("read_timeout", "5")]).unwrap();
        assert_eq!(settings.healthcheck_interval, Duration::from_secs(90));
        assert_eq!((settings.exec_timeout, settings.read_timeout), (None, Some(Duration::from_secs(5))));
        for bad in [("write_timeout", "0"), ("exec_timeout", "soon"), ("max_inflight", "many"), ("port", "99999")] {
            let error = read(&[bad]).unwrap_err().to_string();
            assert!(error.starts_with(bad.0), "{error}");
        }
    }
}
