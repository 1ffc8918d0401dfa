//! HTTP on one connection, the same whatever listener it came in at.

use crate::call::Scheme;
use crate::invoker::Invoker;
use crate::routes::routes;
use crate::state::State;
use crate::upgrade::{self, Wire};
use crate::watch::{self, Answer, Watch, Watched};
use actix_codec::Framed;
use actix_http::error::DispatchError;
use actix_http::h1::Codec;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_factory, fn_service,
    map_config,
};
use actix_web::HttpResponse;
use actix_web::dev::AppConfig;
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
    pub(crate) fn service<T, F, L>(
        &self,
        leaving: F,
    ) -> impl ServiceFactory<
        T,
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
        Service: Service<T, Response = (), Error = DispatchError, Future: 'static>,
    > + use<T, F, L>
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
                Ok::<_, ()>(fn_service(move |(request, framed): (Request, Framed<Watched<T>, Codec>)| {
                    let (plain, invoker) = (Rc::clone(&plain), Rc::clone(&invoker));
                    framed.io_ref().watch.given_away();
                    let framed = framed.into_map_io(|watched| watched.io);
                    async move {
                        upgrade::serve(&*plain, &invoker, scheme, request, framed).await;
                        Ok::<_, Infallible>(())
                    }
                }))
            }
        });
        let answering = apply_fn_factory(app(), |mut request: Request, routes| {
            let watch = request.conn_data::<Rc<Watch>>().cloned();
            if let Some(watch) = &watch {
                watch.request(&mut request);
            }
            let answer = routes.call(request);
            async move {
                let answer = answer.await.map_or_else(|refused| refused, HttpResponse::from);
                Ok(Response::from(answer).map_body(|_, body| Answer { body, watch }))
            }
        });
        let http = HttpService::<Watched<T>, _, Answer>::build()
            .graceful_shutdown_signal(leaving)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(read_timeout)
            .client_disconnect_timeout(DISCONNECT)
            .h1_allow_half_closed(false)
            .on_connect_ext(|watched: &Watched<T>, data| drop(data.insert(Rc::clone(&watched.watch))))
            .upgrade(upgrades)
            .finish(answering);
        apply_fn_factory(http, move |io: T, http| {
            let socket = io.socket();
            socket.set_nodelay(true).unwrap_or_default();
            let peer = socket.peer_addr().ok();
            let watch = Watch::new(read_timeout, KEEP_ALIVE);
            let watched = Watched { io, watch: Rc::clone(&watch) };
            watch::serve(Box::pin(http.call((watched, Protocol::Http1, peer))), watch)
        })
    }
}
