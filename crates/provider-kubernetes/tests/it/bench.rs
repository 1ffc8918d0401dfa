//! A provider at work on the API server for tests, with the stand-in.

use crate::api::Api;
use crate::stand_in;
use daemon::stop::{self, Stopper};
use provider::Provider;
use provider_kubernetes::{Config, KubernetesProvider};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use wire::FunctionName;
use wire::function::FunctionDeployment;

pub(crate) const NAMESPACE: &str = wire::DEFAULT_NAMESPACE;

pub(crate) struct Bench {
    pub(crate) api: Api,
    pub(crate) provider: Arc<KubernetesProvider>,
    _stopper: Stopper,
    _stand_in: Option<AbortOnDropHandle<()>>,
}

impl Bench {
    /// With rights in the whole cluster, whose functions get replicas.
    pub(crate) fn new() -> Self {
        Self::at(Api::with_namespaces(&[NAMESPACE]), cluster())
    }

    pub(crate) fn at(api: Api, config: Config) -> Self {
        let client = api.client();
        let stand_in = Some(AbortOnDropHandle::new(tokio::spawn(stand_in::run(client, String::new()))));
        Self { _stand_in: stand_in, ..Self::alone(api, config) }
    }

    /// Where nobody gives functions replicas.
    pub(crate) fn alone(api: Api, config: Config) -> Self {
        let provider = KubernetesProvider::with_client(config, api.client());
        let (stopper, stop) = stop::pair();
        tokio::spawn(Arc::clone(&provider).run(stop));
        Self { api, provider, _stopper: stopper, _stand_in: None }
    }

    pub(crate) async fn deployed(&self, name: &str) -> FunctionName {
        self.provider.deploy(deployment(name)).await.unwrap();
        name.parse().unwrap()
    }

    pub(crate) async fn ready(&self, name: &FunctionName, wanted: usize) {
        eventually(&format!("{wanted} replicas of {name}"), async || self.count(name) == Some(wanted)).await;
    }

    /// Ready replicas; `None` when the table does not have the function.
    pub(crate) fn count(&self, name: &FunctionName) -> Option<usize> {
        self.provider.replicas().get(name).map(|found| found.ready.len())
    }
}

pub(crate) fn cluster() -> Config {
    Config { cluster_role: true, ..Config::default() }
}

pub(crate) fn deployment(name: &str) -> FunctionDeployment {
    FunctionDeployment { service: name.to_owned(), image: "owner/one:1".to_owned(), ..FunctionDeployment::default() }
}

/// Waits until something is true.
pub(crate) async fn eventually(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let patience = Instant::now();
    while !is_true().await {
        assert!(patience.elapsed() < Duration::from_secs(60), "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
