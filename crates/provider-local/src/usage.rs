//! What a process group uses, read from `/proc`.

use crate::runtime::Sample;
use rustix::param::clock_ticks_per_second;
use std::fs;
use std::time::Duration;

/// A line of `/proc/PID/stat`, as far as it is needed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) group: i32,
    pub(crate) is_zombie: bool,
    cpu_ticks: u64,
    /// Ticks after the machine's start: with the pid it names a process for good.
    pub(crate) started_at: u64,
}

impl Stat {
    /// Of one process, unless there is none.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold anything, parentheses too.
        let (pid, rest) = text.split_once(' ')?;
        let fields: Vec<&str> = rest.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // Field 3 of proc(5) is the first here.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            is_zombie: fields.first() == Some(&"Z"),
            cpu_ticks: number(14)? + number(15)?,
            started_at: number(22)?,
        })
    }
}

/// All processes of a group.
pub(crate) fn group(leader: i32) -> Vec<Stat> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Stat::of)
        .filter(|stat| stat.group == leader)
        .collect()
}

/// What a group uses: the CPU time of its processes and their proportional share of memory.
pub(crate) fn sample(leader: i32) -> Option<Sample> {
    let group = group(leader);
    if group.is_empty() {
        return None;
    }
    let ticks: u64 = group.iter().map(|stat| stat.cpu_ticks).sum();
    let cpu = Duration::from_millis(ticks.saturating_mul(1000) / clock_ticks_per_second().max(1));
    Some(Sample { cpu, memory_bytes: group.iter().filter_map(|stat| memory_bytes(stat.pid)).sum() })
}

/// The proportional set size, or, where the kernel does not tell it, the resident one.
fn memory_bytes(pid: i32) -> Option<u64> {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    field("smaps_rollup", "Pss:").or_else(|| field("status", "VmRSS:")).map(|kibibytes| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_riddle() {
        let line = "42 (a) b (c) R 1 40 40 0 -1 0 0 0 0 0 7 5 0 0 20 0 1 0 999 0 0";
        let stat = Stat { pid: 42, group: 40, is_zombie: false, cpu_ticks: 12, started_at: 999 };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("42 (a"), None);
    }
}
