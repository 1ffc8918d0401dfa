//! The routes that clients and functions see, the same on every listener.

use crate::call::Scheme;
use crate::invoker::Invoker;
use crate::respond::{self, Refusal};
use crate::{async_function, auth, function, system};
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, web};
use daemon::Stop;
use std::rc::Rc;
use std::sync::Arc;

/// The routes, for one thread, which calls functions by `invoker`.
pub(crate) fn routes(
    invoker: &Rc<Invoker>,
    scheme: Scheme,
    stop: &Stop,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = actix_web::Error, InitError = ()>
    + use<>,
> {
    App::new()
        .app_data(web::Data::from(Arc::clone(invoker.state())))
        // What has no end of its own, such as a followed log, ends with the gateway.
        .app_data(web::Data::new(stop.clone()))
        .app_data(Rc::clone(invoker))
        .app_data(scheme)
        .service(web::scope("/function").default_service(web::to(function::handle)))
        .service(web::scope("/async-function").default_service(web::to(async_function::handle)))
        .service(
            web::scope("/system")
                .wrap(from_fn(auth::require))
                .wrap(from_fn(respond::survive))
                .configure(system::routes),
        )
        .route("/healthz", web::get().to(healthz))
        .default_service(web::to(not_found))
}

pub(crate) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("OK")
}

pub(crate) async fn not_found() -> Result<HttpResponse, Refusal> {
    Err(Refusal::NotFound("404 page not found".to_owned()))
}
