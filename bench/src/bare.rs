//! What a start costs without a platform: fork and exec of the function's binary, and runc with its root file system.

use crate::control::{BODY, IMAGE};
use crate::http;
use crate::process::Process;
use crate::world::World;
use anyhow::{Context, anyhow, bail, ensure};
use image::Store;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks for the socket.
const LOOK: Duration = Duration::from_micros(50);

/// From fork to the first byte of an answer on the binary's socket.
pub(crate) fn process(world: &World, times: usize) -> anyhow::Result<Vec<Duration>> {
    let binary = world.function("fridge-temp")?;
    let dir = tempfile::tempdir()?;
    (0..times)
        .map(|number| {
            let socket = dir.path().join(format!("{number}.s"));
            let mut command = Command::new(&binary);
            command.env_clear().env("CREMA_SOCKET", &socket).env("CREMA_METRICS_SOCKET", socket.with_extension("m"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let begun = Instant::now();
            let _process = Process::start(&mut command)?;
            first_byte(&socket, begun)
        })
        .collect()
}

/// From `runc run -d` to the first byte, in a root file system and namespaces as `runc spec` has them.
pub(crate) fn runc(world: &World, times: usize) -> anyhow::Result<Vec<Duration>> {
    let dir = tempfile::tempdir()?;
    bundle(world, dir.path())?;
    let socket = dir.path().join("run/s");
    let container = format!("crema-bench-{}", std::process::id());
    // The container writes there too: not a pipe that is read to its end.
    let log = dir.path().join("log");
    (0..times)
        .map(|_| {
            let begun = Instant::now();
            let mut run = Command::new("runc");
            run.args(["run", "-d", "--bundle"]).arg(dir.path()).arg(&container).stdin(Stdio::null());
            let run = run.stdout(Stdio::null()).stderr(fs::File::create(&log)?).status().context("runc")?;
            let took = match run.success() {
                true => first_byte(&socket, begun),
                false => Err(anyhow!("runc run: {run}: {}", fs::read_to_string(&log)?.trim())),
            };
            let deleted = Command::new("runc").args(["delete", "--force", &container]).output()?;
            fs::remove_file(&socket).unwrap_or_default();
            ensure!(took.is_err() || deleted.status.success(), "runc delete: {deleted:?}");
            took
        })
        .collect()
}

fn bundle(world: &World, dir: &Path) -> anyhow::Result<()> {
    let store = Store::open(world.images())?;
    let image = store.get(&IMAGE.parse()?)?;
    let copied = Command::new("cp").arg("-r").arg(store.unpack(&image)?).arg(dir.join("rootfs")).status()?;
    ensure!(copied.success(), "cp the root file system");
    for part in ["rootfs/run/crema", "rootfs/proc", "rootfs/dev", "rootfs/sys", "rootfs/tmp", "run"] {
        fs::create_dir_all(dir.join(part))?;
    }
    let spec = Command::new("runc").args(["spec", "--bundle"]).arg(dir).status().context("runc")?;
    ensure!(spec.success(), "runc spec");
    let file = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let words: Vec<_> = image.config.entrypoint.iter().chain(&image.config.cmd).collect();
    config["process"]["args"] = json!(words);
    config["process"]["terminal"] = json!(false);
    config["process"]["env"] = json!(["CREMA_SOCKET=/run/crema/s", "CREMA_METRICS_SOCKET=/run/crema/m"]);
    let sockets = json!({
        "destination": "/run/crema", "type": "bind", "source": dir.join("run"), "options": ["bind", "rw"],
    });
    config["mounts"].as_array_mut().context("runc's mounts")?.push(sockets);
    fs::write(file, config.to_string())?;
    Ok(())
}

/// Until the socket answers a call.
fn first_byte(socket: &Path, begun: Instant) -> anyhow::Result<Duration> {
    while begun.elapsed() < PATIENCE {
        if let Ok(mut stream) = UnixStream::connect(socket) {
            let answer = http::exchange(&mut stream, "POST", "/", BODY, begun)?;
            ensure!(answer.status == 200, "it answers {}", answer.status);
            return Ok(answer.first_byte);
        }
        park_timeout(LOOK);
    }
    bail!("{}: no answer within {PATIENCE:?}", socket.display())
}
