//! The directory: opens what lies beneath it and nothing else, links and all.

use crate::sniff;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Opened for reading; a pipe's other end is not waited for.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// A directory as a place to look from.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Times up to this one (2 January 1980) are no file's own: builders of images write them to say nothing.
const NO_TIME: i64 = 315_619_200;
/// The first second that an HTTP date cannot say: the year 10000.
const NO_DATE: u64 = 253_402_300_800;

/// The directory that is served. Looked up anew for every request: it may be replaced.
#[derive(Debug)]
pub(super) struct Tree(PathBuf);

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found {
    File(Entry),
    /// A directory, asked for without the slash.
    Directory,
    Nothing,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) file: File,
    pub(super) size: u64,
    /// Seconds since 1970, when they say something.
    pub(super) modified: Option<u64>,
    /// The entity tag, quotes included.
    pub(super) tag: String,
    pub(super) content_type: String,
}

impl Entry {
    fn of(file: File, path: &Path) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let size = metadata.size();
        let is_timed = metadata.mtime() > NO_TIME;
        let tag = if is_timed {
            format!("\"{:x}.{:x}-{size:x}\"", metadata.mtime(), metadata.mtime_nsec())
        } else {
            // Time and size alone would be the same for a new version. These are this machine's own.
            let (seconds, nanos) = (metadata.ctime(), metadata.ctime_nsec());
            format!("\"{seconds:x}.{nanos:x}-{size:x}-{:x}\"", metadata.ino())
        };
        let modified = u64::try_from(metadata.mtime()).ok().filter(|_| is_timed);
        let content_type = content_type(path, &file)?;
        Ok(Self { file, size, modified, tag, content_type })
    }

    pub(super) fn last_modified(&self) -> Option<String> {
        self.modified
            .filter(|seconds| *seconds < NO_DATE)
            .map(|seconds| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)))
    }
}

fn content_type(path: &Path, file: &File) -> io::Result<String> {
    match mime_guess::from_path(path).first_raw() {
        Some(name) if name.starts_with("text/") => Ok(format!("{name}; charset=utf-8")),
        Some(name) => Ok(name.to_owned()),
        None => {
            let mut start = [0; sniff::LOOK];
            let read = file.read_at(&mut start, 0)?;
            Ok(sniff::content_type(&start[..read]).to_owned())
        }
    }
}

impl Tree {
    pub(super) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Whether the directory is there.
    pub(super) fn look(&self) -> io::Result<()> {
        self.place().map(drop)
    }

    fn place(&self) -> io::Result<OwnedFd> {
        Ok(open(&self.0, PLACE, Mode::empty())?)
    }

    /// Opens a file beneath, or a directory's `index.html`.
    pub(super) fn find(&self, path: &Path, is_directory: bool) -> io::Result<Found> {
        let place = self.place()?;
        let Some(file) = beneath(&place, if path.as_os_str().is_empty() { Path::new(".") } else { path })? else {
            return Ok(Found::Nothing);
        };
        let kind = file.metadata()?;
        if kind.is_file() && !is_directory {
            return Entry::of(file, path).map(Found::File);
        }
        if !kind.is_dir() {
            return Ok(Found::Nothing);
        }
        if !is_directory {
            return Ok(Found::Directory);
        }
        let index = path.join("index.html");
        match beneath(&place, &index)? {
            Some(file) if file.metadata()?.is_file() => Entry::of(file, &index).map(Found::File),
            _ => Ok(Found::Nothing),
        }
    }
}

/// Opens what lies beneath `place`; `None` when there is nothing that may be read, or it lies elsewhere.
fn beneath(place: &OwnedFd, path: &Path) -> io::Result<Option<File>> {
    let opened = match openat2(place, path, READ, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
        // Linux before 5.6, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => without_links(place, path),
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(Some(file.into())),
        // EXDEV: out of the directory. ENXIO: a socket.
        Err(
            Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::XDEV | Errno::LOOP | Errno::NXIO | Errno::NAMETOOLONG,
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The same step by step, following no link.
fn without_links(place: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mut names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let Some(mut name) = names.next() else { return openat(place, ".", READ, Mode::empty()) };
    let mut at: Option<OwnedFd> = None;
    for next in names {
        let from = at.as_ref().map_or(place.as_fd(), AsFd::as_fd);
        at = Some(openat(from, name, PLACE | OFlags::NOFOLLOW, Mode::empty())?);
        name = next;
    }
    let from = at.as_ref().map_or(place.as_fd(), AsFd::as_fd);
    openat(from, name, READ | OFlags::NOFOLLOW, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, Tree) {
        let outside = tempfile::tempdir().unwrap();
        let directory = outside.path().join("public");
        std::fs::create_dir_all(directory.join("a/b")).unwrap();
        std::fs::write(outside.path().join("secret.txt"), "secret").unwrap();
        std::fs::write(directory.join("a/b/c.txt"), "c").unwrap();
        std::fs::write(directory.join("a/index.html"), "index").unwrap();
        symlink("a/b/c.txt", directory.join("inside")).unwrap();
        symlink("../secret.txt", directory.join("outside")).unwrap();
        symlink(outside.path().join("secret.txt"), directory.join("absolute")).unwrap();
        symlink("..", directory.join("up")).unwrap();
        symlink("/proc/self/root", directory.join("magic")).unwrap();
        symlink("round", directory.join("round")).unwrap();
        (outside, Tree::new(&directory))
    }

    #[test]
    fn only_what_lies_beneath_is_opened() {
        let (_outside, tree) = tree();
        let place = tree.place().unwrap();
        let opens = |path: &str| beneath(&place, Path::new(path)).unwrap().is_some();
        assert!(opens("a/b/c.txt") && opens("inside") && opens("a"));
        for path in ["outside", "absolute", "up", "up/secret.txt", "magic/etc/passwd", "round", "none", "a/b/c.txt/d"] {
            assert!(!opens(path), "{path}");
        }
        assert!(!opens(&"x".repeat(300)));
    }

    #[test]
    fn where_the_system_cannot_look_beneath_no_link_is_followed() {
        let (_outside, tree) = tree();
        let place = tree.place().unwrap();
        let opens = |path: &str| without_links(&place, Path::new(path)).is_ok();
        assert!(opens("a/b/c.txt") && opens("a") && opens("."));
        for path in ["inside", "outside", "absolute", "up", "up/secret.txt", "magic/etc/passwd", "round", "none"] {
            assert!(!opens(path), "{path}");
        }
    }

    #[test]
    fn a_pipe_is_no_file_and_is_not_waited_for() {
        let (outside, tree) = tree();
        let pipe = outside.path().join("public/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(matches!(tree.find(Path::new("pipe"), false).unwrap(), Found::Nothing));
    }

    #[test]
    fn a_tag_changes_with_the_file_also_when_its_time_says_nothing() {
        let (outside, tree) = tree();
        let path = outside.path().join("public/f.txt");
        let entry = |text: &str, time: Duration| {
            let other = outside.path().join("other");
            std::fs::write(&other, text).unwrap();
            let file = File::options().write(true).open(&other).unwrap();
            file.set_modified(UNIX_EPOCH + time).unwrap();
            std::fs::rename(&other, &path).unwrap();
            let Found::File(entry) = tree.find(Path::new("f.txt"), false).unwrap() else { panic!() };
            entry
        };
        let known = Duration::from_secs(1_795_395_723);
        let (one, same) = (entry("one", known), entry("two", known));
        assert_eq!((one.tag.as_str(), one.modified), (same.tag.as_str(), Some(known.as_secs())));
        assert_eq!(one.last_modified().unwrap(), "Mon, 23 Nov 2026 01:02:03 GMT");
        assert_ne!(one.tag, entry("longer", known).tag);
        assert_ne!(one.tag, entry("one", known + Duration::from_nanos(1)).tag);
        let (one, other) = (entry("one", Duration::ZERO), entry("two", Duration::ZERO));
        assert_ne!(one.tag, other.tag);
        assert_eq!(one.last_modified(), None);
        let of = |seconds| Entry { modified: Some(seconds), ..entry("late", known) }.last_modified();
        assert_eq!(of(NO_DATE - 1).unwrap(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(of(NO_DATE), None);
    }
}
