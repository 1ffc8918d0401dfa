//! The process's log: its lines, of any length, with time and stream in front.

use crate::process::Process;
use function_sdk::Clock;
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;

/// How lines are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    /// Whether time and stream stand in front.
    pub(crate) prefix: bool,
    /// Longer lines are broken; `None`: any length.
    pub(crate) longest: Option<usize>,
}

/// Where lines go.
#[derive(Clone, Copy, Debug)]
enum Sink {
    Stdout,
    Stderr,
}

/// The copying of one process's outputs.
#[derive(Debug)]
pub(crate) struct Copies(Vec<JoinHandle<()>>);

impl Copies {
    /// Waits until all is copied that a process wrote which has ended; not long, as another may hold its pipes.
    pub(crate) async fn end(self) {
        const LATE: Duration = Duration::from_millis(100);
        let all = futures_util::future::join_all(self.0);
        tokio::time::timeout(LATE, all).await.map(drop).unwrap_or_default();
    }
}

impl Lines {
    /// Copies both of the process's outputs to the watchdog's own, until they end.
    pub(crate) fn copy_both(self, process: &mut Process) -> Copies {
        let stdout = process.stdout().map(|from| tokio::task::spawn_local(self.copy(from, Sink::Stdout)));
        let stderr = process.stderr().map(|from| tokio::task::spawn_local(self.copy(from, Sink::Stderr)));
        Copies(stdout.into_iter().chain(stderr).collect())
    }

    /// Copies the process's stderr to the watchdog's own, until it ends.
    pub(crate) fn copy_stderr(self, process: &mut Process) {
        if let Some(stderr) = process.stderr() {
            // Ends with the pipe.
            drop(tokio::task::spawn_local(self.copy(stderr, Sink::Stderr)));
        }
    }

    /// Writes what a process has answered, for those who look for its faults.
    pub(crate) async fn show(self, output: &[u8]) {
        self.copy(output, Sink::Stdout).await;
    }

    async fn copy(self, mut from: impl AsyncRead + Unpin, sink: Sink) {
        let mut pending = Vec::new();
        loop {
            let read = from.read_buf(&mut pending).await.unwrap_or(0);
            if read == 0 {
                break;
            }
            let mut rest = pending.as_slice();
            while let Some((line, tail)) = self.cut(rest) {
                self.write(line, sink);
                rest = tail;
            }
            let done = pending.len() - rest.len();
            pending.drain(..done);
        }
        if !pending.is_empty() {
            self.write(&pending, sink);
        }
    }

    /// The first line and what comes behind it; `None` when there is no whole line yet.
    fn cut(self, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let longest = self.longest.unwrap_or(usize::MAX);
        match bytes.iter().take(longest.saturating_add(1)).position(|byte| *byte == b'\n') {
            Some(end) => Some((&bytes[..end], &bytes[end + 1..])),
            None if bytes.len() > longest => Some(bytes.split_at(longest)),
            None => None,
        }
    }

    /// Writes one line, in one write.
    fn write(self, line: &[u8], sink: Sink) {
        let mut text = Vec::with_capacity(line.len() + 32);
        if self.prefix {
            let stream = match sink {
                Sink::Stdout => "stdout",
                Sink::Stderr => "stderr",
            };
            let time = stamp(Clock::system().unix_millis() / 1000);
            text.extend_from_slice(format!("{time} {stream}: ").as_bytes());
        }
        text.extend_from_slice(line);
        text.push(b'\n');
        // A log that cannot be written is no reason to fail.
        match sink {
            Sink::Stdout => std::io::stdout().lock().write_all(&text),
            Sink::Stderr => std::io::stderr().lock().write_all(&text),
        }
        .unwrap_or_default();
    }
}

/// `2026/11/23 01:02:03`, in UTC.
fn stamp(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days since 1970: years begin in March, so that February ends them.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_gos_log_writes_it() {
        for (seconds, text) in [
            (0, "1970/01/01 00:00:00"),
            (951_782_400, "2000/02/29 00:00:00"),
            (1_709_251_199, "2024/02/29 23:59:59"),
            (1_795_395_723, "2026/11/23 01:02:03"),
        ] {
            assert_eq!(stamp(seconds), text);
        }
    }

    #[test]
    fn a_line_longer_than_the_longest_is_broken_and_none_is_lost() {
        let lines = Lines { prefix: false, longest: Some(4) };
        assert_eq!(lines.cut(b"abc\nd"), Some((&b"abc"[..], &b"d"[..])));
        assert_eq!(lines.cut(b"abcd"), None);
        assert_eq!(lines.cut(b"abcd\ne"), Some((&b"abcd"[..], &b"e"[..])));
        assert_eq!(lines.cut(b"abcdef\n"), Some((&b"abcd"[..], &b"ef\n"[..])));
        assert_eq!(Lines { longest: None, ..lines }.cut(b"abcdef"), None);
    }
}
