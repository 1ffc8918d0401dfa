//! Reaps what the function's processes leave behind, where the watchdog is the first process of its pid namespace and
//! they become its children. Nobody else would, and each would count against the function's limit of processes.

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};
use std::cell::RefCell;
use std::collections::HashSet;
use std::convert::Infallible;
use std::fs;
use std::future::pending;
use tokio::signal::unix::{SignalKind, signal};

thread_local! {
    /// The processes that have someone who waits for them.
    static AWAITED: RefCell<HashSet<Pid>> = RefCell::default();
}

/// Marks a process as someone's, until it is dropped.
#[derive(Debug)]
pub(crate) struct Awaited(Pid);

impl Awaited {
    pub(crate) fn mark(process: Pid) -> Self {
        AWAITED.with_borrow_mut(|awaited| awaited.insert(process));
        Self(process)
    }

    pub(crate) fn id(&self) -> Pid {
        self.0
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        AWAITED.with_borrow_mut(|awaited| awaited.remove(&self.0));
    }
}

/// Reaps, if it is our part, for ever.
pub(crate) async fn reap() -> Infallible {
    if getpid() == Pid::INIT
        && let Ok(mut ends) = signal(SignalKind::child())
    {
        while ends.recv().await.is_some() {
            for process in children().into_iter().filter(|id| !AWAITED.with_borrow(|awaited| awaited.contains(id))) {
                // Most live on, and tokio may have been faster with one that was dropped.
                waitid(WaitId::Pid(process), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
                    .map(drop)
                    .unwrap_or_default();
            }
        }
    }
    pending().await
}

/// Our children, as far as `/proc` shows them.
fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_ascii_whitespace().filter_map(pid).collect::<Vec<_>>()).collect()
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}
