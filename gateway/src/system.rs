//! `/system/*`: the REST API, behind [`crate::auth`]. Every route answers itself: never a redirect, never 204.

mod alert;
mod body;
mod calls;
mod functions;
mod info;
mod logs;
mod namespaces;
mod peer;
mod query;
mod secrets;
mod whole;

use crate::respond::Refusal;
use actix_web::{HttpResponse, Route, web};

/// Registers the routes. Paths are relative to `/system`; the password has been asked for.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/functions")
                .route(web::get().to(functions::list))
                .route(web::head().to(functions::list))
                .route(web::post().to(functions::deploy))
                .route(web::put().to(functions::update))
                .route(web::delete().to(functions::delete))
                .default_service(only("GET, HEAD, POST, PUT, DELETE")),
        )
        .service(
            web::resource("/function/{name}")
                .route(web::get().to(functions::status))
                .route(web::head().to(functions::status))
                .default_service(only("GET, HEAD")),
        )
        .service(
            web::resource("/scale-function/{name}")
                .route(web::post().to(functions::scale))
                .default_service(only("POST")),
        )
        .service(
            web::resource("/secrets")
                .route(web::get().to(secrets::list))
                .route(web::head().to(secrets::list))
                .route(web::post().to(secrets::create))
                .route(web::put().to(secrets::update))
                .route(web::delete().to(secrets::delete))
                .default_service(only("GET, HEAD, POST, PUT, DELETE")),
        )
        .service(
            web::resource(["/namespace/", "/namespace/{namespace}"])
                .route(web::get().to(namespaces::get))
                .route(web::head().to(namespaces::get))
                .route(web::post().to(namespaces::create))
                .route(web::put().to(namespaces::update))
                .route(web::delete().to(namespaces::delete))
                .default_service(only("GET, HEAD, POST, PUT, DELETE")),
        )
        .configure(readings);
}

/// The routes that are only read, dead letters that begin anew, and the alert.
fn readings(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/info")
                .route(web::get().to(info::get))
                .route(web::head().to(info::get))
                .default_service(only("GET, HEAD")),
        )
        .service(
            web::resource("/namespaces")
                .route(web::get().to(namespaces::list))
                .route(web::head().to(namespaces::list))
                .default_service(only("GET, HEAD")),
        )
        .service(
            web::resource("/calls/{id}")
                .route(web::get().to(calls::get))
                .route(web::head().to(calls::get))
                .default_service(only("GET, HEAD")),
        )
        .service(
            web::resource("/dead-letters")
                .route(web::get().to(calls::dead_letters))
                .route(web::head().to(calls::dead_letters))
                .default_service(only("GET, HEAD")),
        )
        .service(
            web::resource("/dead-letters/{id}").route(web::post().to(calls::requeue)).default_service(only("POST")),
        )
        .service(web::resource("/peer/counts").route(web::get().to(peer::counts)).default_service(only("GET")))
        .service(web::resource("/logs").route(web::get().to(logs::stream)).default_service(only("GET")))
        .service(web::resource("/alert").route(web::post().to(alert::receive)).default_service(only("POST")));
}

/// What a route answers to a method that it does not have.
fn only(allowed: &'static str) -> Route {
    web::to(move || async move { Err::<HttpResponse, Refusal>(Refusal::MethodNotAllowed(allowed)) })
}
