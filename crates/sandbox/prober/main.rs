//! What a hostile function would try, one word each. Prints `word answer` lines, where the answer is `ok` with what
//! came of it, or the name of the error.
#![expect(clippy::print_stdout, reason = "that is how it answers")]

mod calls;
mod places;

use std::io;
use std::process::ExitCode;

/// What an attempt came to: what it got, or why not.
type Attempt = io::Result<String>;

fn main() -> ExitCode {
    for words in std::env::args().skip(1) {
        let (name, argument) = words.split_once('=').unwrap_or((&words, ""));
        let attempt = calls::attempt(name, argument).or_else(|| places::attempt(name, argument));
        match attempt {
            None => {
                println!("{name} unknown");
                return ExitCode::FAILURE;
            }
            Some(Ok(got)) => println!("{name} ok {got}"),
            Some(Err(error)) => println!("{name} {}", name_of(&error)),
        }
    }
    ExitCode::SUCCESS
}

fn name_of(error: &io::Error) -> String {
    let known = [
        (libc::EACCES, "EACCES"),
        (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::ENOENT, "ENOENT"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::EPERM, "EPERM"),
        (libc::EROFS, "EROFS"),
        (libc::ESRCH, "ESRCH"),
    ];
    let name = known.iter().find(|(number, _)| error.raw_os_error() == Some(*number));
    name.map_or_else(|| format!("{error:?}"), |(_, name)| (*name).to_owned())
}
