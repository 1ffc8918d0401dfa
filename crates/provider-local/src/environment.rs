//! The environment of a function's process: the image's, what was deployed, and what every function gets. Nothing of
//! the platform's own.

use std::collections::BTreeMap;
use std::path::Path;
use wire::FunctionName;
use wire::env;
use wire::function::FunctionDeployment;

const HOME: &str = "HOME";
const PATH: &str = "PATH";
const TMPDIR: &str = "TMPDIR";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a replica is given, as it sees it.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    pub(crate) gateway_url: &'a str,
    pub(crate) inherited: &'a [(String, String)],
    pub(crate) serves: Serves<'a>,
    pub(crate) secrets: &'a Path,
    pub(crate) data: Option<&'a Path>,
    pub(crate) temporary: &'a Path,
    /// Unless the image sets one.
    pub(crate) home: Option<&'a str>,
}

/// Where a replica is told to listen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Serves<'a> {
    /// On Unix sockets.
    Sockets { calls: &'a Path, metrics: &'a Path },
    /// On a TCP port.
    Port(u16),
}

/// Puts it together. What was deployed wins over the image and over defaults such as `gateway_url`, but not over
/// what the replica cannot be reached or cannot work without.
pub(crate) fn variables(
    image: &[(String, String)],
    name: &FunctionName,
    deployment: &FunctionDeployment,
    given: &Given<'_>,
) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |key: &str, value: &str| drop(variables.insert(key.to_owned(), value.to_owned()));
    let text = |path: &Path| path.to_string_lossy().into_owned();

    set(PATH, DEFAULT_PATH);
    given.home.iter().for_each(|home| set(HOME, home));
    given.inherited.iter().for_each(|(key, value)| set(key, value));
    image.iter().for_each(|(key, value)| set(key, value));
    set(env::GATEWAY_URL, given.gateway_url);
    set(TMPDIR, &text(given.temporary));
    deployment.env_vars.iter().for_each(|(key, value)| set(key, value));
    if !deployment.env_process.is_empty() {
        set(env::FPROCESS, &deployment.env_process);
    }
    set(env::FUNCTION_NAME, name.name());
    set(env::FUNCTION_NAMESPACE, name.namespace());
    set(env::SECRET_MOUNT_PATH, &text(given.secrets));
    match given.serves {
        Serves::Sockets { calls, metrics } => {
            set(env::SOCKET, &text(calls));
            set(env::METRICS_SOCKET, &text(metrics));
        }
        Serves::Port(port) => set(env::PORT, &port.to_string()),
    }
    match given.data {
        Some(data) => set(env::DATA_PATH, &text(data)),
        None => drop(variables.remove(env::DATA_PATH)),
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_gets_what_it_is_promised_and_nothing_else() {
        let name: FunctionName = "order".parse().unwrap();
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let deployment = FunctionDeployment {
            env_process: "./run".to_owned(),
            env_vars: pairs(&[("LEVEL", "mine"), ("CREMA_SOCKET", "/elsewhere"), ("OPENFAAS_NAME", "other")])
                .into_iter()
                .collect(),
            ..FunctionDeployment::default()
        };
        let given = Given {
            gateway_url: "http://127.0.0.1:1",
            inherited: &pairs(&[("TZ", "UTC")]),
            serves: Serves::Sockets { calls: Path::new("/r/s"), metrics: Path::new("/r/m") },
            secrets: Path::new("/r/secrets"),
            data: None,
            temporary: Path::new("/r/tmp"),
            home: Some("/"),
        };
        let image = pairs(&[("LEVEL", "image"), ("fprocess", "cat"), ("data_path", "/x"), ("PATH", "/bin")]);
        let variables: Vec<_> = variables(&image, &name, &deployment, &given).into_iter().collect();
        let wanted = pairs(&[
            ("CREMA_METRICS_SOCKET", "/r/m"),
            ("CREMA_SOCKET", "/r/s"),
            ("HOME", "/"),
            ("LEVEL", "mine"),
            ("OPENFAAS_NAME", "order"),
            ("OPENFAAS_NAMESPACE", "openfaas-fn"),
            ("PATH", "/bin"),
            ("TMPDIR", "/r/tmp"),
            ("TZ", "UTC"),
            ("fprocess", "./run"),
            ("gateway_url", "http://127.0.0.1:1"),
            ("secret_mount_path", "/r/secrets"),
        ]);
        assert_eq!(variables, wanted);
    }
}
