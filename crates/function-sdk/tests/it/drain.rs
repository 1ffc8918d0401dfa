//! Leaving: what is under way ends well, what comes late is told.

use crate::peers::exchange;
use crate::{settings, tcp};
use bytes::Bytes;
use function_sdk::server::{CallInfo, Leave, Server, Service};
use function_sdk::settings::Settings;
use function_sdk::testing;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Gives back what it gets, as it comes.
pub(crate) struct Echo;

impl Service for Echo {
    type Body = Incoming;

    async fn call(self: Rc<Self>, request: Request<Incoming>, _: CallInfo) -> Response<Incoming> {
        Response::new(request.into_body())
    }
}

/// Answers one call when it is told to.
struct Held {
    release: RefCell<Option<oneshot::Receiver<()>>>,
    entered: RefCell<Option<oneshot::Sender<()>>>,
    draining: Cell<bool>,
}

impl Service for Held {
    type Body = Full<Bytes>;

    async fn call(self: Rc<Self>, _: Request<Incoming>, _: CallInfo) -> Response<Full<Bytes>> {
        if let (Some(entered), Some(release)) = (self.entered.take(), self.release.take()) {
            entered.send(()).unwrap();
            release.await.unwrap();
        }
        Response::new(Full::from("held"))
    }

    fn draining(&self) {
        self.draining.set(true);
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[test]
fn after_the_signal_health_is_bad_calls_go_on_and_what_is_under_way_ends_well() {
    testing::block_on(async {
        let (release, released) = oneshot::channel();
        let (entered, inside) = oneshot::channel();
        let held = Rc::new(Held {
            release: RefCell::new(Some(released)),
            entered: RefCell::new(Some(entered)),
            draining: Cell::new(false),
        });
        let linger = Settings { healthcheck_interval: Duration::from_secs(2), ..settings() };
        let server = Server::bind(linger).unwrap();
        let address = tcp(&server.address());
        let (stop, stopped) = oneshot::channel();
        let run = server.run(Rc::clone(&held), async { stopped.await.unwrap() });
        let mut kept = TcpStream::connect(address).await.unwrap();
        let story = async {
            let under_way = tokio::task::spawn_local(exchange(address, GET));
            inside.await.unwrap();
            // A connection at rest, which must not hold the drain.
            kept.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            assert_ne!(kept.read(&mut [0; 1024]).await.unwrap(), 0);
            stop.send(Leave::Announced).unwrap();
            let health = "GET /_/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            crate::eventually(async || exchange(address, health).await.starts_with("HTTP/1.1 503")).await;
            assert!(held.draining.get());
            // Health is bad, and who calls all the same is answered.
            assert!(exchange(address, GET).await.ends_with("held"));
            // The listener closes, the call goes on.
            crate::eventually(async || TcpStream::connect(address).await.is_err()).await;
            assert!(!under_way.is_finished());
            release.send(()).unwrap();
            assert!(under_way.await.unwrap().ends_with("held"));
        };
        tokio::join!(run, story);
        assert_eq!(kept.read(&mut [0; 1024]).await.unwrap(), 0);
    });
}

#[test]
fn what_does_not_end_is_broken_off_after_write_timeout() {
    testing::block_on(async {
        let (_release, released) = oneshot::channel();
        let (entered, inside) = oneshot::channel();
        let held = Rc::new(Held {
            release: RefCell::new(Some(released)),
            entered: RefCell::new(Some(entered)),
            draining: Cell::new(false),
        });
        let server = Server::bind(Settings { write_timeout: Duration::from_millis(50), ..settings() }).unwrap();
        let address = tcp(&server.address());
        let call = tokio::task::spawn_local(exchange(address, GET));
        let run = server.run(held, async {
            inside.await.unwrap();
            Leave::AtOnce
        });
        tokio::time::timeout(Duration::from_secs(5), run).await.unwrap();
        assert_eq!(call.await.unwrap(), "");
    });
}

#[test]
fn a_service_streams_both_ways() {
    testing::block_on(async {
        let server = Server::bind(settings()).unwrap();
        let address = tcp(&server.address());
        let run = tokio::task::spawn_local(server.run(Rc::new(Echo), std::future::pending::<Leave>()));
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        let connection = tokio::task::spawn_local(connection);
        let (chunks, mut sent) = tokio::sync::mpsc::unbounded_channel();
        let body = StreamBody::new(futures_util::stream::poll_fn(move |context| {
            sent.poll_recv(context).map(|chunk| {
                chunk.map(|chunk: &'static str| Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk.as_bytes()))))
            })
        }));
        let answer = sender.send_request(Request::post("/").body(body).unwrap()).await.unwrap();
        let mut answer = answer.into_body();
        // Each chunk comes back before the next one is sent.
        for chunk in ["one", "two"] {
            chunks.send(chunk).unwrap();
            assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), chunk);
        }
        drop(chunks);
        assert!(answer.frame().await.is_none());
        connection.abort();
        run.abort();
    });
}
