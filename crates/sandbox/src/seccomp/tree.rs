//! The part of the filter that looks at the number of a call alone: a search tree over runs of numbers.
//!
//! seccompiler compares with one number after the other, and the kernel walks that chain for each call it knows when
//! it loads a filter: a millisecond, which every start of a function would wait for. With the tree it is a tenth of
//! that. Calls that are decided on by their arguments go on to what seccompiler made, which follows the tree.

use super::SeccompError;
use seccompiler::{BpfProgram, sock_filter};
use std::collections::BTreeMap;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It goes through.
    Allowed,
    /// It is not permitted (`EPERM`).
    Refused,
    /// It is answered as if the kernel had it not (`ENOSYS`).
    Absent,
    /// Its arguments decide, in the program that follows.
    ByArguments,
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const GO_ON: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where the number and the ABI of a call lie in what a filter is shown.
const NUMBER: u32 = 0;
const ABI: u32 = 4;
/// The ABI's number in <linux/audit.h>: the machine's ELF number, 64 bits, little endian.
const OWN_ABI: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// The program that answers each call by its number. A number not in `verdicts` has that of the next smaller one;
/// before the first, calls are refused. Another ABI's process is killed.
pub(super) fn program(verdicts: &BTreeMap<u32, Verdict>) -> Result<BpfProgram, SeccompError> {
    let own = OWN_ABI.ok_or(SeccompError::Architecture)?;
    let mut runs = vec![(0, Verdict::Refused)];
    for (first, verdict) in verdicts {
        match runs.last_mut() {
            Some(last) if last.1 == *verdict => {}
            Some(last) if last.0 == *first => last.1 = *verdict,
            _ => runs.push((*first, *verdict)),
        }
    }
    let mut program = vec![
        instruction(LOAD, ABI),
        sock_filter { code: IF_EQUAL, jt: 1, jf: 0, k: own },
        instruction(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        instruction(LOAD, NUMBER),
    ];
    branch(&runs, &mut program);
    // The way out of the tree is known now that its end is.
    let end = program.len();
    for (at, instruction) in program.iter_mut().enumerate() {
        if (instruction.code, instruction.k) == (GO_ON, u32::MAX) {
            instruction.k = (end - at - 1) as u32;
        }
    }
    Ok(program)
}

fn branch(runs: &[(u32, Verdict)], program: &mut BpfProgram) {
    if let [(_, verdict)] = runs {
        program.push(match verdict {
            Verdict::Allowed => instruction(RETURN, libc::SECCOMP_RET_ALLOW),
            Verdict::Refused => instruction(RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            Verdict::Absent => instruction(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
            Verdict::ByArguments => instruction(GO_ON, u32::MAX),
        });
        return;
    }
    let (lower, upper) = runs.split_at(runs.len() / 2);
    program.push(sock_filter { code: IF_AT_LEAST, jt: 0, jf: 1, k: upper[0].0 });
    let over = program.len();
    program.push(instruction(GO_ON, 0));
    branch(lower, program);
    program[over].k = (program.len() - over - 1) as u32;
    branch(upper, program);
}

fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}
