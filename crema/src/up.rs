//! `crema up`: state, build, start, deploy, wait.
//!
//! The order of stopping is the order of events, backwards: first nothing new comes in from sensors and schedules, then
//! calls in flight end, then functions stop, then the queue closes. Functions reach the gateway on a listener of their
//! own, which stays open until they have nothing more to say.

mod apply;
mod ready;
mod run_dir;
mod secrets;
mod start;

use crate::build;
use crate::cli::{Up, stack_file};
use anyhow::Context;
use daemon::state_dir::{self, StateDir};
use daemon::{Env, ProcessEnv};
use stack::Stack;
use std::net::{SocketAddr, TcpListener};

/// Threads that serve connections of sensors and connectors; the gateway's workers are its own.
const THREADS: usize = 2;

/// Runs until it is stopped.
pub fn run(up: Up) -> anyhow::Result<()> {
    let path = up.state.clone().map_or_else(|| state_dir::default_path(&ProcessEnv), Ok)?;
    let stack = Stack::read(&stack_file(up.stack.as_deref()), |name| ProcessEnv.get(name))?;
    start::check_openness(&up)?;
    for (flag, address) in [("--listen", up.listen), ("--metrics", up.metrics), ("--mqtt", up.mqtt)] {
        if flag != "--mqtt" || up.broker.is_none() {
            free(flag, address)?;
        }
    }
    let state = StateDir::open(&path)?;
    let store = image::Store::open(state.join("images"))?;
    if !up.no_build {
        build::functions(&stack, &store, &ProcessEnv)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    runtime.block_on(start::serve(&up, &state, &stack, store))
}

/// Says early, before anything is built, that an address is taken.
fn free(flag: &str, address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| {
        format!(
            "cannot listen on {address}; stop whatever has it (`ss -ltnp` names it) or give another address with {flag}"
        )
    })
}
