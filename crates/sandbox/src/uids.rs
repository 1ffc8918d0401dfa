//! The user of each function: a number of its own, given once and kept for good.
//!
//! Files a function wrote belong to its number. So no number is given twice, not even after the function is gone, and a
//! function deployed again under its name gets the number it had.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The first number; its group has the same. Beyond what people, distributions, systemd and rootless containers use.
pub const FIRST: u32 = 2_000_000_000;
/// How many numbers there are.
pub const COUNT: u32 = 65_536;

/// The numbers given so far, in a file.
#[derive(Debug)]
pub struct Uids {
    path: PathBuf,
    /// Held while the file is written, so that what is given is what is kept.
    given: Mutex<Given>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Given {
    uids: BTreeMap<String, u32>,
}

/// Why there is no number for a function.
#[derive(Debug, thiserror::Error)]
pub enum UidsError {
    /// The file could not be read.
    #[error("the users of the functions cannot be read from {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} does not say which function has which user ({why}): put back a copy that does; without one, delete it \
         together with all data of functions, since their files would come to belong to others",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file could not be written.
    #[error("the user of function {function} cannot be kept in {}: {source}", path.display())]
    Write {
        /// The function that needed a number.
        function: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// All numbers are given.
    #[error(
        "no user is left for function {function}: all {COUNT} are given, also those of functions long gone; deploy it \
         under the name of one of these, listed in {}",
        path.display()
    )]
    UsedUp {
        /// The function that needed a number.
        function: String,
        /// The file.
        path: PathBuf,
    },
}

impl Uids {
    /// The numbers kept in the file; none if there is no file yet.
    pub fn open(path: &Path) -> Result<Self, UidsError> {
        let given = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| error.to_string())
                .and_then(Given::checked)
                .map_err(|why| UidsError::Damaged { path: path.to_owned(), why })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Given::default(),
            Err(source) => return Err(UidsError::Read { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), given: Mutex::new(given) })
    }

    /// The number of the function. It is given and on the disk when this returns; blocks for that the first time.
    pub fn uid(&self, function: &str) -> Result<u32, UidsError> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(uid) = given.uids.get(function) {
            return Ok(*uid);
        }
        let next = given.uids.values().max().map_or(FIRST, |last| last + 1);
        if next - FIRST >= COUNT {
            return Err(UidsError::UsedUp { function: function.to_owned(), path: self.path.clone() });
        }
        let mut wanted = given.clone();
        wanted.uids.insert(function.to_owned(), next);
        self.keep(&wanted).map_err(|source| UidsError::Write {
            function: function.to_owned(),
            path: self.path.clone(),
            source,
        })?;
        *given = wanted;
        Ok(next)
    }

    /// Replaces the file: after a power cut it is the old one or the new one.
    fn keep(&self, given: &Given) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(given)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Given {
    fn checked(self) -> Result<Self, String> {
        let mut seen = HashSet::new();
        for (function, uid) in &self.uids {
            if !(FIRST..FIRST + COUNT).contains(uid) {
                return Err(format!("{uid} of {function} is not among those given to functions"));
            }
            if !seen.insert(uid) {
                return Err(format!("{uid} of {function} is another function's too"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("uids.json");
        (folder, path)
    }

    #[test]
    fn a_function_keeps_its_user_and_no_other_gets_it() {
        let (_folder, path) = folder();
        let uids = Uids::open(&path).unwrap();
        assert_eq!(uids.uid("order").unwrap(), FIRST);
        assert_eq!(uids.uid("payment").unwrap(), FIRST + 1);
        assert_eq!(uids.uid("order").unwrap(), FIRST);
        let uids = Uids::open(&path).unwrap();
        assert_eq!(uids.uid("inventory").unwrap(), FIRST + 2);
        assert_eq!(uids.uid("payment").unwrap(), FIRST + 1);
    }

    #[test]
    fn a_user_that_cannot_be_kept_is_not_given() {
        let (folder, path) = folder();
        let uids = Uids::open(&path).unwrap();
        fs::create_dir(path.with_extension("new")).unwrap();
        let error = uids.uid("order").unwrap_err();
        assert!(error.to_string().contains("order cannot be kept in"), "{error}");
        fs::remove_dir(path.with_extension("new")).unwrap();
        assert_eq!(uids.uid("payment").unwrap(), FIRST);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn there_are_65536_and_then_no_more() {
        let (_folder, path) = folder();
        let uids: BTreeMap<_, _> = (0..COUNT - 1).map(|number| (format!("f{number}"), FIRST + number)).collect();
        fs::write(&path, serde_json::to_vec(&Given { uids }).unwrap()).unwrap();
        let uids = Uids::open(&path).unwrap();
        assert_eq!(uids.uid("last").unwrap(), FIRST + COUNT - 1);
        let error = uids.uid("one more").unwrap_err();
        assert!(matches!(error, UidsError::UsedUp { .. }) && error.to_string().contains("one more"), "{error}");
        assert_eq!(uids.uid("f7").unwrap(), FIRST + 7);
    }

    #[test]
    fn a_damaged_file_is_refused_with_a_remedy() {
        let (_folder, path) = folder();
        let damaged = [
            "",
            "{\"uids\":{\"order\":2000000000",
            "{\"uids\":{\"order\":0}}",
            "{\"uids\":{\"order\":2000065536}}",
            "{\"uids\":{\"order\":2000000000,\"payment\":2000000000}}",
            "{\"uids\":{},\"more\":1}",
        ];
        for text in damaged {
            fs::write(&path, text).unwrap();
            let error = Uids::open(&path).unwrap_err();
            assert!(error.to_string().contains("put back a copy"), "{text}: {error}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(Uids::open(&path), Err(UidsError::Read { .. })));
    }
}
