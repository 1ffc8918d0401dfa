//! Who runs functions, of those that were built in.

use crate::Gateway;
use anyhow::bail;
use daemon::part::Part;
use daemon::{Clock, Env, StateDir};
use provider::Provider;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// `local` or `kubernetes`.
const ENV_PROVIDER: &str = "CREMA_PROVIDER";

/// Which provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// This machine.
    #[cfg(feature = "local")]
    Local,
    /// A cluster, of which the gateway is a pod.
    #[cfg(feature = "kubernetes")]
    Kubernetes,
}

/// All that were built in; the first one is the usual one.
const KINDS: &[Kind] = &[
    #[cfg(feature = "local")]
    Kind::Local,
    #[cfg(feature = "kubernetes")]
    Kind::Kubernetes,
];

/// A provider, and what it wants of the gateway.
pub(super) struct Backing {
    pub(super) provider: Arc<dyn Provider>,
    /// Whether it knows all functions by now.
    pub(super) listed: watch::Receiver<bool>,
    /// Begins its work, once the gateway has its ports.
    pub(super) begin: Box<dyn FnOnce(&Gateway) -> Part + Send>,
}

impl Kind {
    pub(super) fn from_env(env: &impl Env) -> anyhow::Result<Self> {
        let wanted = env.get(ENV_PROVIDER);
        let mut kinds = KINDS.iter().copied();
        let found = match &wanted {
            None => kinds.next(),
            Some(name) => kinds.find(|kind| kind.to_string() == *name),
        };
        let Some(found) = found else {
            let known: Vec<String> = KINDS.iter().map(ToString::to_string).collect();
            bail!("{ENV_PROVIDER}={}: this gateway is built with {}", wanted.unwrap_or_default(), known.join(" and "));
        };
        Ok(found)
    }

    /// Where functions reach the gateway, when not where clients do.
    pub(super) fn functions_listener(self) -> Option<SocketAddr> {
        match self {
            #[cfg(feature = "local")]
            Self::Local => Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes => None,
        }
    }

    #[cfg_attr(not(feature = "local"), expect(unused_variables, reason = "a cluster keeps its own state and time"))]
    pub(super) async fn backing(
        self,
        env: &impl Env,
        state: &StateDir,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Backing> {
        match self {
            #[cfg(feature = "local")]
            Self::Local => super::local::backing(env, state, clock).await,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes => super::kubernetes::backing(env).await,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            #[cfg(feature = "local")]
            Self::Local => "local",
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes => "kubernetes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_is_not_built_in_is_refused_with_those_that_are() {
        assert_eq!(Kind::from_env(&[]).unwrap(), KINDS[0]);
        for kind in KINDS {
            assert_eq!(Kind::from_env(&[(ENV_PROVIDER, kind.to_string().as_str())]).unwrap(), *kind);
        }
        let error = Kind::from_env(&[(ENV_PROVIDER, "swarm")]).unwrap_err().to_string();
        assert!(error.contains("CREMA_PROVIDER=swarm") && error.contains(&KINDS[0].to_string()), "{error}");
    }
}
