//! An order is one trace, seen in a real OTLP receiver.

use crate::{espresso, shop_with};
use e2e::eventually;
use e2e::platform::{Options, State};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A receiver of OTLP over HTTP: keeps what is posted to `/v1/traces`.
async fn receiver() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    kept.lock().unwrap().extend_from_slice(&buffer[..read]);
                    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(head).await.unwrap_or_default();
                }
            });
        }
    });
    (url, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace() {
    let (url, received) = receiver().await;
    let state = State::default();
    let mut options = Options::default();
    options.environment.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), url));
    options.environment.push(("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "100".to_owned()));
    let platform = shop_with(&state, options).await;
    let trace = [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = platform
        .http
        .send(
            "POST",
            &platform.url("/async-function/order"),
            &[("traceparent", parent)],
            espresso("traced").to_string(),
        )
        .await
        .unwrap();
    assert_eq!(answer.status, 202);
    // One trace: the call that was queued, its delivery, and the order's own calls of inventory and payment.
    eventually("order, inventory and payment are in one trace", || async {
        let bytes = received.lock().unwrap().clone();
        let spans = bytes.windows(trace.len()).filter(|window| *window == trace).count();
        let named = |name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
        let all = spans >= 5
            && ["order.openfaas-fn", "inventory.openfaas-fn", "payment.openfaas-fn"].iter().all(|name| named(name));
        all.then_some(()).ok_or(format!("{spans} spans, {} bytes", bytes.len()))
    })
    .await;
}
