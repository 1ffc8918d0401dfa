//! The files of one function's log: `0.jsonl` is written to, `1.jsonl` and on are older.

use crate::config::LogLimits;
use crate::disk;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use wire::FunctionName;
use wire::log::LogLine;

/// A line as it is on disk.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Stored<'a> {
    #[serde(rename = "t")]
    pub(super) timestamp: Cow<'a, str>,
    #[serde(rename = "i")]
    pub(super) instance: Cow<'a, str>,
    #[serde(rename = "x")]
    pub(super) text: Cow<'a, str>,
}

impl Stored<'_> {
    pub(super) fn into_line(self, name: &FunctionName) -> LogLine {
        LogLine {
            name: name.name().to_owned(),
            namespace: name.namespace().to_owned(),
            instance: self.instance.into_owned(),
            timestamp: self.timestamp.into_owned(),
            text: self.text.into_owned(),
        }
    }
}

/// The files.
#[derive(Debug)]
pub(super) struct RotatedFile {
    dir: PathBuf,
    limits: LogLimits,
    newest: Option<(File, u64)>,
    closed: bool,
    /// Whether the last append failed: one warning, not one a line.
    failing: bool,
}

impl RotatedFile {
    pub(super) const fn new(dir: PathBuf, limits: LogLimits) -> Self {
        Self { dir, limits, newest: None, closed: false, failing: false }
    }

    /// Appends lines; what cannot be written is lost, and said once.
    pub(super) fn append(&mut self, timestamp: &str, instance: &str, texts: &[String]) {
        if self.closed {
            return;
        }
        let mut bytes = Vec::new();
        for text in texts {
            let line = Stored { timestamp: timestamp.into(), instance: instance.into(), text: text.into() };
            // A struct of text cannot fail to be written as JSON into memory.
            serde_json::to_writer(&mut bytes, &line).unwrap_or_default();
            bytes.push(b'\n');
        }
        match self.write(&bytes) {
            Ok(()) => self.failing = false,
            Err(error) => {
                // Opened again at the next line: what half a line left behind is skipped by readers.
                self.newest = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, dir = %self.dir.display(), "A function's log cannot be written");
                }
            }
        }
    }

    /// Writes nothing any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.newest = None;
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The files as they are now, oldest first, each with its length. They stay readable when they are rotated away.
    pub(super) fn snapshot(&self) -> Vec<(File, u64)> {
        let open = |number| {
            let file = File::open(self.path(number)).ok()?;
            let length = file.metadata().ok()?.len();
            Some((file, length))
        };
        (0..self.limits.files).rev().filter_map(open).collect()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let added = bytes.len() as u64;
        let full = |(_, size): &(File, u64)| *size > 0 && size + added > self.limits.bytes;
        if self.newest.is_none() {
            self.newest = Some(self.open()?);
        }
        if self.newest.as_ref().is_some_and(full) {
            self.newest = None;
            self.rotate()?;
            self.newest = Some(self.open()?);
        }
        let Some((file, size)) = &mut self.newest else { return Ok(()) };
        file.write_all(bytes)?;
        *size += added;
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        disk::make_dir(&self.dir)?;
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(0))?;
        let mut size = file.metadata()?.len();
        if size > 0 {
            // Ends what a crash or a full disk may have cut off.
            file.write_all(b"\n")?;
            size += 1;
        }
        Ok((file, size))
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (0..self.limits.files.max(1)).rev() {
            let path = self.path(number);
            let moved = if number + 1 >= self.limits.files {
                fs::remove_file(&path)
            } else {
                fs::rename(&path, self.path(number + 1))
            };
            match moved {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, number: usize) -> PathBuf {
        self.dir.join(format!("{number}.jsonl"))
    }
}
