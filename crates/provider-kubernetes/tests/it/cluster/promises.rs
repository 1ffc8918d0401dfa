//! What every provider promises, on a real cluster; where there is none, on the API server for tests.

use super::elsewhere::Elsewhere;
use super::{Place, client, unique};
use crate::api::Api as TestApi;
use crate::bench::{NAMESPACE, cluster};
use crate::stand_in;
use async_trait::async_trait;
use daemon::stop::{self, Stopper};
use kube::Client;
use provider::Provider;
use provider::suite::Subject;
use provider_kubernetes::{Config, KubernetesProvider};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// Trials on the cluster at a time.
static TURNS: Semaphore = Semaphore::const_new(6);

#[derive(Default)]
struct Cluster(Mutex<Option<Site>>);

/// Where a trial takes place.
struct Site {
    client: Client,
    prefix: String,
    stoppers: Vec<Stopper>,
    _stand_in: AbortOnDropHandle<()>,
    _places: Vec<Place>,
    _turn: tokio::sync::SemaphorePermit<'static>,
}

impl Site {
    async fn provider(&mut self) -> Arc<dyn Provider> {
        let config = match self.prefix.is_empty() {
            true => cluster(),
            false => Config { function_namespaces: vec![format!("{}-fn", self.prefix)], ..cluster() },
        };
        let provider = KubernetesProvider::with_client(config, self.client.clone());
        let (stopper, stop) = stop::pair();
        self.stoppers = vec![stopper];
        tokio::spawn(Arc::clone(&provider).run(stop));
        provider.namespaces().await.unwrap();
        match self.prefix.is_empty() {
            true => provider,
            false => Arc::new(Elsewhere::new(provider, &self.prefix)),
        }
    }
}

#[async_trait]
impl Subject for Cluster {
    async fn provider(&self) -> Arc<dyn Provider> {
        let turn = TURNS.acquire().await.unwrap();
        let (client, prefix, places) = match client("a promise on a cluster").await {
            None => (TestApi::with_namespaces(&[NAMESPACE]).client(), String::new(), Vec::new()),
            Some(client) => {
                let prefix = unique();
                let place = Place::new(&client, format!("{prefix}-fn")).await;
                // What the suite makes itself goes with the test too.
                (client, prefix.clone(), vec![place, Place { name: format!("{prefix}-shop") }])
            }
        };
        let stand_in = AbortOnDropHandle::new(tokio::spawn(stand_in::run(client.clone(), prefix.clone())));
        let mut site = Site { client, prefix, stoppers: Vec::new(), _stand_in: stand_in, _places: places, _turn: turn };
        let provider = site.provider().await;
        *self.0.lock().await = Some(site);
        provider
    }

    fn image(&self) -> String {
        "owner/one:1".to_owned()
    }

    fn other_image(&self) -> String {
        "owner/two:2".to_owned()
    }

    /// The provider asks no registry.
    fn missing_image(&self) -> Option<String> {
        None
    }

    async fn after_a_crash(&self) -> Option<Arc<dyn Provider>> {
        let mut site = self.0.lock().await.take()?;
        let provider = site.provider().await;
        *self.0.lock().await = Some(site);
        Some(provider)
    }
}

provider::provider_suite!(Cluster::default());
