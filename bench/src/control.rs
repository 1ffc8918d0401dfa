//! Functions of a running platform, by its REST API.

use crate::http::Client;
use crate::process::{children, wait_for};
use crate::world::Platform;
use anyhow::ensure;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The image every measured function is of: an SDK function.
pub(crate) const IMAGE: &str = "ghcr.io/crema-faas/fridge-temp:0.1.0";
/// A small POST to it.
pub(crate) const BODY: &str = r#"{"temp":38.2,"unit":"F"}"#;
const PATIENCE: Duration = Duration::from_secs(60);

/// The API of one platform.
#[derive(Debug)]
pub(crate) struct Control {
    api: Client,
    pid: u32,
    /// Where each replica has a directory as long as there is anything of it.
    replicas: PathBuf,
}

impl Control {
    pub(crate) fn of(platform: &Platform) -> Self {
        Self {
            api: Client::new(&platform.gateway),
            pid: platform.process.id(),
            replicas: platform.state.path().join("run/fn"),
        }
    }

    /// Deploys a function, bounded as those of `stack.yml` are, or not at all.
    pub(crate) fn deploy(&mut self, name: &str, bounded: bool) -> anyhow::Result<()> {
        self.send("POST", "/system/functions", &deployment(name, bounded, 0))
    }

    /// Deploys the `version`th one of a function that is there.
    pub(crate) fn update(&mut self, name: &str, version: usize) -> anyhow::Result<()> {
        self.send("PUT", "/system/functions", &deployment(name, false, version))
    }

    pub(crate) fn scale(&mut self, name: &str, replicas: u32) -> anyhow::Result<()> {
        let wish = json!({ "serviceName": name, "replicas": replicas });
        self.send("POST", &format!("/system/scale-function/{name}"), &wish)
    }

    /// How many replicas can be called.
    pub(crate) fn available(&mut self, name: &str) -> anyhow::Result<u64> {
        let answer = self.api.call("GET", &format!("/system/function/{name}"), "")?;
        let status: Value = serde_json::from_slice(&answer.body)?;
        Ok(status["availableReplicas"].as_u64().unwrap_or(0))
    }

    /// Waits until one replica can be called.
    pub(crate) fn wait_ready(&mut self, name: &str) -> anyhow::Result<()> {
        wait_for(&format!("a replica of {name}"), PATIENCE, || (self.available(name).ok()? > 0).then_some(()))
    }

    /// Waits until no process of a function is left, nor anything that was made for one.
    pub(crate) fn wait_gone(&self) -> anyhow::Result<()> {
        self.wait_processes(0)?;
        let is_clear = || fs::read_dir(&self.replicas).is_ok_and(|mut left| left.next().is_none());
        wait_for("the end of all replicas", PATIENCE, || is_clear().then_some(()))
    }

    /// Waits until `count` processes of functions are left; gives them.
    pub(crate) fn wait_processes(&self, count: usize) -> anyhow::Result<Vec<u32>> {
        let left = || children(self.pid).ok().filter(|left| left.len() == count);
        wait_for(&format!("{count} processes of functions"), PATIENCE, left)
    }

    fn send(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<()> {
        let answer = self.api.call(method, path, &body.to_string())?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status < 300, "{method} {path} {body}: {} {said}", answer.status);
        Ok(())
    }
}

fn deployment(name: &str, bounded: bool, version: usize) -> Value {
    let mut deployment = json!({
        "service": name,
        "image": IMAGE,
        "readOnlyRootFilesystem": true,
        "envVars": { "limit_fahrenheit": "95", "version": version.to_string() },
    });
    if bounded {
        deployment["limits"] = json!({ "memory": "32Mi", "cpu": "200m" });
    }
    deployment
}
