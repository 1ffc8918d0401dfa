//! The call a piece of code runs in: its id for the log, its trace context for the calls it makes.

use hyper::http::{HeaderMap, HeaderValue};
use std::future::Future;
use wire::header;

/// What is known of the call that runs.
#[derive(Clone, Debug)]
pub(crate) struct CurrentCall {
    pub(crate) id: String,
    pub(crate) traceparent: Option<HeaderValue>,
    pub(crate) tracestate: Option<HeaderValue>,
}

tokio::task_local! {
    static CURRENT: CurrentCall;
}

impl CurrentCall {
    pub(crate) fn new(id: &str, headers: &HeaderMap) -> Self {
        Self {
            id: id.to_owned(),
            traceparent: headers.get(header::TRACEPARENT).cloned(),
            tracestate: headers.get(header::TRACESTATE).cloned(),
        }
    }

    /// Runs `work` as part of this call.
    pub(crate) async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// Looks at the call this code runs in, if any.
pub(crate) fn with_current<T>(look: impl FnOnce(&CurrentCall) -> T) -> Option<T> {
    CURRENT.try_with(look).ok()
}

/// The call id a request carries, or a new one.
pub(crate) fn of(headers: &HeaderMap) -> String {
    /// Longer ones are no ids: they would fill logs.
    const LONGEST: usize = 256;
    let given = headers.get(header::CALL_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id) if !id.is_empty() && id.len() <= LONGEST => id.to_owned(),
        _ => uuid::Uuid::new_v4().to_string(),
    }
}
