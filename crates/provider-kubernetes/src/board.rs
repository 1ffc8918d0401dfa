//! What is known of the cluster, and the replica table that follows it.

use crate::config::{Config, SYSTEM_NAMESPACE};
use crate::endpoints::{self, Slice};
use crate::mirror::{Key, Mirror, Seen};
use crate::namespaces::Space;
use crate::wanted::Wanted;
use crate::watching::{Kind, Source};
use provider::{ProviderError, ReplicaTable, Result, TableWriter, check};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use wire::FunctionName;

/// How long a call waits for the first reading of the cluster.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of the cluster.
#[derive(Debug)]
pub(crate) struct Board {
    named: Vec<String>,
    /// Whether namespaces count by their annotation too.
    marked: bool,
    /// Held for a few map operations, never across an await.
    known: Mutex<Known>,
    table: TableWriter,
    /// What has not been read once, and why not.
    unread: watch::Sender<BTreeMap<Source, Option<String>>>,
}

/// The objects, by kind.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) functions: Mirror<Wanted>,
    pub(crate) slices: Mirror<Slice>,
    pub(crate) spaces: Mirror<Space>,
}

/// Which functions a change of an object is about.
pub(crate) enum Touched {
    Function(Key),
    All,
}

impl Board {
    /// A board on which nothing is read yet of any of `sources`.
    pub(crate) fn new(config: &Config, sources: impl IntoIterator<Item = Source>) -> Self {
        Self {
            named: config.function_namespaces.clone(),
            marked: config.cluster_role,
            known: Mutex::default(),
            table: TableWriter::default(),
            unread: watch::Sender::new(sources.into_iter().map(|source| (source, None)).collect()),
        }
    }

    pub(crate) fn table(&self) -> ReplicaTable {
        self.table.table()
    }

    /// Waits until the cluster has been read once: from then on the table says what is deployed, whatever becomes of
    /// the API server.
    pub(crate) async fn read(&self) -> Result<()> {
        let mut unread = self.unread.subscribe();
        if tokio::time::timeout(PATIENCE, unread.wait_for(BTreeMap::is_empty)).await.is_ok() {
            return Ok(());
        }
        let unread = unread.borrow();
        let what: Vec<String> = unread.keys().map(ToString::to_string).collect();
        let why = unread.values().flatten().next();
        let why = why.cloned().unwrap_or_else(|| "the Kubernetes API server does not answer".to_owned());
        Err(ProviderError::failed(format!("what the cluster runs is not known yet ({})", what.join(", ")), why))
    }

    /// Notes that something cannot be read.
    pub(crate) fn failed(&self, source: &Source, why: &str) {
        self.unread.send_if_modified(|unread| match unread.get_mut(source) {
            Some(noted) => {
                *noted = Some(why.to_owned());
                true
            }
            None => false,
        });
    }

    pub(crate) fn function(&self, name: &FunctionName) -> Option<Arc<Wanted>> {
        let known = self.known();
        let visible = self.is_open(&known, name.namespace());
        known.functions.get(&key(name)).filter(|_| visible).cloned()
    }

    /// The functions of a namespace, by name.
    pub(crate) fn functions(&self, namespace: &str) -> BTreeMap<FunctionName, Arc<Wanted>> {
        let known = self.known();
        let all = known.functions.iter().filter(|(key, _)| key.namespace == namespace);
        all.filter_map(|(key, wanted)| Some((function_name(key)?, Arc::clone(wanted)))).collect()
    }

    /// The namespaces with functions.
    pub(crate) fn spaces(&self) -> BTreeMap<String, Option<Arc<Space>>> {
        let known = self.known();
        let named = self.named.iter().map(|name| (name.clone(), known.spaces.get(&Key::new("", name)).cloned()));
        let marked = known.spaces.iter().filter(|_| self.marked);
        let marked = marked.filter(|(key, space)| space.marked && key.name != SYSTEM_NAMESPACE);
        named.chain(marked.map(|(key, space)| (key.name.clone(), Some(Arc::clone(space))))).collect()
    }

    /// Checks that a namespace may hold functions.
    pub(crate) fn check_space(&self, name: &str) -> Result<()> {
        check::namespace(name)?;
        match self.is_open(&self.known(), name) {
            true => Ok(()),
            false => Err(ProviderError::NoNamespace(name.to_owned())),
        }
    }

    fn is_open(&self, known: &Known, namespace: &str) -> bool {
        self.named.iter().any(|named| named == namespace)
            || (self.marked
                && namespace != SYSTEM_NAMESPACE
                && known.spaces.get(&Key::new("", namespace)).is_some_and(|space| space.marked))
    }

    /// A moment, as [`Mirror::now`].
    pub(crate) fn now<K: Kind>(&self) -> u64 {
        K::mirror(&mut self.known()).now()
    }

    /// Whether anything is known of what a source tells.
    pub(crate) fn knows_any<K: Kind>(&self, source: &Source) -> bool {
        K::mirror(&mut self.known()).knows_any(source.namespace.as_deref())
    }

    /// Takes in what a watch told.
    pub(crate) fn heard<K: Kind>(&self, seen: Seen<K::Value>) {
        self.change::<K>(seen, Mirror::heard);
    }

    /// Takes in what the API server answered to a change of ours.
    pub(crate) fn wrote<K: Kind>(&self, seen: Seen<K::Value>) {
        self.change::<K>(seen, Mirror::wrote);
    }

    /// Takes in that an object was deleted.
    pub(crate) fn heard_deleted<K: Kind>(&self, key: &Key, uid: &str) {
        self.drop_object::<K>(key, |mirror| mirror.heard_deleted(key, uid));
    }

    /// Takes in that we deleted an object.
    pub(crate) fn deleted<K: Kind>(&self, key: &Key, uid: &str) {
        self.drop_object::<K>(key, |mirror| mirror.deleted(key, uid));
    }

    /// Takes in a whole list that was begun at a moment.
    pub(crate) fn replace<K: Kind>(&self, source: &Source, begun: u64, list: Vec<Seen<K::Value>>) {
        let mut known = self.known();
        K::mirror(&mut known).replace(source.namespace.as_deref(), begun, list);
        self.unread.send_if_modified(|unread| unread.remove(source).is_some());
        self.publish_all(&known);
    }

    fn change<K: Kind>(&self, seen: Seen<K::Value>, put: impl FnOnce(&mut Mirror<K::Value>, Seen<K::Value>)) {
        let mut known = self.known();
        let key = seen.key.clone();
        let touched = |mirror: &mut Mirror<K::Value>| mirror.get(&key).map(|value| K::touches(&key, value));
        let before = touched(K::mirror(&mut known));
        put(K::mirror(&mut known), seen);
        let after = touched(K::mirror(&mut known));
        before.into_iter().chain(after).for_each(|touched| self.publish(&known, touched));
    }

    fn drop_object<K: Kind>(&self, key: &Key, remove: impl FnOnce(&mut Mirror<K::Value>)) {
        let mut known = self.known();
        let mirror = K::mirror(&mut known);
        let touched = mirror.get(key).map(|value| K::touches(key, value));
        remove(mirror);
        touched.into_iter().for_each(|touched| self.publish(&known, touched));
    }

    /// Tells the table what a change is about, once all has been read: half of it would look like functions without
    /// replicas.
    fn publish(&self, known: &Known, touched: Touched) {
        if !self.unread.borrow().is_empty() {
            return;
        }
        match touched {
            Touched::All => self.publish_all(known),
            Touched::Function(key) => {
                let slices = known
                    .slices
                    .iter()
                    .filter(|(slice, value)| slice.namespace == key.namespace && value.service == key.name);
                self.publish_one(known, &key, slices.map(|(_, slice)| &**slice));
            }
        }
    }

    fn publish_one<'a>(&self, known: &Known, key: &Key, slices: impl Iterator<Item = &'a Slice>) {
        let Some(name) = function_name(key) else { return };
        match known.functions.get(key).filter(|_| self.is_open(known, &key.namespace)) {
            None => self.table.remove(&name),
            Some(wanted) => self.table.set(&name, wanted.replicas(endpoints::replicas(slices))),
        }
    }

    fn publish_all(&self, known: &Known) {
        if !self.unread.borrow().is_empty() {
            return;
        }
        let mut slices: HashMap<Key, Vec<&Slice>> = HashMap::new();
        for (key, slice) in known.slices.iter() {
            slices.entry(Key::new(&key.namespace, &slice.service)).or_default().push(slice);
        }
        for name in self.table.table().snapshot().keys() {
            if known.functions.get(&key(name)).is_none() {
                self.table.remove(name);
            }
        }
        for (key, _) in known.functions.iter() {
            self.publish_one(known, key, slices.get(key).into_iter().flatten().copied());
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn key(name: &FunctionName) -> Key {
    Key::new(name.namespace(), name.name())
}

fn function_name(key: &Key) -> Option<FunctionName> {
    FunctionName::new(&key.name, &key.namespace).ok()
}
