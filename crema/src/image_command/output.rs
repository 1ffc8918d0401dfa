//! How images are shown: a table for people, JSON for programs.

use crate::build::terminal_size;
use image::Image;
use serde_json::{Value, json};
use std::io::Write;

/// A line an image.
pub(super) fn list(images: &[Image], as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if as_json {
        let images: Vec<_> = images.iter().map(describe).collect();
        return Ok(writeln!(out, "{:#}", Value::Array(images))?);
    }
    let widest = images.iter().map(|image| image.reference.canonical().len()).max().unwrap_or(0).max(4);
    writeln!(out, "{:widest$}  {:12}  {:11}  SIZE", "NAME", "DIGEST", "PLATFORM")?;
    for image in images {
        let digest: String = image.digest.trim_start_matches("sha256:").chars().take(12).collect();
        let (name, size) = (image.reference.canonical(), terminal_size(image.size));
        writeln!(out, "{name:widest$}  {digest:12}  {:11}  {size}", image.platform)?;
    }
    Ok(())
}

/// Everything about one.
pub(super) fn inspect(image: &Image, out: &mut dyn Write) -> anyhow::Result<()> {
    Ok(writeln!(out, "{:#}", describe(image))?)
}

fn describe(image: &Image) -> Value {
    let config = &image.config;
    let env: Vec<_> = config.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "name": image.reference.canonical(),
        "digest": image.digest,
        "size": image.size,
        "platform": image.platform,
        "entrypoint": config.entrypoint,
        "cmd": config.cmd,
        "env": env,
        "user": config.user,
        "workingDir": config.working_dir,
        "labels": config.labels,
    })
}
