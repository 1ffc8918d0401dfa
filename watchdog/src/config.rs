//! The watchdog's settings, by OpenFaaS's names.

use function_sdk::settings::{Listen, SettingError, Settings};
use std::path::PathBuf;

/// The settings of a watchdog.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that every function has.
    pub settings: Settings,
    /// `mode`: streaming unless set.
    pub mode: Mode,
    /// `function_process`, else `fprocess`: the command, split at spaces; no shell.
    pub command: Vec<String>,
    /// `content_type` of what a forked process answers; `application/octet-stream`.
    pub content_type: String,
    /// `http_buffer_req_body`, else `buffer_http`: whether http mode reads a body whole before it passes it on.
    pub buffer_body: bool,
    /// `prefix_logs`: whether the process's lines get time and stream in front; true.
    pub prefix_logs: bool,
    /// `log_buffer_size`: the longest line in bytes, longer ones are broken; 65536. `None` (-1): any length.
    pub longest_line: Option<usize>,
    /// `log_callid`: whether access lines end with the call's id.
    pub log_call_id: bool,
    /// `ready_path`: the path of the function that tells whether it is ready.
    pub ready_path: Option<String>,
    /// The lock file, unless `suppress_lock`; none on a Unix socket, where nothing looks for it and several watchdogs
    /// may share one /tmp.
    pub lock: Option<PathBuf>,
}

/// How the function's process is run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Once; it serves HTTP at this URL.
    Http {
        /// `http_upstream_url`, else `upstream_url`.
        upstream: String,
    },
    /// For every call; body and answer are streamed.
    Streaming,
    /// For every call; body and answer are held whole.
    Serializing,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable has a value that cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// There is no command.
    #[error("fprocess is not set: give the command that is the function, such as fprocess=\"python3 index.py\"")]
    NoCommand,
    /// http mode does not know where its process serves.
    #[error("mode=http needs upstream_url: where the function's process serves, such as http://127.0.0.1:3000")]
    NoUpstream,
}

impl Config {
    /// Reads the settings; `env` gives a variable's value, `None` when it is unset or empty.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let settings = Settings::from_env(&env)?;
        let mode = mode(&env)?;
        let command: Vec<String> = env("function_process")
            .or_else(|| env("fprocess"))
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        if command.is_empty() {
            return Err(ConfigError::NoCommand);
        }
        let flag = |name, default| flag(&env, name, default);
        let on_socket = matches!(settings.listen, Listen::Unix(_));
        let lock = (!on_socket && !flag("suppress_lock", false)?).then(|| crate::lock::path(&env));
        Ok(Self {
            mode,
            command,
            content_type: env("content_type").unwrap_or_else(|| "application/octet-stream".to_owned()),
            buffer_body: flag("http_buffer_req_body", flag("buffer_http", false)?)?,
            prefix_logs: flag("prefix_logs", true)?,
            longest_line: longest_line(&env)?,
            log_call_id: flag("log_callid", false)?,
            ready_path: env("ready_path"),
            lock,
            settings,
        })
    }
}

fn mode(env: &impl Fn(&str) -> Option<String>) -> Result<Mode, ConfigError> {
    let name = env("mode").unwrap_or_else(|| "streaming".to_owned());
    match name.as_str() {
        "http" => {
            let upstream = env("http_upstream_url").or_else(|| env("upstream_url")).ok_or(ConfigError::NoUpstream)?;
            Ok(Mode::Http { upstream })
        }
        "streaming" => Ok(Mode::Streaming),
        "serializing" => Ok(Mode::Serializing),
        "static" => Err(SettingError::new("mode", &name, "static files are not served yet").into()),
        _ => Err(SettingError::new("mode", &name, "give http, streaming or serializing").into()),
    }
}

fn flag(env: &impl Fn(&str) -> Option<String>, name: &'static str, default: bool) -> Result<bool, SettingError> {
    match env(name).as_deref() {
        None => Ok(default),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(SettingError::new(name, other, "give true or false")),
    }
}

fn longest_line(env: &impl Fn(&str) -> Option<String>) -> Result<Option<usize>, SettingError> {
    const NAME: &str = "log_buffer_size";
    match env(NAME) {
        None => Ok(Some(65536)),
        Some(value) if value == "-1" => Ok(None),
        Some(value) => match value.parse() {
            Ok(0) | Err(_) => Err(SettingError::new(NAME, &value, "give a number of bytes, or -1 for any length")),
            Ok(bytes) => Ok(Some(bytes)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_env(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_newer_of_two_names_wins() {
        let config = read(&[
            ("mode", "http"),
            ("fprocess", "old"),
            ("function_process", "new  --flag"),
            ("upstream_url", "http://127.0.0.1:1"),
            ("http_upstream_url", "http://127.0.0.1:2"),
        ])
        .unwrap();
        assert_eq!(config.command, ["new", "--flag"]);
        assert_eq!(config.mode, Mode::Http { upstream: "http://127.0.0.1:2".to_owned() });
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (variables, says) in [
            (&[][..], "fprocess"),
            (&[("fprocess", "cat"), ("mode", "http")], "upstream_url"),
            (&[("fprocess", "cat"), ("mode", "static")], "mode=static"),
            (&[("fprocess", "cat"), ("mode", "afterburn")], "mode=afterburn"),
            (&[("fprocess", "cat"), ("log_buffer_size", "big")], "log_buffer_size=big"),
            (&[("fprocess", "cat"), ("prefix_logs", "yes")], "prefix_logs=yes"),
            (&[("fprocess", "cat"), ("write_timeout", "0")], "write_timeout"),
        ] {
            let error = read(variables).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_lock_is_for_tcp_only() {
        let lock = |variables: &[(&str, &str)]| read(variables).unwrap().lock;
        assert_eq!(lock(&[("fprocess", "cat")]), Some("/tmp/.lock".into()));
        assert_eq!(lock(&[("fprocess", "cat"), ("TMPDIR", "/run")]), Some("/run/.lock".into()));
        assert_eq!(lock(&[("fprocess", "cat"), ("suppress_lock", "true")]), None);
        assert_eq!(lock(&[("fprocess", "cat"), ("CREMA_SOCKET", "/run/a.sock")]), None);
    }
}
