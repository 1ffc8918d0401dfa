use super::*;
use crate::tests::{locally, read_head, upstream};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const YES: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: x-private, upgrade\r\nX-Private: 1\r\n\
                     Upgrade: WebSocket\r\nSec-WebSocket-Accept: a\r\n\r\n";

async fn switch(target: &Rc<Target>) -> Result<Switched, ForwardError> {
    let request = Request::builder().uri("/x").header("connection", "te").header("te", "trailers");
    let limits = Limits { total: Duration::from_secs(5), ..Limits::default() };
    target.switch(limits, &HeaderValue::from_static("websocket"), request.body(Body::Empty).unwrap()).await
}

#[tokio::test]
async fn bytes_go_both_ways_and_either_side_may_end_first() {
    locally(async {
        let target = upstream(|mut stream, number| async move {
            let head = String::from_utf8(read_head(&mut stream).await).unwrap();
            assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
            assert!(!head.contains("te:") && !head.contains("content-length"), "{head}");
            // What is said at once comes with the head.
            stream.write_all(&[YES, b"hello "].concat()).await.unwrap();
            if number == 0 {
                let mut said = String::new();
                stream.read_to_string(&mut said).await.unwrap();
                stream.write_all(format!("you said {said}").as_bytes()).await.unwrap();
            } else {
                stream.shutdown().await.unwrap();
                let mut said = String::new();
                stream.read_to_string(&mut said).await.unwrap();
                assert_eq!(said, "still here");
            }
        })
        .await;
        for (number, expected) in ["hello you said this", "hello "].into_iter().enumerate() {
            let Switched::Yes { headers, mut tunnel } = switch(&target).await.unwrap() else { panic!("no 101") };
            assert_eq!(headers.get("sec-websocket-accept").unwrap(), "a");
            assert!(!headers.contains_key(UPGRADE) && !headers.contains_key("x-private"), "{headers:?}");
            assert_eq!(target.in_flight(), 1);
            let mut heard = String::new();
            if number == 0 {
                tunnel.write_all(b"this").await.unwrap();
                tunnel.shutdown().await.unwrap();
                tunnel.read_to_string(&mut heard).await.unwrap();
            } else {
                tunnel.read_to_string(&mut heard).await.unwrap();
                tunnel.write_all(b"still here").await.unwrap();
            }
            assert_eq!(heard, expected);
            drop(tunnel);
            assert_eq!((target.in_flight(), target.idle_count()), (0, 0));
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_in_http_is_an_answer_and_its_connection_is_kept() {
    locally(async {
        let target = upstream(|mut stream, _| async move {
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
            }
        })
        .await;
        let Switched::No(response) = switch(&target).await.unwrap() else { panic!("no answer in HTTP") };
        assert_eq!((response.status.as_u16(), response.body.collect(9).await.unwrap().0), (403, "no".into()));
        let request = || Some(Request::builder().uri("/").body(Body::Empty).unwrap());
        assert_eq!(target.send(Limits::default(), request).await.unwrap().status, 403);
    })
    .await;
}

#[tokio::test]
async fn a_switch_that_was_not_asked_for_is_refused() {
    locally(async {
        let target = upstream(|mut stream, number| async move {
            read_head(&mut stream).await;
            let upgrade = ["", "Upgrade: h2c\r\n"][number];
            let head = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n{upgrade}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        for _ in 0..2 {
            let failed = switch(&target).await.unwrap_err();
            assert!(failed.to_string().contains("not asked for"), "{failed}");
        }
    })
    .await;
}
