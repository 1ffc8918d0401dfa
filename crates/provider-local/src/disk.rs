//! Files that are whole or not there: written beside, synced, renamed, the directory synced.

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, fchmod, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;
use std::ffi::CStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Makes a directory and its parents, readable by the owner alone.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a directory and its parents as [`make_dir`] does; a return means that those made are on disk.
pub(crate) fn make_lasting_dir(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !is_there(above)).collect();
    make_dir(path)?;
    // The entry of a directory is in the one above it.
    missing.into_iter().rev().try_for_each(|made| sync_dir(parent(made)?))
}

fn is_there(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

/// Replaces a file's content so that a crash leaves the old or the new, and a return means the new is on disk.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = parent(path)?;
    make_lasting_dir(dir)?;
    replace(path, |beside| write_new(beside, content)?.sync_all())?;
    sync_dir(dir)
}

/// Replaces the content of a file that need not outlast the machine's run: readers see the old or the new.
pub(crate) fn put(path: &Path, content: &[u8], owner: Option<u32>) -> io::Result<()> {
    replace(path, |beside| write_new(beside, content).and_then(|_| give(beside, owner)))
}

fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let beside = parent(path)?.join(format!(".new-{:08x}", rand::random::<u32>()));
    let written = write(&beside).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The error that led here is the one to tell.
        fs::remove_file(&beside).unwrap_or_default();
    }
    written
}

/// Makes a file or directory a user's and that user's own group's; links are not followed.
pub(crate) fn give(path: &Path, owner: Option<u32>) -> io::Result<()> {
    owner.map_or(Ok(()), |owner| lchown(path, Some(owner), Some(owner)))
}

/// Gives a directory and all in it to a user, unless the directory is that user's already.
pub(crate) fn give_all(dir: &Path, owner: u32) -> io::Result<()> {
    if fs::symlink_metadata(dir)?.uid() == owner {
        return Ok(());
    }
    give_below(dir, owner)?;
    // Last: it says that all of it is done.
    give(dir, Some(owner))
}

fn give_below(dir: &Path, owner: u32) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_below(&entry.path(), owner)?;
        }
        give(&entry.path(), Some(owner))?;
    }
    Ok(())
}

/// Lets other users through the directories from `top` down to `place`, itself left out; they see no more of them.
pub(crate) fn let_through(top: &Path, place: &Path) -> io::Result<()> {
    for dir in place.ancestors().skip(1).take_while(|dir| dir.starts_with(top)) {
        let mode = fs::metadata(dir)?.permissions().mode();
        if mode & 0o001 == 0 {
            fs::set_permissions(dir, fs::Permissions::from_mode((mode & 0o777) | 0o011))?;
        }
    }
    Ok(())
}

/// Removes a file; `false` when it was not there.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(parent(path)?).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// How long a replica's directory is removed, at most: whoever has hidden there may go on writing.
const BRIEFLY: Duration = Duration::from_secs(10);

/// Until so much time is over.
pub(crate) fn within(time: Duration) -> impl Fn() -> bool {
    let begun = Instant::now();
    move || begun.elapsed() < time
}

/// For what there is little of, or somebody waits.
pub(crate) fn briefly() -> impl Fn() -> bool {
    within(BRIEFLY)
}

/// Removes a directory with all in it, as long as there is a reason to go on; nothing when it is not there. What is below
/// is moved up to be emptied in its turn: however deep a function has made it, neither the stack nor the number of open
/// files grows. What cannot be removed is no reason to keep the rest, which may be what there is no room for.
pub(crate) fn remove_dir(path: &Path, go_on: impl Fn() -> bool) -> io::Result<()> {
    let top = match open_to_empty(CWD, path) {
        // A link somebody has put in its place.
        Err(Errno::NOTDIR | Errno::LOOP) => return unless_gone(fs::remove_file(path)).map(drop),
        opened => unless_gone(opened)?,
    };
    let Some(top) = top else { return Ok(()) };
    let mut moved = 0;
    loop {
        let (mut removed, mut failed) = (0u64, None);
        let before = moved;
        let found = each_entry(&top, |name| {
            in_time(&go_on)?;
            match empty_and_remove(&top, name, &mut moved, &go_on) {
                Ok(()) => removed += 1,
                Err(error) => failed = Some(in_entry(name, &error)),
            }
            Ok(())
        })?;
        if found == 0 {
            return unless_gone(rustix::fs::rmdir(path)).map(drop);
        }
        // What a pass moves up, or could not for want of room, the next one finds.
        if let (Some(error), 0, true) = (failed, removed, moved == before) {
            return Err(error);
        }
    }
}

/// Removes what has this name in a directory; folders in it are moved up to that directory.
fn empty_and_remove(top: &OwnedFd, name: &CStr, moved: &mut u64, go_on: &impl Fn() -> bool) -> io::Result<()> {
    if remove_unless_full(top, name)? {
        return Ok(());
    }
    let Some(dir) = unless_gone(open_to_empty(top, name))? else { return Ok(()) };
    let mut failed = None;
    each_entry(&dir, |below| {
        in_time(go_on)?;
        let done = remove_unless_full(&dir, below)
            .and_then(|gone| if gone { Ok(()) } else { move_up(&dir, below, top, moved) });
        failed = done.err().map(|error| in_entry(below, &error)).or(failed.take());
        Ok(())
    })?;
    match failed {
        Some(error) => Err(error),
        // Not empty still: something was written to it meanwhile, and the next pass finds it.
        None => remove_unless_full(top, name).map(drop),
    }
}

/// Removes a file or an empty directory; `false` for a directory with something in it.
fn remove_unless_full(dir: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Err(file @ (Errno::ISDIR | Errno::PERM)) => match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(Errno::NOTDIR) => Err(file.into()),
            removed => unless_gone(removed).map(|_| true),
        },
        removed => unless_gone(removed).map(|_| true),
    }
}

fn in_time(go_on: &impl Fn() -> bool) -> io::Result<()> {
    let error = || io::Error::new(io::ErrorKind::TimedOut, "it is written to, or large: not all is removed yet");
    go_on().then_some(()).ok_or_else(error)
}

fn in_entry(name: &CStr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", name.to_string_lossy()))
}

/// Under the next number that is no name there yet.
fn move_up(from: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match renameat(from, name, top, format!(".{moved}")) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            // A directory that is moved is written to: it is told where it is now.
            Err(Errno::ACCESS) if open_to_empty(from, name).is_ok() => {
                return unless_gone(renameat(from, name, top, format!(".{moved}"))).map(drop);
            }
            done => return unless_gone(done).map(drop),
        }
    }
}

/// Opens a directory that is to be emptied, which its owner may whatever its mode is.
fn open_to_empty(at: impl AsFd, path: impl Arg + Copy) -> rustix::io::Result<OwnedFd> {
    let dir = match open_dir(&at, path) {
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = openat(&at, path, flags, Mode::empty())?;
            // By what is open: whoever made it may put a link there meanwhile.
            chmod(format!("/proc/self/fd/{}", place.as_raw_fd()), Mode::RWXU)?;
            open_dir(&at, path)?
        }
        opened => opened?,
    };
    if Mode::from_raw_mode(fstat(&dir)?.st_mode).contains(Mode::RWXU) {
        return Ok(dir);
    }
    // Where it is another's, what comes next says so.
    fchmod(&dir, Mode::RWXU).unwrap_or_default();
    Ok(dir)
}

/// Does something with every entry of a directory; how many there were.
fn each_entry(dir: &OwnedFd, mut work: impl FnMut(&CStr) -> io::Result<()>) -> io::Result<usize> {
    let mut count = 0;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            work(name)?;
            count += 1;
        }
    }
    Ok(count)
}

fn open_dir(at: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// Nothing, where it failed because it is not there.
pub(crate) fn unless_gone<T, E: Into<io::Error>>(result: Result<T, E>) -> io::Result<Option<T>> {
    match result.map_err(Into::into) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// The entries of a directory by name; none when it is not there. Names that are not text are left out: nothing here
/// writes such.
pub(crate) fn entries(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let listing = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    Ok(file)
}

/// A return means that the directory's entries are on disk.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // The directory above a single relative name has none.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_removed_however_deep_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join(".1/with/more")).unwrap();
        fs::write(top.join(".2"), "").unwrap();
        std::os::unix::fs::symlink(folder.path(), top.join("out")).unwrap();
        let mut dir = open_dir(CWD, &top).unwrap();
        // More than the files a process may open, and more than the stack has room for.
        for _ in 0..20_000 {
            for name in ["a", "b"] {
                rustix::fs::mkdirat(&dir, name, Mode::RWXU).unwrap();
            }
            drop(openat(&dir, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
            dir = open_dir(&dir, "a").unwrap();
        }
        remove_dir(&top, || true).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        std::os::unix::fs::symlink("/", &top).unwrap();
        remove_dir(&top, || true).unwrap();
    }

    #[test]
    fn a_tree_is_removed_whatever_the_modes_are_that_its_owner_has_given() {
        // Root needs none of them, and the tests run as an ordinary user, too.
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::write(top.join("a/b/file"), "").unwrap();
        for (dir, mode) in [("a/b/c", 0o555), ("a/b", 0o000), ("a", 0o555), ("", 0o100)] {
            fs::set_permissions(top.join(dir), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove_dir(&top, || true).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_removed_is_named() {
        // Nobody can remove anything there.
        let stays = Path::new("/proc/self/ns");
        let error = remove_dir(stays, || true).unwrap_err().to_string();
        let (name, _why) = error.split_once(": ").unwrap();
        assert!(fs::symlink_metadata(stays.join(name)).is_ok(), "{error}");
    }

    #[test]
    fn a_large_folder_is_removed_as_long_as_there_is_a_reason_to_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("top/large");
        fs::create_dir_all(&large).unwrap();
        (0..100).for_each(|number| fs::write(large.join(number.to_string()), "").unwrap());
        let asked = std::cell::Cell::new(0);
        let go_on = || asked.replace(asked.get() + 1) < 10;
        let error = remove_dir(large.parent().unwrap(), go_on).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(fs::read_dir(&large).unwrap().count() > 80);
    }
}
