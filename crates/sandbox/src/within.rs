//! For tests: a program that runs with something done to its process before it starts.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

/// Runs `command` to its end; `confine` is called in its process before the program starts.
pub(crate) fn run(command: &mut Command, confine: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Output {
    // SAFETY: what the tests do here calls the system and allocates; the C library keeps the allocator usable in
    // the child of a threaded process.
    #[expect(unsafe_code, reason = "code between fork and exec")]
    unsafe {
        command.pre_exec(confine);
    }
    command.output().unwrap()
}

/// A Python interpreter that is no script calling another, or the reason to skip what needs one.
pub(crate) fn python(test: &str) -> Option<String> {
    let found = Command::new("python3").args(["-c", "import sys, ctypes; print(sys.executable)"]).output();
    let path = found.ok().filter(|output| output.status.success());
    let path = path.and_then(|output| String::from_utf8(output.stdout).ok()).map(|path| path.trim().to_owned());
    if path.is_none() {
        skip(test, "there is no python3 with ctypes here");
    }
    path
}

/// Says that a test did not run here.
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
}

/// An error of ours as one that the code before a program may return.
pub(crate) fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}
