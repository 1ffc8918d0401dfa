//! The rules of the box, by whichever program it has for them.

use super::EgressError;
use super::iptables::Iptables;
use super::nft::Nft;
use super::pool::Block;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Destinations no function reaches over its link, whatever the box routes: loopback, link-local (there clouds keep
/// their metadata services), multicast and broadcast.
pub(super) const REFUSED: [&str; 4] = ["127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"];

/// What the rules are about.
pub(super) struct Rules<'rules> {
    /// The beginning of the names of this platform's devices.
    pub(super) prefix: &'rules str,
    /// The addresses of its links.
    pub(super) block: Block,
    /// Devices between which the box did not pass anything on before: it is not to do so now.
    pub(super) unrouted: Option<&'rules [String]>,
}

/// The firewall of the box.
pub(super) struct Firewall {
    nft: Option<Nft>,
    /// Without nft it has all rules. Beside it only those that let our packets through a chain that drops what it
    /// does not know, as Docker and ufw set it: what one firewall lets through another may still drop.
    iptables: Option<Iptables>,
}

impl Firewall {
    pub(super) fn find(tag: &str, folders: &[PathBuf]) -> Result<Self, EgressError> {
        let find = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        let nft = find("nft").map(|path| Nft::new(path, tag));
        let iptables = find("iptables").map(|path| Iptables::new(path, tag));
        if nft.is_none() && iptables.is_none() {
            return Err(EgressError::unavailable(
                "this box has neither the program nft nor iptables",
                "install nftables, or choose another network",
            ));
        }
        Ok(Self { nft, iptables })
    }

    /// Sets the rules in place of those that are there.
    pub(super) fn set(&self, rules: &Rules<'_>) -> Result<(), EgressError> {
        match (&self.nft, &self.iptables) {
            (Some(nft), iptables) => {
                iptables.as_ref().map_or(Ok(()), Iptables::clear)?;
                nft.set(rules)
            }
            (None, Some(iptables)) => iptables.set(rules),
            (None, None) => Ok(()),
        }
    }

    /// Whether they are there.
    pub(super) fn is_set(&self) -> bool {
        match (&self.nft, &self.iptables) {
            (Some(nft), _) => nft.is_set(),
            (None, iptables) => iptables.as_ref().is_some_and(Iptables::is_set),
        }
    }

    /// Sees to it that no other chain drops what ours let through.
    pub(super) fn pass(&self) -> Result<(), EgressError> {
        match (&self.nft, &self.iptables) {
            (Some(nft), Some(iptables)) => iptables.pass(nft.prefix()),
            _ => Ok(()),
        }
    }

    /// The devices between which nothing is passed on, if there is such a rule.
    pub(super) fn unrouted(&self) -> Option<Vec<String>> {
        self.nft.as_ref().and_then(Nft::unrouted)
    }

    /// Whether such a rule can be set.
    pub(super) fn keeps_unrouted(&self) -> bool {
        self.nft.is_some()
    }

    /// Removes all but the rule that keeps the box from passing on what it did not before.
    pub(super) fn leave(&self, unrouted: &[String]) -> Result<(), EgressError> {
        self.iptables.as_ref().map_or(Ok(()), Iptables::clear)?;
        self.nft.as_ref().map_or(Ok(()), |nft| nft.leave(unrouted))
    }

    /// Removes all rules.
    pub(super) fn clear(&self) -> Result<(), EgressError> {
        self.iptables.as_ref().map_or(Ok(()), Iptables::clear)?;
        self.nft.as_ref().map_or(Ok(()), Nft::clear)
    }
}

/// Runs a program with this on its standard input, and gives back what it prints.
pub(super) fn run(program: &Path, arguments: &[&str], input: &str) -> Result<String, EgressError> {
    let failed = |why: &dyn std::fmt::Display| {
        let what = format!("{} {} failed: {why}", program.display(), arguments.join(" "));
        EgressError::unavailable(what, "see that root may set rules with it here")
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended early says why itself.
        let _written = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
