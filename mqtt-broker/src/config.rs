//! What the broker is told at its start.

use daemon::{Env, EnvError};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The address to listen on.
pub(crate) const ENV_LISTEN: &str = "CREMA_MQTT";
/// A password file as `mosquitto_passwd` writes it.
pub(crate) const ENV_PASSWORD_FILE: &str = "CREMA_MQTT_PASSWORD_FILE";
/// An access list in Mosquitto's format.
pub(crate) const ENV_ACL_FILE: &str = "CREMA_MQTT_ACL_FILE";
/// Whether clients without a user may connect.
pub(crate) const ENV_ANONYMOUS: &str = "CREMA_MQTT_ANONYMOUS";
/// Where retained messages are kept.
pub(crate) const ENV_STATE: &str = "CREMA_MQTT_STATE";
/// The largest payload, in bytes; the gateway's variable.
pub(crate) const ENV_BODY_LIMIT: &str = "async_body_limit";

/// What the broker is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on; 127.0.0.1:1883. Port 0 is any free one.
    pub listen: SocketAddr,
    /// Who may connect: lines as `mosquitto_passwd` writes them. Without it users and passwords are not looked at.
    pub password_file: Option<PathBuf>,
    /// Who may publish and subscribe to what; everyone to everything without it.
    pub acl_file: Option<PathBuf>,
    /// Whether clients without a user may connect. When unset: yes on loopback without a password file, else no.
    pub anonymous: Option<bool>,
    /// Where retained messages are kept over restarts; in memory only without it.
    pub state: Option<PathBuf>,
    /// The largest payload, in bytes: the gateway's limit for asynchronous bodies, 1 MiB.
    pub body_limit: usize,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable cannot be read.
    #[error(transparent)]
    Setting(#[from] EnvError),
    /// Everyone on the network could publish.
    #[error(
        "{0} can be reached from the network: name a password file ({ENV_PASSWORD_FILE}, made with mosquitto_passwd), \
         or allow everyone with --mqtt-anonymous ({ENV_ANONYMOUS}=true), or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            password_file: None,
            acl_file: None,
            anonymous: None,
            state: None,
            body_limit: wire::DEFAULT_ASYNC_BODY_LIMIT,
        }
    }
}

impl Config {
    /// Reads `CREMA_MQTT`, `CREMA_MQTT_PASSWORD_FILE`, `CREMA_MQTT_ACL_FILE`, `CREMA_MQTT_ANONYMOUS`,
    /// `CREMA_MQTT_STATE` and `async_body_limit`. Whether that opens the broker to a network by accident is looked at when it is built: a
    /// command line may still change it.
    pub fn from_env(env: &impl Env) -> Result<Self, ConfigError> {
        let default = Self::default();
        let anonymous = match env.get(ENV_ANONYMOUS) {
            Some(_) => Some(env.flag(ENV_ANONYMOUS, false)?),
            None => None,
        };
        Ok(Self {
            listen: env.parse(ENV_LISTEN, default.listen)?,
            password_file: env.get(ENV_PASSWORD_FILE).map(PathBuf::from),
            acl_file: env.get(ENV_ACL_FILE).map(PathBuf::from),
            anonymous,
            state: env.get(ENV_STATE).map(PathBuf::from),
            body_limit: env.parse(ENV_BODY_LIMIT, default.body_limit)?,
        })
    }

    /// The same configuration when it does not open the broker to a network by accident.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let open = self.password_file.is_none() && self.anonymous != Some(true);
        if open && !self.listen.ip().is_loopback() {
            return Err(ConfigError::Open(self.listen));
        }
        Ok(self)
    }

    /// Whether clients without a user may connect.
    pub(crate) fn allows_anonymous(&self) -> bool {
        self.anonymous.unwrap_or(self.password_file.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_opens_the_broker_to_a_network_by_accident() {
        let read = |env: &[(&str, &str); 2]| Config::from_env(env)?.checked();
        let error = read(&[("CREMA_MQTT", "0.0.0.0:1883"), ("", "")]).unwrap_err().to_string();
        assert!(error.contains("--mqtt-anonymous") && error.contains("0.0.0.0:1883"), "{error}");
        for (name, value) in [("CREMA_MQTT_ANONYMOUS", "true"), ("CREMA_MQTT_PASSWORD_FILE", "/etc/passwords")] {
            assert!(read(&[("CREMA_MQTT", "0.0.0.0:1883"), (name, value)]).is_ok());
        }
        assert!(Config::from_env(&[]).unwrap().allows_anonymous());
        assert!(!Config::from_env(&[("CREMA_MQTT_PASSWORD_FILE", "x")]).unwrap().allows_anonymous());
        assert!(Config::from_env(&[("CREMA_MQTT", "1883")]).unwrap_err().to_string().contains("CREMA_MQTT=1883"));
    }
}
