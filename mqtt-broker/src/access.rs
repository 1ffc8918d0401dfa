//! Who may connect, publish and subscribe.

use crate::Config;
use crate::acl::{Acl, Client};
use crate::password::PasswordHash;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Why the password file or access list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A line means nothing.
    #[error("{path}:{line}: {why}", path = path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// Who may connect, publish and subscribe.
pub(crate) struct Access {
    /// None: users and passwords are not looked at, everyone is anonymous.
    users: Option<HashMap<String, PasswordHash>>,
    nobody: PasswordHash,
    anonymous: bool,
    acl: Option<Acl>,
}

/// What a connecting client is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Allowed,
    WrongPassword,
    NoUser,
}

impl Access {
    /// Reads the files the configuration names.
    pub(crate) fn read(config: &Config) -> Result<Self, AccessError> {
        let users = match &config.password_file {
            Some(path) => Some(users(path)?),
            None => None,
        };
        let acl = match &config.acl_file {
            Some(path) => Some(Acl::parse(&read(path)?).map_err(|(line, why)| at(path, line, why))?),
            None => None,
        };
        let nobody = PasswordHash::of_nobody(users.iter().flat_map(HashMap::values));
        Ok(Self { users, nobody, anonymous: config.allows_anonymous(), acl })
    }

    /// Whether a client may connect. Takes as long as its password's rounds do.
    pub(crate) fn authenticate(&self, user: Option<&str>, password: &[u8]) -> Verdict {
        let (Some(users), Some(user)) = (&self.users, user) else {
            return if self.anonymous { Verdict::Allowed } else { Verdict::NoUser };
        };
        let right = match users.get(user) {
            Some(hash) => hash.verify(password),
            None => self.nobody.verify(password),
        };
        if right { Verdict::Allowed } else { Verdict::WrongPassword }
    }

    /// Whether a connected client may publish to a topic.
    pub(crate) fn may_publish(&self, user: Option<&str>, id: &str, topic: &str) -> bool {
        self.acl.as_ref().is_none_or(|acl| acl.may_publish(self.client(user, id), topic))
    }

    /// Whether a connected client may subscribe to a filter.
    pub(crate) fn may_subscribe(&self, user: Option<&str>, id: &str, filter: &str) -> bool {
        self.acl.as_ref().is_none_or(|acl| acl.may_subscribe(self.client(user, id), filter))
    }

    /// A user's name counts only when its password was looked at.
    fn client<'a>(&self, user: Option<&'a str>, id: &'a str) -> Client<'a> {
        Client { user: user.filter(|_| self.users.is_some()), id }
    }
}

fn users(path: &Path) -> Result<HashMap<String, PasswordHash>, AccessError> {
    let mut users = HashMap::new();
    for (index, line) in read(path)?.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let why = "this is no line of mosquitto_passwd; write it with: mosquitto_passwd FILE USER";
        let parsed = line.split_once(':').and_then(|(user, hash)| Some((user, PasswordHash::parse(hash)?)));
        let (user, hash) = parsed.ok_or_else(|| at(path, index + 1, why.to_owned()))?;
        users.insert(user.to_owned(), hash);
    }
    Ok(users)
}

fn read(path: &Path) -> Result<String, AccessError> {
    std::fs::read_to_string(path).map_err(|reason| AccessError::Read { path: path.to_owned(), reason })
}

fn at(path: &Path, line: usize, why: String) -> AccessError {
    AccessError::Line { path: path.to_owned(), line, why }
}
