//! Files, ports, signals and sockets by landlock: what no rule names is out of reach.

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, PathFdError,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::PathBuf;

/// The newest landlock whose rights are asked for. What it would add beyond the kernel is left out and not reported.
const NEWEST: ABI = ABI::V10;

/// What a process may still reach. A path stands for all below it; one that is not there or not to be reached anyway
/// is passed over.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// May be read and executed.
    pub executable: Vec<PathBuf>,
    /// May be read.
    pub readable: Vec<PathBuf>,
    /// May be read, changed, and sockets in it connected to; nothing in it is executed, no device nodes are made.
    pub writable: Vec<PathBuf>,
    /// The ports; `None` leaves the network as it is.
    pub ports: Option<Ports>,
}

/// The ports that a process may still use. UDP is refused altogether where the kernel can.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// TCP ports it may connect to, on any host.
    pub connect: Vec<u16>,
    /// TCP ports it may listen on; 0 is any that is free.
    pub bind: Vec<u16>,
}

/// What of it the kernel enforces.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Enforced {
    /// Reading, writing, executing, making and removing files (Linux 5.13).
    pub files: bool,
    /// Cutting files off too (Linux 6.2); before, a file that could not be written could be emptied.
    pub truncate: bool,
    /// TCP ports (Linux 6.7).
    pub tcp: bool,
    /// Commands to device files (Linux 6.10).
    pub devices: bool,
    /// Signals to processes outside, and abstract Unix sockets of processes outside (Linux 6.12).
    pub signals: bool,
    /// Unix sockets in the file system (Linux 7.1); before, only their permissions count.
    pub unix_sockets: bool,
    /// UDP (Linux 7.2).
    pub udp: bool,
}

/// Why the rules could not be enforced.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// A path of the rules could not be opened.
    #[error("a path could not be opened to be allowed: {0}")]
    Path(#[from] PathFdError),
    /// The kernel refused the rules.
    #[error("the kernel did not take the landlock rules: {0}")]
    Rules(#[from] RulesetError),
}

/// What the running kernel would enforce. Changes nothing.
#[must_use]
pub fn available() -> Enforced {
    // The newest that is there is found by asking for each of them and nothing less.
    let there = |abi: ABI| {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let ruleset = ruleset.handle_access(AccessFs::from_all(abi));
        let ruleset = match abi {
            ABI::V1 | ABI::V3 | ABI::V5 | ABI::V9 => ruleset,
            ABI::V6 => ruleset.and_then(|ruleset| ruleset.scope(Scope::from_all(abi))),
            _ => ruleset.and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi))),
        };
        ruleset.and_then(Ruleset::create).is_ok()
    };
    Enforced {
        files: there(ABI::V1),
        truncate: there(ABI::V3),
        tcp: there(ABI::V4),
        devices: there(ABI::V5),
        signals: there(ABI::V6),
        unix_sockets: there(ABI::V9),
        udp: there(ABI::V10),
    }
}

/// Restricts the calling thread and all it starts to the rules, as far as the kernel can, and says how far that is.
/// Sets `no_new_privs` too. Where nothing is enforced there is no landlock, and the caller decides what that means.
pub fn landlock(rules: &Rules) -> Result<Enforced, LandlockError> {
    let enforced = available();
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?.scope(Scope::from_all(NEWEST))?;
    if rules.ports.is_some() {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut ruleset = ruleset.create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let change = AccessFs::from_write(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    for (paths, access) in
        [(&rules.executable, read | AccessFs::Execute), (&rules.readable, read), (&rules.writable, read | change)]
    {
        for path in paths {
            ruleset = allow(ruleset, path, access)?;
        }
    }
    for port in rules.ports.iter().flat_map(|ports| &ports.connect) {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    for port in rules.ports.iter().flat_map(|ports| &ports.bind) {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
    }
    if ruleset.restrict_self()?.ruleset == RulesetStatus::NotEnforced {
        return Ok(Enforced::default());
    }
    let network = rules.ports.is_some();
    Ok(Enforced { tcp: enforced.tcp && network, udp: enforced.udp && network, ..enforced })
}

/// Keeps the calling thread and all it starts from running what is not below its root. There is a way past all mounts to
/// one program: `/proc/self/exe`, while that is still the platform's, whose file would then be open to whoever runs it.
/// `false` where there is no landlock, or its first version, which lets nobody move files between folders.
pub fn run_below_root_only() -> Result<bool, LandlockError> {
    let wanted = AccessFs::Execute | AccessFs::Refer;
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(wanted);
    let Ok(ruleset) = ruleset.and_then(Ruleset::create) else { return Ok(false) };
    ruleset.add_rule(PathBeneath::new(PathFd::new("/")?, wanted))?.restrict_self()?;
    Ok(true)
}

fn allow(ruleset: RulesetCreated, path: &PathBuf, access: BitFlags<AccessFs>) -> Result<RulesetCreated, LandlockError> {
    let descriptor = match PathFd::new(path) {
        Ok(descriptor) => descriptor,
        Err(PathFdError::OpenCall { source, .. })
            if matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory
            ) =>
        {
            return Ok(ruleset);
        }
        Err(error) => return Err(error.into()),
    };
    // Rights over folders are no error on a file: the crate leaves them out, and the kernel takes the rest.
    Ok(ruleset.add_rule(PathBeneath::new(descriptor, access))?)
}
