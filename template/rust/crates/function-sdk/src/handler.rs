//! The function itself.

use crate::{Request, Response};
use std::future::Future;

/// Answers calls. Many run at once, all on one thread: the futures need not be `Send`.
///
/// A call that goes beyond `exec_timeout` is dropped at its next `await` and answered 504. A caller that goes away
/// stops nothing: the call runs to its end.
pub trait Handler: 'static {
    /// Answers one call.
    fn handle(&self, request: Request) -> impl Future<Output = Response>;
}

impl<F> Handler for F
where
    F: AsyncFn(Request) -> Response + 'static,
{
    async fn handle(&self, request: Request) -> Response {
        self(request).await
    }
}
