//! What every provider promises, on the API server for tests.

use crate::api::Api;
use crate::bench::{Bench, NAMESPACE, cluster};
use async_trait::async_trait;
use provider::Provider;
use provider::suite::Subject;
use std::sync::Arc;
use tokio::sync::Mutex;

#[derive(Default)]
struct Cluster(Mutex<Option<Bench>>);

impl Cluster {
    async fn at(&self, api: Api) -> Arc<dyn Provider> {
        let bench = Bench::at(api, cluster());
        let provider = Arc::clone(&bench.provider);
        // The suite looks into the table before it calls anything.
        provider.namespaces().await.unwrap();
        *self.0.lock().await = Some(bench);
        provider
    }
}

#[async_trait]
impl Subject for Cluster {
    async fn provider(&self) -> Arc<dyn Provider> {
        self.at(Api::with_namespaces(&[NAMESPACE])).await
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
        let api = self.0.lock().await.take()?.stop();
        Some(self.at(api).await)
    }
}

provider::provider_suite!(Cluster::default());
