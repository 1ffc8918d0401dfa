//! Body of GET `/system/info`. `faas-cli version` dies of a null version, so none is optional here.

use serde::{Deserialize, Serialize};

/// Who the gateway is and what it runs on.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Info {
    /// The provider behind the gateway.
    pub provider: ProviderInfo,
    /// The gateway's version.
    pub version: Version,
    /// The machine's architecture, as `uname -m` says it.
    #[serde(default)]
    pub arch: String,
}

/// Who runs the functions.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ProviderInfo {
    /// The provider's name.
    pub provider: String,
    /// Its version.
    pub version: Version,
    /// What it orchestrates with.
    pub orchestration: String,
}

/// A version.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Version {
    /// The commit's subject.
    #[serde(default)]
    pub commit_message: String,
    /// The commit.
    #[serde(default)]
    pub sha: String,
    /// The release.
    #[serde(default)]
    pub release: String,
}
