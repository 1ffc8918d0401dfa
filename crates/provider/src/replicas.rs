//! The live table of replicas: written by the provider, read by every call without asking anyone.

use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use wire::FunctionName;
use wire::function::TextMap;

/// Where a replica listens.
pub type Address = forward::Upstream;

/// A replica that is ready for calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replica {
    /// Its name in logs.
    pub instance: String,
    /// Where it listens.
    pub address: Address,
}

/// What the table says of one function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionReplicas {
    /// Replicas ready for calls.
    pub ready: Vec<Arc<Replica>>,
    /// Replicas wanted.
    pub desired: u32,
    /// Replicas to start when a call finds none: the label `com.openfaas.scale.min`, or 1.
    pub at_least: u32,
    /// The function's annotations.
    pub annotations: TextMap,
    /// The function's labels.
    pub labels: TextMap,
    /// Why no replica gets ready, when that is known: a crash loop, a failed start.
    pub trouble: Option<String>,
}

/// All functions as they are at one moment. Each change makes another one, so what it holds is shared.
pub type Replicas = Arc<HashMap<Arc<FunctionName>, Arc<FunctionReplicas>>>;

/// The live view. Cheap to clone; reading never blocks on the provider.
#[derive(Clone, Debug)]
pub struct ReplicaTable(watch::Receiver<Replicas>);

impl ReplicaTable {
    /// What is known of a function; `None` when none of that name is deployed.
    #[must_use]
    pub fn get(&self, name: &FunctionName) -> Option<Arc<FunctionReplicas>> {
        self.0.borrow().get(name).cloned()
    }

    /// All of it, as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Replicas {
        Arc::clone(&self.0.borrow())
    }

    /// All of it, when it changed since this was last asked; asking costs next to nothing.
    pub fn refreshed(&mut self) -> Option<Replicas> {
        // An error means that the provider is gone: its last word stands.
        let same = matches!(self.0.has_changed(), Ok(false));
        (!same).then(|| Arc::clone(&self.0.borrow_and_update()))
    }

    /// Waits for the next change. `false` when the provider is gone and no change will come.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Waits until `wanted` is true of a function, which may be absent. `false` when the provider is gone.
    pub async fn wait_for(
        &mut self,
        name: &FunctionName,
        mut wanted: impl FnMut(Option<&FunctionReplicas>) -> bool + Send,
    ) -> bool {
        self.0.wait_for(|table| wanted(table.get(name).map(AsRef::as_ref))).await.is_ok()
    }
}

/// The provider's side of the table.
#[derive(Debug)]
pub struct TableWriter(watch::Sender<Replicas>);

impl Default for TableWriter {
    fn default() -> Self {
        Self(watch::Sender::new(Replicas::default()))
    }
}

impl TableWriter {
    /// The readers' side.
    #[must_use]
    pub fn table(&self) -> ReplicaTable {
        ReplicaTable(self.0.subscribe())
    }

    /// Puts a function in, or replaces what was said of it. Readers are woken only by a difference.
    pub fn set(&self, name: &FunctionName, replicas: FunctionReplicas) {
        self.0.send_if_modified(|table| {
            if table.get(name).is_some_and(|old| **old == replicas) {
                return false;
            }
            let table = Arc::make_mut(table);
            match table.get_mut(name) {
                Some(known) => *known = Arc::new(replicas),
                None => drop(table.insert(Arc::new(name.clone()), Arc::new(replicas))),
            }
            true
        });
    }

    /// Takes a function out.
    pub fn remove(&self, name: &FunctionName) {
        self.0.send_if_modified(|table| table.contains_key(name) && Arc::make_mut(table).remove(name).is_some());
    }
}
