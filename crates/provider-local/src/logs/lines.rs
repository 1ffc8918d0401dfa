//! From a pipe to lines, whatever comes: no line end for megabytes, no UTF-8, a flood.

use super::FunctionLog;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A longer line becomes several.
const LONGEST: usize = 16 * 1024;
/// Read at once.
const CHUNK: usize = 16 * 1024;

/// The lines of one pipe on their way to a function's log.
pub(super) struct Lines {
    log: Arc<FunctionLog>,
    instance: String,
    splitter: Splitter,
}

/// What one read gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Read {
    /// As much as fits; there may be more.
    Full,
    /// Less than that.
    Some,
    /// The end, or a pipe that is broken.
    End,
}

impl Lines {
    pub(super) fn new(log: Arc<FunctionLog>, instance: String) -> Self {
        Self { log, instance, splitter: Splitter::default() }
    }

    /// Reads once, from a pipe that does not block.
    pub(super) fn read(&mut self, pipe: impl AsFd) -> Read {
        let mut chunk = [0; CHUNK];
        let (lines, read) = match rustix::io::read(pipe, &mut chunk) {
            Ok(0) => (self.splitter.finish(), Read::End),
            Ok(CHUNK) => (self.splitter.push(&chunk), Read::Full),
            Ok(length) => (self.splitter.push(&chunk[..length]), Read::Some),
            Err(Errno::AGAIN | Errno::INTR) => (Vec::new(), Read::Some),
            Err(_) => (self.splitter.finish(), Read::End),
        };
        self.log.append(&self.instance, &lines);
        read
    }
}

/// Cuts bytes into lines of bounded length.
#[derive(Debug, Default)]
struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            if self.rest.ends_with(b"\n") {
                let line = std::mem::take(&mut self.rest);
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                lines.extend(pieces(line.strip_suffix(b"\r").unwrap_or(line)));
            }
            while self.rest.len() > LONGEST {
                let after = self.rest.split_off(boundary(&self.rest));
                lines.push(text(&std::mem::replace(&mut self.rest, after)));
            }
        }
        lines
    }

    fn finish(&mut self) -> Vec<String> {
        match self.rest.is_empty() {
            true => Vec::new(),
            false => vec![text(&std::mem::take(&mut self.rest))],
        }
    }
}

fn pieces(line: &[u8]) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while rest.len() > LONGEST {
        let (piece, after) = rest.split_at(boundary(rest));
        pieces.push(text(piece));
        rest = after;
    }
    pieces.push(text(rest));
    pieces
}

/// Where to cut bytes longer than [`LONGEST`]: there, or before the character that it would cut.
fn boundary(bytes: &[u8]) -> usize {
    let is_start = |at: &usize| bytes[*at] & 0b1100_0000 != 0b1000_0000;
    (LONGEST - 3..=LONGEST).rev().find(is_start).unwrap_or(LONGEST)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        let all = b"one\ntwo\r\n\nf\xc3\xbcr\xff\nlast";
        for size in 1..all.len() {
            let mut splitter = Splitter::default();
            let mut lines: Vec<String> = all.chunks(size).flat_map(|chunk| splitter.push(chunk)).collect();
            lines.extend(splitter.finish());
            assert_eq!(lines, ["one", "two", "", "für\u{fffd}", "last"], "in chunks of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut_between_characters() {
        let long = "ü".repeat(LONGEST);
        for size in [1000, CHUNK, 2 * LONGEST] {
            let mut splitter = Splitter::default();
            let mut lines: Vec<String> = long.as_bytes().chunks(size).flat_map(|chunk| splitter.push(chunk)).collect();
            lines.extend(splitter.push(b"\n"));
            assert!(lines.iter().all(|line| line.len() <= LONGEST && !line.contains('\u{fffd}')));
            assert_eq!(lines.concat(), long);
        }
    }
}
