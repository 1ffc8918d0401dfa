//! HTTP on one connection, the same whatever listener it came in at.

use crate::config::Config;
use crate::routes::routes;
use crate::state::State;
use actix_http::body::BoxBody;
use actix_http::h1::H1Service;
use actix_http::{HttpService, Request};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, map_config};
use actix_web::HttpResponse;
use actix_web::dev::{AppConfig, ServiceResponse};
use daemon::Stop;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a client's idle connection is kept.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to close a connection that is closed on its side.
const DISCONNECT: Duration = Duration::from_secs(1);

/// What serves connections, one for each thread. `leaving` is asked for once for each connection, when it begins: what
/// it returns ends when the connection is to take no further request.
pub(crate) fn http<F, L>(
    state: &Arc<State>,
    stop: &Stop,
    leaving: F,
) -> H1Service<
    TcpStream,
    impl ServiceFactory<
        Request,
        Config = (),
        Response = ServiceResponse,
        Error = HttpResponse,
        InitError = (),
        Future: 'static,
        Service: Service<Request, Future: 'static>,
    > + use<F, L>,
    BoxBody,
>
where
    F: Fn() -> L + 'static,
    L: Future<Output = ()> + 'static,
{
    let config: &Config = &state.config;
    let app = routes(state, stop).into_factory().map_err(|error| error.error_response());
    HttpService::<TcpStream, _, BoxBody>::build()
        .graceful_shutdown_signal(leaving)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(config.read_timeout)
        .client_disconnect_timeout(DISCONNECT)
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .h1(map_config(app, |()| AppConfig::default()))
}
