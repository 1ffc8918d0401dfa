//! Invocations by function, kept over restarts: the `invocationCount` of `/system/functions`.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use wire::FunctionName;

/// A count that workers share.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counts of all functions ever called and not deleted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    // A std lock: held for a look-up, and workers keep what they looked up.
    counts: RwLock<HashMap<FunctionName, Arc<Counter>>>,
    saved: RwLock<BTreeMap<String, u64>>,
}

impl Counters {
    /// How often a function was called.
    pub(crate) fn count(&self, name: &FunctionName) -> u64 {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        counts.get(name).map_or(0, |counter| counter.0.load(Ordering::Relaxed))
    }

    /// All counts, by `name.namespace`.
    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(name, counter)| (name.to_string(), counter.0.load(Ordering::Relaxed))).collect()
    }

    /// A function's counter. Ask only for functions that are deployed.
    pub(crate) fn of(&self, name: &FunctionName) -> Arc<Counter> {
        if let Some(counter) = self.counts.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(counter);
        }
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counts.entry(name.clone()).or_default())
    }

    /// Forgets a function that was deleted.
    pub(crate) fn forget(&self, name: &FunctionName) {
        self.counts.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Reads what [`Counters::save`] wrote. A file that is not there is no error; one that cannot be read is told and
    /// counting starts anew.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let saved: BTreeMap<String, u64> = serde_json::from_slice(&text)?;
        let counts = saved
            .iter()
            .filter_map(|(name, count)| Some((name.parse().ok()?, Arc::new(Counter(AtomicU64::new(*count))))))
            .collect();
        Ok(Self { counts: RwLock::new(counts), saved: RwLock::new(saved) })
    }

    /// Writes the counts when they changed since they were last written or read.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let now = self.all();
        if *self.saved.read().unwrap_or_else(PoisonError::into_inner) == now {
            return Ok(());
        }
        let written = path.with_extension("new");
        let mut file = std::fs::File::create(&written)?;
        file.write_all(&serde_json::to_vec(&now)?)?;
        // The last second may be lost, so no sync: a file that arrives half is told apart when it is read.
        std::fs::rename(&written, path)?;
        *self.saved.write().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_outlive_a_restart_and_deleted_functions_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counters.json");
        let (order, gone): (FunctionName, FunctionName) = ("order".parse().unwrap(), "gone.shop".parse().unwrap());
        let counters = Counters::load(&path).unwrap();
        counters.of(&order).increment();
        counters.of(&order).increment();
        counters.of(&gone).increment();
        counters.save(&path).unwrap();
        counters.forget(&gone);
        counters.save(&path).unwrap();
        let again = Counters::load(&path).unwrap();
        assert_eq!((again.count(&order), again.count(&gone)), (2, 0));
        std::fs::write(&path, "{").unwrap();
        assert!(Counters::load(&path).is_err());
    }
}
