//! Imports images from an archive: an OCI layout in a tar (skopeo, podman, ctr, `docker save` since 25) or a Docker
//! archive, compressed or not.
//!
//! The archive is read once, as a stream, into unnamed files of the store. Only whole images for this machine whose
//! every digest is right, and whose layers can be unpacked, are kept; the rest is forgotten.

mod contents;
mod docker;
mod oci;

use crate::archive::{self, Allowance};
use crate::document::{self, Configuration, Descriptor, Manifest, Platform};
use crate::error::ImageError;
use crate::staging::StagedBlob;
use crate::store::{Image, Store};
use contents::Contents;
use std::collections::BTreeSet;
use std::io::{BufReader, Read};
use wire::image_reference::ImageReference;

/// An image found in an archive: its name, if it has one, its manifest and all blobs it needs.
struct Found {
    name: Result<ImageReference, ImageError>,
    descriptor: Descriptor,
    manifest: StagedBlob,
    config: StagedBlob,
    layers: Vec<StagedBlob>,
}

impl Store {
    /// Imports every image of an archive under its own name, or the only one under `name`.
    pub fn import(&self, archive: impl Read, name: Option<&ImageReference>) -> Result<Vec<Image>, ImageError> {
        const OF: &str = "the archive";
        let limits = self.limits();
        let mut allowance = Allowance::new(limits.unpacked_bytes, contents::MAX_ENTRIES);
        let mut contents = Contents::new(self.staging()?);
        let reader = archive::decompressed(OF, BufReader::with_capacity(64 * 1024, archive)).map_err(not_an_archive)?;
        archive::for_each(OF, reader, &mut allowance, |item| contents.keep(OF, item)).map_err(not_an_archive)?;
        let found = if contents.has("index.json") {
            oci::images(&contents)?
        } else if contents.has("manifest.json") {
            docker::images(&mut contents)?
        } else {
            return Err(ImageError::Archive {
                why: "it holds neither index.json (OCI) nor manifest.json (Docker)".to_owned(),
            });
        };
        self.keep(found, name)
    }

    fn keep(&self, found: Vec<Found>, name: Option<&ImageReference>) -> Result<Vec<Image>, ImageError> {
        let (mut names, mut checked) = (Vec::new(), BTreeSet::new());
        if found.is_empty() {
            return Err(ImageError::Archive { why: "it holds no image".to_owned() });
        }
        if let Some(name) = name {
            let different = found.iter().map(|image| &image.manifest.digest).collect::<BTreeSet<_>>().len();
            if different > 1 {
                let why =
                    format!("it holds {different} images, which cannot all be called {name}; import without a name");
                return Err(ImageError::Archive { why });
            }
        }
        let mut blobs = Vec::new();
        for image in found {
            let name = name.map_or(image.name, |name| Ok(name.clone()))?;
            if checked.insert(image.manifest.digest.clone()) {
                check(self, &name, &image.config, &image.layers)?;
                blobs.extend(image.layers);
                blobs.extend([image.config, image.manifest]);
            }
            if !names.iter().any(|(taken, _)| *taken == name) {
                names.push((name, image.descriptor));
            }
        }
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        blobs.dedup_by(|a, b| a.digest == b.digest);
        self.commit(&blobs, &names)?;
        names.iter().map(|(name, _)| self.get(name)).collect()
    }
}

/// Whether the image runs here and its layers are what its configuration says.
fn check(store: &Store, name: &ImageReference, config: &StagedBlob, layers: &[StagedBlob]) -> Result<(), ImageError> {
    let bytes = contents::read(config)?;
    let configuration: Configuration = document::parse(&format!("the configuration of {name}"), &bytes)?;
    let here = Platform::here();
    if !configuration.platform.fits(&here) {
        return Err(ImageError::Platform {
            what: name.to_string(),
            offered: configuration.platform.to_string(),
            wanted: here.to_string(),
        });
    }
    let diff_ids = &configuration.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        let why = format!("its configuration names {} layers, and it has {}", diff_ids.len(), layers.len());
        return Err(ImageError::Archive { why: format!("{name}: {why}") });
    }
    store.check_layers(&name.to_string(), layers.iter().zip(diff_ids.iter().map(String::as_str)))
}

/// Whether the manifest is one of a container image whose layers are understood here.
fn check_types(manifest: &Manifest) -> Result<(), ImageError> {
    let refuse = |why: String| Err(ImageError::Archive { why });
    let config = manifest.config.media_type.as_str();
    if !["", document::CONFIG, "application/vnd.docker.container.image.v1+json"].contains(&config) {
        return refuse(format!("it holds something of type {config}, no container image"));
    }
    const PLAIN: [&str; 5] = [
        document::LAYER,
        document::LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "",
    ];
    match manifest.layers.iter().find(|layer| !PLAIN.contains(&layer.media_type.as_str())) {
        Some(layer) if layer.media_type.ends_with("zstd") => refuse(
            "its layers are compressed with zstd, and only gzip or none is understood; \
             convert it: skopeo copy --dest-compress-format gzip"
                .to_owned(),
        ),
        Some(layer) => refuse(format!("a layer is of type {}, which is not understood", layer.media_type)),
        None => Ok(()),
    }
}

/// A stranger's bytes are no damage to the store.
fn not_an_archive(error: ImageError) -> ImageError {
    match error {
        ImageError::Damaged { why, .. } => ImageError::Archive { why },
        other => other,
    }
}
