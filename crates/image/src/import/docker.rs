//! Images of a Docker archive, given OCI manifests.

use super::Found;
use super::contents::{self, Contents};
use crate::document::{self, CONFIG, Descriptor, DockerImage, LAYER, LAYER_GZIP, MANIFEST, Manifest};
use crate::error::{At, ImageError};
use crate::staging::StagedBlob;
use std::fs::File;
use std::io::Read;
use wire::image_reference::ImageReference;

/// The images `manifest.json` names, once for each of their names.
pub(super) fn images(contents: &mut Contents) -> Result<Vec<Found>, ImageError> {
    let bytes = contents::read(contents.required("manifest.json")?)?;
    let images: Vec<DockerImage> = serde_json::from_slice(&bytes)
        .map_err(|error| ImageError::Archive { why: format!("manifest.json is not valid: {error}") })?;
    let mut found = Vec::new();
    for image in images {
        let config = contents.required(&image.config)?.clone();
        let layers = image.layers.iter().map(|layer| contents.required(layer).cloned());
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            config: Descriptor::new(CONFIG, &config.digest, config.size),
            layers: layers
                .iter()
                .map(|layer| Ok(Descriptor::new(layer_type(layer)?, &layer.digest, layer.size)))
                .collect::<Result<_, ImageError>>()?,
        };
        let manifest = contents.add(&document::to_json(&manifest))?;
        let descriptor = Descriptor::new(MANIFEST, &manifest.digest, manifest.size);
        for name in names(&image.repo_tags) {
            found.push(Found {
                name,
                descriptor: descriptor.clone(),
                manifest: manifest.clone(),
                config: config.clone(),
                layers: layers.clone(),
            });
        }
    }
    Ok(found)
}

fn names(tags: &[String]) -> Vec<Result<ImageReference, ImageError>> {
    if tags.is_empty() {
        return vec![Err(ImageError::Nameless { why: "the archive does not name its image".to_owned() })];
    }
    let nameless = |error| ImageError::Nameless { why: format!("the archive's name cannot be used: {error}") };
    tags.iter().map(|tag| tag.parse::<ImageReference>().map_err(nameless)).collect()
}

/// What the layer is: Docker archives do not say.
fn layer_type(layer: &StagedBlob) -> Result<&'static str, ImageError> {
    let mut magic = Vec::new();
    File::open(&layer.path).and_then(|file| file.take(2).read_to_end(&mut magic)).at("read", &layer.path)?;
    Ok(if magic == [0x1f, 0x8b] { LAYER_GZIP } else { LAYER })
}
