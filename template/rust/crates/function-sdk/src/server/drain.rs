//! Serving and leaving: SIGTERM turns health bad first, closes the listener later, and waits for the calls in flight.

use super::accept::Listener;
use super::{Core, Service, connection};
use crate::settings::Listen;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a server that was told to leave still takes calls when nobody has to notice that health turned bad: on a
/// Unix socket, whose platform has taken the replica out of its table, and after an interrupt. Calls that were on
/// their way at that moment are served.
const ON_THEIR_WAY: Duration = Duration::from_millis(100);

/// How to leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leave {
    /// Callers find out by `/_/health`: on TCP, calls are taken for `healthcheck_interval`.
    Announced,
    /// Callers know already, or do not matter.
    AtOnce,
}

pub(super) async fn serve<S: Service>(listener: Listener, core: Rc<Core<S>>, stop: impl Future<Output = Leave>) {
    let (close, closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    let leave = accept_until(&listener, &core, &closing, &mut connections, stop).await;
    core.draining.set(true);
    core.service.draining();
    let linger = match (leave, listener.address()) {
        (Leave::Announced, Listen::Tcp(_)) => core.settings.healthcheck_interval,
        (Leave::AtOnce, _) | (_, Listen::Unix(_)) => ON_THEIR_WAY,
    };
    accept_until(&listener, &core, &closing, &mut connections, tokio::time::sleep(linger)).await;
    drop(listener);
    close.send_replace(true);
    let drained = async {
        while connections.join_next().await.is_some() {}
        core.flight.landed().await;
    };
    let wait = core.settings.write_timeout;
    if tokio::time::timeout(wait, drained).await.is_err() {
        let left = core.flight.count.get();
        crate::log::raw(&format!("{left} calls did not end within write_timeout ({wait:?}) and are broken off"));
    }
}

/// Accepts connections until `end`.
async fn accept_until<S: Service, T>(
    listener: &Listener,
    core: &Rc<Core<S>>,
    closing: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
    end: impl Future<Output = T>,
) -> T {
    let mut end = pin!(end);
    loop {
        tokio::select! {
            socket = listener.accept() => {
                drop(connections.spawn_local(connection::serve(socket, Rc::clone(core), closing.clone())));
            }
            // Ended connections are let go; a panic has ended one of them and was reported by its hook.
            Some(_) = connections.join_next() => {}
            value = end.as_mut() => return value,
        }
    }
}
