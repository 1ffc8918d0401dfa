//! What a bundle says of itself, `crema-bundle.json`, and the list of its files, `SHA256SUMS`.

use crate::entry::Entry;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

/// The format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;
/// The file with it.
pub(crate) const METADATA: &str = "crema-bundle.json";
/// The list, as `sha256sum -c` reads it.
pub(crate) const SUMS: &str = "SHA256SUMS";
/// Its signature, 64 bytes of Ed25519.
pub(crate) const SIGNATURE: &str = "SHA256SUMS.sig";
/// More files than this no bundle has.
const MOST: usize = 10_000;

/// What a bundle says of itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Metadata {
    /// Of what the archive is like.
    pub format: u32,
    /// Of what is in it.
    pub version: String,
    /// What its images run on, `linux/arm64`; empty when that is not known.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// The names of its images with their digests, as far as known.
    #[serde(default)]
    pub images: Vec<String>,
    /// Secrets that every store makes for itself.
    #[serde(default)]
    pub secrets: Vec<SecretToMake>,
}

/// A secret that is on no stick: the store makes its values once and keeps them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecretToMake {
    /// The object, without those values.
    pub object: serde_json::Value,
    /// The keys of `data` that are made, and how many letters and digits each gets.
    pub make: BTreeMap<String, usize>,
}

/// How long a value is when nobody says.
const USUAL_LENGTH: usize = 32;

impl FromStr for SecretToMake {
    type Err = String;

    /// `NAMESPACE/NAME:KEY,KEY=VALUE`: a key without a value is made.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(owner, keys)| Some((owner.split_once('/')?, keys)));
        let Some(((namespace, name), keys)) = parts else {
            return Err("write it as NAMESPACE/NAME:KEY,KEY=VALUE".to_owned());
        };
        let plain = |text: &str| {
            let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(inside)
        };
        let (mut make, mut data) = (BTreeMap::new(), serde_json::Map::new());
        for pair in keys.split(',') {
            let (key, value) = pair.split_once('=').map_or((pair, None), |(key, value)| (key, Some(value)));
            if ![namespace, name, key].into_iter().all(plain) {
                return Err(format!("{pair:?} of {namespace}/{name} is no key with or without a value"));
            }
            match value {
                Some(value) => drop(data.insert(key.to_owned(), BASE64_STANDARD.encode(value).into())),
                None => drop(make.insert(key.to_owned(), USUAL_LENGTH)),
            }
        }
        let metadata = serde_json::json!({"name": name, "namespace": namespace});
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data,
        });
        Ok(Self { object, make })
    }
}

/// Digests in hexadecimal by path.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sums {
    pub(crate) metadata: String,
    pub(crate) entries: BTreeMap<Entry, String>,
}

impl Sums {
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}  {METADATA}\n", self.metadata);
        for (entry, digest) in &self.entries {
            text.push_str(&format!("{digest}  {entry}\n"));
        }
        text
    }

    /// Reads the list; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut sums = Self::default();
        for line in text.lines() {
            let (digest, path) = line.split_once("  ").ok_or("a line of it is none of `sha256sum`")?;
            if digest.len() != 64 || !digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(format!("it has no digest for {path:?}"));
            }
            let before = if path == METADATA {
                Some(std::mem::replace(&mut sums.metadata, digest.to_owned())).filter(|before| !before.is_empty())
            } else {
                sums.entries.insert(Entry::parse(path)?, digest.to_owned())
            };
            if before.is_some() {
                return Err(format!("it has {path:?} twice"));
            }
            if sums.entries.len() > MOST {
                return Err(format!("it has more than {MOST} files"));
            }
        }
        if sums.metadata.is_empty() {
            return Err(format!("it does not list {METADATA}"));
        }
        Ok(sums)
    }
}
