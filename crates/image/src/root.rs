//! Paths inside a root file system: nothing an image says leads out of it.
//!
//! Every path is resolved one component at a time below the root, symbolic links included, as `chroot` would: an
//! absolute link starts at the root, `..` stops there. What comes out holds no link but perhaps its last component, so
//! it can be used with calls that do not follow that one. The directory is private to its owner while it is filled.

use crate::error::{At, ImageError};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Links followed in one path before it counts as a loop, as in the kernel.
const MAX_LINKS: usize = 40;
/// How deep a directory may be.
const MAX_DEPTH: usize = 256;
/// How long a path below the root may be, so that it and the root's own path make one that the system takes.
const MAX_LENGTH: usize = 3072;

/// A directory that is the whole world to the paths in it.
#[derive(Debug)]
pub(crate) struct Root {
    base: PathBuf,
}

impl Root {
    pub(crate) fn new(base: &Path) -> Self {
        Self { base: base.to_owned() }
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// The absolute path of a place found by [`Root::directory`].
    pub(crate) fn at(&self, place: &Path) -> PathBuf {
        self.base.join(place)
    }

    /// The real place of a directory below the root; `None` when it is missing.
    pub(crate) fn directory(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        self.resolve(path, None)
    }

    /// The same, and what is missing on the way is made, each after `allow` has agreed.
    pub(crate) fn make_directory(&self, path: &Path, mut allow: impl FnMut() -> io::Result<()>) -> io::Result<PathBuf> {
        Ok(self.resolve(path, Some(&mut allow))?.expect("missing directories are made"))
    }

    fn resolve(
        &self,
        path: &Path,
        mut allow: Option<&mut dyn FnMut() -> io::Result<()>>,
    ) -> io::Result<Option<PathBuf>> {
        let mut real = Vec::<OsString>::new();
        let mut rest: VecDeque<OsString> = parts(path)?;
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                real.pop();
                continue;
            }
            real.push(part);
            let place = checked(&real)?;
            let here = self.at(&place);
            match fs::symlink_metadata(&here) {
                Ok(found) if found.is_dir() => {}
                Ok(found) if found.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::other("symbolic links on its way lead in a circle"));
                    }
                    let target = fs::read_link(&here)?;
                    real.pop();
                    if target.is_absolute() {
                        real.clear();
                    }
                    for part in parts(&target)?.into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                Ok(_) => {
                    let why = format!("{} is on its way and is no directory", place.display());
                    return Err(io::Error::new(io::ErrorKind::NotADirectory, why));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let Some(allow) = &mut allow else { return Ok(None) };
                    allow()?;
                    fs::create_dir(&here)?;
                    fs::set_permissions(&here, fs::Permissions::from_mode(0o755))?;
                }
                Err(error) => return Err(error),
            }
        }
        checked(&real).map(Some)
    }
}

/// Where a path of an image is in its unpacked root file system, symbolic links followed without leaving it.
pub fn locate(root: &Path, path: impl AsRef<Path>) -> Result<PathBuf, ImageError> {
    find(&Root::new(root), path.as_ref().to_owned()).at("find in the image", path.as_ref())
}

fn find(root: &Root, mut path: PathBuf) -> io::Result<PathBuf> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    for _ in 0..MAX_LINKS {
        let Some(name) = path.file_name() else {
            return root.directory(&path)?.map(|place| root.at(&place)).ok_or_else(missing);
        };
        let above = path.parent().unwrap_or_else(|| Path::new(""));
        let above = root.directory(above)?.ok_or_else(missing)?;
        let place = root.at(&above).join(name);
        if !fs::symlink_metadata(&place)?.is_symlink() {
            return Ok(place);
        }
        // An absolute target replaces what it is joined to, and is rooted when it is resolved.
        path = above.join(fs::read_link(&place)?);
    }
    Err(io::Error::other("symbolic links lead in a circle"))
}

/// The components of a layer entry's path. Absolute ones are rooted; one that climbs is refused.
pub(crate) fn entry_path(bytes: &[u8]) -> Result<PathBuf, &'static str> {
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(bytes)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir => return Err("a path with '..' could leave the image"),
            Component::Prefix(_) => return Err("it is no path"),
        }
    }
    if bytes.contains(&0) {
        return Err("a path cannot hold a zero byte");
    }
    Ok(path)
}

fn parts(path: &Path) -> io::Result<VecDeque<OsString>> {
    if path.as_os_str().len() > 2 * MAX_LENGTH {
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, "its path is too long"));
    }
    Ok(path
        .components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect())
}

fn checked(real: &[OsString]) -> io::Result<PathBuf> {
    let place: PathBuf = real.iter().collect();
    if real.len() > MAX_DEPTH || place.as_os_str().len() > MAX_LENGTH {
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, "its path is too deep or too long"));
    }
    Ok(place)
}

/// Removes a file or a whole tree without following links, also one whose directories refuse their owner.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        done => done,
    }
}

/// The bytes a tree takes on disk; what is linked to twice counts twice.
pub(crate) fn size_of(directory: &Path) -> io::Result<u64> {
    let (mut bytes, mut todo) = (0, vec![directory.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_as_under_chroot() {
        let temporary = tempfile::tempdir().unwrap();
        let base = temporary.path().join("root");
        fs::create_dir_all(base.join("usr/lib")).unwrap();
        for (target, link) in [("/usr/lib", "lib"), ("../../../..", "up"), ("loop", "loop"), ("/nowhere/x", "broken")] {
            symlink(target, base.join(link)).unwrap();
        }
        let root = Root::new(&base);
        for (path, expected) in [
            ("lib", Some("usr/lib")),
            ("lib/new/deep", Some("usr/lib/new/deep")),
            ("up/usr", Some("usr")),
            ("usr/../../../etc", Some("etc")),
            ("broken", Some("nowhere/x")),
            ("loop", None),
        ] {
            let place = root.make_directory(Path::new(path), || Ok(())).ok();
            assert_eq!(place, expected.map(PathBuf::from), "{path}");
        }
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_entrypoint_behind_a_link_is_found_in_the_image_not_on_the_host() {
        let temporary = tempfile::tempdir().unwrap();
        let base = temporary.path();
        fs::create_dir_all(base.join("bin")).unwrap();
        fs::write(base.join("bin/tool"), "x").unwrap();
        symlink("/bin/tool", base.join("function")).unwrap();
        symlink("/etc/hostname", base.join("outside")).unwrap();
        assert_eq!(locate(base, "/function").unwrap(), base.join("bin/tool"));
        assert!(locate(base, "/outside").is_err());
        assert!(locate(base, "/../../etc/hostname").is_err());
    }

    #[test]
    fn entry_paths_are_rooted_and_never_climb() {
        assert_eq!(entry_path(b"/etc/./passwd").unwrap(), PathBuf::from("etc/passwd"));
        assert_eq!(entry_path(b"./").unwrap(), PathBuf::new());
        for bad in [&b"../x"[..], b"a/../../x", b"..", b"a/..", b"a\0b"] {
            assert!(entry_path(bad).is_err());
        }
    }
}
