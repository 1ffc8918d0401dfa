use super::*;
use crate::call::Scheme;
use crate::counters::Counters;
use crate::metrics::Metrics;
use crate::state::State;
use crate::{Config, Parts};
use provider::memory::MemoryProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);
const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

async fn read(client: &mut TcpStream) -> usize {
    tokio::time::timeout(PATIENCE, client.read(&mut [0; 1024])).await.expect("it is served").unwrap()
}

#[tokio::test]
async fn a_full_listener_serves_no_more_and_harms_no_other() {
    let parts = Parts { provider: Arc::new(MemoryProvider::new()), queue: None, clock: Arc::new(daemon::SystemClock) };
    let config = Config { workers: 1, ..Config::default() };
    let state = Arc::new(State::new(config, parts, Metrics::new().unwrap(), Counters::default()));
    let (door, doorway) = door(Duration::from_secs(60));
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (narrow, wide) = (listen(), listen());
    let (to_narrow, to_wide) = (narrow.local_addr().unwrap(), wide.local_addr().unwrap());
    let _guards = (door.open(narrow, 1).unwrap(), door.open(wide, 9).unwrap());
    let (stopper, stop) = daemon::stop::pair();
    let last = stop.clone().stopped();
    let http = Http { state, stop, scheme: Scheme("http") };
    let serving = tokio::spawn(doorway.serve(http, 2, last, Duration::from_millis(10)));

    let mut first = TcpStream::connect(to_narrow).await.unwrap();
    first.write_all(GET).await.unwrap();
    assert_ne!(read(&mut first).await, 0);
    let mut second = TcpStream::connect(to_narrow).await.unwrap();
    second.write_all(GET).await.unwrap();
    let mut other = TcpStream::connect(to_wide).await.unwrap();
    other.write_all(GET).await.unwrap();
    assert_ne!(read(&mut other).await, 0);
    // Whoever is served is so at once: by now it would have been its turn.
    assert_eq!(second.try_read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(first);
    assert_ne!(read(&mut second).await, 0);
    stopper.stop();
    tokio::time::timeout(PATIENCE, serving).await.expect("it stops").unwrap().unwrap();
}
