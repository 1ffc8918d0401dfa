//! What the command says to the person who started it: plain lines on standard error.

use std::fmt::Display;
use std::io::Write;

/// Prints a line. A closed terminal is no reason to fail.
pub fn say(line: impl Display) {
    writeln!(std::io::stderr().lock(), "{line}").unwrap_or_default();
}
