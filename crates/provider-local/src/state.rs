//! What is wanted and what is seen of every function, and the replica table made of both.

use crate::desired::{Desired, Entry};
use crate::runtime::Running;
use provider::{FunctionReplicas, Replica, ReplicaTable, TableWriter};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use wire::FunctionName;

/// What is seen of one function's replicas.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) ready: Vec<Arc<Replica>>,
    pub(crate) running: Vec<Arc<dyn Running>>,
    /// Why it is not as it is wanted.
    pub(crate) trouble: Option<String>,
}

/// Shared by the provider, who changes wishes, and the reconcile loop, who changes what is seen.
pub(crate) struct State {
    /// Held for map operations, the table's among them, so that no two of them mix.
    inner: Mutex<Inner>,
    table: TableWriter,
    /// Wakes the reconcile loop, which then asks for [`State::touched`].
    pub(crate) wish: Notify,
    next_generation: AtomicU64,
}

struct Inner {
    functions: BTreeMap<FunctionName, Entry>,
    seen: HashMap<FunctionName, Seen>,
    /// What is wrong with the size of data directories.
    data_trouble: HashMap<FunctionName, String>,
    /// Functions whose wish has changed since the reconcile loop last asked.
    touched: BTreeMap<FunctionName, Touch>,
}

/// How a function's wish has changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Touch {
    /// The last generation of a function that was deleted: its replicas serve nobody any more, also when the name has
    /// been deployed again since.
    pub(crate) deleted: Option<u64>,
}

impl State {
    pub(crate) fn new(functions: BTreeMap<FunctionName, Entry>) -> Self {
        let generations = functions.values().map(|entry| match entry {
            Entry::Known(desired) => desired.generation,
            Entry::Unreadable(_) => 0,
        });
        let state = Self {
            next_generation: AtomicU64::new(generations.max().unwrap_or(0) + 1),
            inner: Mutex::new(Inner {
                touched: functions.keys().map(|name| (name.clone(), Touch::default())).collect(),
                functions,
                seen: HashMap::new(),
                data_trouble: HashMap::new(),
            }),
            table: TableWriter::default(),
            wish: Notify::new(),
        };
        let inner = state.inner();
        inner.functions.keys().for_each(|name| state.publish(&inner, name));
        drop(inner);
        state
    }

    pub(crate) fn table(&self) -> ReplicaTable {
        self.table.table()
    }

    /// A number no specification has had.
    pub(crate) fn next_generation(&self) -> u64 {
        self.next_generation.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn functions(&self) -> BTreeMap<FunctionName, Entry> {
        self.inner().functions.clone()
    }

    pub(crate) fn get(&self, name: &FunctionName) -> Option<Entry> {
        self.inner().functions.get(name).cloned()
    }

    /// What is wanted and seen of a function.
    pub(crate) fn seen(&self, name: &FunctionName) -> Seen {
        self.inner().seen.get(name).cloned().unwrap_or_default()
    }

    /// What is wrong with the size of a function's data directory.
    pub(crate) fn data_trouble(&self, name: &FunctionName) -> Option<String> {
        self.inner().data_trouble.get(name).cloned()
    }

    /// Notes that; whether it is news that something is wrong, or that nothing is any more.
    pub(crate) fn set_data_trouble(&self, name: &FunctionName, trouble: Option<String>) -> bool {
        let mut inner = self.inner();
        let before = match &trouble {
            Some(trouble) => inner.data_trouble.insert(name.clone(), trouble.clone()),
            None => inner.data_trouble.remove(name),
        };
        before.is_some() != trouble.is_some()
    }

    /// The functions whose wish has changed since this was last asked; at first all.
    pub(crate) fn touched(&self) -> BTreeMap<FunctionName, Touch> {
        std::mem::take(&mut self.inner().touched)
    }

    /// Wishes for something else.
    pub(crate) fn put(&self, name: &FunctionName, desired: Arc<Desired>) {
        self.set(self.inner(), name, Some(Entry::Known(desired)));
    }

    /// Changes a wish in one step; `false` when there is none or `change` says that nothing is to change.
    pub(crate) fn change(&self, name: &FunctionName, change: impl FnOnce(&Desired) -> Option<Desired>) -> bool {
        let inner = self.inner();
        let changed = match inner.functions.get(name) {
            Some(Entry::Known(desired)) => change(desired),
            Some(Entry::Unreadable(_)) | None => None,
        };
        let is_changed = changed.is_some();
        if let Some(changed) = changed {
            self.set(inner, name, Some(Entry::Known(Arc::new(changed))));
        }
        is_changed
    }

    /// Wishes a function away.
    pub(crate) fn remove(&self, name: &FunctionName) {
        self.set(self.inner(), name, None);
    }

    fn set(&self, mut inner: MutexGuard<'_, Inner>, name: &FunctionName, entry: Option<Entry>) {
        let deleted = match entry {
            Some(entry) => {
                inner.functions.insert(name.clone(), entry);
                None
            }
            None => {
                inner.data_trouble.remove(name);
                inner.seen.remove(name);
                match inner.functions.remove(name) {
                    Some(Entry::Known(desired)) => Some(desired.generation),
                    Some(Entry::Unreadable(_)) | None => None,
                }
            }
        };
        let touch = inner.touched.entry(name.clone()).or_default();
        touch.deleted = touch.deleted.max(deleted);
        self.publish(&inner, name);
        drop(inner);
        self.wish.notify_one();
    }

    /// Tells what is seen of a function now; nothing when nothing of it is left.
    pub(crate) fn see(&self, name: &FunctionName, seen: Option<Seen>) {
        let mut inner = self.inner();
        // Whoever tells does not know yet that what is seen was deleted.
        let is_outdated = inner.touched.get(name).is_some_and(|touch| touch.deleted.is_some());
        match seen.filter(|_| !is_outdated) {
            Some(seen) => drop(inner.seen.insert(name.clone(), seen)),
            None => drop(inner.seen.remove(name)),
        }
        self.publish(&inner, name);
    }

    fn publish(&self, inner: &Inner, name: &FunctionName) {
        let seen = inner.seen.get(name);
        let replicas = match inner.functions.get(name) {
            None => return self.table.remove(name),
            Some(Entry::Known(desired)) => FunctionReplicas {
                ready: seen.map(|seen| seen.ready.clone()).unwrap_or_default(),
                desired: desired.replicas,
                at_least: at_least(desired),
                annotations: desired.deployment.annotations.clone(),
                labels: desired.deployment.labels.clone(),
                trouble: seen.and_then(|seen| seen.trouble.clone()),
            },
            Some(Entry::Unreadable(why)) => {
                FunctionReplicas { at_least: 1, trouble: Some(why.clone()), ..FunctionReplicas::default() }
            }
        };
        self.table.set(name, replicas);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fewest replicas of what was deployed; the label was checked then.
fn at_least(desired: &Desired) -> u32 {
    provider::check::deployment(&desired.deployment).map_or(1, |checked| checked.at_least)
}
