//! Which system calls a function may make: a list of those allowed, in the manner of Docker's default profile.
//!
//! The filter is compiled once, in the platform, and handed to the helper as bytes; the helper only loads it.
//! Two programs are loaded, since a compiled program has one answer for what it does not allow: the first lets the
//! calls of [`calls`] through and answers all others with `EPERM`; the second answers `ENOSYS` where a C library
//! must hear that the kernel lacks a call, so that it tries the older one. Where both refuse, the second is heard.
//! A process of another ABI is killed (i386) or refused each call (x32: its numbers are on no list).

mod arguments;
mod calls;
#[cfg(test)]
mod tests;

use crate::Level;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, sock_filter};
use std::collections::BTreeMap;

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
    let allowed = compile(
        arguments::rules(level)?.into_iter().chain(calls::allowed().map(|call| (call, Vec::new()))),
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
    )?;
    let absent = compile(
        calls::absent().map(|call| (call, Vec::new())),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
    )?;
    let mut bytes = Vec::with_capacity((allowed.len() + absent.len() + 1) * INSTRUCTION);
    for program in [&allowed, &absent] {
        bytes.extend_from_slice(&(program.len() as u64).to_le_bytes());
        for instruction in program {
            bytes.extend_from_slice(&instruction.code.to_le_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_le_bytes());
        }
    }
    Ok(bytes)
}

/// Loads what [`program`] made into the calling thread and all it starts, for good. Sets `no_new_privs` too.
pub fn apply(mut bytes: &[u8]) -> Result<(), SeccompError> {
    if bytes.is_empty() {
        return Err(SeccompError::Damaged);
    }
    let mut programs = Vec::new();
    while !bytes.is_empty() {
        let (count, rest) = bytes.split_first_chunk::<8>().ok_or(SeccompError::Damaged)?;
        let length = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(INSTRUCTION));
        let (program, rest) = length.and_then(|length| rest.split_at_checked(length)).ok_or(SeccompError::Damaged)?;
        programs.push(program.as_chunks::<INSTRUCTION>().0.iter().map(instruction).collect::<BpfProgram>());
        bytes = rest;
    }
    for program in programs {
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

fn instruction(bytes: &[u8; INSTRUCTION]) -> sock_filter {
    let [c0, c1, jt, jf, k0, k1, k2, k3] = *bytes;
    sock_filter { code: u16::from_le_bytes([c0, c1]), jt, jf, k: u32::from_le_bytes([k0, k1, k2, k3]) }
}

fn compile(
    rules: impl Iterator<Item = (i64, Vec<SeccompRule>)>,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> Result<BpfProgram, SeccompError> {
    let architecture: TargetArch =
        std::env::consts::ARCH.try_into().map_err(|_: seccompiler::BackendError| SeccompError::Architecture)?;
    let rules: BTreeMap<_, _> = rules.collect();
    Ok(SeccompFilter::new(rules, otherwise, on_match, architecture)?.try_into()?)
}
