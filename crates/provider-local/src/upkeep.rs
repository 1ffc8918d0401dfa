//! Upkeep beside the reconcile loop: images are unpacked before a call needs them and freed when nobody does, data
//! directories are measured, rules of the box's firewall are set again when they are gone. Nothing here is waited for by
//! anyone.

use crate::config::ImageLimits;
use crate::data::Data;
use crate::desired::{self, Desired, Entry};
use crate::images::Images;
use crate::isolation::Isolation;
use crate::logs::Logs;
use crate::state::State;
use daemon::{Clock, Stop};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use wire::{FunctionName, annotation};

/// How long the box can be without the rules for functions with a way out.
const UPHOLD_INTERVAL: Duration = Duration::from_secs(10);

/// What is looked after.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) state: Arc<State>,
    pub(crate) images: Images,
    pub(crate) data: Data,
    pub(crate) logs: Arc<Logs>,
    pub(crate) isolation: Arc<Isolation>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: ImageLimits,
    pub(crate) measure_interval: Duration,
}

impl Upkeep {
    /// Goes on until stopped.
    pub(crate) async fn run(self, mut stop: Stop) {
        let (images, data) = (self.clone(), self.clone());
        let all = async {
            tokio::join!(
                every(self.limits.interval, || {
                    let images = images.clone();
                    move || images.look_through()
                }),
                every(self.measure_interval, || {
                    let data = data.clone();
                    move || data.measure()
                }),
                every(UPHOLD_INTERVAL, || {
                    let isolation = Arc::clone(&self.isolation);
                    move || isolation.uphold()
                }),
            )
        };
        tokio::select! {
            _ = all => {}
            () = stop.wait() => self.data.stop(),
        }
    }

    /// Unpacks what is deployed, and frees what is not.
    fn look_through(&self) {
        let functions = self.state.functions();
        for (name, entry) in &functions {
            let Entry::Known(desired) = entry else { continue };
            for (image, digest) in images_of(desired) {
                if self.is_stopped() {
                    return;
                }
                self.unpack(name, image, digest);
            }
        }
        // Only now: what has been deployed since is marked as used, and stays.
        let known = self.state.functions().into_values().filter_map(|entry| match entry {
            Entry::Known(desired) => Some(desired),
            Entry::Unreadable(_) => None,
        });
        let in_use =
            known.flat_map(|desired| images_of(&desired).map(|(_, digest)| digest.to_owned()).collect::<Vec<_>>());
        match self.images.retain(in_use.collect(), self.limits, self.now()) {
            Ok(removed) if removed.blobs + removed.unpacked > 0 => {
                let (blobs, unpacked, bytes) = (removed.blobs, removed.unpacked, removed.bytes);
                tracing::info!(blobs, unpacked, bytes, "Images that nothing uses are removed");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "Images that nothing uses cannot be removed"),
        }
    }

    fn unpack(&self, name: &FunctionName, image: &str, digest: &str) {
        let Ok(reference) = image.parse() else { return };
        if let Err(error) = self.images.prepare(&reference, Some(digest), self.now()) {
            tracing::warn!(function = %name, image, %error, "An image cannot be made ready");
        }
    }

    /// Measures the data directories that are to stay below a size, and removes what is left of those of deleted functions.
    fn measure(&self) {
        if let Err(error) = self.data.finish_purges() {
            tracing::warn!(%error, "Data of a deleted function cannot be removed");
        }
        for (name, entry) in self.state.functions() {
            let Entry::Known(desired) = entry else { continue };
            let Some(most) = desired::data_size(&desired.deployment) else { continue };
            if self.is_stopped() {
                return;
            }
            match self.data.size(&name) {
                Ok(bytes) => self.measured(&name, bytes, most),
                Err(error) => tracing::warn!(function = %name, %error, "A data directory cannot be measured"),
            }
        }
    }

    fn measured(&self, name: &FunctionName, bytes: u64, most: u64) {
        let text = (bytes > most).then(|| {
            format!(
                "its data directory holds {}, more than the {} of {}; make room, or deploy it with more",
                in_mebibytes(bytes),
                in_mebibytes(most),
                annotation::DATA_SIZE
            )
        });
        if self.state.set_data_trouble(name, text.clone())
            && let Some(text) = text
        {
            tracing::warn!(function = %name, text, "A data directory is too large");
            self.logs.of(name).note("", &text);
        }
    }

    fn now(&self) -> SystemTime {
        self.clock.now().into()
    }

    /// Between two images, or two directories, it is looked at whether there is time for more.
    fn is_stopped(&self) -> bool {
        self.data.is_stopped()
    }
}

/// The images a function may need: of its version and of the one it would go back to.
fn images_of(desired: &Desired) -> impl Iterator<Item = (&str, &str)> {
    let now = (desired.deployment.image.as_str(), desired.digest.as_str());
    let before = desired.before.as_ref().map(|before| (before.deployment.image.as_str(), before.digest.as_str()));
    [now].into_iter().chain(before)
}

/// Does something now and after each interval, on a blocking thread.
async fn every<W: FnOnce() + Send + 'static>(interval: Duration, work: impl Fn() -> W) {
    loop {
        // A panic in it is told by the runtime; the next time may be better.
        tokio::task::spawn_blocking(work()).await.unwrap_or_default();
        tokio::time::sleep(interval).await;
    }
}

pub(crate) fn in_mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
