//! What a hostile function would try, one word each. Prints `word answer` lines, where the answer is `ok` with what
//! came of it, or the name of the error.
#![expect(clippy::print_stdout, reason = "that is how it answers")]

mod calls;
mod names;
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
            Some(Err(error)) => println!("{name} {}", names::of(&error)),
        }
    }
    ExitCode::SUCCESS
}
