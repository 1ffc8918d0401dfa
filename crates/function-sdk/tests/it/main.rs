//! The server from outside.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod drain;
mod limits;
mod peers;
mod process;
mod template;
mod upgrade;

use function_sdk::settings::{Listen, Settings};
use std::time::Duration;

/// Settings of a test: a free port, short times.
fn settings() -> Settings {
    Settings {
        listen: Listen::Tcp("127.0.0.1:0".parse().unwrap()),
        metrics: None,
        read_timeout: Some(Duration::from_secs(10)),
        write_timeout: Duration::from_secs(10),
        exec_timeout: Some(Duration::from_secs(10)),
        healthcheck_interval: Duration::ZERO,
        max_inflight: 0,
        body_limit: 1024,
    }
}

/// The TCP address of a listener.
fn tcp(listen: &Listen) -> std::net::SocketAddr {
    let Listen::Tcp(address) = listen else { panic!("{listen:?}") };
    *address
}

/// Looks again until it holds, for ten seconds.
async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came");
}
