//! The state directory: whose it is, which format it has, and that one process uses it at a time.

use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What the file `format` says; another text is refused.
pub const FORMAT: &str = "crema-state 1\n";
/// Where root keeps its state.
pub const ROOT_DEFAULT: &str = "/var/lib/crema";

/// An open state directory. Nobody else has it as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// There is no home to put the default in.
    #[error("no place for the state: neither XDG_STATE_HOME nor HOME is set; name one with --state DIR or CREMA_STATE")]
    NoHome,
    /// It cannot be made or read.
    #[error("state directory {path}: {source}; name another one with --state DIR or CREMA_STATE")]
    Unusable {
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is another user's.
    #[error(
        "state directory {path} belongs to user id {owner}, and this is user id {user}; run as that user or name another one with --state DIR or CREMA_STATE"
    )]
    OtherUser {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// Others could put their own things in it.
    #[error(
        "state directory {path} can be written by others (mode {mode:o}); `chmod go-w {path}` first, or name another one with --state DIR or CREMA_STATE"
    )]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Another process has it.
    #[error(
        "state directory {path} is in use by another crema (process {holder}); stop that one or name another directory with --state DIR or CREMA_STATE"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that has it, as it wrote it down.
        holder: String,
    },
    /// It was written by a version that does things differently.
    #[error(
        "state directory {path} has the format {found:?}, and this version of crema reads {FORMAT:?}; use the version that wrote it or name another directory with --state DIR or CREMA_STATE"
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// What its `format` says.
        found: String,
    },
    /// It holds things, but not ours.
    #[error("{path} is not empty and is no state directory of crema; name another one with --state DIR or CREMA_STATE")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
}

/// Where the state is kept unless told: `$XDG_STATE_HOME/crema`, `$HOME/.local/state/crema`, as root `/var/lib/crema`.
pub fn default_path(env: &impl crate::Env) -> Result<PathBuf, StateDirError> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from(ROOT_DEFAULT));
    }
    // The XDG specification ignores relative paths.
    let state_home = env.get("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env.get("HOME").map(|home| Path::new(&home).join(".local/state"));
    state_home.or_else(home).map(|base| base.join("crema")).ok_or(StateDirError::NoHome)
}

impl StateDir {
    /// Opens a state directory, making it when there is none.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| StateDirError::Unusable { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable(path))?;
        let path = fs::canonicalize(path).map_err(unusable(path))?;
        check_owner(&path)?;
        check_format(&path)?;
        let lock = lock(&path)?;
        for part in ["auth", "queue", "images", "functions", "secrets", "namespaces", "data", "logs", "run"] {
            let part = path.join(part);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&part).map_err(unusable(&part))?;
            check_owner(&part)?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// The directory, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A part of it.
    #[must_use]
    pub fn join(&self, part: &str) -> PathBuf {
        self.path.join(part)
    }
}

/// Whoever else can write here can have functions of theirs run as us.
fn check_owner(path: &Path) -> Result<(), StateDirError> {
    let found =
        fs::symlink_metadata(path).map_err(|source| StateDirError::Unusable { path: path.to_owned(), source })?;
    let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return Err(StateDirError::OtherUser { path: path.to_owned(), owner, user });
    }
    match found.mode() & 0o7777 {
        mode if mode & 0o022 != 0 => Err(StateDirError::Writable { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

fn check_format(path: &Path) -> Result<(), StateDirError> {
    let format = path.join("format");
    let unusable = |source| StateDirError::Unusable { path: format.clone(), source };
    match fs::read(&format) {
        Ok(found) if found == FORMAT.as_bytes() => Ok(()),
        Ok(found) => Err(StateDirError::Format {
            path: path.to_owned(),
            found: String::from_utf8_lossy(&found).chars().take(60).collect(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // "lock" is there when a first start was cut short; anything else is somebody's.
            let foreign = fs::read_dir(path)
                .map_err(unusable)?
                .filter_map(Result::ok)
                .any(|entry| entry.file_name() != "lock" && entry.file_name() != "format.new");
            if foreign {
                return Err(StateDirError::Foreign { path: path.to_owned() });
            }
            write_format(path, &format).map_err(unusable)
        }
        Err(error) => Err(unusable(error)),
    }
}

fn write_format(path: &Path, format: &Path) -> io::Result<()> {
    let new = path.join("format.new");
    fs::write(&new, FORMAT)?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, format)?;
    File::open(path)?.sync_all()
}

fn lock(path: &Path) -> Result<File, StateDirError> {
    let file = path.join("lock");
    let unusable = |source| StateDirError::Unusable { path: file.clone(), source };
    let lock = rustix::fs::open(&file, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
        .map_err(|error| unusable(error.into()))?;
    let lock = File::from(lock);
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            lock.set_len(0).map_err(unusable)?;
            io::Write::write_all(&mut &lock, std::process::id().to_string().as_bytes()).map_err(unusable)?;
            Ok(lock)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder = fs::read_to_string(&file).ok().filter(|text| !text.is_empty());
            Err(StateDirError::InUse { path: path.to_owned(), holder: holder.unwrap_or_else(|| "unknown".to_owned()) })
        }
        Err(error) => Err(unusable(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_new_one_is_private_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        drop(StateDir::open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(path.join("format")).unwrap(), FORMAT);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        let error = StateDir::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn an_unknown_format_and_foreign_things_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format"), "crema-state 99\n").unwrap();
        assert!(matches!(StateDir::open(dir.path()), Err(StateDirError::Format { .. })));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        assert!(matches!(StateDir::open(dir.path()), Err(StateDirError::Foreign { .. })));
    }

    #[test]
    fn one_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(StateDir::open(dir.path()).unwrap());
        for part in ["", "functions"] {
            let part = dir.path().join(part);
            fs::set_permissions(&part, fs::Permissions::from_mode(0o777)).unwrap();
            assert!(matches!(StateDir::open(dir.path()), Err(StateDirError::Writable { .. })));
            fs::set_permissions(&part, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }

    #[test]
    fn the_default_follows_xdg() {
        if rustix::process::geteuid().is_root() {
            assert_eq!(default_path(&[("HOME", "/home/a")]).unwrap(), Path::new(ROOT_DEFAULT));
            return;
        }
        assert_eq!(default_path(&[("XDG_STATE_HOME", "/x")]).unwrap(), Path::new("/x/crema"));
        assert_eq!(default_path(&[("HOME", "/h")]).unwrap(), Path::new("/h/.local/state/crema"));
    }
}
