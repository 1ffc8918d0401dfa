//! The function's log: lines on standard error, which the platform keeps and stamps with the time.

use crate::call_id;
use std::fmt::{Display, Write as _};
use std::io::Write as _;

/// Writes one line to the log, with the call's id when it is written by a call.
///
/// Line breaks in `text` become `\n`, so that one event stays one line.
pub fn log(text: impl Display) {
    let text = one_line(text);
    let line = call_id::with_current(|call| format!("{text} [{}]", call.id)).unwrap_or(text);
    raw(&line);
}

/// Writes a line as it is. A log that cannot be written is no reason to fail.
pub fn raw(line: &str) {
    let mut bytes = Vec::with_capacity(line.len() + 1);
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    // One write for one line, so that lines of several processes on one pipe do not mix.
    std::io::stderr().lock().write_all(&bytes).unwrap_or_default();
}

fn one_line(text: impl Display) -> String {
    let mut line = String::new();
    write!(line, "{text}").unwrap_or_default();
    if line.contains(['\n', '\r']) {
        line = line.trim_end().replace('\n', "\\n").replace('\r', "\\r");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_several_lines_stays_one() {
        assert_eq!(one_line("a\nb\r\n"), "a\\nb");
    }
}
