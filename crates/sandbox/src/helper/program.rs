//! The function's program: found as `execvp` finds it, and if it cannot be run, why in clear words.

use super::sys;
use crate::Spec;
use crate::exchange::{Failure, Step};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program, ready to be run.
pub(super) struct Program<'a> {
    spec: &'a Spec,
    name: &'a str,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl<'a> Program<'a> {
    /// The spec's; it may have none.
    pub(super) fn new(spec: &'a Spec) -> Result<Option<Self>, Failure> {
        let Some(name) = spec.argv.first() else { return Ok(None) };
        let terminated = |text: String| CString::new(text).step("read arguments and environment");
        Ok(Some(Self {
            spec,
            name,
            argv: spec.argv.iter().cloned().map(terminated).collect::<Result<_, _>>()?,
            env: spec.env.iter().map(|(key, value)| terminated(format!("{key}={value}"))).collect::<Result<_, _>>()?,
        }))
    }

    /// Runs it in place of this process; comes back only with the reason why not.
    pub(super) fn run(&self) -> Failure {
        sys::default_sigpipe();
        let mut last = (PathBuf::from(self.name), io::Error::from(Errno::NOENT));
        for candidate in self.candidates() {
            let error = match CString::new(candidate.as_os_str().as_bytes()) {
                Ok(path) => sys::execve(&path, &self.argv, &self.env),
                Err(_) => io::Error::from(Errno::NOENT),
            };
            let absent = matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NOTDIR));
            if !absent || candidate.exists() {
                let goes_on = Errno::from_io_error(&error) == Some(Errno::ACCESS);
                last = (candidate, error);
                if !goes_on {
                    break;
                }
            }
        }
        let (path, error) = last;
        Failure {
            step: format!("run {}", path.display()),
            errno: error.raw_os_error().unwrap_or_default(),
            hint: hint(&path, &error),
        }
    }

    fn candidates(&self) -> Vec<PathBuf> {
        if self.name.contains('/') {
            return vec![PathBuf::from(self.name)];
        }
        let path = self.spec.env.iter().rev().find(|(key, _)| key == "PATH");
        let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_str());
        // An empty word is the working directory.
        path.split(':').map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(self.name)).collect()
    }
}

pub(super) fn enter_working_dir(spec: &Spec) -> Result<(), Failure> {
    match spec.working_dir.as_path() {
        none if none.as_os_str().is_empty() => Ok(()),
        dir => rustix::process::chdir(dir).step_with(|| format!("enter the working directory {}", dir.display())),
    }
}

/// What the kernel's answer means for this file.
fn hint(path: &Path, error: &io::Error) -> Option<String> {
    let start = start_of(path);
    match Errno::from_io_error(error)? {
        Errno::NOENT if start.is_none() => Some("it is not in the image".to_owned()),
        Errno::NOENT => Some(match start.as_deref().and_then(interpreter) {
            Some(interpreter) => format!("it is there, but {interpreter}, which it needs, is not"),
            None => "it is there, but its dynamic loader is not in the image".to_owned(),
        }),
        Errno::NOEXEC => Some(match start.as_deref().and_then(machine) {
            Some(machine) if machine != OWN_MACHINE => {
                format!("it is built for {}, not for {}", machine_name(machine), std::env::consts::ARCH)
            }
            _ => "it is neither a program for this machine nor a script that names its interpreter".to_owned(),
        }),
        Errno::ACCESS => Some("the function's user may not execute it".to_owned()),
        _ => None,
    }
}

fn start_of(path: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    // What cannot be read is there all the same.
    if let Ok(file) = File::open(path) {
        file.take(256).read_to_end(&mut start).unwrap_or_default();
    }
    path.exists().then_some(start)
}

/// The interpreter a script names.
fn interpreter(start: &[u8]) -> Option<String> {
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty())?;
    Some(Path::new(OsStr::from_bytes(word)).display().to_string())
}

const OWN_MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

/// What an ELF file is built for.
fn machine(start: &[u8]) -> Option<u16> {
    let bytes = start.strip_prefix(b"\x7fELF")?.get(14..16)?.first_chunk::<2>().copied()?;
    // Which end comes first stands in the sixth byte.
    Some(if start.get(5) == Some(&2) { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

fn machine_name(machine: u16) -> String {
    match machine {
        3 => "x86 (32 bit)".to_owned(),
        40 => "arm (32 bit)".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv64".to_owned(),
        other => format!("another machine (ELF number {other})"),
    }
}
