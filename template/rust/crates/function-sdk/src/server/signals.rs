//! The signals that stop a function.

use super::Leave;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop a function.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them from now on.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one: SIGTERM is announced to callers by `/_/health`, SIGINT is not.
    pub async fn next(&mut self) -> Leave {
        tokio::select! {
            _ = self.terminate.recv() => Leave::Announced,
            _ = self.interrupt.recv() => Leave::AtOnce,
        }
    }
}
