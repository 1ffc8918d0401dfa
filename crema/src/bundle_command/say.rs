//! How bundles are told of to the person at the box.

use crate::build::terminal_size;
use bundle::{Act, Contents, Created, Kind, Report, Status, Trust};
use std::io::Write;
use std::path::Path;

pub(super) fn created(path: &Path, created: &Created, out: &mut dyn Write) -> anyhow::Result<()> {
    for (entry, size) in &created.sizes {
        writeln!(out, "  {entry}, {}", terminal_size(*size))?;
    }
    for note in &created.notes {
        writeln!(out, "note: {note}")?;
    }
    let signed = if created.signed { "signed" } else { "not signed: whoever has the stick can change it" };
    let size = terminal_size(created.sizes.values().sum());
    Ok(writeln!(out, "{}: version {}, {size}, {signed}", path.display(), created.metadata.version)?)
}

pub(super) fn contents(path: &Path, contents: &Contents, out: &mut dyn Write) -> anyhow::Result<()> {
    for (entry, size) in &contents.sizes {
        writeln!(out, "  {entry}, {}", terminal_size(*size))?;
    }
    for image in &contents.metadata.images {
        writeln!(out, "  {image}")?;
    }
    let platforms = contents.metadata.platforms.join(", ");
    let platforms = if platforms.is_empty() { String::new() } else { format!(" for {platforms}") };
    let (version, size) = (&contents.metadata.version, terminal_size(contents.bytes()));
    Ok(writeln!(out, "{}: version {version}{platforms}, {size}, whole, {}", path.display(), trust(contents.trust))?)
}

fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::Signed => "signed by the owner of the key",
        Trust::Unchecked => "signed, and that was not checked: give --verify-key",
        Trust::Unsigned => "not signed",
    }
}

pub(super) fn report(report: &Report, done: &str, dry_run: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let would = if dry_run { "would be " } else { "" };
    for action in &report.actions {
        let what = match action.act {
            Act::Put => "put in place",
            Act::Replace => "replaced",
            Act::Keep if action.skipped => "unchanged",
            Act::Keep => continue,
            Act::Remove => "removed",
        };
        let hand = if action.changed_by_hand { ", it had been changed by hand" } else { "" };
        let skipped = if action.skipped { "; K3s passes over it, there is a .skip beside it" } else { "" };
        writeln!(out, "  {}: {would}{what}{hand}{skipped}", action.entry)?;
    }
    let unchanged = report.actions.iter().filter(|action| action.act == Act::Keep).count();
    if unchanged > 0 {
        writeln!(out, "  {unchanged} files are as they should be")?;
    }
    let removed =
        |kind| report.actions.iter().filter(move |action| action.act == Act::Remove && action.entry.kind == kind);
    for action in removed(Kind::Manifest) {
        let folder = report.removed_from.as_deref().unwrap_or(Path::new("."));
        let kept = folder.join(&action.entry.name);
        writeln!(
            out,
            "note: K3s keeps the objects of {}; to delete them: kubectl delete -f {}",
            action.entry.name,
            kept.display()
        )?;
    }
    if removed(Kind::Image).next().is_some() {
        writeln!(out, "note: K3s keeps images it has imported until it needs their space")?;
    }
    if report.resumed {
        writeln!(out, "An earlier call was cut off; {would}finished now")?;
    }
    if let Some(known) = report.trust {
        writeln!(out, "The archive is whole, {}", trust(known))?;
    }
    match (report.changed() || report.resumed, dry_run) {
        (false, _) => writeln!(out, "Version {} is in place already; nothing changed", report.version)?,
        (true, true) => writeln!(out, "Version {} would be {done}; nothing was changed", report.version)?,
        (true, false) => writeln!(out, "Version {} is {done}", report.version)?,
    }
    match &report.before {
        Some(before) if !dry_run => writeln!(out, "`crema bundle rollback` puts {before} back")?,
        _ => {}
    }
    Ok(())
}

pub(super) fn status(status: &Status, out: &mut dyn Write) -> anyhow::Result<()> {
    let known = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
    writeln!(out, "in place: {}", known(&status.current))?;
    writeln!(out, "before:   {}", known(&status.previous))?;
    if let Some(version) = &status.unfinished {
        writeln!(out, "{version} was cut off while it was put in place")?;
    }
    for file in &status.differing {
        writeln!(out, "  {file} is missing or another one")?;
    }
    Ok(())
}
