//! Builds an image of one layer from files, the same bytes from the same files every time.

use crate::digest::Hashing;
use crate::document::{
    self, CONFIG, Configuration, Descriptor, History, ImageConfig, LAYER_GZIP, MANIFEST, Manifest, Platform, RootFs,
};
use crate::error::{At, ImageError};
use crate::staging::Staging;
use crate::store::{Image, Store};
use flate2::{Compression, GzBuilder};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use tar::{EntryType, Header};
use wire::image_reference::ImageReference;

/// The moment every built file and image is from: a build does not depend on when it ran.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The parts of an image to be.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: ImageConfig,
    platform: Option<Platform>,
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Directory { mode: u32 },
    File { from: PathBuf, mode: u32 },
    Bytes { bytes: Vec<u8>, mode: u32 },
    Link { to: PathBuf },
}

impl Builder {
    /// An image that runs as `config` says and holds nothing yet.
    #[must_use]
    pub fn new(config: ImageConfig) -> Self {
        Self { config, platform: None, entries: BTreeMap::new() }
    }

    /// For Linux on another architecture than this machine's, in the image format's words: `amd64`, `arm64`.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.platform = Some(Platform { architecture: architecture.to_owned(), ..Platform::here() });
        self
    }

    /// Adds the file `from` at `path`, read when the image is built.
    #[must_use]
    pub fn file(self, path: &str, from: impl Into<PathBuf>, mode: u32) -> Self {
        self.entry(path, Entry::File { from: from.into(), mode })
    }

    /// Adds a file of these bytes.
    #[must_use]
    pub fn bytes(self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.entry(path, Entry::Bytes { bytes: bytes.into(), mode })
    }

    /// Adds a symbolic link to `to`, as it is written.
    #[must_use]
    pub fn link(self, path: &str, to: impl Into<PathBuf>) -> Self {
        self.entry(path, Entry::Link { to: to.into() })
    }

    /// Adds a directory; those above a file come by themselves, with mode 0755.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, Entry::Directory { mode })
    }

    fn entry(mut self, path: &str, entry: Entry) -> Self {
        self.entries.insert(PathBuf::from(path), entry);
        self
    }

    /// Packs the image and stores it under `reference`, in the place of an older one of that name.
    pub fn build(&self, store: &Store, reference: &ImageReference) -> Result<Image, ImageError> {
        let entries = self.complete().map_err(|why| ImageError::Build { reference: reference.clone(), why })?;
        if reference.digest().is_some() {
            let why = "a name with a digest cannot be given to something new; use a tag".to_owned();
            return Err(ImageError::Build { reference: reference.clone(), why });
        }
        let mut staging = store.staging()?;
        let (layer, diff_id) = pack(&mut staging, &entries)?;
        let config = staging.document(&document::to_json(&self.configuration(&diff_id)))?;
        let manifest = staging.document(&document::to_json(&Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            config: Descriptor::new(CONFIG, &config.digest, config.size),
            layers: vec![Descriptor::new(LAYER_GZIP, &layer.digest, layer.size)],
        }))?;
        let mut descriptor = Descriptor::new(MANIFEST, &manifest.digest, manifest.size);
        descriptor.platform = Some(self.platform());
        store.commit([&layer, &config, &manifest], &[(reference.clone(), descriptor)])?;
        store.get(reference)
    }

    fn configuration(&self, diff_id: &str) -> Configuration {
        Configuration {
            created: EPOCH.to_owned(),
            platform: self.platform(),
            config: (&self.config).into(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id.to_owned()] },
            history: vec![History {
                created: EPOCH.to_owned(),
                created_by: "crema image build".to_owned(),
                empty_layer: false,
            }],
        }
    }

    fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::here)
    }

    /// All entries with relative paths, sorted, each after the directories above it.
    fn complete(&self) -> Result<BTreeMap<PathBuf, Entry>, String> {
        let mut complete = BTreeMap::new();
        for (path, entry) in &self.entries {
            let relative = path.strip_prefix("/").unwrap_or(path);
            let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
            if !plain || relative.as_os_str().is_empty() {
                return Err(format!("{} is no path inside an image", path.display()));
            }
            for above in relative.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
                complete.entry(above.to_owned()).or_insert(Entry::Directory { mode: 0o755 });
            }
            complete.insert(relative.to_owned(), entry.clone());
        }
        Ok(complete)
    }
}

/// The layer, compressed, and the digest of it without compression.
fn pack(
    staging: &mut Staging,
    entries: &BTreeMap<PathBuf, Entry>,
) -> Result<(crate::staging::StagedBlob, String), ImageError> {
    let directory = staging.path().to_owned();
    staging.blob(|writer| {
        // No name, no time, a fixed operating system: the header says nothing about the machine that built it.
        let gzip = GzBuilder::new().mtime(0).operating_system(255).write(writer, Compression::new(6));
        let mut layer = tar::Builder::new(Hashing::new(gzip));
        for (path, entry) in entries {
            append(&mut layer, path, entry)?;
        }
        let (gzip, diff_id, _) = layer.into_inner().at("write in", &directory)?.finish();
        gzip.finish().at("write in", &directory)?;
        Ok(diff_id.to_string())
    })
}

fn append<W: Write>(layer: &mut tar::Builder<W>, path: &Path, entry: &Entry) -> Result<(), ImageError> {
    match entry {
        Entry::Directory { mode } => {
            let mut name = path.as_os_str().to_owned();
            name.push("/");
            layer.append_data(&mut header(EntryType::Directory, *mode, 0), name, io::empty()).at("pack", path)
        }
        Entry::Bytes { bytes, mode } => layer
            .append_data(&mut header(EntryType::Regular, *mode, bytes.len() as u64), path, &bytes[..])
            .at("pack", path),
        Entry::Link { to } => layer.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, to).at("pack", path),
        Entry::File { from, mode } => {
            let file = File::open(from).at("read", from)?;
            let size = file.metadata().at("read", from)?.len();
            // A file that grows meanwhile must not shift what follows it; one that shrinks must not pass unseen.
            let mut whole = Whole { inner: file.take(size), left: size };
            layer.append_data(&mut header(EntryType::Regular, *mode, size), path, &mut whole).at("pack", from)
        }
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    for set_zero in [Header::set_uid, Header::set_gid, Header::set_mtime] {
        set_zero(&mut header, 0);
    }
    header
}

/// A reader that fails when it ends early.
struct Whole<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}
