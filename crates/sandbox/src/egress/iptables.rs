//! The rules by `iptables`: chains of our own, and one jump to each from where the kernel begins.

use super::EgressError;
use super::firewall::{REFUSED, Rules, run};
use super::links;
use std::path::PathBuf;

/// Waits for other users of iptables, seconds.
const WAIT: [&str; 2] = ["-w", "5"];
/// The kernel's chains that ours are jumped to from, with the table they are in.
const CHAINS: [(&str, &str); 4] =
    [("filter", "INPUT"), ("filter", "OUTPUT"), ("filter", "FORWARD"), ("nat", "POSTROUTING")];
const REJECT: &str = "-j REJECT --reject-with icmp-admin-prohibited";

pub(super) struct Iptables {
    program: PathBuf,
    name: String,
}

impl Iptables {
    pub(super) fn new(program: PathBuf, tag: &str) -> Self {
        Self { program, name: format!("CREMA-{}", tag.to_uppercase()) }
    }

    /// All rules, for a box without nft.
    pub(super) fn set(&self, rules: &Rules<'_>) -> Result<(), EgressError> {
        self.clear()?;
        let (ours, every) = (format!("{}+", rules.prefix), format!("{}+", links::ALL));
        let block = rules.block;
        self.chain("filter", "INPUT", &[format!("-i {ours} {REJECT}")])?;
        self.chain("filter", "OUTPUT", &[format!("-o {ours} -m conntrack --ctstate NEW {REJECT}")])?;
        let refused = REFUSED.iter().map(|range| (*range).to_owned()).chain([block.to_string()]);
        let mut forward = vec![
            format!("-i {ours} ! -s {block} -j DROP"),
            format!("-i {ours} -m conntrack --ctstate DNAT {REJECT}"),
            format!("-i {ours} -o {every} {REJECT}"),
            format!("-i {every} -o {ours} {REJECT}"),
        ];
        forward.extend(refused.map(|range| format!("-i {ours} -d {range} {REJECT}")));
        forward.extend(Self::passing(&ours));
        forward.push(format!("-o {ours} -j DROP"));
        self.chain("filter", "FORWARD", &forward)?;
        self.chain("nat", "POSTROUTING", &[format!("-s {block} ! -o {every} -j MASQUERADE")])
    }

    /// Whether all chains are asked, those that refuse before any that may let through.
    pub(super) fn is_set(&self) -> bool {
        let is_asked = |from: &str, rules: &str| match from {
            "INPUT" | "FORWARD" => self.is_first(from, rules),
            _ => rules.lines().any(|line| line.ends_with(&format!("-j {}-{from}", self.name))),
        };
        CHAINS.iter().all(|(table, from)| self.run(table, &["-S", from]).is_ok_and(|rules| is_asked(from, &rules)))
    }

    /// Whether the first of a chain's rules is the jump to ours.
    fn is_first(&self, from: &str, rules: &str) -> bool {
        let first = rules.lines().find(|line| line.starts_with("-A"));
        first.is_some_and(|line| line.ends_with(&format!("-j {}-{from}", self.name)))
    }

    /// Lets our packets through where the box drops what no rule knows.
    pub(super) fn pass(&self, prefix: &str) -> Result<(), EgressError> {
        // A kernel that has no such chain has nothing in it that drops.
        let Ok(forward) = self.run("filter", &["-S", "FORWARD"]) else { return Ok(()) };
        // Ours must come before whatever drops, so it is to be the first.
        if self.is_first("FORWARD", &forward) || forward.trim() == "-P FORWARD ACCEPT" {
            return Ok(());
        }
        self.clear()?;
        self.chain("filter", "FORWARD", &Self::passing(&format!("{prefix}+")))
    }

    pub(super) fn clear(&self) -> Result<(), EgressError> {
        for (table, from) in CHAINS {
            let chain = format!("{}-{from}", self.name);
            if self.run(table, &["-S", &chain]).is_err() {
                continue;
            }
            while self.run(table, &["-D", from, "-j", &chain]).is_ok() {}
            self.run(table, &["-F", &chain])?;
            self.run(table, &["-X", &chain])?;
        }
        Ok(())
    }

    fn passing(ours: &str) -> [String; 2] {
        [format!("-i {ours} -j ACCEPT"), format!("-o {ours} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")]
    }

    /// A chain of our own with these rules, jumped to first of all.
    fn chain(&self, table: &str, from: &str, rules: &[String]) -> Result<(), EgressError> {
        let chain = format!("{}-{from}", self.name);
        self.run(table, &["-N", &chain])?;
        for rule in rules {
            let arguments: Vec<_> = ["-A", &chain].into_iter().chain(rule.split(' ')).collect();
            self.run(table, &arguments)?;
        }
        self.run(table, &["-I", from, "1", "-j", &chain]).map(drop)
    }

    fn run(&self, table: &str, arguments: &[&str]) -> Result<String, EgressError> {
        let arguments: Vec<_> = WAIT.into_iter().chain(["-t", table]).chain(arguments.iter().copied()).collect();
        run(&self.program, &arguments, "")
    }
}
