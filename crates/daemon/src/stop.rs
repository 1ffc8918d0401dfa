//! Stopping: one signal that every part waits for.

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Waits for the order to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Gives the order to stop; dropping it gives it too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// A pair: the one gives the order, the other waits for it.
#[must_use]
pub fn pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Gives the order to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Another one that waits.
    #[must_use]
    pub fn subscribe(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

impl Stop {
    /// Waits until the order is given.
    pub async fn wait(&mut self) {
        // An error means the stopper is gone, which is an order too.
        self.0.wait_for(|stopped| *stopped).await.map(drop).unwrap_or_default();
    }

    /// Like [`Stop::wait`], for those who keep it.
    pub async fn stopped(mut self) {
        self.wait().await;
    }

    /// Whether the order has been given.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// Stops at SIGINT or SIGTERM. A second signal means "at once": the process is killed, functions go with it, and the
/// next start cleans up.
pub fn on_signals() -> std::io::Result<Stop> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stopper, stop) = pair();
    // The task lives as long as the process: there is no one to join it.
    let signals = tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        stopper.stop();
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        kill_process(getpid(), Signal::KILL).unwrap_or_default();
    });
    drop(signals);
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_stopper_stops_too() {
        let (stopper, stop) = pair();
        assert!(!stop.is_stopped());
        drop(stopper);
        assert!(stop.is_stopped());
        stop.stopped().await;
    }
}
