//! The sandbox's helper before it is told what to start: it starts while that is being prepared.

use sandbox::Control;
use std::process::Child;

/// A helper that waits to be told. Dropping it ends it.
pub(super) struct Helper(Option<(Child, Control)>);

impl Helper {
    pub(super) const fn new(process: Child, control: Control) -> Self {
        Self(Some((process, control)))
    }

    /// Its process and the way to it, for whoever tells it, and ends it from now on.
    pub(super) fn take(mut self) -> Option<(Child, Control)> {
        self.0.take()
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

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox::Launcher;
    use std::path::PathBuf;

    #[test]
    fn a_helper_that_is_told_nothing_leaves_no_process() {
        // Waits for what is written to it, as the helper does.
        let (mut command, control) = Launcher::new("/bin/cat").command().unwrap();
        let process = command.spawn().unwrap();
        let there = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(there.exists());
        drop(Helper::new(process, control));
        assert!(!there.exists());
    }
}
