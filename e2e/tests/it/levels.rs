//! Platforms at each level of isolation.

use e2e::binaries::binary;
use e2e::platform::{Options, Platform, State};
use e2e::skipped;
use std::path::PathBuf;
use std::process::Command;

/// Starts a platform with an idle function at a level, or says why the test is skipped there.
pub(crate) async fn at(level: &str, state: &State, test: &str) -> Option<Platform> {
    let platform = Platform::start(state, &bare(state).with(&["--isolation-max", level])).await;
    let output = platform.output();
    let safety = output.lines().find(|line| line.starts_with("Safety:")).unwrap_or_else(|| panic!("{output}"));
    // The levels of one test are named apart: a run fails when one of them ran nowhere.
    match safety.contains(&format!("at level {level}")) {
        true => Some(platform),
        false => {
            skipped(&format!("{test} at level {level}"), safety);
            None
        }
    }
}

/// A stack of one function that nothing is done with: there must be one.
pub(crate) fn bare(state: &State) -> Options {
    let stack: PathBuf = state.path().with_file_name("stack.yml");
    let function = "  idle:\n    lang: rust\n    handler: .\n    image: crema.test/idle:1\n";
    std::fs::write(&stack, format!("version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n{function}")).unwrap();
    let mut pack = Command::new(binary("crema"));
    pack.args(["image", "--state"]).arg(state.path()).args(["build", "--tag", "crema.test/idle:1"]);
    let output = pack.arg(binary("fridge-temp")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Options { stack, ..Options::default() }.with(&["--no-build"])
}
