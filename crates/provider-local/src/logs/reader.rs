//! One thread that reads what all replicas write.
//!
//! It looks at all pipes, then rests: a function that writes a line for every call is read a few hundred times a second,
//! and its writes wake nobody meanwhile. A slow disk makes pipes fill up and holds up nothing else.

use super::FunctionLog;
use super::lines::{Lines, Read};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Between two looks at the pipes, as long as there is something in them.
const REST: Duration = Duration::from_millis(5);
/// Pipes looked at together.
const TOGETHER: usize = 64;
/// The key of the descriptor that ends the thread.
const END: u64 = 0;

/// Reads pipes. Dropping it ends the thread.
pub(crate) struct Reader(Arc<Shared>);

struct Shared {
    epoll: OwnedFd,
    end: OwnedFd,
    pipes: Mutex<Pipes>,
}

#[derive(Default)]
struct Pipes {
    last: u64,
    /// `None` while the thread reads it.
    open: HashMap<u64, Option<Pipe>>,
}

struct Pipe {
    source: OwnedFd,
    lines: Lines,
    _at_end: oneshot::Sender<()>,
}

/// A pipe that is being read. Dropping it gives up what is not read yet.
pub(crate) struct Captured {
    shared: Arc<Shared>,
    key: u64,
    at_end: oneshot::Receiver<()>,
}

impl Reader {
    pub(crate) fn new() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            pipes: Mutex::default(),
        });
        epoll::add(&shared.epoll, &shared.end, EventData::new_u64(END), EventFlags::IN)?;
        let reading = Arc::clone(&shared);
        thread::Builder::new().name("logs".to_owned()).spawn(move || {
            if let Err(error) = reading.run() {
                tracing::error!(%error, "What functions write cannot be read any more");
            }
        })?;
        Ok(Self(shared))
    }

    /// Reads a pipe until its end, for the log of a function.
    pub(crate) fn capture(&self, source: OwnedFd, log: Arc<FunctionLog>, instance: String) -> io::Result<Captured> {
        rustix::io::ioctl_fionbio(&source, true)?;
        let (sender, at_end) = oneshot::channel();
        let mut pipes = self.0.pipes();
        pipes.last += 1;
        let key = pipes.last;
        epoll::add(&self.0.epoll, &source, EventData::new_u64(key), EventFlags::IN)?;
        pipes.open.insert(key, Some(Pipe { source, lines: Lines::new(log, instance), _at_end: sender }));
        drop(pipes);
        Ok(Captured { shared: Arc::clone(&self.0), key, at_end })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A counter that starts at nothing has room for one.
        rustix::io::write(&self.0.end, &1u64.to_ne_bytes()).map(drop).unwrap_or_default();
    }
}

impl Captured {
    /// Waits until all has been read that was written.
    pub(crate) async fn at_end(&mut self) {
        // The sender never sends: it goes with the pipe.
        (&mut self.at_end).await.unwrap_or_default();
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        // Closing the pipe takes it out of the set.
        self.shared.pipes().open.remove(&self.key);
    }
}

impl Shared {
    fn pipes(&self) -> MutexGuard<'_, Pipes> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) -> io::Result<()> {
        let mut events = Vec::with_capacity(TOGETHER);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let keys: Vec<u64> = events.iter().map(|event| event.data.u64()).collect();
            if keys.contains(&END) {
                return Ok(());
            }
            let mut flood = false;
            for key in keys {
                flood |= self.read(key);
            }
            if !flood && self.ends_within(REST) {
                return Ok(());
            }
        }
    }

    /// Reads what is in a pipe; whether there is likely to be more.
    fn read(&self, key: u64) -> bool {
        // Without the lock: writing to a disk may take long.
        let Some(mut pipe) = self.pipes().open.get_mut(&key).and_then(Option::take) else { return false };
        let read = pipe.lines.read(&pipe.source);
        let mut pipes = self.pipes();
        match read {
            Read::End => drop(pipes.open.remove(&key)),
            Read::Some | Read::Full => {
                // Unless it was given up meanwhile.
                if let Some(place) = pipes.open.get_mut(&key) {
                    *place = Some(pipe);
                }
            }
        }
        matches!(read, Read::Full)
    }

    fn ends_within(&self, time: Duration) -> bool {
        let timeout = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        let mut end = [PollFd::new(&self.end, PollFlags::IN)];
        poll(&mut end, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Logs;
    use super::*;
    use crate::config::LogLimits;
    use std::io::Write;

    fn log(dir: &std::path::Path) -> Arc<FunctionLog> {
        Logs::new(dir, LogLimits::default(), Arc::new(daemon::SystemClock)).of(&"talker".parse().unwrap())
    }

    #[tokio::test]
    async fn what_many_write_is_all_there_when_they_have_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (reader, log) = (Reader::new().unwrap(), log(dir.path()));
        let mut all = Vec::new();
        for number in 0..200 {
            let (ours, mut theirs) = io::pipe().unwrap();
            all.push(reader.capture(ours.into(), Arc::clone(&log), format!("talker-{number}")).unwrap());
            writeln!(theirs, "one of {number}").unwrap();
            write!(theirs, "the last of {number}").unwrap();
        }
        for captured in &mut all {
            tokio::time::timeout(Duration::from_secs(20), captured.at_end()).await.unwrap();
        }
        let kept = std::fs::read_to_string(dir.path().join("openfaas-fn/talker/0.jsonl")).unwrap();
        assert_eq!(kept.lines().count(), 400);
        assert!(reader.0.pipes().open.is_empty());
    }

    #[tokio::test]
    async fn a_pipe_that_is_given_up_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let (reader, log) = (Reader::new().unwrap(), log(dir.path()));
        let (ours, mut theirs) = io::pipe().unwrap();
        drop(reader.capture(ours.into(), log, "talker-1".to_owned()).unwrap());
        assert_eq!(theirs.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
