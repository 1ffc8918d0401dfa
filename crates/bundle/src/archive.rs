//! Reads a bundle once, from beginning to end, and believes nothing of it: the list and its signature come first, then
//! every file has to be on the list, whole.

use crate::entry::{Entry, Hashing, digest};
use crate::error::{At, BundleError};
use crate::key::VerifyKey;
use crate::metadata::{FORMAT, METADATA, Metadata, SIGNATURE, SUMS, Sums};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use tar::EntryType;

/// Longer than these the list and the description are not.
const LONGEST: u64 = 2 * 1024 * 1024;

/// What is known of who made a bundle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// The owner of the key that was given.
    Signed,
    /// It is signed, and no key was given to check that.
    Unchecked,
    /// It is not signed.
    Unsigned,
}

/// A bundle that was read whole.
#[derive(Clone, Debug)]
pub struct Contents {
    /// What it says of itself.
    pub metadata: Metadata,
    /// Who made it.
    pub trust: Trust,
    /// Its files and how large they are.
    pub sizes: BTreeMap<Entry, u64>,
    pub(crate) sums: Sums,
    /// As they are in the archive.
    pub(crate) documents: Documents,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Documents {
    pub(crate) sums: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
}

impl Contents {
    /// All its bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// What tells it from every other bundle, and people which it is.
    pub(crate) fn id(&self) -> String {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-+".contains(letter);
        let version: String = self.metadata.version.chars().filter(|letter| plain(*letter)).take(60).collect();
        format!("{}-{}", version.trim_start_matches(['.', '-']), &digest(&self.documents.sums)[..12])
    }
}

/// Reads a bundle and says what is in it, or what is wrong.
pub fn verify(path: &Path, key: Option<&VerifyKey>) -> Result<Contents, BundleError> {
    read(path, key, |_, contents| io::copy(contents, &mut io::sink()).map(drop))
}

/// Reads a bundle; `each` gets its files as they come, before it is known whether they are whole.
pub(crate) fn read(
    path: &Path,
    key: Option<&VerifyKey>,
    mut each: impl FnMut(&Entry, &mut dyn Read) -> io::Result<()>,
) -> Result<Contents, BundleError> {
    let file = File::open(path).at("read", path)?;
    let reading = Reading { path };
    let mut archive = tar::Archive::new(BufReader::with_capacity(256 * 1024, file));
    let mut entries = archive.entries().at("read", path)?;
    let mut next = || -> Result<Option<tar::Entry<'_, _>>, BundleError> {
        let entry = entries.next().transpose().map_err(|error| reading.tar(&error))?;
        if let Some(entry) = &entry
            && entry.header().entry_type() != EntryType::Regular
        {
            let why = format!("{:?} in it is no plain file", shown(&entry.path_bytes()));
            return Err(BundleError::Foreign { path: path.to_owned(), why });
        }
        Ok(entry)
    };
    let first = next().map_err(|error| reading.at_the_start(error))?;
    let Some(sums) = first.filter(|entry| *entry.path_bytes() == *SUMS.as_bytes()) else {
        return Err(BundleError::Foreign { path: path.to_owned(), why: format!("it does not begin with {SUMS}") });
    };
    let mut documents = Documents { sums: reading.document(SUMS, sums)?, ..Documents::default() };
    let mut second = next()?;
    let mut signature = None;
    if second.as_ref().is_some_and(|entry| *entry.path_bytes() == *SIGNATURE.as_bytes())
        && let Some(entry) = second.take()
    {
        signature = Some(reading.document(SIGNATURE, entry)?);
        second = next()?;
    }
    let trust = reading.trust(&documents.sums, signature.as_deref(), key)?;
    let text = std::str::from_utf8(&documents.sums).map_err(|_| reading.damaged(format!("{SUMS} is no text")))?;
    let sums = Sums::parse(text).map_err(|why| reading.damaged(format!("{SUMS} cannot be used, {why}")))?;
    let Some(second) = second.filter(|entry| *entry.path_bytes() == *METADATA.as_bytes()) else {
        return Err(reading.damaged(format!("{METADATA} is missing")));
    };
    documents.metadata = reading.document(METADATA, second)?;
    if digest(&documents.metadata) != sums.metadata {
        return Err(reading.damaged(format!("{METADATA} is not what {SUMS} says")));
    }
    let metadata = reading.metadata(&documents.metadata)?;
    let mut sizes = BTreeMap::new();
    while let Some(entry) = next()? {
        let name = shown(&entry.path_bytes());
        let known = Entry::parse(&name).ok().and_then(|entry| sums.entries.get_key_value(&entry));
        let Some((known, expected)) = known else {
            return Err(reading.damaged(format!("{name:?} in it is not listed in {SUMS}")));
        };
        if sizes.contains_key(known) {
            return Err(reading.damaged(format!("{known} is in it twice")));
        }
        let size = entry.size();
        let mut hashing = Hashing::new(entry);
        each(known, &mut hashing).map_err(|error| reading.file(known, error))?;
        io::copy(&mut hashing, &mut io::sink()).map_err(|error| reading.file(known, error))?;
        let (found, read) = hashing.finish();
        if read != size {
            return Err(reading.damaged(format!("it ends in the middle of {known}, after {read} of {size} bytes")));
        }
        if found != *expected {
            return Err(reading.damaged(format!("{known} is not what {SUMS} says")));
        }
        sizes.insert(known.clone(), size);
    }
    match sums.entries.keys().find(|entry| !sizes.contains_key(entry)) {
        Some(missing) => Err(reading.damaged(format!("{missing} is missing"))),
        None => Ok(Contents { metadata, trust, sizes, sums, documents }),
    }
}

/// What is being read, for what there is to say of it.
struct Reading<'a> {
    path: &'a Path,
}

impl Reading<'_> {
    fn damaged(&self, why: impl Into<String>) -> BundleError {
        BundleError::Damaged { path: self.path.to_owned(), why: why.into() }
    }

    fn tar(&self, error: &io::Error) -> BundleError {
        // A stick that is going is another thing than a file that is cut short.
        if error.raw_os_error().is_some() {
            return self.damaged(format!("it cannot be read ({error})"));
        }
        self.damaged(format!("it is cut short or no longer an archive ({error})"))
    }

    fn at_the_start(&self, error: BundleError) -> BundleError {
        match error {
            BundleError::Damaged { why, .. } => BundleError::Foreign { path: self.path.to_owned(), why },
            other => other,
        }
    }

    fn file(&self, entry: &Entry, error: io::Error) -> BundleError {
        if error.raw_os_error().is_some() {
            return BundleError::Io {
                doing: "read or keep",
                path: Path::new(&entry.to_string()).to_owned(),
                source: error,
            };
        }
        self.damaged(format!("it ends in the middle of {entry} ({error})"))
    }

    fn document(&self, name: &str, entry: impl Read) -> Result<Vec<u8>, BundleError> {
        let mut bytes = Vec::new();
        let read = entry.take(LONGEST + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.damaged(format!("it ends in the middle of {name} ({error})")))?;
        if bytes.len() as u64 > LONGEST {
            return Err(self.damaged(format!("its {name} is too long")));
        }
        Ok(bytes)
    }

    fn trust(&self, sums: &[u8], signature: Option<&[u8]>, key: Option<&VerifyKey>) -> Result<Trust, BundleError> {
        let refuse = |why: &str| Err(BundleError::Untrusted { path: self.path.to_owned(), why: why.to_owned() });
        match (signature, key) {
            (Some(signature), Some(key)) if key.verifies(sums, signature) => Ok(Trust::Signed),
            (Some(_), Some(_)) => refuse("its signature is not of the key that was given, or its list was changed"),
            (None, Some(_)) => refuse("it is not signed, and a key to check it with was given"),
            (Some(_), None) => Ok(Trust::Unchecked),
            (None, None) => Ok(Trust::Unsigned),
        }
    }

    fn metadata(&self, bytes: &[u8]) -> Result<Metadata, BundleError> {
        let foreign = |why: String| BundleError::Foreign { path: self.path.to_owned(), why };
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| foreign(format!("its {METADATA} is not valid: {error}")))?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => serde_json::from_value(value)
                .map_err(|error| foreign(format!("its {METADATA} is not understood: {error}"))),
            Some(format) => {
                let why =
                    format!("it has format {format}, and this crema knows {FORMAT}; use the crema it was made with");
                Err(foreign(why))
            }
            None => Err(foreign(format!("its {METADATA} names no format"))),
        }
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect()
}
