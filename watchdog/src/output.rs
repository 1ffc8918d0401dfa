//! What a forked process answers: its output as it comes, then whether it ended well.

use crate::process::{Process, SpawnError};
use bytes::{Bytes, BytesMut};
use function_sdk::server::BoxError;
use rustix::process::Signal;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What is read at a time.
const CHUNK: usize = 32 * 1024;
/// How long output may still come after the process has ended, from one that left its group and holds the pipe.
const LATE: Duration = Duration::from_millis(50);

/// Why a call of a forked process failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be started.
    Start(SpawnError),
    /// It ended with an exit code other than 0, or by a signal.
    Ended(io::Result<ExitStatus>),
    /// It took longer than it may, and was killed.
    TimedOut,
    /// The request's body broke off, and it was killed.
    Input(BoxError),
    /// Its output cannot be read.
    Output(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(formatter),
            Self::Ended(status) => formatter.write_str(&words(status)),
            // How Go's os/exec says it, and OpenFaaS with it.
            Self::TimedOut => formatter.write_str("signal: killed"),
            Self::Input(error) => write!(formatter, "the request's body broke off: {error}"),
            Self::Output(error) => write!(formatter, "the process's output cannot be read: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

/// How a process ended, as Go's os/exec says it.
pub(crate) fn words(status: &io::Result<ExitStatus>) -> String {
    match status {
        Err(error) => error.to_string(),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(9)) => "signal: killed".to_owned(),
            (None, Some(15)) => "signal: terminated".to_owned(),
            (None, Some(11)) => "signal: segmentation fault".to_owned(),
            (None, Some(6)) => "signal: aborted".to_owned(),
            (None, Some(13)) => "signal: broken pipe".to_owned(),
            (None, Some(signal)) => format!("signal: {signal}"),
            (None, None) => status.to_string(),
        },
    }
}

type Stdout = Box<dyn AsyncRead + Unpin>;

/// The output of a process. Dropping it kills the process.
pub(crate) struct Output {
    process: Process,
    stdout: Option<Stdout>,
    /// Feeds the request's body; ends with an error when that broke off.
    input: Input,
    deadline: Option<Instant>,
    ended: Option<io::Result<ExitStatus>>,
}

/// The task that feeds stdin; dropping it stops it.
pub(crate) struct Input(pub(crate) Option<JoinHandle<Result<(), BoxError>>>);

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Output {
    pub(crate) fn new(mut process: Process, input: Input, deadline: Option<Instant>) -> Self {
        let stdout = process.output();
        Self { process, stdout, input, deadline, ended: None }
    }

    /// The next piece; `None` after the last one, when the process has ended well.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let deadline = self.deadline;
        let timed_out = async move {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            next = self.piece() => next.transpose(),
            () = timed_out => {
                self.process.signal(Signal::KILL);
                Some(Err(Failure::TimedOut))
            }
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        let Self { process, stdout, input, ended, .. } = self;
        loop {
            tokio::select! {
                biased;
                chunk = read(stdout, ended.is_some()) => match chunk.map_err(Failure::Output)? {
                    Some(chunk) => return Ok(Some(chunk)),
                    None => *stdout = None,
                },
                broken = broken(input) => return Err(Failure::Input(broken)),
                status = process.ended(), if ended.is_none() => *ended = Some(status),
            }
            if stdout.is_none() && ended.is_none() {
                tokio::select! {
                    biased;
                    broken = broken(input) => return Err(Failure::Input(broken)),
                    status = process.ended() => *ended = Some(status),
                }
            }
            match ended {
                Some(Ok(status)) if stdout.is_none() && status.success() => return Ok(None),
                Some(_) if stdout.is_none() => {
                    let status = ended.take().expect("it has just been looked at");
                    return Err(Failure::Ended(status));
                }
                _ => {}
            }
        }
    }
}

/// What there is to read; `None` at the end, which after the process's own end is soon.
async fn read(stdout: &mut Option<Stdout>, has_ended: bool) -> io::Result<Option<Bytes>> {
    let Some(stdout) = stdout else { return Ok(None) };
    if !has_ended {
        return chunk(stdout).await;
    }
    tokio::time::timeout(LATE, chunk(stdout)).await.unwrap_or(Ok(None))
}

async fn chunk(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    let read = from.read_buf(&mut buffer).await?;
    Ok((read > 0).then(|| buffer.freeze()))
}

/// Returns when the request's body has broken off, never otherwise.
async fn broken(input: &mut Input) -> BoxError {
    if let Some(task) = &mut input.0 {
        let result = task.await;
        input.0 = None;
        if let Ok(Err(error)) = result {
            return error;
        }
    }
    std::future::pending().await
}
