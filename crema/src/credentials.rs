//! The administrator's name and password: made at the first start, kept in files only the owner reads.

use rand::Rng;
use rand::distr::Alphanumeric;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The name, unless the file says otherwise.
const USER: &str = "admin";
/// Letters and digits in a made password: about 190 bits.
const PASSWORD_LENGTH: usize = 32;

/// What `/system/*` asks for.
#[derive(Clone)]
pub struct Credentials {
    /// `basic-auth-user`.
    pub user: String,
    /// `basic-auth-password`.
    pub password: String,
}

impl Credentials {
    /// Reads the files in `dir`, making those that are missing.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let made = || rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LENGTH).map(char::from).collect();
        Ok(Self {
            user: read_or_make(&dir.join("basic-auth-user"), || USER.to_owned())?,
            password: read_or_make(&dir.join("basic-auth-password"), made)?,
        })
    }
}

fn read_or_make(path: &Path, make: impl FnOnce() -> String) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let text = make();
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Credentials::open(dir.path()).unwrap();
        let again = Credentials::open(dir.path()).unwrap();
        assert_eq!((first.user.as_str(), &first.password), ("admin", &again.password));
        assert_eq!(first.password.len(), PASSWORD_LENGTH);
        let mode = fs::metadata(dir.path().join("basic-auth-password")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
