//! An image of 50 MB, unpacked, beside tar with the same layer.

use crate::table::{Table, median};
use anyhow::{Context, ensure};
use image::{Builder, ImageConfig, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const FILES: usize = 500;
const FILE_BYTES: usize = 100 << 10;

pub(crate) fn measure(rounds: usize, table: &mut Table) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("crema-bench-").tempdir()?;
    let config = ImageConfig { entrypoint: vec!["/files/0".to_owned()], ..ImageConfig::default() };
    let files = (0..FILES).fold(Builder::new(config), |builder, number| {
        builder.bytes(&format!("files/{number}"), content(number as u64 + 1), 0o755)
    });
    let reference = "bench.local/fifty:1".parse()?;
    let made = dir.path().join("made");
    let image = files.build(&Store::open(&made)?, &reference)?;
    let layer = largest(&made.join("blobs/sha256"))?;
    let megabytes = fs::metadata(&layer)?.len() as f64 / 1e6;
    // Each round of each candidate finds nothing unpacked and the layer in memory; both end on disk.
    let (mut ours, mut tars) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let copy = dir.path().join(format!("copy-{round}"));
        run(Command::new("cp").arg("-r").arg(&made).arg(&copy))?;
        let plain = dir.path().join(format!("tar-{round}"));
        fs::create_dir(&plain)?;
        run(Command::new("sync").arg("-f").arg(dir.path()))?;
        let store = Store::open(&copy)?;
        let begun = Instant::now();
        store.unpack(&image)?;
        ours.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        run(Command::new("tar").arg("-xzf").arg(&layer).arg("-C").arg(&plain))?;
        run(Command::new("sync").arg("-f").arg(&plain))?;
        tars.push(begun.elapsed().as_secs_f64());
        fs::remove_dir_all(&copy)?;
        fs::remove_dir_all(&plain)?;
    }
    let what = format!("unpack 50 MB in {FILES} files ({megabytes:.0} MB compressed), synced");
    let ratio = median(ours.iter().zip(&tars).map(|(ours, tars)| ours / tars));
    table.row(&what, "tar -xzf, sync -f", format!("{:.2} s", median(tars)), "");
    table.row(&what, "crema", format!("{:.2} s = {ratio:.2} × of tar", median(ours)), "beside tar");
    Ok(())
}

/// Bytes that compress about as well as programs do: half of them noise.
fn content(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    while bytes.len() < FILE_BYTES {
        bytes.extend_from_slice(&next().to_le_bytes()[..4]);
        bytes.extend_from_slice(b"\0\0\x48\x89");
    }
    bytes
}

fn largest(dir: &Path) -> anyhow::Result<PathBuf> {
    let sized =
        fs::read_dir(dir)?.filter_map(Result::ok).filter_map(|file| Some((file.metadata().ok()?.len(), file.path())));
    sized.max().map(|(_, path)| path).context("the packed layer")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
