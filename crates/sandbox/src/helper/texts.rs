//! Files that are made for a function: in memory, and shown each at its place.

use super::mounts::{self, Root};
use super::sys::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use crate::Text;
use crate::exchange::{Failure, Step};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const PLAIN: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
const PAGE: usize = 4096;

/// Writes the files to a file system of their own, which comes to lie where the function's root will lie above it: it is
/// seen only file by file, through what this gives.
pub(super) fn make(texts: &[Text]) -> Result<Vec<OwnedFd>, Failure> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    const STEP: &str = "make files for the function";
    // Each file has an end of a page to itself, and the kernel takes a page or two for the directory.
    let pages: usize = texts.iter().map(|text| text.content.len() / PAGE + 2).sum();
    let (size, files) = (((pages + 2) * PAGE).to_string(), (texts.len() + 2).to_string());
    let options = [("size", size.as_str()), ("nr_inodes", &files), ("mode", "755")];
    let dir = mounts::new("tmpfs", &options, PLAIN).step(STEP)?;
    mounts::attach_above(&dir).step(STEP)?;
    let file = |(number, text): (usize, &Text)| {
        let name = number.to_string();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, &name, flags, Mode::from_raw_mode(0o644)).step(STEP)?;
        File::from(file).write_all(text.content.as_bytes()).step(STEP)?;
        mounts::open_at(dir.as_fd(), Path::new(&name), PLAIN | MOUNT_ATTR_RDONLY)
    };
    texts.iter().enumerate().map(file).collect()
}

/// Shows them.
pub(super) fn show(root: &Root, texts: &[Text], files: &[OwnedFd]) -> Result<(), Failure> {
    for (text, file) in texts.iter().zip(files) {
        root.attach(file, &text.target).step_with(|| format!("mount {}", text.target.display()))?;
    }
    Ok(())
}
