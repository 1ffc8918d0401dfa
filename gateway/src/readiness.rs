//! Whether calls are to be sent to this gateway: `/ready` on the private listener. `/healthz` says only that it lives.

use actix_web::{HttpResponse, web};
use daemon::Stop;
use tokio::sync::watch;

/// Whether calls are to be sent here: not before the functions are known, and not when the process is about to end.
#[derive(Clone, Debug)]
pub struct Readiness {
    stop: Stop,
    listed: watch::Receiver<bool>,
}

impl Readiness {
    /// Ready from when `listed` is true until `stop`.
    #[must_use]
    pub const fn new(stop: Stop, listed: watch::Receiver<bool>) -> Self {
        Self { stop, listed }
    }

    /// Waits until the functions are known. Whoever could say so being gone, nobody will call any.
    pub(crate) async fn listed(mut self) {
        if self.listed.wait_for(|is_listed| *is_listed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Why not.
    fn why_not(&self) -> Option<&'static str> {
        if self.stop.is_stopped() {
            return Some("the gateway is stopping");
        }
        (!*self.listed.borrow()).then_some("the functions are not known yet")
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
