//! Which broker, which topics, and as whom.

use daemon::{Env, EnvError};
use dispatch::{FilterError, check_filter};
use std::fmt;
use std::path::PathBuf;
use url::Url;

/// The broker's URL.
const ENV_BROKER: &str = "broker";
/// Another name for it.
const ENV_BROKER_TOO: &str = "MQTT_BROKER";
/// Fixed topic filters, comma-separated.
const ENV_TOPICS: &str = "topics";
const ENV_QOS: &str = "qos";
const ENV_CLIENT_ID: &str = "client_id";
const ENV_USER: &str = "broker_user";
const ENV_PASSWORD: &str = "broker_password";
const ENV_PASSWORD_FILE: &str = "broker_password_file";
const ENV_CA: &str = "broker_ca_file";
const ENV_VERSION: &str = "mqtt_version";
const ENV_STATE: &str = "state_dir";

/// Which broker, which topics, and as whom.
#[derive(Clone)]
pub struct Config {
    /// The broker's host.
    pub host: String,
    /// Its port; 1883, or 8883 with TLS.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// A PEM file of authorities to trust instead of the machine's.
    pub ca: Option<PathBuf>,
    /// User and password.
    pub login: Option<(String, String)>,
    /// What to subscribe to; what functions' annotations name when absent.
    pub topics: Option<Vec<String>>,
    /// At most which quality of service; 1.
    pub qos: Qos,
    /// The client's id. When absent: `crema-HOST-RANDOM`, kept in the state directory.
    pub client_id: Option<String>,
    /// Where the client's id and what it subscribed to are kept; nowhere when absent.
    pub state: Option<PathBuf>,
    /// Which MQTT to speak; 5.
    pub version: Version,
}

/// A quality of service. With 2 the broker would promise exactly once up to here, and no farther.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Qos {
    /// Sent once, perhaps lost.
    AtMostOnce,
    /// Sent until acknowledged.
    AtLeastOnce,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// 3.1.1, without properties: no trace context, no media type.
    V3,
    /// 5.
    V5,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable cannot be read.
    #[error(transparent)]
    Setting(#[from] EnvError),
    /// The broker's URL means nothing.
    #[error("broker {url:?}: {why}; give one like mqtt://broker:1883 or mqtts://broker:8883")]
    Url {
        /// What was given, without a password.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// A fixed topic is no filter.
    #[error("{ENV_TOPICS}: {filter:?}: {reason}")]
    Topic {
        /// Which one.
        filter: String,
        /// What is wrong.
        reason: FilterError,
    },
    /// The password's file cannot be read.
    #[error("{ENV_PASSWORD_FILE}={path}: {reason}", path = path.display())]
    Password {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

impl Config {
    /// The broker at `url` (`mqtt://`, `tcp://`, `mqtts://` or `ssl://`, perhaps with user and password), with defaults.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let fail = |why: &str| ConfigError::Url {
            url: url.rsplit_once('@').map_or(url, |(_, rest)| rest).chars().take(200).collect(),
            why: why.to_owned(),
        };
        let parsed = Url::parse(url.trim()).map_err(|error| fail(&error.to_string()))?;
        let tls = match parsed.scheme() {
            "tcp" | "mqtt" => false,
            "mqtts" | "ssl" => true,
            _ => return Err(fail("its scheme is none of mqtt, mqtts, tcp, ssl")),
        };
        if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() {
            return Err(fail("it has a path or a query"));
        }
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| fail("it has no host"))?;
        let login = match (decoded(parsed.username()), parsed.password().map(decoded)) {
            (Some(user), _) if user.is_empty() => None,
            (Some(user), None) => Some((user, String::new())),
            (Some(user), Some(Some(password))) => Some((user, password)),
            _ => return Err(fail("its user or password is not percent-encoded UTF-8")),
        };
        Ok(Self {
            host: host.to_owned(),
            port: parsed.port().unwrap_or(if tls { 8883 } else { 1883 }),
            tls,
            ca: None,
            login,
            topics: None,
            qos: Qos::AtLeastOnce,
            client_id: None,
            state: None,
            version: Version::V5,
        })
    }

    /// Reads `broker` (or `MQTT_BROKER`; required), `topics`, `qos`, `client_id`, `broker_user`, `broker_password` or
    /// `broker_password_file`, `broker_ca_file`, `mqtt_version` and `state_dir`.
    pub fn from_env(env: &impl Env) -> Result<Self, ConfigError> {
        let url = env.get(ENV_BROKER).or_else(|| env.get(ENV_BROKER_TOO)).ok_or_else(|| {
            EnvError::new(ENV_BROKER, "", "not set; give the MQTT broker's URL, such as mqtt://broker:1883")
        })?;
        Self::from_env_for(&url, env)
    }

    /// The broker at `url`; reads all the rest that [`from_env`](Self::from_env) reads.
    pub fn from_env_for(url: &str, env: &impl Env) -> Result<Self, ConfigError> {
        let mut config = Self::new(url)?;
        if let Some(topics) = env.get(ENV_TOPICS) {
            config.topics = Some(filters(&topics)?);
        }
        config.qos = match env.get(ENV_QOS).as_deref() {
            None | Some("1") => Qos::AtLeastOnce,
            Some("0") => Qos::AtMostOnce,
            Some(other) => {
                return Err(EnvError::new(ENV_QOS, other, "give 0 or 1; functions are called at least once").into());
            }
        };
        config.version = match env.get(ENV_VERSION).as_deref() {
            None | Some("5") => Version::V5,
            Some("3.1.1" | "3") => Version::V3,
            Some(other) => return Err(EnvError::new(ENV_VERSION, other, "give 5 or 3.1.1").into()),
        };
        if let Some(user) = env.get(ENV_USER) {
            config.login = Some((user, password(env)?));
        }
        config.client_id = env.get(ENV_CLIENT_ID);
        config.ca = env.get(ENV_CA).map(PathBuf::from);
        config.state = env.get(ENV_STATE).map(PathBuf::from);
        Ok(config)
    }
}

fn filters(list: &str) -> Result<Vec<String>, ConfigError> {
    wire::annotation::items(list)
        .map(|filter| match check_filter(filter) {
            Ok(()) => Ok(filter.to_owned()),
            Err(reason) => Err(ConfigError::Topic { filter: filter.to_owned(), reason }),
        })
        .collect()
}

fn password(env: &impl Env) -> Result<String, ConfigError> {
    let Some(path) = env.get(ENV_PASSWORD_FILE).map(PathBuf::from) else {
        return Ok(env.get(ENV_PASSWORD).unwrap_or_default());
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(reason) => Err(ConfigError::Password { path, reason }),
    }
}

/// Percent-decoded text; None when it is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("broker", &format_args!("{}:{}", self.host, self.port))
            .field("tls", &self.tls)
            .field("user", &self.login.as_ref().map(|(user, _)| user))
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_passwords_are_not_shown() {
        let config = Config::new("mqtts://store%40104:p%2Fw@broker.example").unwrap();
        assert_eq!((config.host.as_str(), config.port, config.tls), ("broker.example", 8883, true));
        assert_eq!(config.login, Some(("store@104".to_owned(), "p/w".to_owned())));
        assert!(!format!("{config:?}").contains("p/w"));
        assert_eq!(Config::new("tcp://localhost").unwrap().port, 1883);
        for bad in ["", "broker:1883", "http://u:secret@b", "mqtt://", "mqtt://b/path", "mqtt://u:secret@b:x"] {
            let error = Config::new(bad).unwrap_err().to_string();
            assert!(error.starts_with("broker") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn settings_are_read_and_bad_ones_named() {
        let env = [("MQTT_BROKER", "mqtt://b"), ("topics", "a/+, b/#"), ("qos", "0"), ("mqtt_version", "3.1.1")];
        let config = Config::from_env(&env).unwrap();
        assert_eq!(config.topics.unwrap(), ["a/+", "b/#"]);
        assert_eq!((config.qos, config.version), (Qos::AtMostOnce, Version::V3));
        for (name, value) in [("qos", "2"), ("topics", "a#"), ("mqtt_version", "4"), ("broker", "x")] {
            let error = Config::from_env(&[(name, value), ("MQTT_BROKER", "mqtt://b")]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
