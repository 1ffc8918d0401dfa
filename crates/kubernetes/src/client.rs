//! A client of the API server: that of the pod we run in, or the one a kubeconfig names.

use kube::{Client, Config};
use std::time::Duration;

/// How long to wait for a connection: an API server that is away is asked again, not waited for.
const CONNECT: Duration = Duration::from_secs(5);
/// After so long without a byte a connection to the API server is dead: the node it went to may be gone without a word.
pub const SILENCE: Duration = Duration::from_secs(75);
/// How long a watch goes before the server ends it and it is resumed. Sooner than [`SILENCE`], or a watch with nothing to
/// say would count as dead.
pub const WATCH_SECONDS: u32 = 55;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor a pod's account.
    #[error(
        "there is no Kubernetes to talk to: run in a pod with a service account, or name a kubeconfig in KUBECONFIG: {0}"
    )]
    NoConfig(#[from] kube::config::InferConfigError),
    /// What is configured cannot be used.
    #[error("the Kubernetes client cannot be made from its configuration: {0}")]
    Unusable(#[from] kube::Error),
}

/// Makes a client. It connects when it is first used.
pub async fn client() -> Result<Client, ClientError> {
    client_with_patience(None).await
}

/// The same, for which a connection is dead when nothing has come for so long: watches must end sooner than that. Whoever
/// gives a patience tries again himself too: kube's own repetitions of a call go on for minutes, and the last pause alone
/// is longer than most API servers are away.
pub async fn client_with_patience(silence: Option<Duration>) -> Result<Client, ClientError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = silence;
    config.default_retry = silence.is_none();
    config.reset_reader_on_write = true;
    Ok(Client::try_from(config)?)
}
