//! The rules by `nft`: two tables of our own, replaced as one.

use super::EgressError;
use super::firewall::{REFUSED, Rules, run};
use super::links;
use std::fmt::Write;
use std::path::PathBuf;

/// The set of the devices between which nothing is passed on.
const UNROUTED: &str = "unrouted";

pub(super) struct Nft {
    program: PathBuf,
    /// The tables' name, and the beginning of the devices' names.
    table: String,
    prefix: String,
}

impl Nft {
    pub(super) fn new(program: PathBuf, tag: &str) -> Self {
        let table = format!("{}-{tag}", links::ALL);
        Self { program, table, prefix: format!("{}{tag}-", links::ALL) }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn set(&self, rules: &Rules<'_>) -> Result<(), EgressError> {
        let table = &self.table;
        let (ours, every) = (format!("\"{}*\"", rules.prefix), format!("\"{}*\"", links::ALL));
        let (block, refused) = (rules.block, REFUSED.join(", "));
        let reject = "reject with icmpx type admin-prohibited";
        let mut script = self.without();
        if let Some(unrouted) = rules.unrouted {
            script += &self.guard(unrouted);
        }
        // Writing to a String does not fail.
        let _ = write!(
            script,
            "table inet {table} {{
                chain input {{
                    type filter hook input priority -5; policy accept;
                    iifname {ours} {reject}
                }}
                chain output {{
                    type filter hook output priority -5; policy accept;
                    oifname {ours} ct state new {reject}
                }}
                chain forward {{
                    type filter hook forward priority -5; policy accept;
                    iifname {ours} jump leaving
                    iifname {every} oifname {ours} {reject}
                    oifname {ours} ct state != {{ established, related }} drop
                }}
                chain leaving {{
                    meta nfproto != ipv4 drop
                    ip saddr != {block} drop
                    ct status dnat {reject}
                    oifname {every} {reject}
                    ip daddr {{ {block}, {refused} }} {reject}
                    tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
                }}
            }}
            table ip {table} {{
                chain postrouting {{
                    type nat hook postrouting priority 100; policy accept;
                    ip saddr {block} oifname != {every} masquerade
                }}
            }}\n"
        );
        self.run(&script)
    }

    /// Whether the tables are there; whoever loads other rules leaves them whole or takes them away.
    pub(super) fn is_set(&self) -> bool {
        let Ok(listed) = run(&self.program, &["list", "tables"], "") else { return false };
        ["inet", "ip"].iter().all(|family| listed.lines().any(|line| line == format!("table {family} {}", self.table)))
    }

    /// Which devices nothing is passed on between; `None` if there is no such rule.
    pub(super) fn unrouted(&self) -> Option<Vec<String>> {
        let listed = run(&self.program, &["list", "set", "inet", &self.table, UNROUTED], "").ok()?;
        let (_before, elements) = listed.split_once("elements")?;
        // The text between quotes is every second part.
        Some(elements.split('"').skip(1).step_by(2).map(str::to_owned).collect())
    }

    pub(super) fn leave(&self, unrouted: &[String]) -> Result<(), EgressError> {
        self.run(&(self.without() + &self.guard(unrouted)))
    }

    pub(super) fn clear(&self) -> Result<(), EgressError> {
        self.run(&self.without())
    }

    /// A table can be deleted when it is there: it is made first.
    fn without(&self) -> String {
        let table = &self.table;
        format!("table inet {table}\ndelete table inet {table}\ntable ip {table}\ndelete table ip {table}\n")
    }

    fn guard(&self, unrouted: &[String]) -> String {
        let names: Vec<_> = unrouted.iter().map(|name| format!("\"{name}\"")).collect();
        format!(
            "table inet {} {{
                set {UNROUTED} {{ type ifname; elements = {{ {} }} }}
                chain guard {{
                    type filter hook forward priority -5; policy accept;
                    meta nfproto ipv4 iifname @{UNROUTED} oifname @{UNROUTED} drop
                }}
            }}\n",
            self.table,
            names.join(", ")
        )
    }

    fn run(&self, script: &str) -> Result<(), EgressError> {
        run(&self.program, &["-f", "-"], script).map(drop)
    }
}
