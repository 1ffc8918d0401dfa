use super::*;
use crate::data::Data;
use crate::disk;
use sandbox::uids::FIRST;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use tempfile::TempDir;
use wire::FunctionName;

const MIB: u64 = 1 << 20;
/// What the file system takes for itself.
const ABOUT: u64 = MIB / 4;
/// How to make them.
const EXT4: &[&str] = &["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "quota,project"];
const XFS: &[&str] = &["mkfs.xfs", "-q", "-f"];

/// A file system with project quota in a file, gone when dropped.
struct Disk(TempDir);

impl Disk {
    /// One of each kind there can be here.
    fn each(test: &str, check: impl Fn(&Self)) {
        for make in [EXT4, XFS] {
            match Self::new(make) {
                Ok(disk) => check(&disk),
                Err(why) => eprintln!("SKIPPED {test} ({}): {why}", make[0]),
            }
        }
    }

    fn new(make: &[&str]) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("run it as root: it mounts a file system".to_owned());
        }
        let disk = Self(tempfile::Builder::new().prefix("quota").tempdir().unwrap());
        fs::set_permissions(disk.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(disk.path()).unwrap();
        fs::File::create(disk.image()).unwrap().set_len(320 * MIB).unwrap();
        run(Command::new(make[0]).args(&make[1..]).arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("mounted")
    }

    fn image(&self) -> PathBuf {
        self.0.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop,prjquota"]).arg(self.image()).arg(self.path()))
    }

    /// As a machine that starts again would.
    fn restart(&self) {
        run(Command::new("umount").arg(self.path())).unwrap();
        self.mount().unwrap();
    }

    fn data(&self) -> Data {
        Data::new(&self.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Not mounted when it could not be.
        run(Command::new("umount").arg("--lazy").arg(self.path())).unwrap_or_default();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => Err(format!("{program}: {}", String::from_utf8_lossy(&stderr).trim())),
        Err(error) => Err(format!("{program}: {error}; install mount, e2fsprogs and xfsprogs")),
    }
}

fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

/// The data directory of a function that is this user.
fn directory(disk: &Disk, function: &str, user: u32) -> PathBuf {
    let dir = disk.data().open(&name(function)).unwrap();
    disk::let_through(&disk.path(), &dir).unwrap();
    disk::give_all(&dir, user).unwrap();
    dir
}

/// Writes a file as a function does: its own user, without any right of root's, which would be above quotas.
fn write(path: &Path, user: u32, bytes: u64) -> Result<(), String> {
    let script = "umask 022; head -c \"$1\" /dev/zero > \"$2\" && sync \"$2\"";
    let (bytes, mut shell) = (bytes.to_string(), Command::new("sh"));
    run(shell.args(["-c", script, "sh", &bytes]).arg(path).env("LC_ALL", "C").uid(user).gid(user))
}

fn refused(written: Result<(), String>) {
    let error = written.unwrap_err();
    assert!(error.contains("Disk quota exceeded") || error.contains("No space left"), "{error}");
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn a_directory_is_held_to_its_size_and_no_other_is_affected() {
    Disk::each("a_directory_is_held_to_its_size_and_no_other_is_affected", |disk| {
        let (order, payment) = (directory(disk, "order", FIRST), directory(disk, "payment", FIRST + 1));
        // What was there before counts, however deep; what is no file or directory is no obstacle.
        fs::create_dir_all(order.join("a/b")).unwrap();
        fs::write(order.join("a/b/before"), vec![1; MIB as usize]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", order.join("link")).unwrap();
        run(Command::new("mkfifo").arg(order.join("fifo"))).unwrap();
        run(Command::new("chown").args(["-hR", &format!("{FIRST}:{FIRST}")]).arg(&order)).unwrap();

        assert_eq!(keep_below(&order, Some(FIRST), Some(4 * MIB)).unwrap(), Kept::Newly);
        assert_eq!(keep_below(&order, Some(FIRST), Some(4 * MIB)).unwrap(), Kept::Enforced);
        assert_eq!(keep_below(&payment, Some(FIRST + 1), Some(16 * MIB)).unwrap(), Kept::Newly);

        refused(write(&order.join("a/b/new"), FIRST, 8 * MIB));
        let new = size(&order.join("a/b/new"));
        assert!((3 * MIB - ABOUT..=3 * MIB).contains(&new), "{new}");
        write(&payment.join("file"), FIRST + 1, 8 * MIB).unwrap();

        assert_eq!(keep_below(&order, Some(FIRST), Some(12 * MIB)).unwrap(), Kept::Newly);
        write(&order.join("a/b/new"), FIRST, 8 * MIB).unwrap();
        refused(write(&order.join("more"), FIRST, 8 * MIB));
    });
}

#[test]
fn a_limit_outlives_a_restart_until_it_is_lifted() {
    Disk::each("a_limit_outlives_a_restart_until_it_is_lifted", |disk| {
        let order = directory(disk, "order", FIRST);
        keep_below(&order, Some(FIRST), Some(4 * MIB)).unwrap();
        disk.restart();
        refused(write(&order.join("file"), FIRST, 8 * MIB));
        assert_eq!(keep_below(&order, Some(FIRST), Some(4 * MIB)).unwrap(), Kept::Enforced);
        assert_eq!(keep_below(&order, Some(FIRST), None).unwrap(), Kept::Free);
        write(&order.join("file"), FIRST, 8 * MIB).unwrap();
        // What is too large already stays, and does not grow.
        assert_eq!(keep_below(&order, Some(FIRST), Some(4 * MIB)).unwrap(), Kept::Newly);
        refused(write(&order.join("more"), FIRST, MIB));
        assert_eq!(size(&order.join("file")), 8 * MIB);
    });
}

#[test]
fn what_is_purged_is_forgotten() {
    Disk::each("what_is_purged_is_forgotten", |disk| {
        let order = directory(disk, "order", FIRST);
        keep_below(&order, Some(FIRST), Some(4 * MIB)).unwrap();
        write(&order.join("file"), FIRST, MIB).unwrap();
        disk.data().set_aside(&name("order")).unwrap().map(|aside| disk.data().purge(&name("order"), &aside)).unwrap();
        let root = open(&disk.path(), OFlags::DIRECTORY).unwrap();
        assert_eq!(sys::quota(&root, FIRST).unwrap().most_blocks, 0);
        let order = directory(disk, "order", FIRST);
        assert_eq!(keep_below(&order, Some(FIRST), None).unwrap(), Kept::Free);
        write(&order.join("file"), FIRST, 8 * MIB).unwrap();
        assert_eq!(keep_below(&order, Some(FIRST), Some(12 * MIB)).unwrap(), Kept::Newly);
        refused(write(&order.join("more"), FIRST, 8 * MIB));
    });
}

#[test]
fn a_function_is_held_to_its_size_while_the_data_of_the_one_before_it_is_being_purged() {
    Disk::each("a_function_is_held_to_its_size_while_the_data_of_the_one_before_it_is_being_purged", |disk| {
        let order = directory(disk, "order", FIRST);
        keep_below(&order, Some(FIRST), Some(4 * MIB)).unwrap();
        write(&order.join("file"), FIRST, MIB).unwrap();
        let aside = disk.data().set_aside(&name("order")).unwrap().unwrap();
        let order = directory(disk, "order", FIRST);
        assert_eq!(keep_below(&order, Some(FIRST), Some(4 * MIB)).unwrap(), Kept::Newly);
        disk.data().purge(&name("order"), &aside);
        refused(write(&order.join("file"), FIRST, 8 * MIB));
    });
}

#[test]
fn what_an_interrupted_start_has_left_is_finished() {
    Disk::each("what_an_interrupted_start_has_left_is_finished", |disk| {
        let order = directory(disk, "order", FIRST);
        write(&order.join("file"), FIRST, 3 * MIB).unwrap();
        let claimed = open(&order, OFlags::DIRECTORY).unwrap();
        sys::set_attributes(&claimed, sys::attributes(&claimed).unwrap().of(FIRST)).unwrap();
        assert_eq!(keep_below(&order, Some(FIRST), Some(4 * MIB)).unwrap(), Kept::Newly);
        refused(write(&order.join("more"), FIRST, 2 * MIB));
    });
}

#[test]
fn what_is_someone_elses_is_left_alone() {
    Disk::each("what_is_someone_elses_is_left_alone", |disk| {
        // A directory that an administrator has put into a project.
        let order = directory(disk, "order", FIRST);
        let file = open(&order, OFlags::DIRECTORY).unwrap();
        sys::set_attributes(&file, sys::attributes(&file).unwrap().of(7)).unwrap();
        let error = keep_below(&order, Some(FIRST), Some(MIB)).unwrap_err();
        assert!(matches!(error, QuotaError::Foreign { project: 7, .. }), "{error}");
        assert_eq!(sys::attributes(&file).unwrap().project, 7);
        // Another platform's directory on the same file system.
        let theirs = directory(disk, "theirs", FIRST + 1);
        keep_below(&theirs, Some(FIRST + 1), Some(MIB)).unwrap();
        let ours = directory(disk, "ours", FIRST + 1);
        for theirs_is_bounded in [true, false] {
            let error = keep_below(&ours, Some(FIRST + 1), Some(2 * MIB)).unwrap_err();
            assert!(matches!(error, QuotaError::Taken { .. }), "{theirs_is_bounded}: {error}");
            keep_below(&theirs, Some(FIRST + 1), None).unwrap();
        }
    });
}

#[test]
fn where_there_is_no_quota_it_is_measured() {
    // No file system like this one has any.
    let dir = Path::new("/proc/self");
    for most_bytes in [None, Some(MIB)] {
        assert_eq!(keep_below(dir, Some(FIRST), most_bytes).unwrap(), Kept::Measured(Unavailable::Off));
        assert_eq!(keep_below(dir, None, most_bytes).unwrap(), Kept::Measured(Unavailable::NoUsers));
    }
    forget(dir).unwrap();
}
