//! Deploys what the stack names through the gateway's own REST API, and only what changed since it was last applied.

use crate::terminal::say;
use gateway_client::GatewayClient;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use wire::FunctionName;
use wire::function::FunctionDeployment;

/// What was applied before, by function: a fingerprint of the entry and its image.
#[derive(Debug)]
pub(crate) struct Applied {
    file: PathBuf,
    fingerprints: BTreeMap<FunctionName, String>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// It is new or has changed, and was deployed.
    Deployed,
    /// It is as it was last applied; whatever was done to the function since stays.
    Unchanged,
}

impl Applied {
    /// Reads what was applied before; nothing when the file is not there or cannot be read.
    pub(crate) fn read(file: PathBuf) -> Self {
        let text = fs::read(&file).unwrap_or_default();
        let fingerprints = serde_json::from_slice(&text).unwrap_or_default();
        Self { file, fingerprints }
    }

    /// Deploys an entry unless it is as it was last applied.
    pub(crate) async fn apply(
        &mut self,
        client: &GatewayClient,
        deployment: &FunctionDeployment,
        image_digest: Option<&str>,
    ) -> anyhow::Result<Fate> {
        let name = FunctionName::new(&deployment.service, &deployment.namespace)?;
        let fingerprint = fingerprint(deployment, image_digest)?;
        if self.fingerprints.get(&name) == Some(&fingerprint) {
            return Ok(Fate::Unchanged);
        }
        client.deploy_function(deployment).await?;
        self.fingerprints.insert(name, fingerprint);
        self.write()?;
        Ok(Fate::Deployed)
    }

    fn write(&self) -> io::Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(&self.fingerprints)?)?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, &self.file)?;
        File::open(self.file.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Says which functions of the stack are not deployed although they were: somebody removed them.
pub(crate) fn say_removed(wanted: &[FunctionDeployment], deployed: &[wire::function::FunctionStatus]) {
    for deployment in wanted {
        if !deployed.iter().any(|status| status.name == deployment.service) {
            say(format_args!(
                "{} was removed since stack.yml was last applied and stays so; `faas-cli deploy` brings it back",
                deployment.service
            ));
        }
    }
}

fn fingerprint(deployment: &FunctionDeployment, image_digest: Option<&str>) -> serde_json::Result<String> {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(deployment)?);
    hash.update(image_digest.unwrap_or_default());
    Ok(hash.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_part_of_an_entry() {
        let deployment = FunctionDeployment { service: "a".to_owned(), ..FunctionDeployment::default() };
        let same = fingerprint(&deployment, Some("sha256:1")).unwrap();
        assert_eq!(fingerprint(&deployment, Some("sha256:1")).unwrap(), same);
        assert_ne!(fingerprint(&deployment, Some("sha256:2")).unwrap(), same);
    }
}
