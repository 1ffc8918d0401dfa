//! A machine to build for: whether the toolchain can, and with which linker.

use super::BuildError;
use super::toolchain::{in_capitals, on_path};
use daemon::Env;
use std::path::Path;
use std::process::Command;

/// A target triple that can be built for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) triple: String,
    /// In the image format's words.
    pub(super) architecture: &'static str,
    /// The linker, where cargo would not find it by itself.
    pub(super) linker: Option<String>,
}

impl Target {
    /// Looks for the target's standard library and for a linker; says what to install.
    pub(super) fn find(triple: &str, host: &str, rustc: &str, env: &impl Env) -> Result<Self, BuildError> {
        let architecture = architecture(triple).ok_or_else(|| {
            refuse(triple, "images are made for x86_64, aarch64 and riscv64gc, like aarch64-unknown-linux-gnu")
        })?;
        if triple == host {
            return Ok(Self { triple: triple.to_owned(), architecture, linker: None });
        }
        let output = Command::new(rustc).args(["--print", "target-libdir", "--target", triple]).output();
        let libraries = output.ok().filter(|output| output.status.success());
        let libraries = libraries.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        if !libraries.is_some_and(|folder| Path::new(&folder).is_dir()) {
            let why = format!("this Rust has no standard library for it; `rustup target add {triple}` brings it");
            return Err(refuse(triple, why));
        }
        let variable = format!("CARGO_TARGET_{}_LINKER", in_capitals(triple));
        if env.get(&variable).is_some() {
            return Ok(Self { triple: triple.to_owned(), architecture, linker: None });
        }
        let usual = linkers(triple, host);
        match usual.iter().find(|linker| on_path(env, linker)) {
            Some(linker) => Ok(Self { triple: triple.to_owned(), architecture, linker: Some(linker.clone()) }),
            None => {
                let tried = usual.join(" or ");
                let why =
                    format!("there is no linker for it: install {tried}{}, or name one in {variable}", debian(triple));
                Err(refuse(triple, why))
            }
        }
    }
}

fn refuse(triple: &str, why: impl std::fmt::Display) -> BuildError {
    BuildError::Platform(format!("cannot build for {triple}: {why}"))
}

fn architecture(triple: &str) -> Option<&'static str> {
    if !triple.contains("-linux-") {
        return None;
    }
    match triple.split('-').next()? {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        "riscv64gc" => Some("riscv64"),
        _ => None,
    }
}

/// The C compilers that usually link for a target, which are also those that cc calls for C code.
fn linkers(triple: &str, host: &str) -> Vec<String> {
    let machine = |triple: &str| triple.split('-').next().unwrap_or_default().replace("riscv64gc", "riscv64");
    let libc = if triple.ends_with("musl") { "musl" } else { "gnu" };
    let mut linkers = vec![format!("{}-linux-{libc}-gcc", machine(triple))];
    if libc == "musl" && machine(triple) == machine(host) {
        linkers.push("musl-gcc".to_owned());
    }
    linkers
}

fn debian(triple: &str) -> &'static str {
    match triple {
        "aarch64-unknown-linux-gnu" => " (Debian: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross)",
        "x86_64-unknown-linux-gnu" => " (Debian: apt-get install gcc-x86-64-linux-gnu libc6-dev-amd64-cross)",
        triple if triple.ends_with("musl") => " (Debian: apt-get install musl-tools, for its own architecture)",
        _ => "",
    }
}
