//! HTTP on one connection, the same whatever listener it came in at.

use crate::call::Scheme;
use crate::invoker::Invoker;
use crate::routes::routes;
use crate::state::State;
use crate::upgrade::{self, Wire};
use actix_codec::Framed;
use actix_http::body::BoxBody;
use actix_http::h1::{Codec, ExpectHandler};
use actix_http::{HttpService, Request};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_factory, fn_service, map_config,
};
use actix_web::HttpResponse;
use actix_web::dev::{AppConfig, ServiceResponse};
use daemon::Stop;
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a client's idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to close a connection that is closed on the gateway's side.
const DISCONNECT: Duration = Duration::from_secs(1);

/// What connections are served with.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) state: Arc<State>,
    pub(crate) stop: Stop,
    pub(crate) scheme: Scheme,
}

impl Http {
    /// What serves connections of one thread. `leaving` is asked for once for each connection, when it begins: what it
    /// returns ends when the connection is to take no further request.
    #[expect(clippy::type_complexity, reason = "what turns it into a service asks for each of these bounds")]
    pub(crate) fn service<T, F, L>(
        &self,
        leaving: F,
    ) -> HttpService<
        T,
        impl ServiceFactory<
            Request,
            Config = (),
            Response = ServiceResponse,
            Error = HttpResponse,
            InitError = (),
            Future: 'static,
            Service: Service<Request, Future: 'static>,
        > + use<T, F, L>,
        BoxBody,
        ExpectHandler,
        impl ServiceFactory<
            (Request, Framed<T, Codec>),
            Config = (),
            Response = (),
            Error = Infallible,
            InitError = (),
            Future: 'static,
        > + use<T, F, L>,
    >
    where
        T: Wire,
        F: Fn() -> L + 'static,
        L: Future<Output = ()> + 'static,
    {
        let Self { state, stop, scheme } = self.clone();
        let read_timeout = state.config.read_timeout;
        let invoker = Invoker::new(state);
        let app = || {
            let app = routes(&invoker, scheme, &stop).into_factory();
            map_config(app.map_err(|error| error.error_response()), |()| AppConfig::default())
        };
        // actix gives these away before it asks the routes.
        let (plain, caller) = (app(), Rc::clone(&invoker));
        let upgrades = fn_factory(move || {
            let (plain, invoker) = (plain.new_service(()), Rc::clone(&caller));
            async move {
                let plain = Rc::new(plain.await?);
                Ok::<_, ()>(fn_service(move |(request, framed): (Request, Framed<T, Codec>)| {
                    let (plain, invoker) = (Rc::clone(&plain), Rc::clone(&invoker));
                    async move {
                        upgrade::serve(&*plain, &invoker, scheme, request, framed).await;
                        Ok::<_, Infallible>(())
                    }
                }))
            }
        });
        HttpService::<T, _, BoxBody>::build()
            .graceful_shutdown_signal(leaving)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(read_timeout)
            .client_disconnect_timeout(DISCONNECT)
            .h1_allow_half_closed(false)
            .tcp_nodelay(true)
            .upgrade(upgrades)
            .finish(app())
    }
}
