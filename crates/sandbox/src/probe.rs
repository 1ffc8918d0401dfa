//! How far processes can be confined here: tried, not guessed.

use crate::{Launcher, Level, Spec, StartError, User, confine, prepare_root, reap, seccomp, uids};
use std::fmt;
use std::path::Path;

/// A number like those of functions that nobody has.
const FUNCTION: User = User { uid: uids::FIRST - 1, gid: uids::FIRST - 1 };

/// How far processes can be confined here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    /// The highest level that works.
    pub level: Level,
    /// Each higher level, the highest first, and why it does not.
    pub missing: Vec<Missing>,
}

/// A level that does not work here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missing {
    /// The level.
    pub level: Level,
    /// What failed.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "isolation {} is not possible here: {}; {}", self.level, self.reason, self.remedy)
    }
}

impl Probe {
    /// Why `level` cannot be had; `None` if it can.
    #[must_use]
    pub fn missing(&self, level: Level) -> Option<&Missing> {
        self.missing.iter().find(|missing| missing.level == level)
    }
}

/// Finds out by making a process at each level, from the highest down, until one works. It needs a directory that may
/// be written to, where it leaves nothing.
pub async fn probe(launcher: &Launcher, dir: &Path) -> Probe {
    let mut missing = Vec::new();
    for level in [Level::Full, Level::Userns, Level::Process] {
        match attempt(launcher, dir, level).await {
            Ok(()) => return Probe { level, missing },
            Err(reason) => {
                let remedy = remedy(level);
                missing.push(Missing { level, reason, remedy });
            }
        }
    }
    Probe { level: Level::None, missing }
}

async fn attempt(launcher: &Launcher, dir: &Path, level: Level) -> Result<(), String> {
    match level {
        Level::Full if !rustix::process::geteuid().is_root() => {
            return Err("this process is not root".to_owned());
        }
        Level::Process if !confine::available().files => return Err("the kernel has no landlock".to_owned()),
        _ => {}
    }
    let root = dir.join(format!("probe-{}", rustix::process::getpid()));
    let made = async {
        std::fs::create_dir_all(&root).map_err(|error| format!("{} cannot be made: {error}", root.display()))?;
        prepare_root(&root, &[]).map_err(|error| error.to_string())?;
        let mut spec = Spec::new(level, &root, Vec::new());
        spec.user = Some(FUNCTION);
        spec.seccomp = Some(seccomp::program(level).map_err(|error| error.to_string())?.into());
        try_start(launcher, &spec).await.map_err(|error| error.to_string())
    };
    let made = made.await;
    // What cannot be removed is empty.
    std::fs::remove_dir_all(&root).unwrap_or_default();
    made
}

async fn try_start(launcher: &Launcher, spec: &Spec) -> Result<(), StartError> {
    let (mut command, control) = launcher.command()?;
    let helper = command.spawn()?;
    drop(command);
    let started = control.start(helper, spec).await?;
    let status = tokio::task::spawn_blocking(move || reap(started.pid)).await.map_err(std::io::Error::other)??;
    match status.success() {
        true => Ok(()),
        false => Err(StartError::Refused { step: "end".to_owned(), hint: status.to_string() }),
    }
}

/// What stands in the way most often, looked for in this order.
fn remedy(level: Level) -> String {
    let is_root = rustix::process::geteuid().is_root();
    let setting = |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
    let remedy = match level {
        Level::Full if !is_root => "run it as root to have it",
        Level::Full => {
            "the kernel must be 5.12 or newer; a container takes these rights away even from root: run it on the machine \
             itself, or give the container CAP_SYS_ADMIN and the security options seccomp=unconfined, \
             apparmor=unconfined and systempaths=unconfined"
        }
        Level::Userns if setting("kernel/apparmor_restrict_unprivileged_userns").trim() == "1" => {
            "AppArmor keeps user namespaces from ordinary users here: allow them to this program with a profile \
             (userns,), or to all with: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        }
        Level::Userns if setting("kernel/unprivileged_userns_clone").trim() == "0" => {
            "allow user namespaces to ordinary users with: sysctl -w kernel.unprivileged_userns_clone=1"
        }
        Level::Userns if setting("user/max_user_namespaces").trim() == "0" => {
            "allow user namespaces with: sysctl -w user.max_user_namespaces=15000"
        }
        Level::Userns => {
            "in a container this needs the security options seccomp=unconfined and systempaths=unconfined; the kernel \
             must be 5.12 or newer"
        }
        Level::Process if is_root && !has_user(FUNCTION.uid) => {
            "this container has no user numbers as high as those of functions: run it as an ordinary user in there"
        }
        Level::Process => "the kernel must be 5.13 or newer and started with landlock among its lsm= modules",
        Level::None => "",
    };
    remedy.to_owned()
}

/// Whether the user namespace this process is in has a number.
fn has_user(uid: u32) -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().unwrap_or_default());
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        let first = first.unwrap_or_default();
        (first..first.saturating_add(count.unwrap_or_default())).contains(&u64::from(uid))
    })
}
