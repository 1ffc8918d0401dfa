//! Ed25519 keys as PEM, the way openssl writes and reads them.

use crate::error::{At, BundleError};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What stands before the 32 bytes of a private key (PKCS #8, RFC 8410).
const PRIVATE: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// What stands before the 32 bytes of a public key (RFC 8410).
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key that bundles are signed with; it stays where they are made.
pub struct SigningKey(Ed25519KeyPair);

/// The key that stores check bundles with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifyKey([u8; 32]);

impl SigningKey {
    /// Reads one.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        let refuse = |why: &str| BundleError::Key { path: path.to_owned(), why: why.to_owned() };
        let der = pem(path, "PRIVATE KEY")?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| refuse("it is no Ed25519 key"))?;
        Ok(Self(pair))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl VerifyKey {
    /// Reads one.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        let refuse = || BundleError::Key { path: path.to_owned(), why: "it is no Ed25519 key".to_owned() };
        let der = pem(path, "PUBLIC KEY")?;
        let bytes = der.strip_prefix(&PUBLIC).ok_or_else(refuse)?;
        Ok(Self(bytes.try_into().map_err(|_| refuse())?))
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// Makes a pair. Neither file may be there before.
pub fn generate(private: &Path, public: &Path) -> Result<(), BundleError> {
    let mut seed = [0; 32];
    let failed = |_| BundleError::Source("the system gives no random numbers".to_owned());
    SystemRandom::new().fill(&mut seed).map_err(failed)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are a seed");
    write(private, 0o600, "PRIVATE KEY", &[&PRIVATE[..], &seed].concat())?;
    let written = write(public, 0o644, "PUBLIC KEY", &[&PUBLIC[..], pair.public_key().as_ref()].concat());
    if written.is_err() {
        // Half a pair is of no use.
        fs::remove_file(private).unwrap_or_default();
    }
    written
}

fn write(path: &Path, mode: u32, label: &str, der: &[u8]) -> Result<(), BundleError> {
    let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der));
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path).at("create", path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).at("write", path)
}

fn pem(path: &Path, label: &str) -> Result<Vec<u8>, BundleError> {
    let refuse = |why: String| BundleError::Key { path: path.to_owned(), why };
    let text = fs::read_to_string(path).at("read", path)?;
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let body = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(body, _)| body);
    let body = body.ok_or_else(|| refuse(format!("it has no line {begin}")))?;
    let joined: String = body.split_whitespace().collect();
    BASE64_STANDARD.decode(joined).map_err(|_| refuse("it is no base64".to_owned()))
}
