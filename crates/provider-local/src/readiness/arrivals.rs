//! Tells when a file comes into a directory: one inotify instance for the whole process, read by a thread of its own.
//!
//! Instances are few (128 a user) and slow to close; watches are neither.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use tokio::sync::Notify;

/// Room for some events with names.
const EVENTS: usize = 4096;

/// Arrivals in one directory. Only one at a time should watch a directory.
pub(super) struct Arrivals {
    watcher: &'static Watcher,
    watch: i32,
    came: Arc<Notify>,
}

struct Watcher {
    inotify: OwnedFd,
    /// Held for a map operation, or for one with the system call that makes or ends a watch, so that no number is taken
    /// for an earlier one's.
    waiting: Mutex<HashMap<i32, Arc<Notify>>>,
}

static WATCHER: OnceLock<Option<Watcher>> = OnceLock::new();

/// Watches the directory of a file; `None` when that is not possible, and looking again and again must do.
pub(super) fn watch(file: &Path) -> Option<Arrivals> {
    static THREAD: OnceLock<bool> = OnceLock::new();
    let watcher = WATCHER.get_or_init(Watcher::new).as_ref()?;
    let is_read = THREAD.get_or_init(|| {
        let name = "arrivals".to_owned();
        thread::Builder::new().name(name).spawn(move || watcher.read()).is_ok()
    });
    if !is_read {
        return None;
    }
    let mut waiting = watcher.waiting();
    let watch = inotify::add_watch(&watcher.inotify, file.parent()?, WatchFlags::CREATE | WatchFlags::MOVED_TO).ok()?;
    let came = Arc::clone(waiting.entry(watch).or_default());
    Some(Arrivals { watcher, watch, came })
}

/// How many directories are watched.
#[cfg(test)]
pub(super) fn watched() -> usize {
    WATCHER.get().and_then(Option::as_ref).map_or(0, |watcher| watcher.waiting().len())
}

impl Arrivals {
    /// Waits until something has come since this was last asked.
    pub(super) async fn next(&self) {
        self.came.notified().await;
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        let mut waiting = self.watcher.waiting();
        waiting.remove(&self.watch);
        // It is gone already when the directory is.
        inotify::remove_watch(&self.watcher.inotify, self.watch).unwrap_or_default();
    }
}

impl Watcher {
    fn new() -> Option<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC);
        let inotify = inotify.inspect_err(|error| {
            tracing::warn!(%error, "Arrivals of sockets cannot be watched; they are looked for instead");
        });
        Some(Self { inotify: inotify.ok()?, waiting: Mutex::default() })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<i32, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads for as long as the process lives.
    fn read(&self) {
        let mut room = [MaybeUninit::uninit(); EVENTS];
        let mut events = Reader::new(&self.inotify, &mut room);
        loop {
            match events.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    self.waiting().values().for_each(|came| came.notify_one());
                }
                Ok(event) => {
                    if let Some(came) = self.waiting().get(&event.wd()) {
                        came.notify_one();
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "Arrivals of sockets are watched no more; they are looked for instead");
                    return;
                }
            }
        }
    }
}
