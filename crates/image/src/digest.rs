//! `sha256:…` digests: checked text, and readers and writers that compute them on the way.

use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use std::io::{self, Read, Write};

/// A checked SHA-256 digest.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Digest {
    hex: String,
}

impl Digest {
    /// Reads `sha256:` and 64 lower-case hexadecimal digits; nothing else may become a file name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::from_hex(text.strip_prefix("sha256:")?)
    }

    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (hex.len() == 64 && hex.bytes().all(digit)).then(|| Self { hex: hex.to_owned() })
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        finish(Sha256::new_with_prefix(bytes))
    }

    pub(crate) fn hex(&self) -> &str {
        &self.hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex)
    }
}

fn finish(hasher: Sha256) -> Digest {
    let hex = hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        hex
    });
    Digest { hex }
}

/// Passes bytes on, counting and hashing them.
pub(crate) struct Hashing<T> {
    inner: T,
    hasher: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    /// What passed, and how much of it.
    pub(crate) fn finish(self) -> (T, Digest, u64) {
        (self.inner, finish(self.hasher), self.bytes)
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.saw(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.saw(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_lower_case_digest_becomes_a_file_name() {
        assert_eq!(
            Digest::of(b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let upper = format!("sha256:{}", "A".repeat(64));
        for bad in ["", "sha256:", "sha256:../../etc", "md5:1", &upper, "e3b0c4"] {
            assert!(Digest::parse(bad).is_none(), "{bad}");
        }
    }
}
