//! A Kubernetes that is given, driven from outside with kubectl and helm.
//!
//! ```text
//! KUBECONFIG          the cluster; kubectl and helm are on the PATH
//! CREMA_E2E_LOAD      a command that takes image archives into its node: ctr images import, k3d image import, …
//! CREMA_E2E_PART      a command `stop|start NAME` for parts of its node: kubelet, kube-apiserver
//! CREMA_E2E_REBOOT    a command that takes the whole node down and up again
//! CREMA_E2E_KEEP      keeps what the tests have installed, and takes what an earlier run has kept
//! ```
//! Services are reached at their cluster addresses: the tests run on the cluster's node.

pub mod api_calls;
pub mod branch;
pub mod functions;
pub mod images;
pub mod installed;
pub mod kubectl;
pub mod pods;

use crate::binaries::variable;
use crate::system::program;
use kubectl::run;
use std::path::Path;
use tokio::process::Command;

/// What a test may need beside the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// A cluster, the clients, and a way to get images into it.
    Cluster,
    /// `CREMA_E2E_PART`.
    Parts,
    /// `CREMA_E2E_REBOOT`.
    Reboot,
    /// A program on the PATH, and where it is had from.
    Program(&'static str, &'static str),
}

impl Need {
    /// Why a test cannot run; `None` when it can.
    #[must_use]
    pub fn is_missing(self) -> Option<String> {
        let variable_is_missing =
            |name: &str, what: &str| variable(name).is_none().then(|| format!("set {name} to {what}"));
        match self {
            Self::Cluster => variable_is_missing(
                "KUBECONFIG",
                "a cluster's configuration, on the cluster's node: Services are reached at their addresses",
            )
            .or_else(|| {
                let missing = ["kubectl", "helm"].into_iter().find(|client| program(client).is_none());
                missing.map(|client| format!("KUBECONFIG is set, but {client} is not on the PATH"))
            })
            .or_else(|| {
                let what = "a command that loads image archives into the cluster of KUBECONFIG";
                variable_is_missing("CREMA_E2E_LOAD", what)
            }),
            Self::Parts => variable_is_missing("CREMA_E2E_PART", "a command that takes `stop|start NAME`"),
            Self::Reboot => variable_is_missing("CREMA_E2E_REBOOT", "a command that restarts the node"),
            Self::Program(name, from) => program(name).is_none().then(|| format!("{name} is not on the PATH: {from}")),
        }
    }
}

/// Whether what is installed stays when the tests end.
#[must_use]
pub fn is_kept() -> bool {
    variable("CREMA_E2E_KEEP").is_some()
}

/// Loads image archives into the cluster.
pub async fn load(archives: &[&Path]) {
    let mut command = given("CREMA_E2E_LOAD");
    command.args(archives);
    run(&mut command, "").await.unwrap();
}

/// Stops or starts a part of the node.
pub async fn part(action: &str, name: &str) {
    let mut command = given("CREMA_E2E_PART");
    command.args([action, name]);
    run(&mut command, "").await.unwrap();
}

/// Takes the node down and up again.
pub async fn reboot() {
    run(&mut given("CREMA_E2E_REBOOT"), "").await.unwrap();
}

/// A command of the environment, which further arguments can be given to.
fn given(name: &str) -> Command {
    let text = variable(name).unwrap_or_else(|| panic!("{name} is not set"));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{text} \"$@\""), name]);
    command
}
