//! What a cluster runs of the platform, as one program. Which part it is, is the name it is started by.
//!
//! The images of all parts have the same layer, and its files are the same files on a node: what the parts have in common
//! is on its disk, in its memory and on the way to it once.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Program = fn() -> ExitCode;

/// The parts by the names of their images.
const PARTS: [(&str, Program); 5] = [
    ("gateway", gateway::program::main),
    ("operator", operator::program::main),
    ("mqtt-broker", mqtt_broker::program::main),
    ("mqtt-connector", mqtt_connector::program::main),
    ("cron-connector", cron_connector::program::main),
];

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    if let Some((_, program)) = PARTS.iter().find(|(part, _)| name == *part) {
        return program();
    }
    let names = PARTS.map(|(part, _)| part).join(", ");
    // Nobody is left to tell when standard error is gone.
    writeln!(std::io::stderr(), "{}: start it by the name of a part, through a link: {names}", name.display())
        .unwrap_or_default();
    ExitCode::from(daemon::EXIT_USAGE)
}
