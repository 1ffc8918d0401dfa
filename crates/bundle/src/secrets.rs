//! Secrets that no stick carries: each store makes its own, once, and keeps them over all versions.

use crate::entry::{Entry, Kind};
use crate::error::{At, BundleError};
use crate::metadata::{Metadata, SecretToMake};
use crate::place::keep;
use crate::root::Root;
use crate::steps::Steps;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The values a store has made, by namespace, name and key of the secret.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Secrets {
    values: BTreeMap<String, String>,
    new: bool,
}

impl Secrets {
    pub(crate) fn read(root: &Root) -> Result<Self, BundleError> {
        let path = path(root);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).at("read", &path),
        };
        let refuse = |error: serde_json::Error| BundleError::Root { path, why: format!("it is not valid: {error}") };
        Ok(Self { values: serde_json::from_slice(&bytes).map_err(refuse)?, new: false })
    }

    /// Writes down what was made since it was read, before anything uses it.
    pub(crate) fn write(&self, root: &Root, steps: &Steps) -> Result<(), BundleError> {
        if !self.new {
            return Ok(());
        }
        let bytes = serde_json::to_vec_pretty(&self.values).expect("values are plain text");
        keep(&bytes, &path(root), steps)
    }

    /// The manifest of a version's secrets; values that are not there yet are made.
    pub(crate) fn manifest(&mut self, metadata: &Metadata) -> Result<Option<(Entry, Vec<u8>)>, BundleError> {
        if metadata.secrets.is_empty() {
            return Ok(None);
        }
        let mut text = String::new();
        for secret in &metadata.secrets {
            let object = self.filled(secret)?;
            text.push_str("---\n");
            text.push_str(&format!("{object:#}\n"));
        }
        let entry = Entry { kind: Kind::Manifest, name: "crema-10-secrets.yaml".to_owned() };
        Ok(Some((entry, text.into_bytes())))
    }

    fn filled(&mut self, secret: &SecretToMake) -> Result<Value, BundleError> {
        let mut object = secret.object.clone();
        let part = |name: &str| object.pointer(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let owner = format!("{}/{}", part("/metadata/namespace"), part("/metadata/name"));
        for (key, length) in &secret.make {
            let value = match self.values.get(&format!("{owner}/{key}")) {
                Some(value) => value.clone(),
                None => {
                    let value = random(*length)?;
                    self.values.insert(format!("{owner}/{key}"), value.clone());
                    self.new = true;
                    value
                }
            };
            object["data"][key.as_str()] = Value::String(BASE64_STANDARD.encode(value));
        }
        Ok(object)
    }
}

fn path(root: &Root) -> PathBuf {
    root.state().join("secrets.json")
}

fn random(length: usize) -> Result<String, BundleError> {
    let mut text = String::new();
    let random = SystemRandom::new();
    while text.len() < length.clamp(16, 1024) {
        let mut byte = [0];
        random.fill(&mut byte).map_err(|_| BundleError::Source("the system gives no random numbers".to_owned()))?;
        // Above it some letters would come more often.
        if byte[0] < 248 {
            text.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    Ok(text)
}
