//! Where the gateway is and who asks.

use crate::ClientError;
use daemon::{Env, EnvError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The variable with the gateway's URL.
const ENV_URL: &str = wire::env::GATEWAY_URL;
/// The variable that turns Basic authentication on.
const ENV_BASIC_AUTH: &str = "basic_auth";
/// The variable with the largest wait for one answer.
const ENV_TIMEOUT: &str = "upstream_timeout";
/// The variable with a PEM file of authorities to trust instead of the machine's.
const ENV_CA: &str = "gateway_ca_file";
/// Where the credentials' files are unless `secret_mount_path` says otherwise.
const DEFAULT_SECRETS: &str = "/run/secrets";
/// Which file holds the user.
const USER_FILE: &str = "basic-auth-user";
/// Which file holds the password.
const PASSWORD_FILE: &str = "basic-auth-password";

/// How long one call may take unless configured.
pub(crate) const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Where the gateway is and who asks.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `http://` or `https://`, host, port, and a path before the routes when there is one.
    pub url: String,
    /// Sent on `/system` routes only: functions never see them.
    pub credentials: Option<Credentials>,
    /// How long one call may take, answer included; 30 s.
    pub time_limit: Duration,
    /// A PEM file of authorities to trust for `https://`; the machine's own when absent.
    pub ca: Option<PathBuf>,
}

/// A user and a password. Debug shows no password.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: String,
}

impl ClientConfig {
    /// The gateway at `url`, with defaults.
    #[must_use]
    pub fn new(url: &str, credentials: Option<Credentials>) -> Self {
        Self { url: url.to_owned(), credentials, time_limit: DEFAULT_TIME_LIMIT, ca: None }
    }

    /// Reads `gateway_url` (required), `basic_auth` with the files `basic-auth-user` and `basic-auth-password` in
    /// `secret_mount_path`, `upstream_timeout` (30s) and `gateway_ca_file`.
    pub fn from_env(env: &impl Env) -> Result<Self, ClientError> {
        let url = env.get(ENV_URL).ok_or_else(|| {
            EnvError::new(ENV_URL, "", "not set; give the gateway's URL, such as http://127.0.0.1:8080")
        })?;
        let credentials = if env.flag(ENV_BASIC_AUTH, false)? {
            let directory = env.get(wire::env::SECRET_MOUNT_PATH).unwrap_or_else(|| DEFAULT_SECRETS.to_owned());
            Some(Credentials::read(Path::new(&directory))?)
        } else {
            None
        };
        let time_limit = match env.duration(ENV_TIMEOUT, DEFAULT_TIME_LIMIT)? {
            // Upstream's zero is "no limit". A call without one would keep an event for ever.
            Duration::ZERO => DEFAULT_TIME_LIMIT,
            limit => limit,
        };
        Ok(Self { url, credentials, time_limit, ca: env.get(ENV_CA).map(PathBuf::from) })
    }
}

impl Credentials {
    /// A user and a password.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned() }
    }

    /// Reads the files `basic-auth-user` and `basic-auth-password`; white space around the values is dropped.
    pub fn read(directory: &Path) -> Result<Self, ClientError> {
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path)
                .map(|text| text.trim().to_owned())
                .map_err(|reason| ClientError::Credentials { path, reason })
        };
        Ok(Self { user: read(USER_FILE)?, password: read(PASSWORD_FILE)? })
    }

    /// The value of `Authorization`.
    pub(crate) fn authorization(&self) -> String {
        use base64::Engine;
        let pair = format!("{}:{}", self.user, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_from_files_only_when_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(USER_FILE), "admin\n").unwrap();
        std::fs::write(directory.path().join(PASSWORD_FILE), " secret\n").unwrap();
        let path = directory.path().to_str().unwrap();
        let off = [("gateway_url", "http://g:8080"), ("secret_mount_path", path)];
        assert!(ClientConfig::from_env(&off).unwrap().credentials.is_none());
        let on = [("gateway_url", "http://g:8080"), ("secret_mount_path", path), ("basic_auth", "1")];
        let credentials = ClientConfig::from_env(&on).unwrap().credentials.unwrap();
        assert_eq!(credentials.authorization(), "Basic YWRtaW46c2VjcmV0");
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = ClientConfig::from_env(&[]).unwrap_err().to_string();
        assert!(error.contains("gateway_url"), "{error}");
        let env = [("gateway_url", "http://g"), ("basic_auth", "true"), ("secret_mount_path", "/nowhere")];
        let error = ClientConfig::from_env(&env).unwrap_err().to_string();
        assert!(error.contains("/nowhere/basic-auth-user"), "{error}");
    }
}
