//! What a helper makes before it is told what for.

use super::mounts;
use super::network::NetworkAhead;
use super::sys::{self, Idle};
use crate::exchange::{Failure, Step};
use crate::{Level, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// What is there. What could not be made is made when it is needed, and says then why not.
#[derive(Default)]
pub(super) struct Ahead {
    network: Option<NetworkAhead>,
    root: Option<EmptyRoot>,
    idle: Option<Idle>,
}

impl Ahead {
    pub(super) fn make() -> Result<Self, Failure> {
        Ok(Self { idle: Idle::fork().ok(), root: EmptyRoot::make()?, network: NetworkAhead::make()? })
    }

    /// Whether this process is in a network as the spec wants it; goes back to where it was where it is not.
    pub(super) fn fit_network(&mut self, spec: &Spec) -> Result<bool, Failure> {
        let network = self.network.take().map(|network| network.fit(spec)).transpose()?;
        Ok(network.flatten().is_some())
    }

    /// For levels below, mounts belong to the function's user namespace.
    pub(super) fn take_root(&mut self, level: Level) -> Option<EmptyRoot> {
        self.root.take().filter(|_| level == Level::Full)
    }

    pub(super) fn take_idle(&mut self) -> Option<Idle> {
        self.idle.take()
    }
}

/// A namespace of mounts with nothing in it but an empty directory: a function's tree is built on that, and there is
/// nothing of the machine to be let go of.
pub(super) struct EmptyRoot {
    namespace: OwnedFd,
    outside: Outside,
}

/// Where this process was, and its root and working directory there.
struct Outside {
    namespace: OwnedFd,
    root: OwnedFd,
    working_dir: OwnedFd,
}

impl EmptyRoot {
    /// Makes one and comes back.
    fn make() -> Result<Option<Self>, Failure> {
        let outside = Outside::remember()?;
        if sys::unshare(UnshareFlags::NEWNS).is_err() {
            return Ok(None);
        }
        let made = Self::build();
        outside.enter()?;
        Ok(made.ok().map(|namespace| Self { namespace, outside }))
    }

    /// Empties the namespace this process is in.
    fn build() -> Result<OwnedFd, Failure> {
        mounts::make_private()?;
        let namespace = own_namespace()?;
        let root = mounts::empty().step("make an empty root")?;
        mounts::attach_above(&root).step("mount an empty root")?;
        mounts::become_root(&root)?;
        Ok(namespace)
    }

    /// Goes there: whatever is forked now is in it.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        go(&self.namespace).step("enter the mounts made ahead")
    }

    /// Comes back from there.
    pub(super) fn leave(self) -> Result<(), Failure> {
        self.outside.enter()
    }
}

impl Outside {
    fn remember() -> Result<Self, Failure> {
        let dir = |path: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).step("open root and working directory")
        };
        Ok(Self { namespace: own_namespace()?, root: dir("/")?, working_dir: dir(".")? })
    }

    /// Its root need not be that of the namespace, which is where one comes to.
    fn enter(&self) -> Result<(), Failure> {
        const STEP: &str = "leave the mounts made ahead";
        go(&self.namespace).step(STEP)?;
        rustix::process::fchdir(&self.root).step(STEP)?;
        rustix::process::chroot(".").step(STEP)?;
        rustix::process::fchdir(&self.working_dir).step(STEP)
    }
}

fn own_namespace() -> Result<OwnedFd, Failure> {
    Ok(File::open("/proc/self/ns/mnt").step("open the mount namespace")?.into())
}

fn go(namespace: &OwnedFd) -> rustix::io::Result<()> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
}
