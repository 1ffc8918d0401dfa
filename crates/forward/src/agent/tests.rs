use super::*;
use crate::{Body, ForwardError, Limits, Pool, Reason, Upstream};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::cell::Cell;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{LocalSet, spawn_local};

/// An agent of this very network namespace that gives out as many sockets as `sockets` says; none and it closes
/// without an answer when that is `None`.
fn agent(path: &Path, sockets: Option<usize>) -> Rc<Cell<usize>> {
    let listener = UnixListener::bind(path).unwrap();
    let asked = Rc::<Cell<usize>>::default();
    let count = Rc::clone(&asked);
    spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, [ASK]);
            count.set(count.get() + 1);
            let Some(sockets) = sockets else { continue };
            let made: Vec<TcpSocket> = (0..sockets).map(|_| TcpSocket::new_v4().unwrap()).collect();
            let lent: Vec<BorrowedFd<'_>> = made.iter().map(AsFd::as_fd).collect();
            let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(8))];
            let mut control = SendAncillaryBuffer::new(&mut room);
            if !lent.is_empty() {
                assert!(control.push(SendAncillaryMessage::ScmRights(&lent)));
            }
            sendmsg(&stream, &[IoSlice::new(&byte)], &mut control, SendFlags::empty()).unwrap();
        }
    });
    asked
}

async fn get(pool: &Pool, agent: &Path, port: u16) -> Result<bytes::Bytes, ForwardError> {
    let upstream = Upstream::Inside { agent: agent.into(), port };
    let target = pool.target(&upstream);
    let request = || Some(hyper::Request::builder().uri("/").body(Body::Empty).unwrap());
    let response = target.send(Limits::default(), request).await?;
    Ok(response.body.collect(1024).await?.0)
}

async fn locally<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(tokio::time::timeout(Duration::from_secs(20), test)).await.unwrap()
}

#[tokio::test]
async fn a_port_inside_is_reached_by_the_agent_and_its_connection_used_again() {
    locally(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let function = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = function.local_addr().unwrap().port();
        spawn_local(async move {
            let (mut stream, _) = function.accept().await.unwrap();
            let mut head = [0; 1024];
            while stream.read(&mut head).await.unwrap() > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        });
        let (asked, pool) = (agent(&path, Some(1)), Pool::default());
        for _ in 0..3 {
            assert_eq!(get(&pool, &path, port).await.unwrap(), "ok");
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_failure_names_the_hop_and_nothing_was_sent() {
    locally(async {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::default();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (name, sockets, says) in [
            ("deaf", None, "without an answer"),
            ("empty", Some(0), "0 descriptors instead of one"),
            ("generous", Some(2), "2 descriptors instead of one"),
            ("lavish", Some(5), "descriptors instead of one"),
            ("right", Some(1), "in the function's network does not answer"),
        ] {
            let path = dir.path().join(name);
            agent(&path, sockets);
            let failed = get(&pool, &path, free).await.unwrap_err();
            assert!(matches!(failed.reason, Reason::Connect(_)) && failed.unread(), "{failed}");
            let text = failed.to_string();
            assert!(text.contains(says) && text.contains(name), "{text}");
        }
        let failed = get(&pool, &dir.path().join("nobody"), free).await.unwrap_err().to_string();
        assert!(failed.contains("gave no socket"), "{failed}");
    })
    .await;
}
