//! A disk whose power can be cut: ext4 in a loop-mounted file, shut down by the kernel while it is written to.
//!
//! The shutdown drops every page that no one synced and every change of metadata that is not in the journal. It does
//! not stand for a drive that loses its own cache, nor for torn sectors. Needs root.
#![allow(unsafe_code, reason = "rustix cannot know the types of an ioctl")]

use rustix::ioctl::{Setter, ioctl, opcode};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// `EXT4_IOC_SHUTDOWN`.
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: not even the journal is written out.
const AT_ONCE: u32 = 2;

/// A file system of its own, gone when dropped.
#[derive(Debug)]
pub struct Disk {
    directory: TempDir,
}

impl Disk {
    /// A disk of so many bytes, mounted; or why there can be none here.
    pub fn new(bytes: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("run it as root: it mounts a file system".to_owned());
        }
        let directory = tempfile::Builder::new().prefix("power-cut").tempdir().map_err(|error| error.to_string())?;
        let disk = Self { directory };
        std::fs::create_dir(disk.path()).map_err(|error| error.to_string())?;
        let image = File::create(disk.image()).and_then(|image| image.set_len(bytes));
        image.map_err(|error| error.to_string())?;
        // No lazy initialisation: nothing writes in the background.
        let extended = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-E", extended]).arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()))
    }

    /// Cuts the power: from now on everything fails, and what was not synced is gone.
    pub fn cut(&self) {
        let root = File::open(self.path()).expect("the mount point can be opened until the power is cut");
        // SAFETY: the opcode is ext4's, whose argument is a pointer to a 32-bit flag.
        unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(AT_ONCE)) }.expect("ext4 can be shut down by root");
    }

    /// Power is back: what is on the disk is mounted again. No one may have a file of it open.
    pub fn restart(&self) -> Result<(), String> {
        run(Command::new("umount").arg(self.path()))?;
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed may have files open still; the kernel lets go of the rest when they are closed.
        if let Err(why) = run(Command::new("umount").arg("--lazy").arg(self.path())) {
            eprintln!("{}: {why}", self.path().display());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = Path::new(command.get_program()).display().to_string();
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => Err(format!("{program}: {}", String::from_utf8_lossy(&stderr).trim())),
        Err(error) => Err(format!("{program}: {error}; install mount and e2fsprogs")),
    }
}
