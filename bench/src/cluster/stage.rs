//! The platform, installed from images as they ship, and a function that is ready. All of it goes with the measurement.

use super::{FUNCTION, NAMESPACE};
use crate::sizes;
use crate::table::Table;
use crate::world::World;
use anyhow::{Error, ensure};
use e2e::cluster::functions::{self, function, is_ready};
use e2e::cluster::images::{archives, image};
use e2e::cluster::installed::{FUNCTIONS, Installed, PLATFORM, uninstall, values};
use e2e::cluster::kubectl::{apply, delete, get, kubectl};
use e2e::cluster::load;
use serde_json::{Value, json};
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;

/// What is on the cluster for the time of the measurement.
pub(super) struct Stage {
    runtime: Runtime,
    /// Where the gateway is.
    pub(super) gateway: String,
}

impl Stage {
    pub(super) fn set(world: &World, table: &mut Table) -> anyhow::Result<Self> {
        let mut stage = Self { runtime: Runtime::new()?, gateway: String::new() };
        stage.is_free()?;
        let archives = archives(&world.platform_images()?);
        sizes::archives(&archives, table)?;
        let paths: Vec<&Path> = archives.iter().map(AsRef::as_ref).collect();
        stage.wait(load(&paths));
        stage.gateway = stage.wait(Installed::anew(&as_shipped())).url("");
        stage.apply(&functions::namespace(NAMESPACE))?;
        stage.apply(&measured(FUNCTION, None))?;
        stage.wait(is_ready(FUNCTION, NAMESPACE));
        Ok(stage)
    }

    /// Waits for what the cluster says.
    pub(super) fn wait<T>(&self, said: impl Future<Output = T>) -> T {
        self.runtime.block_on(said)
    }

    /// Lets the cluster go on by itself for a while.
    pub(super) fn rest(&self, long: Duration) {
        self.wait(async { tokio::time::sleep(long).await });
    }

    /// Applies an object or a list.
    pub(super) fn apply(&self, object: &Value) -> anyhow::Result<()> {
        self.wait(apply(object)).map(drop).map_err(Error::msg)
    }

    /// Starts to apply and goes on.
    pub(super) fn begin_to_apply(&self, object: Value) {
        drop(self.runtime.spawn(async move { apply(&object).await }));
    }

    /// An object of the namespace, as it is now.
    pub(super) fn find(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        self.wait(get(&[kind, name, "-n", NAMESPACE])).map_err(Error::msg)
    }

    /// Nothing that others have installed is removed.
    fn is_free(&self) -> anyhow::Result<()> {
        let names = [PLATFORM, FUNCTIONS, NAMESPACE];
        let found =
            self.wait(kubectl(&[&["get", "namespace", "--ignore-not-found", "-o", "name"], &names[..]].concat()));
        let found = found.map_err(Error::msg)?;
        let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(
            found.is_empty(),
            "the cluster has {found}: what is there would be removed with all its data. Name another cluster in \
             KUBECONFIG, or, if nobody needs it: helm uninstall crema -n {PLATFORM}; kubectl delete {found}"
        );
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let leave = self.runtime.spawn(async {
            delete(&["namespace", NAMESPACE]).await;
            uninstall().await;
        });
        if let Err(error) = self.runtime.block_on(leave) {
            eprintln!("not all is removed from the cluster: {error}");
        }
    }
}

/// The chart's own values and the connector to a broker, which is off by default.
fn as_shipped() -> Value {
    let mut values = values();
    for ours in ["queueWorker", "functions"] {
        values[ours] = json!({});
    }
    values["mqttConnector"] = json!({"create": true, "broker": "mqtt://mqtt-broker:1883"});
    values
}

/// The function that is measured, with a number of replicas or one.
pub(super) fn measured(name: &str, replicas: Option<u32>) -> Value {
    let spec = json!({"name": name, "image": image("fridge-temp"), "environment": {"limit_fahrenheit": "95"}});
    let mut object = function(name, NAMESPACE, spec);
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = json!(replicas);
    }
    object
}
