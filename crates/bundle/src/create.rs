//! Makes a bundle: what goes in is looked at first, and the same input gives the same bytes.

mod images;

use crate::chart::{Chart, titles};
use crate::entry::{Entry, Kind, digest, digest_of};
use crate::error::{At, BundleError};
use crate::key::SigningKey;
use crate::manifest::{documents, full_name};
use crate::metadata::{FORMAT, METADATA, Metadata, SIGNATURE, SUMS, SecretToMake, Sums};
use images::Found;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// What a bundle is made of.
#[derive(Default)]
pub struct Source {
    /// Its version; the tag that all images of `images` have when not given.
    pub version: Option<String>,
    /// A folder of archives with `images.lock`, as `crema image build --platform-images` makes it.
    pub images: Option<PathBuf>,
    /// Of these only the images for that platform, `linux/arm64`.
    pub platform: Option<String>,
    /// More archives, as they are: K3s' own, a sensor's.
    pub archives: Vec<PathBuf>,
    /// A chart to render.
    pub chart: Option<Chart>,
    /// Manifests: files, or folders of them.
    pub manifests: Vec<PathBuf>,
    /// Secrets that each store makes for itself, besides those a chart makes at random.
    pub secrets: Vec<SecretToMake>,
    /// Who signs.
    pub key: Option<SigningKey>,
}

/// A bundle that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// What it says of itself.
    pub metadata: Metadata,
    /// Its files and their sizes.
    pub sizes: BTreeMap<Entry, u64>,
    /// Whether it is signed.
    pub signed: bool,
    /// What may not work in a store; none is an error by itself.
    pub notes: Vec<String>,
}

enum From {
    File(PathBuf),
    Text(String),
}

impl Source {
    /// Writes the bundle; it appears under its name when it is whole.
    pub fn write(&self, output: &Path) -> Result<Created, BundleError> {
        let found = self.images()?;
        let mut files: BTreeMap<Entry, From> = BTreeMap::new();
        for image in &found {
            add(&mut files, Kind::Image, &image.name, From::File(image.path.clone()))?;
        }
        let rendered = self.chart.as_ref().map(Chart::render).transpose()?.unwrap_or_default();
        for (name, text) in rendered.files {
            add(&mut files, Kind::Manifest, &name, From::Text(text))?;
        }
        for (name, path) in self.manifest_files()? {
            let text = fs::read_to_string(&path).at("read", &path)?;
            add(&mut files, Kind::Manifest, &name, From::Text(text))?;
        }
        if files.is_empty() {
            let why = "there is nothing to put in; give --images, --chart or --manifests";
            return Err(BundleError::Source(why.to_owned()));
        }
        let mut notes = self.look_through(&files, &found)?;
        let secrets = [rendered.secrets, self.secrets.clone()].concat();
        if !secrets.is_empty() {
            let names = titles(&secrets).join(", ");
            notes.push(format!("{names}: the values are not on the stick, each store makes its own"));
        }
        let metadata = Metadata {
            format: FORMAT,
            version: self.version(&found)?,
            platforms: found
                .iter()
                .flat_map(|image| image.platform.clone())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            images: found.iter().flat_map(|image| image.listed.clone()).collect(),
            secrets,
        };
        let sizes = self.pack(output, &metadata, &files)?;
        Ok(Created { metadata, sizes, signed: self.key.is_some(), notes })
    }

    fn images(&self) -> Result<Vec<Found>, BundleError> {
        let mut found = match &self.images {
            Some(folder) => images::of_folder(folder, self.platform.as_deref())?,
            None => Vec::new(),
        };
        for path in &self.archives {
            found.push(images::alone(path)?);
        }
        Ok(found)
    }

    fn version(&self, found: &[Found]) -> Result<String, BundleError> {
        let tags: BTreeSet<&str> = found.iter().flat_map(Found::tags).collect();
        let only = || tags.iter().next().filter(|_| tags.len() == 1).map(|tag| (*tag).to_owned());
        let version = self.version.clone().or_else(only).ok_or_else(|| {
            BundleError::Source("the images do not have one version in common; give it with --version".to_owned())
        })?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
        if version.is_empty() || version.len() > 60 || !version.chars().all(plain) {
            let why = format!("{version:?} is no version; write it like 1.4.0, with letters, digits and . _ + -");
            return Err(BundleError::Source(why));
        }
        Ok(version)
    }

    /// The manifests of files and folders, with their names in the bundle.
    fn manifest_files(&self) -> Result<Vec<(String, PathBuf)>, BundleError> {
        let mut found = Vec::new();
        for given in &self.manifests {
            let mut todo = vec![given.clone()];
            let before = found.len();
            while let Some(path) = todo.pop() {
                if path.is_dir() {
                    for entry in fs::read_dir(&path).at("read", &path)? {
                        todo.push(entry.at("read", &path)?.path());
                    }
                } else if path == *given || path.to_str().is_some_and(|path| Kind::Manifest.takes(path)) {
                    let below = path.strip_prefix(given).ok().filter(|below| !below.as_os_str().is_empty());
                    let below =
                        below.or(path.file_name().map(Path::new)).unwrap_or(&path).to_string_lossy().replace('/', "-");
                    let ours = below.starts_with("crema-");
                    found.push((if ours { below } else { format!("crema-50-{below}") }, path));
                }
            }
            if found.len() == before {
                return Err(BundleError::Source(format!(
                    "{} holds no manifests (.yaml, .yml, .json)",
                    given.display()
                )));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Reads all manifests, as K3s will, and looks whether a store has what they name.
    fn look_through(&self, files: &BTreeMap<Entry, From>, found: &[Found]) -> Result<Vec<String>, BundleError> {
        let known: BTreeSet<String> = found.iter().flat_map(|image| &image.names).map(|name| full_name(name)).collect();
        let all_named = found.iter().all(|image| !image.names.is_empty());
        let mut notes = Vec::new();
        for (entry, from) in files {
            let From::Text(text) = from else { continue };
            let refuse = |why: String| BundleError::Source(format!("{} cannot be used: {why}", entry.name));
            for document in documents(text).map_err(refuse)? {
                let title = document.title();
                if document.kind() == "Secret" {
                    notes.push(format!("{title} in {}: whoever has the stick can read it", entry.name));
                }
                for image in document.images() {
                    let full = full_name(&image);
                    if full.ends_with(":latest") {
                        notes.push(format!(
                            "{title} runs {image}: Kubernetes pulls latest anew each time; give a version"
                        ));
                    } else if all_named && !known.contains(&full) {
                        notes.push(format!(
                            "{title} runs {image}, which is not in the bundle: the store has to have it"
                        ));
                    }
                }
            }
        }
        Ok(notes)
    }

    fn pack(
        &self,
        output: &Path,
        metadata: &Metadata,
        files: &BTreeMap<Entry, From>,
    ) -> Result<BTreeMap<Entry, u64>, BundleError> {
        let description = serde_json::to_vec_pretty(metadata).expect("it is plain text");
        let mut sums = Sums { metadata: digest(&description), ..Sums::default() };
        let mut sizes = BTreeMap::new();
        for (entry, from) in files {
            let (digest, size) = match from {
                From::File(path) => digest_of(path).at("read", path)?,
                From::Text(text) => (digest(text.as_bytes()), text.len() as u64),
            };
            sums.entries.insert(entry.clone(), digest);
            sizes.insert(entry.clone(), size);
        }
        let list = sums.to_text();
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let mut whole = tempfile::NamedTempFile::new_in(folder).at("write in", folder)?;
        let mut archive = tar::Builder::new(BufWriter::with_capacity(256 * 1024, whole.as_file_mut()));
        append(&mut archive, SUMS, list.len() as u64, list.as_bytes()).at("write", output)?;
        if let Some(key) = &self.key {
            let signature = key.sign(list.as_bytes());
            append(&mut archive, SIGNATURE, signature.len() as u64, &signature[..]).at("write", output)?;
        }
        append(&mut archive, METADATA, description.len() as u64, &description[..]).at("write", output)?;
        for (entry, from) in files {
            let (name, size) = (entry.to_string(), sizes[entry]);
            match from {
                From::File(path) => {
                    let file = File::open(path).at("read", path)?;
                    append(&mut archive, &name, size, file.take(size)).at("pack", path)?;
                }
                From::Text(text) => append(&mut archive, &name, size, text.as_bytes()).at("write", output)?,
            }
        }
        archive.into_inner().and_then(|mut writer| writer.flush()).at("write", output)?;
        whole.as_file().set_permissions(fs::Permissions::from_mode(0o644)).at("set the mode of", output)?;
        whole.as_file().sync_all().at("sync", output)?;
        whole.persist(output).map_err(|error| error.error).at("write", output)?;
        Ok(sizes)
    }
}

fn add(files: &mut BTreeMap<Entry, From>, kind: Kind, name: &str, from: From) -> Result<(), BundleError> {
    let entry = Entry::new(kind, name).map_err(BundleError::Source)?;
    match files.insert(entry, from) {
        None => Ok(()),
        Some(_) => Err(BundleError::Source(format!("two files would be called {name}; rename one"))),
    }
}

fn append<W: Write>(archive: &mut tar::Builder<W>, name: &str, size: u64, bytes: impl Read) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive.append_data(&mut header, name, bytes)
}
