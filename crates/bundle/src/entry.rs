//! A file of a bundle: where it goes and what it is called there. A name can never lead anywhere else.

use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// What K3s takes as archives of images.
const IMAGES: [&str; 9] = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.lz4", ".tar.zst", ".tzst", ".tar.xz"];
/// What K3s takes as manifests.
const MANIFESTS: [&str; 3] = [".yaml", ".yml", ".json"];
const LONGEST: usize = 200;

/// Which of K3s' folders.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// `agent/images`.
    Image,
    /// `server/manifests`.
    Manifest,
}

impl Kind {
    /// All, in the order they are put in place.
    pub(crate) const ALL: [Self; 2] = [Self::Image, Self::Manifest];

    /// The folder in a bundle.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Image => "images",
            Self::Manifest => "manifests",
        }
    }

    /// Whether K3s looks at a file of that name.
    pub(crate) fn takes(self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        match self {
            // K3s takes no xz; the name is known so that the refusal can say so.
            Self::Image => IMAGES.iter().any(|end| name.ends_with(end)) && !name.ends_with(".xz"),
            Self::Manifest => MANIFESTS.iter().any(|end| name.ends_with(end)),
        }
    }
}

/// A file of a bundle.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Entry {
    /// Its folder.
    pub kind: Kind,
    /// Its name there.
    pub name: String,
}

impl Entry {
    /// A checked name; the error says what is wrong with it.
    pub(crate) fn new(kind: Kind, name: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        if name.is_empty() || name.len() > LONGEST || name.starts_with('.') || !name.bytes().all(plain) {
            let shown: String = name.chars().take(LONGEST).collect();
            return Err(format!("{shown:?} is no plain file name"));
        }
        if !kind.takes(name) {
            let known = if kind == Kind::Image { &IMAGES[..IMAGES.len() - 1] } else { &MANIFESTS[..] };
            return Err(format!("K3s takes no {} called {name:?}; it takes {}", kind.folder(), known.join(" ")));
        }
        Ok(Self { kind, name: name.to_owned() })
    }

    /// Reads a path in a bundle.
    pub(crate) fn parse(path: &str) -> Result<Self, String> {
        let known = Kind::ALL.into_iter().find_map(|kind| Some((kind, path.strip_prefix(kind.folder())?)));
        let (kind, name) = known.and_then(|(kind, rest)| Some((kind, rest.strip_prefix('/')?))).ok_or_else(|| {
            format!("{:?} does not belong in a bundle", path.chars().take(LONGEST).collect::<String>())
        })?;
        Self::new(kind, name)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.folder(), self.name)
    }
}

/// Digest, in hexadecimal, and number of what passes through a reader.
pub(crate) struct Hashing<R> {
    inner: R,
    sha256: Sha256,
    read: u64,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, sha256: Sha256::new(), read: 0 }
    }

    pub(crate) fn finish(self) -> (String, u64) {
        (hex(&self.sha256.finalize()), self.read)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

/// The digest of bytes, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The digest of a file, and its size.
pub(crate) fn digest_of(path: &Path) -> io::Result<(String, u64)> {
    copy(File::open(path)?, &mut io::sink())
}

/// Copies all; its digest and size.
pub(crate) fn copy(from: impl Read, to: &mut dyn Write) -> io::Result<(String, u64)> {
    let mut reader = Hashing::new(from);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(reader.finish()),
            Ok(read) => to.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_that_k3s_takes_are_entries() {
        for path in ["images/10-a.tar", "images/a.TAR.GZ", "images/a.tzst", "manifests/x.yaml", "manifests/a.json"] {
            assert_eq!(Entry::parse(path).unwrap().to_string(), path);
        }
        for path in [
            "images/../x.tar",
            "images/a/b.tar",
            "/images/a.tar",
            "images",
            "images/",
            "images/.a.tar",
            "other/a.tar",
            "imagesx/a.tar",
            "images/a.txt",
            "images/a.tar.xz",
            "manifests/a.tar",
            "manifests/a b.yaml",
            "images/a\0.tar",
            "manifests/..yaml",
        ] {
            assert!(Entry::parse(path).is_err(), "{path}");
        }
        assert!(Entry::new(Kind::Image, &format!("{}.tar", "a".repeat(LONGEST))).is_err());
    }
}
