//! The parts of a process that run beside each other and are stopped one after the other.

use crate::stop::{self, Stop, Stopper};
use std::error::Error;
use std::future::Future;
use tokio::task::{JoinError, JoinHandle};

/// Why a part ended.
pub type PartError = Box<dyn Error + Send + Sync>;

/// A running part.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    stopper: Stopper,
    task: JoinHandle<Result<(), PartError>>,
}

/// A part that has ended without being told to.
#[derive(Debug, thiserror::Error)]
#[error("the {name} stopped by itself: {why}")]
pub struct Ended {
    name: &'static str,
    why: String,
}

impl Part {
    /// Starts it. `name` is what messages call it.
    pub fn start<F, E>(name: &'static str, run: impl FnOnce(Stop) -> F) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<PartError>,
    {
        let (stopper, stop) = stop::pair();
        let run = run(stop);
        Self { name, stopper, task: tokio::spawn(async move { run.await.map_err(Into::into) }) }
    }

    /// Stops it and waits until it has ended.
    pub async fn stop(self) {
        self.stopper.stop();
        // One that ended by itself has been heard already.
        if self.task.is_finished() {
            return;
        }
        if let Err(why) = in_words(self.task.await) {
            tracing::warn!(part = self.name, why, "It ended badly");
        }
    }
}

/// Waits until one of them ends by itself, which none should.
///
/// # Panics
/// When there are none.
pub async fn first_end(parts: &mut [Part]) -> Ended {
    let ends = parts.iter_mut().map(|part| {
        Box::pin(async {
            let why = in_words((&mut part.task).await).err().unwrap_or_else(|| "it ended".to_owned());
            Ended { name: part.name, why }
        })
    });
    futures_util::future::select_all(ends).await.0
}

fn in_words(ended: Result<Result<(), PartError>, JoinError>) -> Result<(), String> {
    match ended {
        Ok(ended) => ended.map_err(|error| chain(error.as_ref())),
        Err(error) => Err(error.to_string()),
    }
}

/// An error and what caused it, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[tokio::test]
    async fn the_first_that_ends_by_itself_is_named_with_the_reason() {
        let waiting = Part::start("queue", |stop| async move {
            stop.stopped().await;
            io::Result::Ok(())
        });
        let broken = Part::start("gateway", |_stop| async { Err::<(), _>(io::Error::other("no more files")) });
        let mut parts = [waiting, broken];
        let ended = first_end(&mut parts).await.to_string();
        assert_eq!(ended, "the gateway stopped by itself: no more files");
        for part in parts {
            part.stop().await;
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_end_too() {
        let broken = Part::start("gateway", |_stop| async {
            assert!(std::hint::black_box(false), "oh no");
            io::Result::Ok(())
        });
        assert!(first_end(&mut [broken]).await.to_string().contains("oh no"));
    }
}
