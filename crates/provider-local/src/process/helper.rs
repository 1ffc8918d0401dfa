//! The sandbox's helpers before they are told what to start.
//!
//! One is kept ready: to start this program anew and to make a network takes longer than all that follows. It is there
//! from a while after the first start on, so that a box with nothing to do has none, and it is replaced when no start
//! has come for a moment, so that it costs nothing while many do.

use crate::isolation::Isolation;
use crate::spawner::Spawner;
use sandbox::{Control, Launcher, Level};
use std::io;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long no helper has been asked for before the next one is made ready.
const REST: Duration = Duration::from_millis(100);

/// A helper that waits to be told. Dropping it ends it.
pub(super) struct Helper(Option<(Child, Control)>);

impl Helper {
    const fn new(process: Child, control: Control) -> Self {
        Self(Some((process, control)))
    }

    /// Its process and the way to it, for whoever tells it, and ends it from now on.
    pub(super) fn take(mut self) -> Option<(Child, Control)> {
        self.0.take()
    }

    /// Whether it still waits.
    fn is_alive(&mut self) -> bool {
        self.0.as_mut().is_some_and(|(process, _)| matches!(process.try_wait(), Ok(None)))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if let Some((mut process, _control)) = self.0.take() {
            // Killed, it ends at once.
            process.kill().and_then(|()| process.wait()).map(drop).unwrap_or_default();
        }
    }
}

/// Starts helpers, and keeps one.
pub(super) struct Helpers {
    launcher: Launcher,
    level: Level,
    spawner: Arc<Spawner>,
    kept: Mutex<Kept>,
    closed: Notify,
}

#[derive(Default)]
struct Kept {
    helper: Option<Helper>,
    /// How many have been asked for.
    asked: u64,
    replacing: Option<JoinHandle<()>>,
    is_closed: bool,
}

impl Helpers {
    pub(super) fn new(isolation: &Isolation, spawner: Arc<Spawner>) -> Self {
        let (kept, closed) = Default::default();
        Self { launcher: isolation.launcher.clone(), level: isolation.level(), spawner, kept, closed }
    }

    /// The one that is ready, or a new one.
    pub(super) async fn take(self: &Arc<Self>) -> io::Result<Helper> {
        if let Some(mut helper) = self.ready() {
            if helper.is_alive() {
                return Ok(helper);
            }
            tracing::warn!(
                "A helper that was kept ready has ended, so starts take longer; a unit of systemd leaves it CAP_SYS_CHROOT"
            );
        }
        let (command, control) = self.launcher.command()?;
        Ok(Helper::new(self.spawner.spawn(command).await?, control))
    }

    /// Ends the one that is kept, and keeps none from now on.
    pub(super) async fn close(&self) {
        let (helper, replacing) = {
            let mut kept = self.kept();
            kept.is_closed = true;
            (kept.helper.take(), kept.replacing.take())
        };
        drop(helper);
        self.closed.notify_one();
        if let Some(replacing) = replacing {
            replacing.await.unwrap_or_default();
        }
    }

    /// Takes the one that is ready, and sees to the next.
    fn ready(self: &Arc<Self>) -> Option<Helper> {
        let mut kept = self.kept();
        kept.asked += 1;
        if !kept.is_closed && kept.replacing.as_ref().is_none_or(JoinHandle::is_finished) {
            kept.replacing = Some(tokio::spawn(Arc::clone(self).replace()));
        }
        kept.helper.take()
    }

    async fn replace(self: Arc<Self>) {
        let mut asked = None;
        while asked != Some(self.kept().asked) {
            asked = Some(self.kept().asked);
            if timeout(REST, self.closed.notified()).await.is_ok() {
                return;
            }
        }
        let helper = async {
            let (command, control) = self.launcher.command_ahead(self.level)?;
            io::Result::Ok(Helper::new(self.spawner.spawn(command).await?, control))
        };
        match helper.await {
            Ok(helper) => {
                let mut kept = self.kept();
                kept.helper = Some(helper).filter(|_| !kept.is_closed);
            }
            // Whoever needs one starts it, and says why it cannot be started.
            Err(error) => tracing::debug!(%error, "No helper is kept ready"),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, Signal, kill_process};
    use std::path::PathBuf;

    /// Helpers that wait for what is written to them, as the real ones do.
    fn helpers() -> Arc<Helpers> {
        let mut isolation = Isolation::none();
        isolation.launcher = Launcher::new("/bin/cat");
        Arc::new(Helpers::new(&isolation, Arc::new(Spawner::new().unwrap())))
    }

    fn pid(helper: &Helper) -> u32 {
        helper.0.as_ref().unwrap().0.id()
    }

    fn process(pid: u32) -> PathBuf {
        PathBuf::from(format!("/proc/{pid}"))
    }

    /// The number of the one that is kept, once there is one.
    async fn kept(helpers: &Helpers) -> u32 {
        let looked = async {
            loop {
                if let Some(pid) = helpers.kept().helper.as_ref().map(pid) {
                    return pid;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_secs(20), looked).await.expect("none is kept")
    }

    #[tokio::test]
    async fn a_helper_that_is_told_nothing_leaves_no_process() {
        let helper = helpers().take().await.unwrap();
        let there = process(pid(&helper));
        assert!(there.exists());
        drop(helper);
        assert!(!there.exists());
    }

    #[tokio::test]
    async fn one_is_kept_from_the_first_start_on_and_none_after_the_end() {
        let helpers = helpers();
        assert!(helpers.kept().helper.is_none());
        drop(helpers.take().await.unwrap());
        let ready = kept(&helpers).await;
        let taken = helpers.take().await.unwrap();
        assert_eq!(pid(&taken), ready);
        let next = kept(&helpers).await;
        assert_ne!(next, ready);
        helpers.close().await;
        assert!(!process(next).exists());
        drop(helpers.take().await.unwrap());
        helpers.close().await;
        assert!(helpers.kept().helper.is_none() && helpers.kept().replacing.is_none());
    }

    #[tokio::test]
    async fn one_that_has_died_is_not_used() {
        let helpers = helpers();
        drop(helpers.take().await.unwrap());
        let ready = kept(&helpers).await;
        kill_process(Pid::from_raw(ready.cast_signed()).unwrap(), Signal::KILL).unwrap();
        let is_dead = || std::fs::read_to_string(process(ready).join("stat")).unwrap().contains(") Z ");
        while !is_dead() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut taken = helpers.take().await.unwrap();
        assert!(pid(&taken) != ready && taken.is_alive());
    }
}
