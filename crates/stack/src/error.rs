//! What is wrong with a stack file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a stack file cannot be used: file, line, reason, and what to try.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StackError {
    path: PathBuf,
    line: Option<u64>,
    why: String,
}

impl StackError {
    pub(crate) fn new(path: &Path, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, why: why.into() }
    }

    pub(crate) fn at_line(mut self, line: Option<u64>) -> Self {
        self.line = line;
        self
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.why)
    }
}

impl std::error::Error for StackError {}
