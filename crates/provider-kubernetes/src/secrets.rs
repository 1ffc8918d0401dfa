//! Secrets: labelled Secret objects with one key, which is the secret's name. Values are written and never read.

use crate::answer::{self, Refusal, ask};
use crate::board::Board;
use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{PartialObjectMeta, Request};
use kube::{Client, Resource, ResourceExt};
use kubernetes::label;
use provider::{ProviderError, Result, check};
use serde_json::json;
use wire::FunctionName;

/// The secrets of one namespace.
pub(crate) struct Secrets<'a> {
    api: Api<Secret>,
    client: &'a Client,
    namespace: &'a str,
}

/// Asks for an object's metadata alone.
const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

impl<'a> Secrets<'a> {
    pub(crate) fn of(client: &'a Client, namespace: &'a str) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), client, namespace }
    }

    pub(crate) async fn list(&self) -> Result<Vec<String>> {
        let params = ListParams::default().labels(&format!("{}={}", label::MANAGED_BY, label::MANAGED_BY_OPENFAAS));
        let doing = format!("list the secrets of namespace {}", self.namespace);
        let found = ask(doing, self.api.list_metadata(&params)).await?;
        let mut names: Vec<String> = found.items.iter().map(ResourceExt::name_any).collect();
        names.sort();
        Ok(names)
    }

    pub(crate) async fn create(&self, name: &str, value: Vec<u8>) -> Result<()> {
        let mut secret = Secret {
            data: Some([(name.to_owned(), ByteString(value))].into()),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        secret.metadata.name = Some(name.to_owned());
        secret.labels_mut().insert(label::MANAGED_BY.to_owned(), label::MANAGED_BY_OPENFAAS.to_owned());
        match ask(self.doing("make", name), self.post(&secret)).await {
            Ok(_) => Ok(()),
            Err(Refusal::Exists(_)) => {
                Err(ProviderError::Exists(format!("secret {name} in namespace {}", self.namespace)))
            }
            Err(Refusal::NotFound(_)) => Err(ProviderError::NoNamespace(self.namespace.to_owned())),
            Err(other) => Err(other.into()),
        }
    }

    pub(crate) async fn update(&self, name: &str, value: Vec<u8>) -> Result<()> {
        self.find(name).await?;
        // The answer is its metadata: no value travels back.
        let patch = Patch::Merge(json!({ "data": { name: ByteString(value) } }));
        let params = PatchParams { field_manager: Some(label::GATEWAY.to_owned()), ..PatchParams::default() };
        let done = ask(self.doing("change", name), self.api.patch_metadata(name, &params, &patch)).await;
        match answer::if_there(done)? {
            Some(_) => Ok(()),
            None => Err(self.missing(name)),
        }
    }

    pub(crate) async fn delete(&self, name: &str, board: &Board) -> Result<()> {
        self.find(name).await?;
        let functions = board.functions(self.namespace);
        let mounts = |secrets: &Option<Vec<String>>| secrets.iter().flatten().any(|mounted| mounted == name);
        if let Some((function, _)) = functions.iter().find(|(_, wanted)| mounts(&wanted.spec.secrets)) {
            return Err(ProviderError::Conflict(format!(
                "secret {name} is mounted by function {function}: deploy that without it, or delete it, first"
            )));
        }
        let done = ask(self.doing("delete", name), self.api.delete(name, &DeleteParams::default())).await;
        match answer::if_there(done.map(drop))? {
            Some(()) => Ok(()),
            None => Err(self.missing(name)),
        }
    }

    /// Makes a secret. The answer is its metadata: no value travels back, or into a log.
    async fn post(&self, secret: &Secret) -> kube::Result<PartialObjectMeta<Secret>> {
        let params = PostParams { field_manager: Some(label::GATEWAY.to_owned()), ..PostParams::default() };
        let body = serde_json::to_vec(secret).map_err(kube::Error::SerdeError)?;
        let request = Request::new(Secret::url_path(&(), Some(self.namespace)));
        let mut request = request.create(&params, body).map_err(kube::Error::BuildRequest)?;
        request.headers_mut().insert(ACCEPT, METADATA_ONLY);
        self.client.request(request).await
    }

    /// Checks that a function's secrets are there, whoever made them.
    pub(crate) async fn check(&self, function: &FunctionName, wanted: &[String]) -> Result<()> {
        for name in wanted {
            if self.metadata(name).await?.is_none() {
                return Err(check::missing_secret(function, name));
            }
        }
        Ok(())
    }

    /// Checks that a secret is there and ours to change.
    async fn find(&self, name: &str) -> Result<()> {
        let Some(found) = self.metadata(name).await? else { return Err(self.missing(name)) };
        let managed_by = found.labels().get(label::MANAGED_BY).map(String::as_str);
        if managed_by == Some(label::MANAGED_BY_OPENFAAS) {
            return Ok(());
        }
        Err(ProviderError::Conflict(format!(
            "secret {name} of namespace {} was not made through the REST API and is not changed by it: use kubectl, or \
             label it {}={}",
            self.namespace,
            label::MANAGED_BY,
            label::MANAGED_BY_OPENFAAS
        )))
    }

    async fn metadata(&self, name: &str) -> Result<Option<PartialObjectMeta<Secret>>> {
        Ok(ask(self.doing("look for", name), self.api.get_metadata_opt(name)).await?)
    }

    fn doing(&self, what: &str, name: &str) -> String {
        format!("{what} secret {name} of namespace {}", self.namespace)
    }

    fn missing(&self, name: &str) -> ProviderError {
        ProviderError::NoSecret { name: name.to_owned(), namespace: self.namespace.to_owned() }
    }
}
