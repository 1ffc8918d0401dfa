//! What is measured: the built binaries, a running platform, haproxy.

use crate::process::{Process, wait_for};
use anyhow::{Context, anyhow, ensure};
use e2e::cluster::images;
use serde_json::Value;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A stack of one function.
const STACK: &str = "version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n  bench:\n    \
                     image: ghcr.io/crema-faas/fridge-temp:0.1.0\n    skip_build: true\n    \
                     readonly_root_filesystem: true\n";

/// The binaries, and an image store with the functions of `stack.yml`.
#[derive(Debug)]
pub(crate) struct World {
    root: PathBuf,
    images: TempDir,
}

/// A running `crema up`.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) process: Process,
    pub(crate) gateway: String,
    pub(crate) state: TempDir,
}

impl Platform {
    /// Stops it; what it has kept stays.
    pub(crate) fn stop(self) -> anyhow::Result<TempDir> {
        self.process.stop()?;
        Ok(self.state)
    }
}

impl World {
    /// Builds `crema` and `watchdog` as released.
    pub(crate) fn build(built: bool) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        if !built {
            let mut cargo = Command::new("cargo");
            cargo.args(["build", "--release", "-p", "crema", "-p", "watchdog"]).current_dir(&root);
            ensure!(cargo.status()?.success(), "crema does not build");
        }
        Ok(Self { images: tempfile::Builder::new().prefix("crema-bench-").tempdir()?, root })
    }

    /// Builds and packs the functions, as the first start does.
    pub(crate) fn pack_functions(&self) -> anyhow::Result<()> {
        self.start(self.images.path(), &[], false)?.stop()
    }

    /// A released binary.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.root.join("target/release").join(name)
    }

    /// A function's binary, as it was packed.
    pub(crate) fn function(&self, name: &str) -> anyhow::Result<PathBuf> {
        let targets = fs::read_dir(self.root.join("target"))?.filter_map(Result::ok);
        let built = targets.map(|target| target.path().join("function").join(name)).find(|file| file.is_file());
        built.with_context(|| format!("{name} in target/*/function"))
    }

    /// The platform's images as they ship, a folder of archives; built, unless the environment names them.
    pub(crate) fn platform_images(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = images::given() {
            return Ok(folder);
        }
        let folder = self.images.path().join("platform");
        let mut build = Command::new(self.binary("crema"));
        build.args(["image", "--state"]).arg(self.images.path().join("platform-store"));
        build.args(["build", "--platform-images", "--tag", images::tag(), "--output"]).arg(&folder);
        let built = build.arg("--file").arg(self.root.join("stack.yml")).current_dir(&self.root).status()?;
        ensure!(built.success(), "the platform's images do not build");
        Ok(folder)
    }

    /// The image store.
    pub(crate) fn images(&self) -> PathBuf {
        self.images.path().join("images")
    }

    /// A platform with the four functions, ready for calls.
    pub(crate) fn platform(&self, environment: &[(&str, &str)], arguments: &[&str]) -> anyhow::Result<Platform> {
        self.start_in(self.state()?, environment, arguments)
    }

    /// A platform that confines functions at this level exactly, with one unbounded function, `bench`; everyone may use
    /// its REST API.
    pub(crate) fn bare_platform(&self, level: &str) -> anyhow::Result<Platform> {
        self.bare_platform_in(self.state()?, level)
    }

    /// The same in a state directory that has been used so before.
    pub(crate) fn bare_platform_in(&self, state: TempDir, level: &str) -> anyhow::Result<Platform> {
        let stack = state.path().join("bench.yml");
        fs::write(&stack, STACK)?;
        let stack = stack.to_string_lossy().into_owned();
        self.start_in(state, &[], &["--no-auth", "-f", &stack, "--isolation-min", level, "--isolation-max", level])
    }

    /// A state directory with the images alone.
    fn state(&self) -> anyhow::Result<TempDir> {
        let state = tempfile::Builder::new().prefix("crema-bench-").tempdir()?;
        for part in ["images", "format"] {
            let copied = Command::new("cp").arg("-r").arg(self.images.path().join(part)).arg(state.path()).status()?;
            ensure!(copied.success(), "cp {part}");
        }
        Ok(state)
    }

    fn start_in(&self, state: TempDir, environment: &[(&str, &str)], arguments: &[&str]) -> anyhow::Result<Platform> {
        let mut command = self.up(state.path(), environment, true)?;
        let mut process = Process::start(command.args(arguments))?;
        let gateway = ready(&mut process, state.path())?;
        Ok(Platform { process, gateway, state })
    }

    fn start(&self, state: &Path, environment: &[(&str, &str)], no_build: bool) -> anyhow::Result<Process> {
        let mut process = Process::start(&mut self.up(state, environment, no_build)?)?;
        ready(&mut process, state)?;
        Ok(process)
    }

    fn up(&self, state: &Path, environment: &[(&str, &str)], no_build: bool) -> anyhow::Result<Command> {
        let mut command = Command::new(self.binary("crema"));
        command
            .args(["up", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--state"])
            .arg(state)
            .args(no_build.then_some("--no-build"))
            .current_dir(&self.root)
            .env("RUST_LOG", "warn")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if no_build {
            command.stderr(File::create(state.join("crema.log"))?);
        }
        Ok(command)
    }
}

/// haproxy in front of one TCP port, with as many threads as there are cores, as it comes and as ours; its URL and
/// process.
pub(crate) fn haproxy(backend: u16) -> anyhow::Result<(Process, String, TempDir)> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let config = folder.path().join("haproxy.cfg");
    fs::write(&config, haproxy_config(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{backend}")))?;
    let process = Process::start(Command::new("haproxy").arg("-f").arg(&config).arg("-db").stderr(Stdio::null()))
        .context("haproxy (Debian: apt-get install haproxy)")?;
    await_port(port)?;
    Ok((process, format!("http://127.0.0.1:{port}"), folder))
}

/// What it is told: where to listen, and what it stands before.
pub(crate) fn haproxy_config(listen: &str, backend: &str) -> String {
    format!(
        "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n  option forwardfor\n  http-reuse always\nfrontend in\n  bind {listen}\n  \
         http-request set-header X-Call-Id %[uuid()]\n  default_backend function\nbackend function\n  \
         server f {backend}\n"
    )
}

/// A port nobody has.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens.
pub(crate) fn await_port(port: u16) -> anyhow::Result<()> {
    wait_for("a listener", Duration::from_secs(30), || std::net::TcpStream::connect(("127.0.0.1", port)).ok()).map(drop)
}

fn ready(process: &mut Process, state: &Path) -> anyhow::Result<String> {
    let file = state.join("run/crema.json");
    let said = wait_for("crema up", Duration::from_secs(1800), || {
        if process.has_ended() {
            let log = fs::read_to_string(state.join("crema.log")).unwrap_or_default();
            return Some(Err(log.lines().last().unwrap_or("it ended without a word").to_owned()));
        }
        let said: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
        (said["pid"] == process.id()).then(|| said["gateway"].as_str().map(|url| Ok(url.to_owned())))?
    })?;
    said.map_err(|last| anyhow!("crema up ended: {last}"))
}
