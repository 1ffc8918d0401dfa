//! Changes of Function objects: what the REST API wants becomes an object, and nobody else's is touched.

use crate::admit;
use crate::answer::{Refusal, ask};
use crate::board::{Board, key};
use crate::config::{Config, ENV_ADOPT};
use crate::mirror::Seen;
use crate::origin;
use crate::secrets::Secrets;
use crate::wanted::Wanted;
use crate::watching::seen;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use kubernetes::{Function, FunctionSpec, at_least, label};
use provider::{Deployed, ProviderError, Result, check};
use serde_json::json;
use std::sync::Arc;
use wire::FunctionName;
use wire::function::FunctionDeployment;

/// How often a change is tried that others get in the way of.
const TRIES: usize = 5;

/// Changes of functions.
pub(crate) struct Functions<'a> {
    pub(crate) client: &'a Client,
    pub(crate) board: &'a Board,
    pub(crate) config: &'a Config,
}

impl Functions<'_> {
    pub(crate) async fn deploy(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        let (checked, deployment) = admit::deployment(deployment)?;
        let name = checked.name;
        self.board.check_space(name.namespace())?;
        if self.board.function(&name).is_some() {
            return Err(ProviderError::Exists(format!("function {name}")));
        }
        Secrets::of(self.client, name.namespace()).check(&name, &deployment.secrets).await?;
        let mut function = Function::new(name.name(), FunctionSpec::from(&deployment));
        mark(&mut function);
        let made = match ask(format!("deploy function {name}"), self.api(&name).create(&params(), &function)).await {
            Ok(made) => made,
            Err(Refusal::Exists(_)) => return Err(self.in_the_way(&name).await),
            Err(Refusal::NotFound(_)) => return Err(ProviderError::NoNamespace(name.namespace().to_owned())),
            Err(other) => return Err(other.into()),
        };
        self.board.wrote::<Function>(seen(made));
        tracing::info!(function = %name, image = %checked.image, "Function deployed");
        Ok(Deployed::Changed)
    }

    pub(crate) async fn update(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        let (checked, deployment) = admit::deployment(deployment)?;
        let name = checked.name;
        self.board.check_space(name.namespace())?;
        for attempt in 0..TRIES {
            let mut function = self.get(&name).await?;
            self.is_ours(&name, &function, "changed")?;
            if attempt == 0 {
                Secrets::of(self.client, name.namespace()).check(&name, &deployment.secrets).await?;
            }
            let mut spec = FunctionSpec::from(&deployment);
            let before = std::mem::take(&mut function.spec);
            let is_same = before.deployment(name.namespace()) == spec.deployment(name.namespace());
            if is_same && is_marked(&function) {
                return Ok(Deployed::Unchanged);
            }
            let replicas = replicas_after(&before, &deployment);
            // Whoever scales owns the number: it stays as it is, and a number that changed meanwhile is a conflict.
            spec.replicas = before.replicas;
            function.spec = spec;
            mark(&mut function);
            let call = self.api(&name);
            match ask(format!("update function {name}"), call.replace(name.name(), &params(), &function)).await {
                Ok(changed) => {
                    self.board.wrote::<Function>(seen(changed));
                    tracing::info!(function = %name, image = %checked.image, "Function updated");
                    if let Some(replicas) = replicas {
                        self.scale_to(&name, replicas, None).await.map_err(|refusal| gone(&name, refusal))?;
                    }
                    return Ok(Deployed::Changed);
                }
                Err(Refusal::Changed(_)) => {}
                Err(Refusal::NotFound(_)) => return Err(ProviderError::NoFunction(name)),
                Err(other) => return Err(other.into()),
            }
        }
        Err(busy(&name))
    }

    pub(crate) async fn delete(&self, name: &FunctionName, purge: bool) -> Result<()> {
        for _ in 0..TRIES {
            let function = self.get(name).await?;
            self.is_ours(name, &function, "deleted")?;
            let uid = function.uid();
            let deletion = DeleteParams {
                preconditions: Some(Preconditions { uid: uid.clone(), resource_version: None }),
                ..DeleteParams::background()
            };
            match ask(format!("delete function {name}"), self.api(name).delete(name.name(), &deletion)).await {
                Ok(_) | Err(Refusal::NotFound(_)) => {
                    self.board.deleted::<Function>(&key(name), uid.as_deref().unwrap_or_default());
                    if purge {
                        self.purge(name).await?;
                    }
                    tracing::info!(function = %name, purge, "Function deleted");
                    return Ok(());
                }
                // Another one of the same name has taken its place.
                Err(Refusal::Changed(_)) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(busy(name))
    }

    pub(crate) async fn scale(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        let wanted = self.find(name).await?;
        check::replicas(&wanted.deployment(name), replicas)?;
        self.scale_to(name, replicas, None).await.map_err(|refusal| gone(name, refusal))
    }

    pub(crate) async fn wake(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        for _ in 0..TRIES {
            let function = self.get(name).await?;
            let version = function.resource_version();
            if Wanted::of(function.clone()).desired() > 0 {
                self.board.wrote::<Function>(seen(function));
                return Ok(());
            }
            match self.scale_to(name, replicas, version).await {
                Err(Refusal::Changed(_)) => {}
                done => return done.map_err(|refusal| gone(name, refusal)),
            }
        }
        Err(busy(name))
    }

    /// What is known of a function; asks for one that another gateway may have deployed just now.
    pub(crate) async fn find(&self, name: &FunctionName) -> Result<Arc<Wanted>> {
        if let Some(known) = self.board.function(name) {
            return Ok(known);
        }
        self.board.check_space(name.namespace()).map_err(|_| ProviderError::NoFunction(name.clone()))?;
        let function = self.get(name).await?;
        self.board.wrote::<Function>(seen(function));
        self.board.function(name).ok_or_else(|| ProviderError::NoFunction(name.clone()))
    }

    /// With a version only the object that has it is changed.
    async fn scale_to(
        &self,
        name: &FunctionName,
        replicas: u32,
        version: Option<String>,
    ) -> std::result::Result<(), Refusal> {
        let mut patch = json!({ "spec": { "replicas": replicas } });
        if let Some(version) = version {
            patch["metadata"] = json!({ "resourceVersion": version });
        }
        let patch = Patch::Merge(patch);
        let params = PatchParams { field_manager: Some(label::GATEWAY.to_owned()), ..PatchParams::default() };
        let api = self.api(name);
        let scale = ask(format!("scale function {name}"), api.patch_scale(name.name(), &params, &patch)).await?;
        if let Some(known) = self.board.function(name) {
            let mut wanted = Wanted::clone(&known);
            wanted.spec.replicas = i32::try_from(replicas).ok();
            let version = scale.metadata.resource_version.and_then(|text| text.parse().ok()).unwrap_or(0);
            let uid = wanted.uid.clone();
            self.board.wrote::<Function>(Seen { key: key(name), uid, version, value: Some(wanted) });
        }
        tracing::debug!(function = %name, replicas, "Function scaled");
        Ok(())
    }

    /// Deletes a function's data. The claim goes when its last pod is gone. One of that name that the operator has not
    /// made holds somebody else's data.
    async fn purge(&self, name: &FunctionName) -> Result<()> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), name.namespace());
        let labels = [(label::FUNCTION, name.name()), (label::MANAGED_BY, label::MANAGED_BY_OPERATOR)];
        let made = ListParams::default().labels(&labels.map(|(key, value)| format!("{key}={value}")).join(","));
        let made = ask(format!("look for the data of {name}"), claims.list_metadata(&made)).await?;
        let claim = label::data_claim(name.name());
        let Some(found) = made.items.into_iter().find(|found| found.name_any() == claim) else { return Ok(()) };
        let deletion = DeleteParams {
            preconditions: Some(Preconditions { uid: found.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        match ask(format!("delete the data of {name}"), claims.delete(&claim, &deletion)).await {
            // Another of its name has taken its place.
            Ok(_) | Err(Refusal::NotFound(_) | Refusal::Changed(_)) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    async fn get(&self, name: &FunctionName) -> Result<Function> {
        let found = ask(format!("read function {name}"), self.api(name).get_opt(name.name())).await?;
        let there = found.filter(|function| function.metadata.deletion_timestamp.is_none());
        there.ok_or_else(|| ProviderError::NoFunction(name.clone()))
    }

    /// What is there of a name already: a function that another gateway has just deployed, or one that is on its way out.
    async fn in_the_way(&self, name: &FunctionName) -> ProviderError {
        match self.get(name).await {
            Err(ProviderError::NoFunction(_)) => ProviderError::Conflict(format!(
                "function {name} is still being deleted, until everything it has made is gone: try again in a moment"
            )),
            Ok(_) | Err(_) => ProviderError::Exists(format!("function {name}")),
        }
    }

    /// What came from Git, Helm or kubectl would be put back, or put Git in the wrong: it is changed there.
    fn is_ours(&self, name: &FunctionName, function: &Function, done: &str) -> Result<()> {
        match origin::of(&function.metadata).filter(|_| !self.config.adopt) {
            None => Ok(()),
            Some(origin) => Err(ProviderError::Conflict(format!(
                "function {name} did not come through the REST API ({origin} looks after it) and is not {done} by it: \
                 change it where it comes from, or set {ENV_ADOPT}=true on the gateway; scaling is always allowed"
            ))),
        }
    }

    fn api(&self, name: &FunctionName) -> Api<Function> {
        Api::namespaced(self.client.clone(), name.namespace())
    }
}

/// What it means for a function that there is no such object.
fn gone(name: &FunctionName, refusal: Refusal) -> ProviderError {
    match refusal {
        Refusal::NotFound(_) => ProviderError::NoFunction(name.clone()),
        other => other.into(),
    }
}

/// The replicas to ask for after an update: the label's when that has changed, one when the function gets a data
/// directory. `None` when the number stays.
fn replicas_after(before: &FunctionSpec, deployment: &FunctionDeployment) -> Option<u32> {
    let replicas = u32::try_from(before.replicas?).ok()?;
    let least = at_least(Some(&deployment.labels));
    let wanted = if at_least(before.labels.as_ref()) == least { replicas } else { least };
    let wanted = if check::has_data(&deployment.annotations) { wanted.min(1) } else { wanted };
    (wanted != replicas).then_some(wanted)
}

fn mark(function: &mut Function) {
    function.labels_mut().insert(label::MANAGED_BY.to_owned(), label::MANAGED_BY_GATEWAY.to_owned());
}

fn is_marked(function: &Function) -> bool {
    function.labels().get(label::MANAGED_BY).is_some_and(|by| by == label::MANAGED_BY_GATEWAY)
}

fn params() -> PostParams {
    PostParams { field_manager: Some(label::GATEWAY.to_owned()), ..PostParams::default() }
}

fn busy(name: &FunctionName) -> ProviderError {
    ProviderError::Conflict(format!("function {name} is being changed by others all the time: try again"))
}
