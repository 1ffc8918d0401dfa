//! Work that is finished once begun. The server drops a request's future when its client goes, and half a deployment
//! helps nobody.

use crate::respond::Refusal;
use provider::{Provider, ProviderError};
use std::sync::Arc;

/// Lets the provider do something to its end, whether or not someone waits for it.
pub(super) async fn change<T, F>(
    provider: &Arc<dyn Provider>,
    work: impl FnOnce(Arc<dyn Provider>) -> F,
) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ProviderError>> + Send + 'static,
{
    // Not joined when the client goes: that is the point.
    match tokio::spawn(work(Arc::clone(provider))).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(Refusal::Internal(format!("the provider broke off: {error}; see the gateway's log"))),
    }
}
