//! The archives of images that go into a bundle: those a list names, and others as they are.

use crate::error::{At, BundleError};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

const LOCK: &str = "images.lock";
/// A JSON document in an archive is no longer than this.
const LONGEST: u64 = 4 * 1024 * 1024;

/// An archive.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// In the bundle; K3s imports in the order of names.
    pub(super) name: String,
    pub(super) platform: Option<String>,
    /// What the list says is in it, `NAME@DIGEST`.
    pub(super) listed: Vec<String>,
    /// What its images are called; empty when that cannot be seen.
    pub(super) names: Vec<String>,
}

impl Found {
    /// The tags its images are listed with.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        let names = self.listed.iter().filter_map(|listed| listed.split_once('@')?.0.rsplit('/').next());
        names.filter_map(|name| name.split_once(':').map(|(_, tag)| tag))
    }
}

/// The archives a folder's list names; without a list all that K3s takes.
pub(super) fn of_folder(folder: &Path, platform: Option<&str>) -> Result<Vec<Found>, BundleError> {
    let lock = folder.join(LOCK);
    let text = fs::read_to_string(&lock).map_err(|error| {
        let folder = folder.display();
        BundleError::Source(format!(
            "{folder} has no {LOCK} that can be read ({error}); `crema image build --platform-images --output {folder}` \
             makes one, and archives of others are given with --archive"
        ))
    })?;
    let mut found: Vec<(Found, BTreeSet<String>)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [listed, machine, file] = words[..] else {
            return Err(BundleError::Source(format!(
                "{}: {line:?} is no line of NAME@DIGEST PLATFORM FILE",
                lock.display()
            )));
        };
        if platform.is_some_and(|wanted| wanted != machine) {
            continue;
        }
        let path = folder.join(Path::new(file).file_name().unwrap_or_default());
        // One with several images has a line for each.
        let position = match found.iter().position(|(archive, _)| archive.path == path) {
            Some(position) => position,
            None => {
                let (names, digests) = look_into(&path)?;
                let (name, platform) = (format!("10-crema-{file}"), Some(machine.to_owned()));
                found.push((Found { path: path.clone(), name, platform, listed: Vec::new(), names }, digests));
                found.len() - 1
            }
        };
        let (archive, digests) = &mut found[position];
        let digest = listed.split_once('@').map(|(_, digest)| digest).unwrap_or_default();
        if !digests.contains(digest) {
            let why = format!("{} does not hold {listed}; build the images again", path.display());
            return Err(BundleError::Source(why));
        }
        archive.listed.push(listed.to_owned());
    }
    if found.is_empty() {
        let why = platform.map_or_else(String::new, |platform| format!(" for {platform}"));
        return Err(BundleError::Source(format!("{} lists no images{why}", lock.display())));
    }
    Ok(found.into_iter().map(|(archive, _)| archive).collect())
}

/// An archive of others. Its name decides when K3s imports it: one that begins with a digit keeps its place.
pub(super) fn alone(path: &Path) -> Result<Found, BundleError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = if name.starts_with(|first: char| first.is_ascii_digit()) { name } else { format!("20-{name}") };
    // Of a compressed one K3s alone sees what is in it.
    let names = if name.to_ascii_lowercase().ends_with(".tar") { look_into(path)?.0 } else { Vec::new() };
    Ok(Found { path: path.to_owned(), name, platform: None, listed: Vec::new(), names })
}

/// The names and digests of the images in an OCI or Docker archive, read to its end so that a short one is noticed.
fn look_into(path: &Path) -> Result<(Vec<String>, BTreeSet<String>), BundleError> {
    let refuse = |why: String| BundleError::Source(format!("{} is no whole archive of images: {why}", path.display()));
    let file = File::open(path).at("read", path)?;
    let (mut names, mut digests, mut known) = (BTreeSet::new(), BTreeSet::new(), false);
    let mut archive = tar::Archive::new(BufReader::new(file));
    for entry in archive.entries().at("read", path)? {
        let mut entry = entry.map_err(|error| refuse(error.to_string()))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let size = entry.size();
        if name == "index.json" || name == "manifest.json" {
            let mut bytes = Vec::new();
            (&mut entry).take(LONGEST).read_to_end(&mut bytes).map_err(|error| refuse(error.to_string()))?;
            let document: Value = serde_json::from_slice(&bytes).map_err(|error| refuse(format!("{name}: {error}")))?;
            known = true;
            gather(&document, &mut names, &mut digests);
        } else if std::io::copy(&mut entry, &mut std::io::sink()).map_err(|error| refuse(error.to_string()))? != size {
            return Err(refuse(format!("it ends in the middle of {name}")));
        }
    }
    if known { Ok((names.into_iter().collect(), digests)) } else { Err(refuse("it lists no images".to_owned())) }
}

fn gather(document: &Value, names: &mut BTreeSet<String>, digests: &mut BTreeSet<String>) {
    for descriptor in document["manifests"].as_array().into_iter().flatten() {
        digests.extend(descriptor["digest"].as_str().map(str::to_owned));
        names.extend(descriptor["annotations"]["io.containerd.image.name"].as_str().map(str::to_owned));
    }
    for image in document.as_array().into_iter().flatten() {
        let tags = image["RepoTags"].as_array().into_iter().flatten();
        names.extend(tags.filter_map(|tag| tag.as_str().map(str::to_owned)));
    }
}
