//! Exports images as one archive that is both an OCI layout and a Docker archive, so that skopeo, podman, ctr and
//! docker all load it.

use crate::digest::Hashing;
use crate::document::{self, Descriptor, DockerImage, Index};
use crate::error::{At, ImageError};
use crate::store::{Image, Store, named};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use tar::{EntryType, Header};
use wire::image_reference::ImageReference;

impl Store {
    /// Writes the images of these names. The same images give the same bytes.
    pub fn export(&self, references: &[ImageReference], writer: impl Write) -> Result<(), ImageError> {
        let images = references.iter().map(|reference| self.get(reference)).collect::<Result<Vec<_>, _>>()?;
        let _lock = self.shared()?;
        let mut archive = tar::Builder::new(writer);
        add(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add(&mut archive, "index.json", &document::to_json(&index(&images)))?;
        add(&mut archive, "manifest.json", &document::to_json(&docker(&images)))?;
        for directory in ["blobs/", "blobs/sha256/"] {
            let mut header = header(EntryType::Directory, 0o755, 0);
            archive.append_data(&mut header, directory, io::empty()).at("write", Path::new("the archive"))?;
        }
        let mut written = BTreeSet::new();
        for (digest, _) in images.iter().map(Image::blobs).collect::<Result<Vec<_>, _>>()?.concat() {
            if written.insert(digest.clone()) {
                self.add_blob(&mut archive, &digest)?;
            }
        }
        archive.into_inner().and_then(|mut writer| writer.flush()).at("write", Path::new("the archive"))
    }

    fn add_blob<W: Write>(
        &self,
        archive: &mut tar::Builder<W>,
        digest: &crate::digest::Digest,
    ) -> Result<(), ImageError> {
        let (blob, path) = (self.open_blob(digest)?, self.blob_path(digest));
        let size = blob.metadata().at("read", &path)?.len();
        let mut blob = Hashing::new(blob);
        let name = format!("blobs/sha256/{}", digest.hex());
        archive
            .append_data(&mut header(EntryType::Regular, 0o644, size), name, &mut blob)
            .at("write to the archive", &path)?;
        let (_, found, _) = blob.finish();
        if found == *digest {
            return Ok(());
        }
        Err(ImageError::Damaged { what: format!("blob {digest}"), why: format!("its digest is {found}") })
    }
}

fn index(images: &[Image]) -> Index {
    let descriptor = |image: &Image| {
        named(&Descriptor { annotations: Default::default(), ..image.descriptor.clone() }, &image.reference)
    };
    Index { manifests: images.iter().map(descriptor).collect(), ..Index::default() }
}

fn docker(images: &[Image]) -> Vec<DockerImage> {
    let place = |part: &Descriptor| format!("blobs/{}", part.digest.replacen(':', "/", 1));
    let mut entries: Vec<DockerImage> = Vec::new();
    for image in images {
        let config = place(&image.manifest.config);
        // A name with a digest is no tag, and Docker takes no other names.
        let tags = image.reference.tag().map(|_| image.reference.canonical());
        match entries.iter_mut().find(|entry| entry.config == config) {
            Some(entry) => entry.repo_tags.extend(tags),
            None => entries.push(DockerImage {
                config,
                repo_tags: tags.into_iter().collect(),
                layers: image.manifest.layers.iter().map(place).collect(),
            }),
        }
    }
    entries
}

fn add<W: Write>(archive: &mut tar::Builder<W>, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
    archive
        .append_data(&mut header(EntryType::Regular, 0o644, bytes.len() as u64), name, bytes)
        .at("write to the archive", Path::new(name))
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
