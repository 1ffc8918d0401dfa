//! What the platform gives a function: environment, secrets, a data directory, the gateway, the time.

use crate::{Clock, Gateway, door};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::env;

/// What the platform gives a function. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// `None` is the process's environment.
    variables: Option<Arc<HashMap<String, String>>>,
    clock: Clock,
    gateway: Gateway,
}

/// A secret that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The function has no secret of that name.
    #[error("there is no secret {name:?} in {}: add it to the function's `secrets` and create it (faas-cli secret create)", .directory.display())]
    Missing {
        /// The secret.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// The name is no secret's name.
    #[error("{name:?} is no name of a secret: letters, digits, '-', '_' and '.', no path")]
    Name {
        /// The name as given.
        name: String,
    },
    /// The file is there and cannot be read.
    #[error("the secret {} cannot be read: {source}", .path.display())]
    Unreadable {
        /// The secret's file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Context {
    /// The process's own.
    #[must_use]
    pub fn from_process() -> Self {
        Self::build(None, Clock::system())
    }

    /// One whose environment is `variables` and nothing else, for tests.
    #[must_use]
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>, clock: Clock) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self::build(Some(Arc::new(variables)), clock)
    }

    fn build(variables: Option<Arc<HashMap<String, String>>>, clock: Clock) -> Self {
        let gateway = Gateway::from_env(|name| lookup(variables.as_deref(), name));
        Self { variables, clock, gateway }
    }

    /// An environment variable; `None` when it is unset or empty.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<String> {
        lookup(self.variables.as_deref(), name)
    }

    /// A secret's bytes, exactly as they were stored. Text secrets often end in a line break: see
    /// [`secret_text`](Self::secret_text).
    pub fn secret(&self, name: &str) -> Result<Vec<u8>, SecretError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(SecretError::Name { name: name.to_owned() });
        }
        let directory = self.env(env::SECRET_MOUNT_PATH);
        let directory = Path::new(directory.as_deref().unwrap_or(wire::SECRET_MOUNT_PATH));
        let path = directory.join(name);
        std::fs::read(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => SecretError::Missing { name: name.to_owned(), directory: directory.to_owned() },
            _ => SecretError::Unreadable { path, source },
        })
    }

    /// A secret as text, without white space around it.
    pub fn secret_text(&self, name: &str) -> Result<String, SecretError> {
        Ok(String::from_utf8_lossy(&self.secret(name)?).trim().to_owned())
    }

    /// The directory that outlives the function's replicas, when the annotation `com.crema.data.path` asks for one.
    #[must_use]
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.env(env::DATA_PATH).map(PathBuf::from)
    }

    /// The function's name; empty when the platform did not say.
    #[must_use]
    pub fn name(&self) -> String {
        self.env(env::FUNCTION_NAME).unwrap_or_default()
    }

    /// The function's namespace.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.env(env::FUNCTION_NAMESPACE).unwrap_or_else(|| wire::DEFAULT_NAMESPACE.to_owned())
    }

    /// Calls other functions. Clones share their connections.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        self.gateway.clone()
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }
}

fn lookup(variables: Option<&HashMap<String, String>>, name: &str) -> Option<String> {
    match variables {
        Some(variables) => variables.get(name).filter(|value| !value.is_empty()).cloned(),
        None => door::environment(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_its_directory_and_never_from_outside() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("shop-key"), "s3cret\n").unwrap();
        let path = directory.path().to_str().unwrap();
        let context = Context::of([(env::SECRET_MOUNT_PATH, path)], Clock::fixed(0));
        assert_eq!(context.secret("shop-key").unwrap(), b"s3cret\n");
        assert_eq!(context.secret_text("shop-key").unwrap(), "s3cret");
        assert!(matches!(context.secret("other"), Err(SecretError::Missing { .. })));
        for bad in ["../shop-key", "", "..", "a/b", "/etc/passwd"] {
            assert!(matches!(context.secret(bad), Err(SecretError::Name { .. })), "{bad:?}");
        }
    }
}
