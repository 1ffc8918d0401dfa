//! Sizes of what is shipped.

use crate::table::Table;
use crate::world::World;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

pub(crate) fn measure(world: &World, table: &mut Table) -> anyhow::Result<()> {
    table.row("size", "crema", megabytes(fs::metadata(world.binary("crema"))?.len()), "≤ 16 MB");
    let images = world.images();
    let read = |path: &std::path::Path| -> anyhow::Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let index = read(&images.join("index.json"))?;
    for manifest in index["manifests"].as_array().into_iter().flatten() {
        let name = manifest["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or("?").to_owned();
        let digest = manifest["digest"].as_str().unwrap_or_default().replace(':', "/");
        let manifest = read(&images.join("blobs").join(digest))?;
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let bytes = layers.filter_map(|layer| layer["size"].as_u64()).sum();
        table.row("size, compressed image", &name, megabytes(bytes), "≤ 4 MB");
    }
    Ok(())
}

/// The archives of images, which hold compressed layers.
pub(crate) fn archives(archives: &[PathBuf], table: &mut Table) -> anyhow::Result<()> {
    for archive in archives {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        table.row("size, archive of an image", &name, megabytes(fs::metadata(archive)?.len()), "");
    }
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
