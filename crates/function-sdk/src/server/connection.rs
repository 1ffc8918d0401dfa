//! One connection, from its first request to its last.

use super::accept::Socket;
use super::upgrade::{Raw, Switch};
use super::watch::{Watch, Watched};
use super::{Core, Service, route};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::pin::{Pin, pin};
use std::rc::Rc;
use tokio::sync::watch;

/// The most a connection buffers of a request's head, and of a body at a time.
const BUFFER: usize = 64 * 1024;

/// Serves one connection. When `closing` turns true it ends after the request it is at.
pub(super) async fn serve<S: Service>(socket: Socket, core: Rc<Core<S>>, mut closing: watch::Receiver<bool>) {
    let watch = Watch::new(&core.settings);
    let switch = Rc::new(Switch::default());
    let service = service_fn(|request| route::answer(Rc::clone(&core), Rc::clone(&watch), Rc::clone(&switch), request));
    let io = TokioIo::new(Watched { socket, watch: Rc::clone(&watch) });
    // hyper's own header limit would set a timer for every request; `watch` looks after that.
    let mut connection =
        http1::Builder::new().header_read_timeout(None).max_buf_size(BUFFER).serve_connection(io, service);
    let mut expired = pin!(watch.expired());
    loop {
        let mut connection = Pin::new(&mut connection);
        tokio::select! {
            // Peers that go away or talk nonsense are no event: hyper has answered what can be answered.
            _ = connection.as_mut() => break,
            () = expired.as_mut() => return,
            // An error means that the server is gone, which ends the connection as well.
            _ = closing.wait_for(|closing| *closing), if !*closing.borrow() => connection.graceful_shutdown(),
        }
    }
    let raw = || {
        let parts = connection.into_parts();
        Raw::new(parts.io.into_inner().socket, parts.read_buf)
    };
    switch.run(raw).await;
}
