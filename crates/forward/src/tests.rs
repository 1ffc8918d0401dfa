use crate::{Body, Limits, Pool, Reason, Settings, Target, UnixSocket, Upstream};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::{Method, Request};
use std::cell::Cell;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::{LocalSet, spawn_local};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub(crate) async fn locally<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

/// An upstream whose connections are `serve`'s, each told its number.
pub(crate) async fn upstream<F: Future<Output = ()> + 'static>(
    serve: impl Fn(TcpStream, usize) -> F + 'static,
) -> Rc<Target> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            spawn_local(serve(stream, number));
        }
    });
    Pool::default().target(&Upstream::Tcp(address))
}

/// One that answers, and on its first connection reads the second request whole and then closes or resets.
async fn breaking_off(reset: bool) -> Rc<Target> {
    upstream(move |mut stream, number| async move {
        let request = read_whole(&mut stream).await;
        assert!(request.ends_with(b"\r\n\r\nx"));
        stream.write_all(OK).await.unwrap();
        if number == 0 {
            read_whole(&mut stream).await;
            if reset {
                stream.set_zero_linger().unwrap();
            }
        }
    })
    .await
}

/// Reads one of the requests that `request` makes.
async fn read_whole(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = read_head(stream).await;
    if request.ends_with(b"\r\n\r\n") {
        stream.read_buf(&mut request).await.unwrap();
    }
    request
}

pub(crate) async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap() == 0 {
            break;
        }
    }
    head
}

fn request(method: Method) -> Request<Body> {
    Request::builder().method(method).uri("/").body(Body::Full(Bytes::from_static(b"x"))).unwrap()
}

async fn get(target: &Rc<Target>) -> Result<Bytes, crate::ForwardError> {
    let mut response = target.send(Limits::default(), || Some(request(Method::GET))).await?;
    Ok(response.body.chunk().await.transpose()?.unwrap_or_default())
}

async fn eventually(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_the_newest_first() {
    locally(async {
        let target = upstream(|mut stream, number| async move {
            while !read_head(&mut stream).await.is_empty() {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
        let (first, second) = tokio::join!(get(&target), get(&target));
        assert_ne!(first.unwrap(), second.unwrap());
        eventually(|| target.idle_count() == 2).await;
        let newest = get(&target).await.unwrap();
        assert_eq!(get(&target).await.unwrap(), newest);
        assert_eq!((target.idle_count(), target.in_flight()), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn a_call_that_may_run_twice_is_sent_again_once() {
    locally(async {
        for reset in [false, true] {
            let target = breaking_off(reset).await;
            get(&target).await.unwrap();
            let made = Cell::new(0);
            let sent = target.send(Limits::default(), || {
                made.set(made.get() + 1);
                Some(request(Method::GET))
            });
            assert_eq!(sent.await.unwrap().status, 200, "{reset}");
            assert_eq!(made.get(), 2, "{reset}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_that_nobody_read_is_sent_again_once() {
    locally(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let target = Pool::default().target(&Upstream::Unix((&path).into()));
        spawn_local(async move {
            for number in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
                stream.write_all(OK).await.unwrap();
                if number == 0 {
                    // The second request of the first connection.
                    stream.readable().await.unwrap();
                }
            }
        });
        get(&target).await.unwrap();
        let made = Cell::new(0);
        let sent = target.send(Limits::default(), || {
            made.set(made.get() + 1);
            Some(request(Method::POST))
        });
        assert_eq!(sent.await.unwrap().status, 200);
        assert_eq!(made.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_nobody_read_may_go_elsewhere() {
    locally(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let target = Pool::default().target(&Upstream::Unix((&path).into()));
        let going = spawn_local(async move {
            let (mut kept, _) = listener.accept().await.unwrap();
            assert_ne!(kept.read(&mut [0; 1024]).await.unwrap(), 0);
            kept.write_all(OK).await.unwrap();
            // The next one is closed with a request in it that nobody has read.
            let (unread, _) = listener.accept().await.unwrap();
            unread.readable().await.unwrap();
            kept
        });
        get(&target).await.unwrap();
        eventually(|| target.idle_count() == 1).await;
        let idle = target.idle().unwrap();
        let failed = target.send(Limits::default(), || Some(request(Method::POST))).await.unwrap_err();
        assert!(failed.unread() && matches!(failed.reason, Reason::Closed(_)), "{failed}");
        let kept = going.await.unwrap();
        // The kept connection is closed under the next one, and there is nobody to connect to.
        target.put_back(idle);
        drop(kept);
        std::fs::remove_file(&path).unwrap();
        let failed = target.send(Limits::default(), || Some(request(Method::POST))).await.unwrap_err();
        assert!(failed.unread() && matches!(failed.reason, Reason::Connect(_)), "{failed}");
    })
    .await;
}

#[tokio::test]
async fn a_call_that_may_have_run_fails_instead() {
    locally(async {
        // A reset tells nothing: it had read the request.
        for reset in [false, true] {
            let target = breaking_off(reset).await;
            get(&target).await.unwrap();
            let failed = target.send(Limits::default(), || Some(request(Method::POST))).await.unwrap_err();
            assert!(matches!(failed.reason, Reason::Closed(_)), "{reset}: {failed}");
            assert!(!failed.unread(), "{reset}");
            assert_eq!(target.in_flight(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_streamed_body_is_not_made_up_again() {
    locally(async {
        let target = upstream(|mut stream, number| async move {
            let request = read_head(&mut stream).await;
            assert!(number == 0 || request.is_empty(), "sent again without its body");
            stream.write_all(OK).await.unwrap();
            stream.readable().await.unwrap();
        })
        .await;
        get(&target).await.unwrap();
        let chunks = || stream::iter([Ok(Bytes::from_static(b"x"))]).chain(stream::pending());
        let mut body = Some(Body::stream(chunks(), None));
        let failed = target.send(Limits::default(), || Some(Request::new(body.take()?))).await.unwrap_err();
        assert!(matches!(failed.reason, Reason::Closed(_)), "{failed}");
    })
    .await;
}

#[tokio::test]
async fn time_limits_hold_before_and_within_the_answer() {
    locally(async {
        let limits = Limits { total: Duration::from_secs(1), ..Limits::default() };
        let silent = upstream(|stream, _| async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
        .await;
        let failed = silent.send(limits, || Some(request(Method::GET))).await.unwrap_err();
        assert!(matches!(failed.reason, Reason::TimedOut(_)), "{failed}");
        let stuck = upstream(|mut stream, _| async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let mut response = stuck.send(limits, || Some(request(Method::GET))).await.unwrap();
        assert_eq!(response.body.chunk().await.unwrap().unwrap(), "ab");
        let failed = response.body.chunk().await.unwrap().unwrap_err();
        assert!(matches!(failed.reason, Reason::TimedOut(_)), "{failed}");
        drop(response);
        assert_eq!((stuck.in_flight(), stuck.idle_count()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_always_has_more_ends_at_its_limit() {
    locally(async {
        let limits = Limits { total: Duration::from_secs(1), ..Limits::default() };
        let target = upstream(|mut stream, _| async move {
            read_head(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n";
            stream.write_all(answer).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let mut response = target.send(limits, || Some(request(Method::GET))).await.unwrap();
        assert_eq!(response.body.chunk().await.unwrap().unwrap(), "ab");
        // What comes next is there by then, and too late.
        tokio::time::sleep(limits.total).await;
        let failed = response.body.chunk().await.unwrap().unwrap_err();
        assert!(matches!(failed.reason, Reason::TimedOut(_)), "{failed}");
    })
    .await;
}

#[tokio::test]
async fn unix_sockets_serve_and_what_is_not_there_is_told_before_anything_is_sent() {
    locally(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let pool = Pool::default();
        let target = pool.target(&Upstream::Unix((&path).into()));
        let failed = target.send(Limits::default(), || unreachable!("nothing to send it to")).await.unwrap_err();
        assert!(failed.unread() && failed.to_string().contains("unix:/"), "{failed}");
        let listener = UnixListener::bind(&path).unwrap();
        spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            assert_ne!(stream.read(&mut head).await.unwrap(), 0);
            stream.write_all(OK).await.unwrap();
        });
        assert_eq!(get(&target).await.unwrap(), "ok");
    })
    .await;
}

#[tokio::test]
async fn idle_connections_and_unused_targets_go() {
    locally(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream::Tcp(listener.local_addr().unwrap());
        let pool = Pool::new(Settings { idle_for: Duration::from_millis(20), ..Settings::default() });
        let target = pool.target(&upstream);
        let closed = spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            read_head(&mut stream).await
        });
        get(&target).await.unwrap();
        assert_eq!(target.idle_count(), 1);
        assert!(closed.await.unwrap().is_empty(), "the connection is closed");
        drop(target);
        eventually(|| pool.target_count() == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_link_where_the_socket_should_be_leads_nowhere() {
    locally(async {
        let dir = tempfile::tempdir().unwrap();
        let (other, link) = (dir.path().join("other"), dir.path().join("s"));
        let listener = UnixListener::bind(&other).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        let target = Pool::default().target(&Upstream::Unix(link.into()));
        let error = get(&target).await.unwrap_err();
        assert!(matches!(&error.reason, Reason::Connect(_)), "{error}");
        assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none());
    })
    .await;
}

#[tokio::test]
async fn a_socket_in_a_directory_without_a_path_is_reached() {
    locally(async {
        let dir = tempfile::tempdir().unwrap();
        let open = || OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let seen_at = Path::new("/run/crema/s");
        let (one, other) = (UnixSocket::within(open(), seen_at), UnixSocket::within(open(), seen_at));
        assert_ne!(one, other, "that they are the same directory cannot be known");
        assert_eq!(one, one.clone());
        assert_ne!(one, UnixSocket::from(seen_at));
        let listener = UnixListener::bind(one.path()).unwrap();
        // Whatever becomes of the path.
        let moved = dir.path().with_extension("moved");
        std::fs::rename(dir.path(), &moved).unwrap();
        let answered = spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
            stream.write_all(OK).await.unwrap();
        });
        let target = Pool::default().target(&Upstream::Unix(one));
        let answer = get(&target).await;
        std::fs::rename(&moved, dir.path()).unwrap();
        answer.unwrap();
        answered.await.unwrap();
        // Whoever reads of it knows it by the function's path.
        assert_eq!(target.upstream().to_string(), "unix:/run/crema/s");
    })
    .await;
}
