//! What the tests share: the platform, installed by the first of them.

use e2e::cluster::branch::Branch;
use e2e::cluster::functions::{is_ready, list_of, namespace, object};
use e2e::cluster::installed::{FUNCTIONS, Installed, uninstall};
use e2e::cluster::is_kept;
use e2e::cluster::kubectl::{apply, delete_namespaces};
use e2e::http::Http;
use e2e::shop::{Shop, espresso};
use e2e::within;
use serde_json::{Value, json};
use std::ops::Deref;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::OnceCell;
use wire::function::FunctionDeployment;

/// The namespace of the shop that kubectl has applied.
const KUBECTL: &str = "e2e-kubectl";
/// The namespace of the shop that Fleet's bundles render.
const FLEET: &str = "e2e-fleet";

/// How long a customer waits for an answer.
const TRIES_AGAIN: Duration = Duration::from_secs(10);

static STAGE: OnceCell<Option<Stage>> = OnceCell::const_new();

/// The installed platform and the shops on it.
pub(crate) struct Stage {
    installed: Installed,
    rest: OnceCell<Branch>,
    kubectl: OnceCell<Branch>,
    fleet: OnceCell<Branch>,
}

impl Deref for Stage {
    type Target = Installed;

    fn deref(&self) -> &Installed {
        &self.installed
    }
}

/// Installs the platform at the first call.
pub(crate) async fn stage() -> &'static Stage {
    let install = || async {
        let installed = tokio::spawn(Installed::install()).await.ok()?;
        Some(Stage { installed, rest: OnceCell::new(), kubectl: OnceCell::new(), fleet: OnceCell::new() })
    };
    STAGE.get_or_init(install).await.as_ref().expect("the platform could not be installed; the first test says why")
}

/// Removes all that was installed.
pub(crate) async fn leave() {
    if STAGE.get().is_some() && !is_kept() {
        delete_namespaces(&[KUBECTL, FLEET]).await;
        uninstall().await;
    }
}

impl Stage {
    /// The shop that the REST API has deployed, in the default namespace.
    pub(crate) async fn rest(&self) -> &Branch {
        self.rest
            .get_or_init(|| async {
                let branch = self.branch(FUNCTIONS);
                self.create_secret(&branch).await;
                for deployment in branch.deployments() {
                    self.deploy(&deployment).await;
                }
                self.opens(&branch).await;
                branch
            })
            .await
    }

    /// The shop that kubectl has applied, in a namespace of its own.
    pub(crate) async fn kubectl(&self) -> &Branch {
        self.kubectl
            .get_or_init(|| async {
                let branch = self.branch(KUBECTL);
                apply(&namespace(KUBECTL)).await.unwrap();
                apply(&branch.secret()).await.unwrap();
                let deployments = branch.deployments();
                apply(&list_of(deployments.iter().map(object))).await.unwrap();
                for deployment in deployments {
                    is_ready(&deployment.service, KUBECTL).await;
                }
                self.opens(&branch).await;
                branch
            })
            .await
    }

    /// The shop that Fleet's bundles render, in a namespace of its own.
    pub(crate) async fn fleet(&self) -> &Branch {
        self.fleet
            .get_or_init(|| async {
                let branch = self.branch(FLEET).of_fleet();
                apply(&namespace(FLEET)).await.unwrap();
                apply(&branch.secret()).await.unwrap();
                crate::fleet::apply(FLEET).await;
                for deployment in branch.deployments() {
                    is_ready(&deployment.service, FLEET).await;
                }
                self.opens(&branch).await;
                branch
            })
            .await
    }

    async fn create_secret(&self, branch: &Branch) {
        let secret =
            json!({"name": e2e::cluster::branch::SECRET, "namespace": branch.namespace, "value": branch.key()});
        let answer = self.system("POST", "/system/secrets", &secret).await;
        // It is there when an earlier run was kept.
        assert!(matches!(answer.status, 200..300 | 409), "{} {}", answer.status, answer.text());
    }

    /// As faas-cli does: an update first, and what is new then.
    pub(crate) async fn deploy(&self, deployment: &FunctionDeployment) {
        let body = serde_json::to_value(deployment).unwrap();
        self.deploy_body(&body).await;
    }

    /// The same of any body.
    pub(crate) async fn deploy_body(&self, body: &Value) {
        let mut answer = self.system("PUT", "/system/functions", body).await;
        if answer.status == 404 {
            answer = self.system("POST", "/system/functions", body).await;
        }
        assert!(answer.status < 300, "{body}: {} {}", answer.status, answer.text());
    }

    /// Waits until all functions of a shop can be called and an order goes through.
    pub(crate) async fn opens(&self, branch: &Branch) {
        for deployment in branch.deployments() {
            self.has_replicas(&deployment.service, &branch.namespace, 1).await;
        }
        sells(branch, e2e::PATIENCE).await;
    }
}

/// Waits until an order goes through; all that were tried. One that has not ended is sent again: it ends by itself, too.
pub(crate) async fn sells(branch: &Branch, patience: Duration) -> Vec<String> {
    let (tried, http) = (Mutex::new(vec![uuid()]), Http::without_pool());
    within(patience, &format!("the shop in {} sells", branch.namespace), || async {
        let id = tried.lock().unwrap().last().unwrap().clone();
        let order = espresso(&id).to_string();
        // It may be connected to what has just gone.
        let sent = tokio::time::timeout(TRIES_AGAIN, async { http.post(&branch.at("function", "order"), order).await });
        let answer = sent.await.map_err(|_| format!("no answer within {TRIES_AGAIN:?}"))??;
        match answer.status {
            201 => return Ok(()),
            402 | 409 => tried.lock().unwrap().push(uuid()),
            _ => {}
        }
        Err(format!("{} {}", answer.status, answer.text()))
    })
    .await;
    tried.into_inner().unwrap()
}

/// An id that no other order has.
pub(crate) fn uuid() -> String {
    format!("o-{:x}", rand::random::<u64>())
}
