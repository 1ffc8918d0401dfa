//! The MQTT connector on its own, between a broker and a gateway elsewhere.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mqtt_connector::program::main()
}
