//! A function for tests that tries what a hostile one would: the words of a request's body, one attempt each. It answers
//! with `word answer` lines. Started as `suid` it says whose process it is.
#![allow(clippy::print_stdout, reason = "that is how it answers without a platform")]

#[path = "../../../crates/sandbox/prober/calls.rs"]
mod calls;
#[path = "../../../crates/sandbox/prober/names.rs"]
mod names;
#[path = "../../../crates/sandbox/prober/places.rs"]
mod places;

use function_sdk::{Request, Response, log, serve};
use std::fmt::Write;
use std::io;
use std::process::ExitCode;

/// What an attempt came to: what it got, or why not.
type Attempt = io::Result<String>;

fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| name.to_string_lossy().ends_with("suid")) {
        println!("user {} {}", rustix::process::getuid().as_raw(), rustix::process::geteuid().as_raw());
        return ExitCode::SUCCESS;
    }
    serve(async |request: Request| {
        let answers = answers(request.text().trim());
        log("tried");
        Response::ok().text(answers)
    })
}

fn answers(words: &str) -> String {
    let mut text = String::new();
    for word in words.split_whitespace() {
        let (name, argument) = word.split_once('=').unwrap_or((word, ""));
        let answer = match calls::attempt(name, argument).or_else(|| places::attempt(name, argument)) {
            None => "unknown".to_owned(),
            Some(Ok(got)) => format!("ok {got}"),
            Some(Err(error)) => names::of(&error),
        };
        writeln!(text, "{word} {answer}").unwrap_or_default();
    }
    text
}
