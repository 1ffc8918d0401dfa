//! Images of an OCI layout.

use super::contents::{self, Contents};
use super::{Found, check_types};
use crate::document::{self, Descriptor, Index, Manifest, Platform};
use crate::error::ImageError;
use crate::name;

/// The images the layout's index names, each for this machine's platform.
pub(super) fn images(contents: &Contents) -> Result<Vec<Found>, ImageError> {
    let index: Index = parse("index.json", &contents::read(contents.required("index.json")?)?)?;
    let mut groups: Vec<(Option<String>, Vec<&Descriptor>)> = Vec::new();
    for descriptor in &index.manifests {
        let name = name::of_descriptor(descriptor).ok().map(|name| name.to_string());
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(descriptor),
            None => groups.push((name, vec![descriptor])),
        }
    }
    groups.into_iter().map(|(name, group)| image(contents, name.as_deref(), &group)).collect()
}

/// One image of those that share a name: the one for this machine.
fn image(contents: &Contents, name: Option<&str>, group: &[&Descriptor]) -> Result<Found, ImageError> {
    let mut offered = Vec::new();
    for descriptor in group {
        if is_index(contents, descriptor)? {
            let index: Index = parse("an index", &contents::read(contents.blob(descriptor)?)?)?;
            offered.extend(index.manifests);
        } else {
            offered.push((*descriptor).clone());
        }
    }
    let here = Platform::here();
    let known = |descriptor: &Descriptor| descriptor.platform.clone().unwrap_or_default();
    let Some(chosen) = offered.iter().find(|descriptor| known(descriptor).fits(&here)) else {
        let mut platforms: Vec<String> = offered.iter().map(|descriptor| known(descriptor).to_string()).collect();
        platforms.retain(|platform| platform != "unknown/unknown");
        return Err(ImageError::Platform {
            what: name.unwrap_or("the image").to_owned(),
            offered: platforms.join(", "),
            wanted: here.to_string(),
        });
    };
    let blob = contents.blob(chosen)?.clone();
    let manifest: Manifest = parse("a manifest", &contents::read(&blob)?)?;
    check_types(&manifest)?;
    let mut descriptor = Descriptor::new(media_type(&manifest), &blob.digest, blob.size);
    descriptor.platform.clone_from(&chosen.platform);
    Ok(Found {
        name: name::of_descriptor(group[0]),
        descriptor,
        config: contents.blob(&manifest.config)?.clone(),
        layers: manifest.layers.iter().map(|layer| contents.blob(layer).cloned()).collect::<Result<_, _>>()?,
        manifest: blob,
    })
}

fn media_type(manifest: &Manifest) -> &str {
    if manifest.media_type.is_empty() { document::MANIFEST } else { &manifest.media_type }
}

/// By its type, or where that is left out by what it holds.
fn is_index(contents: &Contents, descriptor: &Descriptor) -> Result<bool, ImageError> {
    if !descriptor.media_type.is_empty() {
        return Ok(descriptor.is_index());
    }
    let bytes = contents::read(contents.blob(descriptor)?)?;
    Ok(parse::<serde_json::Value>("a manifest", &bytes)?.get("manifests").is_some())
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| ImageError::Archive { why: format!("{what} is not valid: {error}") })
}
