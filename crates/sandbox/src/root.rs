//! Places to mount on inside an unpacked image: a read-only root can be given them only beforehand.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A place to mount on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// A directory is mounted there.
    Dir(PathBuf),
    /// A file is mounted there.
    File(PathBuf),
}

/// A place could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be made inside the image in {}: {source}", .target.display(), .root.display())]
pub struct PrepareError {
    root: PathBuf,
    target: PathBuf,
    source: io::Error,
}

/// What every root needs, whatever else is mounted in it.
const ALWAYS: [&str; 3] = ["proc", "dev", "tmp"];
/// A link of an image may lead to a link.
const MOST_LINKS: u32 = 40;

/// Makes the missing ones of `targets` inside `root`, and those that every root needs.
///
/// Links of the image are followed inside `root` only. What is there already stays as it is.
pub fn prepare_root(root: &Path, targets: &[Target]) -> Result<(), PrepareError> {
    let failed =
        |target: &Path, source: io::Error| PrepareError { root: root.to_owned(), target: target.to_owned(), source };
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let dir = rustix::fs::open(root, flags, Mode::empty()).map_err(|error| failed(root, error.into()))?;
    let always = ALWAYS.map(|name| Target::Dir(name.into()));
    for target in always.iter().chain(targets) {
        let (path, is_dir) = match target {
            Target::Dir(path) => (path, true),
            Target::File(path) => (path, false),
        };
        make(&dir, path, is_dir).map_err(|error| failed(path, error))?;
    }
    Ok(())
}

/// Makes a path inside, part by part; a link is replaced by what it says, as seen from inside.
fn make(root: &OwnedFd, path: &Path, is_dir: bool) -> io::Result<()> {
    let mut pending = parts(path);
    let mut real = PathBuf::new();
    let mut links = 0;
    while let Some(name) = pending.pop_front() {
        if name == ".." {
            real.pop();
            continue;
        }
        let parent = open(root, &real)?;
        let wants_dir = is_dir || !pending.is_empty();
        match rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => make_part(&parent, &name, wants_dir)?,
            Err(error) => return Err(error.into()),
            Ok(status) => match FileType::from_raw_mode(status.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let aim = rustix::fs::readlinkat(&parent, &name, Vec::new())?;
                    let aim = Path::new(OsStr::from_bytes(aim.to_bytes()));
                    if aim.is_absolute() {
                        real.clear();
                    }
                    for part in parts(aim).into_iter().rev() {
                        pending.push_front(part);
                    }
                    continue;
                }
                FileType::Directory if wants_dir => {}
                _ if wants_dir => return Err(Errno::NOTDIR.into()),
                FileType::Directory => return Err(Errno::ISDIR.into()),
                _ => {}
            },
        }
        real.push(name);
    }
    Ok(())
}

/// The parts of a path below the root.
fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

/// A directory inside, without any link on the way.
fn open(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn make_part(parent: &OwnedFd, name: &OsStr, is_dir: bool) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(if is_dir { 0o755 } else { 0o644 });
    let made = if is_dir {
        rustix::fs::mkdirat(parent, name, mode)
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, mode).map(drop)
    };
    match made {
        // Another replica of the same image is being prepared.
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
        // The platform's own umask may keep the function's user out.
        Ok(()) => rustix::fs::chmodat(parent, name, mode, AtFlags::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_missing_is_made_and_what_is_there_stays() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/hosts"), "mine").unwrap();
        let targets = [Target::File("/etc/hosts".into()), Target::Dir("/run/crema".into()), Target::File("a/b".into())];
        prepare_root(root.path(), &targets).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join("etc/hosts")).unwrap(), "mine");
        assert!(root.path().join("run/crema").is_dir());
        assert!(root.path().join("a/b").is_file());
        assert!(ALWAYS.iter().all(|name| root.path().join(name).is_dir()));
        prepare_root(root.path(), &targets).unwrap();
    }

    #[test]
    fn links_of_an_image_lead_nowhere_but_inside() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("data")).unwrap();
        symlink("../../../../..", root.path().join("up")).unwrap();
        symlink("run/tmp", root.path().join("tmp")).unwrap();
        let targets = [Target::Dir("/data/d".into()), Target::Dir("/up/from-up".into()), Target::Dir("../dots".into())];
        prepare_root(root.path(), &targets).unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let inside = root.path().join(outside.path().strip_prefix("/").unwrap());
        assert!(inside.join("d").is_dir());
        assert!(root.path().join("from-up").is_dir());
        assert!(root.path().join("dots").is_dir());
        assert!(root.path().join("run/tmp").is_dir());
    }

    #[test]
    fn a_link_to_itself_and_a_file_in_the_way_are_said() {
        let root = tempfile::tempdir().unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        for (target, errno) in [("loop/x", Errno::LOOP), ("file/x", Errno::NOTDIR)] {
            let error = prepare_root(root.path(), &[Target::Dir(target.into())]).unwrap_err();
            assert_eq!(Errno::from_io_error(&error.source), Some(errno), "{error}");
        }
    }
}
