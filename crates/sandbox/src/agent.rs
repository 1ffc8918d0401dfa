//! Sockets of a function's own network, handed out by the agent that stays in it.
//!
//! Protocol: each byte sent to the agent's Unix socket is answered with the same byte and one new TCP socket for IPv4
//! that is not connected and does not block. Connecting it reaches what listens inside.

use std::process::Child;

/// The agent of a function. Dropping it ends it; the function goes on, but nothing new can be connected to it.
#[derive(Debug)]
pub struct Agent(pub(crate) Child);

impl Agent {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It ends by itself with the function; what is killed at once needs no wait worth the name.
        self.0.kill().and_then(|()| self.0.wait()).map(drop).unwrap_or_default();
    }
}
