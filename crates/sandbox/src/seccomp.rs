//! Which system calls a function may make: a list of those allowed, in the manner of Docker's default profile.
//!
//! The filter is compiled once, in the platform, and handed to the helper as bytes; the helper only loads it.
//! Calls on the list go through, some only with certain arguments; all others get `EPERM`, or `ENOSYS` where a C
//! library must hear that the kernel lacks a call, so that it tries the older one. A process of another ABI is killed
//! (i386) or refused each call (x32: its numbers are on no list).

mod arguments;
mod calls;
#[cfg(test)]
mod tests;
mod tree;

use crate::Level;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, sock_filter};
use std::collections::BTreeMap;
use tree::Verdict;

/// Why the filter could not be made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The machine's architecture has no filter.
    #[error("no system call filter for {}: it exists for x86_64 and aarch64", std::env::consts::ARCH)]
    Architecture,
    /// The list could not be compiled.
    #[error("the system call filter cannot be compiled: {0}")]
    Compile(#[from] seccompiler::BackendError),
    /// The bytes are not what [`program`] made.
    #[error("the system call filter is cut short or damaged")]
    Damaged,
    /// The kernel did not take it.
    #[error("the kernel did not load the system call filter: {0}")]
    Load(#[from] seccompiler::Error),
}

/// The bytes of one instruction as the kernel has it.
const INSTRUCTION: usize = 8;

/// The filter for a function at `level`, as bytes for [`apply`]. At `process` more is refused, because there
/// landlock stands in for a network namespace and processes of the same user are seen.
pub fn program(level: Level) -> Result<Vec<u8>, SeccompError> {
    let by_arguments = arguments::rules(level)?;
    let allowed =
        calls::allowed(level).chain(arguments::allowed(level).iter().copied()).map(|call| (call, Verdict::Allowed));
    let decided = by_arguments.keys().map(|call| (*call, Verdict::ByArguments));
    let mut verdicts = BTreeMap::from([(0, Verdict::Refused)]);
    for (call, verdict) in allowed.chain(decided).chain([(libc::SYS_clone3, Verdict::Absent)]) {
        let call = call as u32;
        verdicts.insert(call, verdict);
        verdicts.entry(call + 1).or_insert(Verdict::Refused);
    }
    verdicts.insert(calls::AFTER_LAST, Verdict::Absent);
    verdicts.insert(calls::X32, Verdict::Refused);

    let mut program = tree::program(&verdicts)?;
    program.extend(compile(by_arguments)?);
    let mut bytes = (program.len() as u64).to_le_bytes().to_vec();
    for instruction in program {
        bytes.extend_from_slice(&instruction.code.to_le_bytes());
        bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
        bytes.extend_from_slice(&instruction.k.to_le_bytes());
    }
    Ok(bytes)
}

/// Loads what [`program`] made into the calling thread and all it starts, for good. Sets `no_new_privs` too.
pub fn apply(bytes: &[u8]) -> Result<(), SeccompError> {
    Ok(seccompiler::apply_filter(&instructions(bytes)?)?)
}

fn instructions(bytes: &[u8]) -> Result<BpfProgram, SeccompError> {
    let (count, program) = bytes.split_first_chunk::<8>().ok_or(SeccompError::Damaged)?;
    let (program, rest) = program.as_chunks::<INSTRUCTION>();
    if program.is_empty() || !rest.is_empty() || program.len() as u64 != u64::from_le_bytes(*count) {
        return Err(SeccompError::Damaged);
    }
    Ok(program.iter().map(instruction).collect())
}

fn instruction(bytes: &[u8; INSTRUCTION]) -> sock_filter {
    let [c0, c1, jt, jf, k0, k1, k2, k3] = *bytes;
    sock_filter { code: u16::from_le_bytes([c0, c1]), jt, jf, k: u32::from_le_bytes([k0, k1, k2, k3]) }
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>) -> Result<BpfProgram, SeccompError> {
    let architecture: TargetArch =
        std::env::consts::ARCH.try_into().map_err(|_: seccompiler::BackendError| SeccompError::Architecture)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    Ok(SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)?.try_into()?)
}
