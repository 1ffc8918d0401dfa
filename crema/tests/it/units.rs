//! The systemd units start `crema` with arguments that it takes.

use clap::Parser;
use crema::cli::{Cli, Command, Up};
use sandbox::Level;
use std::path::Path;

/// What a unit starts, as the command line reads it.
fn started_by(unit: &str) -> Up {
    // Tests are run in the package's folder.
    let path = Path::new("../packaging/systemd").join(unit);
    let text = std::fs::read_to_string(path).unwrap();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("ExecStart=")).collect();
    assert_eq!(commands.len(), 1, "{unit}");
    // There are no quotes in it.
    let cli = Cli::try_parse_from(commands[0].split_whitespace()).unwrap_or_else(|error| panic!("{unit}: {error}"));
    match cli.command {
        Command::Up(up) => *up,
        other => panic!("{unit}: {other:?}"),
    }
}

#[test]
fn units_start_what_the_command_line_takes() {
    for (unit, least) in [("crema.service", Level::Full), ("user/crema.service", Level::Userns)] {
        let up = started_by(unit);
        assert!(up.no_build && up.stack.is_some(), "{unit}: a box builds nothing");
        assert_eq!((up.isolation_min, up.isolation_max), (least, Level::Full), "{unit}");
        assert!(up.listen.ip().is_loopback() && !up.no_auth, "{unit}");
    }
}

#[test]
fn the_directory_the_unit_makes_is_the_one_the_platform_uses() {
    assert_eq!(started_by("crema.service").state.as_deref(), Some(Path::new("/var/lib/crema")));
}
