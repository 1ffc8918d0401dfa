//! A cluster, of which the gateway is a pod.

use super::backing::Backing;
use daemon::part::Part;
use daemon::{Env, Stop};
use provider::Provider;
use provider_kubernetes::{Config, KubernetesProvider};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long to wait before it is asked again whether the cluster has been read.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn backing(env: &impl Env) -> anyhow::Result<Backing> {
    let provider = KubernetesProvider::build(Config::from_env(env)?).await?;
    let (known, listed) = watch::channel(false);
    Ok(Backing {
        provider: Arc::clone(&provider) as _,
        listed,
        begin: Box::new(move |_gateway| {
            Part::start("provider", move |stop| async move {
                tokio::join!(Arc::clone(&provider).run(stop.clone()), wait_for_list(&*provider, &known, stop));
                anyhow::Ok(())
            })
        }),
    })
}

/// Notes when the provider has read the cluster: before, it answers nothing.
async fn wait_for_list(provider: &dyn Provider, known: &watch::Sender<bool>, stop: Stop) {
    let read = async {
        while let Err(error) = provider.namespaces().await {
            tracing::warn!(%error, "the gateway is not ready: it does not know yet what the cluster runs");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        known.send_replace(true);
        tracing::info!("what the cluster runs is known");
    };
    tokio::select! {
        () = read => {}
        () = stop.stopped() => {}
    }
}
