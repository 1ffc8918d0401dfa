//! What every provider promises.

use crate::bench::{Bench, IMAGE, OTHER_IMAGE};
use async_trait::async_trait;
use provider::Provider;
use provider::suite::Subject;
use std::sync::Arc;
use tokio::sync::Mutex;

#[derive(Default)]
struct Local(Mutex<Option<Bench>>);

#[async_trait]
impl Subject for Local {
    async fn provider(&self) -> Arc<dyn Provider> {
        let bench = Bench::new();
        let provider = Arc::clone(&bench.provider);
        *self.0.lock().await = Some(bench);
        provider
    }

    fn image(&self) -> String {
        IMAGE.to_owned()
    }

    fn other_image(&self) -> String {
        OTHER_IMAGE.to_owned()
    }

    fn missing_image(&self) -> Option<String> {
        Some("test/missing:1".to_owned())
    }

    async fn after_a_crash(&self) -> Option<Arc<dyn Provider>> {
        let dir = self.0.lock().await.take()?.stop().await;
        let bench = Bench::at(dir, |_| {});
        let provider = Arc::clone(&bench.provider);
        *self.0.lock().await = Some(bench);
        Some(provider)
    }
}

provider::provider_suite!(Local::default());
