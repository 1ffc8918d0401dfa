//! What the in-memory provider remembers.

use super::Script;
use crate::replicas::{FunctionReplicas, Replica};
use crate::{ProviderError, Result, Standing, check};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::watch;
use wire::FunctionName;
use wire::function::{FunctionDeployment, FunctionStatus};
use wire::log::LogLine;
use wire::namespace::Namespace;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) spaces: BTreeMap<String, Space>,
    pub(super) scripts: HashMap<FunctionName, Script>,
    pub(super) scalings: HashMap<FunctionName, u32>,
}

#[derive(Debug, Default)]
pub(super) struct Space {
    pub(super) namespace: Namespace,
    pub(super) secrets: BTreeMap<String, Vec<u8>>,
    pub(super) functions: BTreeMap<String, Function>,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) deployment: FunctionDeployment,
    pub(super) at_least: u32,
    pub(super) desired: u32,
    pub(super) created_at: String,
    pub(super) log: watch::Sender<Arc<Vec<LogLine>>>,
}

impl State {
    pub(super) fn space(&mut self, namespace: &str) -> Result<&mut Space> {
        check::namespace(namespace)?;
        self.spaces.get_mut(namespace).ok_or_else(|| ProviderError::NoNamespace(namespace.to_owned()))
    }

    pub(super) fn function(&mut self, name: &FunctionName) -> Result<&mut Function> {
        let functions = self.spaces.get_mut(name.namespace()).map(|space| &mut space.functions);
        functions
            .and_then(|functions| functions.get_mut(name.name()))
            .ok_or_else(|| ProviderError::NoFunction(name.clone()))
    }

    pub(super) fn status(&self, name: &FunctionName, function: &Function) -> FunctionStatus {
        let ready = function.ready(self.scripts.get(name)) as usize;
        let standing = Standing { created_at: function.created_at.clone(), desired: function.desired, ready };
        crate::status(name, function.deployment.clone(), standing)
    }
}

impl Function {
    pub(super) fn ready(&self, script: Option<&Script>) -> u32 {
        self.desired.min(script.map_or(u32::MAX, |script| script.at_most))
    }

    pub(super) fn replicas(&self, script: Option<&Script>) -> FunctionReplicas {
        let address = script.map_or_else(|| Script::default().address, |script| script.address.clone());
        let replica = |number| {
            let instance = format!("{}-{number}", self.deployment.service);
            Arc::new(Replica { instance, address: address.clone() })
        };
        FunctionReplicas {
            ready: (1..=self.ready(script)).map(replica).collect(),
            desired: self.desired,
            at_least: self.at_least,
            annotations: self.deployment.annotations.clone(),
            labels: self.deployment.labels.clone(),
            trouble: script.and_then(|script| script.trouble.clone()),
        }
    }
}
