use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers one question after the other, with one status after the other and then for ever with the last one.
fn answer(
    streams: impl Iterator<Item = impl Read + Write> + Send + 'static,
    statuses: &'static [u16],
) -> Arc<AtomicUsize> {
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in streams {
            let mut request = [0; 1024];
            // A connection without a question only sees whether anyone listens.
            if stream.read(&mut request).unwrap_or(0) == 0 {
                continue;
            }
            let at = count.fetch_add(1, Ordering::SeqCst).min(statuses.len() - 1);
            let answer = format!("HTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n", statuses[at]);
            stream.write_all(answer.as_bytes()).unwrap_or_default();
        }
    });
    asked
}

fn waits(address: Address, probe: Probe) -> JoinHandle<()> {
    tokio::spawn(async move { timeout(PATIENCE, until_ready(&address, &probe)).await.unwrap() })
}

#[tokio::test]
async fn a_socket_that_is_renamed_into_place_is_asked_once() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let waiting = waits(Address::Unix((&socket).into()), Probe::default());
    while arrivals::watched() == 0 {
        tokio::task::yield_now().await;
    }
    let listener = UnixListener::bind(dir.path().join(".s")).unwrap();
    std::fs::rename(dir.path().join(".s"), &socket).unwrap();
    let asked = thread::spawn(move || {
        let streams = std::iter::from_fn(move || listener.accept().ok().map(|(stream, _)| stream));
        answer(streams, &[200])
    });
    waiting.await.unwrap();
    assert_eq!(asked.join().unwrap().load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_tcp_address_is_tried_until_someone_listens_and_asked_until_the_answer_is_yes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let waiting = waits(Address::Tcp(address), Probe::default());
    tokio::task::yield_now().await;
    let listener = TcpListener::bind(address).unwrap();
    let streams = std::iter::from_fn(move || listener.accept().ok().map(|(stream, _)| stream));
    let asked = answer(streams, &[503, 429, 200]);
    waiting.await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn several_successes_in_a_row_may_be_wanted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let streams = std::iter::from_fn(move || listener.accept().ok().map(|(stream, _)| stream));
    let asked = answer(streams, &[200, 503, 200]);
    waits(address, Probe { successes: 2, ..Probe::default() }).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn who_fails_its_health_probe_in_a_row_is_sick() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let streams = std::iter::from_fn(move || listener.accept().ok().map(|(stream, _)| stream));
    let asked = answer(streams, &[200, 500, 200, 500, 404, 500]);
    let probe = Probe { path: Some("/up".to_owned()), period: Some(Duration::from_millis(1)), ..Probe::default() };
    let begun = Instant::now();
    let how = timeout(PATIENCE, until_sick(&address, &Health { probe, failures: 3 })).await.unwrap();
    assert!(how.contains("GET /up answered 500 Internal Server Error, 3 times in a row"), "{how}");
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(asked.load(Ordering::SeqCst), 6);
}
