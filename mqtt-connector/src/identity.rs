//! Who this client is to the broker, and what it left subscribed: kept over restarts, because the broker keeps the
//! session by the client's id, subscriptions included.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file in the state directory.
const FILE: &str = "mqtt-session";
/// Where Linux says the machine's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// The longest part of the machine's name that is used; old brokers take 65535 bytes of id, picky ones less.
const HOST_LENGTH: usize = 40;

/// Who this client is, and what it left subscribed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) client_id: String,
    pub(crate) filters: BTreeSet<String>,
    file: Option<PathBuf>,
}

impl Identity {
    /// Reads the file in `directory`, or makes a new identity and keeps it there. A configured id wins.
    pub(crate) fn open(configured: Option<&str>, directory: Option<&Path>) -> std::io::Result<Self> {
        let file = directory.map(|directory| directory.join(FILE));
        let text = match &file {
            Some(file) => match std::fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(error),
            },
            None => String::new(),
        };
        let mut lines = text.lines();
        let kept = lines.next().filter(|line| !line.is_empty());
        let client_id = configured.or(kept).map_or_else(invented, str::to_owned);
        // What another id left subscribed is another session's.
        let same = kept == Some(client_id.as_str());
        let filters = if same { lines.map(str::to_owned).collect() } else { BTreeSet::new() };
        let identity = Self { client_id, filters, file };
        if !same {
            identity.keep()?;
        }
        Ok(identity)
    }

    /// Keeps what is subscribed from now on.
    pub(crate) fn subscribed(&mut self, filters: &BTreeSet<String>) {
        if self.filters == *filters {
            return;
        }
        self.filters.clone_from(filters);
        if let Err(error) = self.keep() {
            tracing::warn!(%error, file = ?self.file, "What is subscribed cannot be written down");
        }
    }

    fn keep(&self) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let new = file.with_extension("new");
        let mut writer = std::fs::File::create(&new)?;
        writeln!(writer, "{}", self.client_id)?;
        for filter in self.filters.iter().filter(|filter| !filter.contains(['\n', '\r'])) {
            writeln!(writer, "{filter}")?;
        }
        writer.sync_all()?;
        std::fs::rename(&new, file)
    }
}

fn invented() -> String {
    let host = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    let host: String = host.trim().chars().filter(char::is_ascii_alphanumeric).take(HOST_LENGTH).collect();
    format!("crema-{host}-{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_the_same_and_knows_what_it_left() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("mqtt");
        let mut first = Identity::open(None, Some(&inner)).unwrap();
        assert!(first.client_id.starts_with("crema-"));
        first.subscribed(&["a/+".to_owned()].into());
        let second = Identity::open(None, Some(&inner)).unwrap();
        assert_eq!(first, second);
        let other = Identity::open(Some("mine"), Some(&inner)).unwrap();
        assert_eq!((other.client_id.as_str(), other.filters.len()), ("mine", 0));
        assert_ne!(Identity::open(None, None).unwrap().client_id, Identity::open(None, None).unwrap().client_id);
    }
}
