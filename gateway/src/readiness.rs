//! Whether calls are to be sent to this gateway: `/ready` on the private listener. `/healthz` says only that it lives.

use actix_web::{HttpResponse, web};
use daemon::Stop;
use std::sync::Arc;

/// Whether calls are to be sent here: not before the functions are known, and not when the process is about to end.
#[derive(Clone)]
pub struct Readiness {
    stop: Stop,
    listed: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Readiness {
    /// Ready from when `listed` is true, asked anew each time, until `stop`.
    pub fn new(stop: Stop, listed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { stop, listed: Arc::new(listed) }
    }

    /// Why not.
    fn why_not(&self) -> Option<&'static str> {
        if self.stop.is_stopped() {
            return Some("the gateway is stopping");
        }
        (!(self.listed)()).then_some("the functions are not known yet")
    }
}

pub(crate) async fn ready(readiness: web::Data<Readiness>) -> HttpResponse {
    match readiness.why_not() {
        None => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("OK"),
        Some(why) => {
            HttpResponse::ServiceUnavailable().content_type("text/plain; charset=utf-8").body(format!("{why}\n"))
        }
    }
}
