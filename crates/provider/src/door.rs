//! Where functions that have a network of their own reach the gateway.

use std::io;
use std::net::TcpListener;

/// Serves the gateway's functions on listeners that come and go.
///
/// A provider that gives a function a network of its own opens a listener in it and adds it here: calls that come in
/// there are served like those on the gateway's own listener for functions.
pub trait Door: Send + Sync + 'static {
    /// Serves what comes in on `listener`. Dropping what is returned closes the listener and lets calls under way end.
    ///
    /// # Errors
    ///
    /// When the gateway has stopped, or the listener is of no use.
    fn add(&self, listener: TcpListener) -> io::Result<Box<dyn Send + Sync>>;
}
