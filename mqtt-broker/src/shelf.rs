//! Retained messages on disk: one file each, so that one message costs one small write, and a restart forgets none.
//!
//! A file is replaced whole and not synced: what was kept survives the process, and a power cut takes at most the last
//! seconds of it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmqtt::types::Publish;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How a message's file ends; while it is written it has none.
const ENDING: &str = "json";

/// The directory of the messages.
#[derive(Debug)]
pub(crate) struct Shelf(PathBuf);

/// One message.
#[derive(Deserialize, Serialize)]
pub(crate) struct Record {
    /// Who sent it.
    pub(crate) client: String,
    /// Until when it holds, in milliseconds since 1970; for ever when absent.
    pub(crate) expires: Option<u64>,
    pub(crate) publish: Publish,
}

impl Shelf {
    /// Makes the directory when there is none.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let directory = state.join("retained");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self(directory))
    }

    /// Everything that is kept. What cannot be read is told, and removed.
    pub(crate) fn all(&self) -> io::Result<Vec<Record>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let path = entry?.path();
            let whole = path.extension().is_some_and(|ending| ending == ENDING);
            let read = || Ok::<_, io::Error>(serde_json::from_slice(&std::fs::read(&path)?)?);
            match whole.then(read) {
                Some(Ok(record)) => all.push(record),
                Some(Err(error)) => {
                    tracing::warn!(%error, path = %path.display(), "A retained message cannot be read and is dropped");
                    std::fs::remove_file(&path)?;
                }
                None => std::fs::remove_file(&path)?,
            }
        }
        Ok(all)
    }

    /// Keeps a message in place of the topic's last one.
    pub(crate) async fn put(&self, record: &Record) -> io::Result<()> {
        let path = self.path(&record.publish.topic);
        let half = path.with_extension("");
        tokio::fs::write(&half, serde_json::to_vec(record)?).await?;
        tokio::fs::rename(&half, &path).await
    }

    /// Forgets a topic's message.
    pub(crate) async fn remove(&self, topic: &str) -> io::Result<()> {
        match tokio::fs::remove_file(self.path(topic)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            ended => ended,
        }
    }

    /// Topics are no file names: they hold slashes and may be longer than one.
    fn path(&self, topic: &str) -> PathBuf {
        self.0.join(URL_SAFE_NO_PAD.encode(Sha256::digest(topic))).with_extension(ENDING)
    }
}
