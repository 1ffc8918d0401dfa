//! The watchdog's settings, by OpenFaaS's names.

use function_sdk::settings::{Listen, SettingError, Settings};
use std::path::PathBuf;

/// The settings of a watchdog.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that every function has.
    pub settings: Settings,
    /// `mode`; unless set, streaming, or classic for the program `fwatchdog` (see [`Config::from_env`]).
    pub mode: Mode,
    /// `function_process`, else `fprocess`: the command, split at spaces; no shell.
    pub command: Vec<String>,
    /// `content_type` of what a forked process answers. `None`: `application/octet-stream`; in mode classic the
    /// request's.
    pub content_type: Option<String>,
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
    /// The same, in the manner of the classic watchdog.
    Classic(Classic),
    /// There is none: files are served.
    Static {
        /// `static_path`: their directory; `/home/app/public`.
        directory: PathBuf,
    },
}

/// What only the classic watchdog has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Classic {
    /// `combine_output`: whether stderr is part of the answer; true.
    pub combine_output: bool,
    /// `marshal_request`: whether the process reads headers and body as JSON; false.
    pub marshal_request: bool,
    /// `cgi_headers`: whether the process gets headers as variables; true.
    pub cgi_headers: bool,
    /// `write_debug`: whether answers are written to the log; false.
    pub write_debug: bool,
    /// `debug_headers`: whether headers are written to the log; false.
    pub debug_headers: bool,
}

/// The name that the watchdogs have in images, of either kind.
const IN_IMAGES: &str = "fwatchdog";
/// What only of-watchdog reads: an image that sets one of these was not built for the classic watchdog.
const OF_WATCHDOGS: [&str; 10] = [
    "function_process",
    "upstream_url",
    "http_upstream_url",
    "buffer_http",
    "http_buffer_req_body",
    "prefix_logs",
    "log_buffer_size",
    "log_callid",
    "ready_path",
    "static_path",
];

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
    /// Reads the settings of a watchdog that was started as `program`; `env` gives a variable's value, `None` when it
    /// is unset or empty.
    ///
    /// An image is served as by the watchdog it was built for. Both kinds are called `fwatchdog` there, and those built
    /// for of-watchdog set `mode`. So the program `fwatchdog` is the classic one when neither `mode` nor any other
    /// variable that only of-watchdog reads is set.
    pub fn from_env(program: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut settings = Settings::from_env(&env)?;
        no_tokens(&env)?;
        let mode = mode(program, &env)?;
        let is_classic = matches!(mode, Mode::Classic(_));
        let command: Vec<String> = env("function_process")
            .filter(|_| !is_classic)
            .or_else(|| env("fprocess"))
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        if command.is_empty() && !matches!(mode, Mode::Static { .. }) {
            return Err(ConfigError::NoCommand);
        }
        if is_classic && env("exec_timeout").is_none() {
            settings.exec_timeout = None;
        }
        let flag =
            |name, default| if is_classic { Ok(is_true(&env, name, default)) } else { flag(&env, name, default) };
        let on_socket = matches!(settings.listen, Listen::Unix(_));
        let lock = (!on_socket && !flag("suppress_lock", false)?).then(|| crate::lock::path(&env));
        Ok(Self {
            mode,
            command,
            content_type: env("content_type"),
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

fn mode(program: &str, env: &impl Fn(&str) -> Option<String>) -> Result<Mode, ConfigError> {
    let name = env("mode").unwrap_or_else(|| {
        let is_classic = program == IN_IMAGES && OF_WATCHDOGS.iter().all(|name| env(name).is_none());
        if is_classic { "classic" } else { "streaming" }.to_owned()
    });
    match name.as_str() {
        "http" => {
            let upstream = env("http_upstream_url").or_else(|| env("upstream_url")).ok_or(ConfigError::NoUpstream)?;
            Ok(Mode::Http { upstream })
        }
        "streaming" => Ok(Mode::Streaming),
        "serializing" => Ok(Mode::Serializing),
        "classic" => Ok(Mode::Classic(Classic {
            combine_output: is_true(env, "combine_output", true),
            marshal_request: is_true(env, "marshal_request", false),
            cgi_headers: is_true(env, "cgi_headers", true),
            write_debug: is_true(env, "write_debug", false),
            debug_headers: is_true(env, "debug_headers", false),
        })),
        "static" => {
            Ok(Mode::Static { directory: env("static_path").unwrap_or_else(|| "/home/app/public".to_owned()).into() })
        }
        _ => Err(SettingError::new("mode", &name, "give http, streaming, serializing, static or classic").into()),
    }
}

/// Who relies on tokens being checked must not be served without.
fn no_tokens(env: &impl Fn(&str) -> Option<String>) -> Result<(), SettingError> {
    match env("jwt_auth") {
        Some(value) if value == "true" || value == "1" => Err(SettingError::new(
            "jwt_auth",
            &value,
            "this watchdog checks no tokens, and does not serve as if it did; take the setting away",
        )),
        _ => Ok(()),
    }
}

/// A flag as the classic watchdog reads it.
fn is_true(env: &impl Fn(&str) -> Option<String>, name: &str, default: bool) -> bool {
    env(name).map_or(default, |value| value == "true")
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
        named("watchdog", variables)
    }

    fn named(program: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_env(program, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
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
            (&[("fprocess", "cat"), ("jwt_auth", "true")], "jwt_auth=true"),
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
    fn an_image_gets_the_watchdog_it_was_built_for() {
        let mode = |program, more: &[(&str, &str)]| {
            let mut variables = vec![("fprocess", "cat"), ("write_timeout", "5"), ("content_type", "text/plain")];
            variables.extend_from_slice(more);
            named(program, &variables).unwrap().mode
        };
        let is_classic = |mode: Mode| matches!(mode, Mode::Classic(_));
        assert!(is_classic(mode("fwatchdog", &[])));
        assert!(is_classic(mode("fwatchdog", &[("combine_output", "false")])));
        assert!(is_classic(mode("watchdog", &[("mode", "classic")])));
        assert_eq!(mode("watchdog", &[]), Mode::Streaming);
        assert_eq!(mode("watchdog", &[("combine_output", "false")]), Mode::Streaming);
        for of_watchdogs in OF_WATCHDOGS {
            let value = if of_watchdogs == "log_buffer_size" { "10" } else { "true" };
            assert_eq!(mode("fwatchdog", &[(of_watchdogs, value)]), Mode::Streaming, "{of_watchdogs}");
        }
        for (name, expected) in [("streaming", Mode::Streaming), ("serializing", Mode::Serializing)] {
            assert_eq!(mode("fwatchdog", &[("mode", name)]), expected);
        }
    }

    #[test]
    fn the_classic_ones_defaults_and_flags_are_its_own() {
        let config = named("fwatchdog", &[("fprocess", "cat"), ("cgi_headers", "1"), ("write_debug", "yes")]).unwrap();
        let Mode::Classic(classic) = &config.mode else { panic!("{:?}", config.mode) };
        assert!(classic.combine_output && !classic.cgi_headers && !classic.write_debug && !classic.marshal_request);
        assert_eq!(config.settings.exec_timeout, None);
        let config = named("fwatchdog", &[("fprocess", "cat"), ("exec_timeout", "3")]).unwrap();
        assert_eq!(config.settings.exec_timeout, Some(std::time::Duration::from_secs(3)));
        let of_watchdog = read(&[("fprocess", "cat")]).unwrap();
        assert_eq!(of_watchdog.settings.exec_timeout, Some(std::time::Duration::from_secs(30)));
    }

    #[test]
    fn files_need_no_command() {
        let directory = |variables: &[(&str, &str)]| read(variables).unwrap().mode;
        assert_eq!(directory(&[("mode", "static")]), Mode::Static { directory: "/home/app/public".into() });
        let given = directory(&[("mode", "static"), ("static_path", "/srv")]);
        assert_eq!(given, Mode::Static { directory: "/srv".into() });
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
