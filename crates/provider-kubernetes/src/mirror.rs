//! What was last read of the objects of one kind, in their order: what a watch tells late never undoes what is known.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Which object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    /// Its namespace; empty for what has none.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// An object as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Seen<T> {
    pub(crate) key: Key,
    pub(crate) uid: String,
    /// Its resource version; 0 when that is no number.
    pub(crate) version: u64,
    /// What is kept of it; `None` when it is to be forgotten, as one that is being deleted.
    pub(crate) value: Option<T>,
}

#[derive(Debug)]
struct Entry<T> {
    uid: String,
    version: u64,
    /// When it was last put in by ourselves, in ticks of the mirror.
    written: u64,
    value: Arc<T>,
}

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Mirror<T> {
    entries: HashMap<Key, Entry<T>>,
    /// Objects that we removed and of which older news may still come.
    removed: HashSet<String>,
    ticks: u64,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), removed: HashSet::new(), ticks: 1 }
    }
}

impl<T> Mirror<T> {
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<T>> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<T>)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// Takes in what a watch told.
    pub(crate) fn heard(&mut self, seen: Seen<T>) {
        self.put(seen, 0);
    }

    /// Takes in what the API server answered to a change of ours: the watch tells it only later.
    pub(crate) fn wrote(&mut self, seen: Seen<T>) {
        self.ticks += 1;
        let now = self.ticks;
        self.put(seen, now);
    }

    /// Takes in that an object was deleted.
    pub(crate) fn heard_deleted(&mut self, key: &Key, uid: &str) {
        self.removed.remove(uid);
        if self.entries.get(key).is_some_and(|entry| entry.uid == uid) {
            self.entries.remove(key);
        }
    }

    /// Takes in that we deleted an object.
    pub(crate) fn deleted(&mut self, key: &Key, uid: &str) {
        if self.entries.get(key).is_some_and(|entry| entry.uid == uid) {
            self.entries.remove(key);
        }
        self.removed.insert(uid.to_owned());
    }

    /// A moment: what is written after it is newer than a list begun at it.
    pub(crate) const fn now(&self) -> u64 {
        self.ticks
    }

    /// Whether anything is known of a namespace, or at all.
    pub(crate) fn knows_any(&self, namespace: Option<&str>) -> bool {
        self.entries.keys().any(|key| namespace.is_none_or(|namespace| key.namespace == namespace))
    }

    /// Takes in a whole list of a namespace, or of all, that was begun at a moment: what is not in it is gone.
    pub(crate) fn replace(&mut self, namespace: Option<&str>, begun: u64, list: Vec<Seen<T>>) {
        let listed: HashSet<&str> = list.iter().map(|seen| seen.uid.as_str()).collect();
        self.entries.retain(|key, entry| {
            namespace.is_some_and(|namespace| key.namespace != namespace)
                || entry.written > begun
                || listed.contains(entry.uid.as_str())
        });
        if namespace.is_none() {
            self.removed.retain(|uid| listed.contains(uid.as_str()));
        }
        for seen in list {
            // A list is believed over what was heard before it began, whatever the versions say: those of a cluster that
            // was restored from a backup are lower than what is known.
            if self.entries.get(&seen.key).is_some_and(|known| known.written <= begun && known.version > seen.version) {
                self.entries.remove(&seen.key);
            }
            self.heard(seen);
        }
    }

    fn put(&mut self, seen: Seen<T>, written: u64) {
        if self.removed.contains(&seen.uid) {
            return;
        }
        if let Some(known) = self.entries.get(&seen.key)
            && seen.version != 0
            && seen.version < known.version
        {
            return;
        }
        let Seen { key, uid, version, value } = seen;
        match value {
            None => drop(self.entries.remove(&key)),
            Some(value) => {
                let written = self.entries.get(&key).map_or(written, |known| known.written.max(written));
                self.entries.insert(key, Entry { uid, version, written, value: Arc::new(value) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, uid: &str, version: u64, value: &'static str) -> Seen<&'static str> {
        Seen { key: Key::new("ns", name), uid: uid.to_owned(), version, value: Some(value) }
    }

    fn value(mirror: &Mirror<&'static str>, name: &str) -> Option<&'static str> {
        mirror.get(&Key::new("ns", name)).map(|value| **value)
    }

    #[test]
    fn what_a_watch_tells_late_undoes_nothing() {
        let mut mirror = Mirror::default();
        mirror.wrote(seen("a", "1", 10, "new"));
        mirror.heard(seen("a", "1", 9, "old"));
        assert_eq!(value(&mirror, "a"), Some("new"));
        mirror.deleted(&Key::new("ns", "a"), "1");
        mirror.heard(seen("a", "1", 10, "new"));
        assert_eq!(value(&mirror, "a"), None);
        mirror.wrote(seen("a", "2", 12, "again"));
        mirror.heard_deleted(&Key::new("ns", "a"), "1");
        assert_eq!(value(&mirror, "a"), Some("again"));
        mirror.heard_deleted(&Key::new("ns", "a"), "2");
        assert_eq!(value(&mirror, "a"), None);
    }

    #[test]
    fn a_list_replaces_its_namespace_but_nothing_written_since_it_began() {
        let mut mirror = Mirror::default();
        mirror.heard(seen("gone", "1", 1, "x"));
        mirror.heard(seen("stays", "2", 2, "x"));
        mirror.heard(Seen { key: Key::new("other", "b"), ..seen("b", "3", 3, "x") });
        let begun = mirror.now();
        mirror.wrote(seen("fresh", "4", 9, "x"));
        mirror.replace(Some("ns"), begun, vec![seen("stays", "2", 5, "y")]);
        assert_eq!(value(&mirror, "gone"), None);
        assert_eq!((value(&mirror, "stays"), value(&mirror, "fresh")), (Some("y"), Some("x")));
        assert!(mirror.knows_any(Some("other")));
        let begun = mirror.now();
        mirror.replace(None, begun, vec![seen("stays", "2", 1, "restored")]);
        assert_eq!(value(&mirror, "stays"), Some("restored"));
        mirror.replace(None, begun, Vec::new());
        assert!(!mirror.knows_any(None));
    }
}
