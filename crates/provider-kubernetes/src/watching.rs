//! Follows the objects of the cluster. A watch that breaks goes on where it was; while the API server is away, what it
//! said last stands.

use crate::answer;
use crate::board::{Board, Known, Touched};
use crate::endpoints::Slice;
use crate::mirror::{Key, Mirror, Seen};
use crate::namespaces::Space;
use crate::wanted::Wanted;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use kube::runtime::watcher::{self, Error, Event};
use kubernetes::{Function, WATCH_SECONDS, label};
use serde::de::DeserializeOwned;
use std::fmt::{self, Debug};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// How long a list may take.
const LIST_PATIENCE: Duration = Duration::from_secs(60);
/// The first and the longest wait before the API server is asked again.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// After so long without an error the next one counts as the first.
const CALM: Duration = Duration::from_secs(60);
/// After so many errors in a row it begins anew with a list: where the watch was may not exist any more.
const ERRORS: u32 = 4;
/// How long after an empty list it is asked again whether nothing is there.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// What is followed: a kind of objects, of one namespace or of all.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Source {
    pub(crate) what: &'static str,
    pub(crate) namespace: Option<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            None => write!(formatter, "{} of all namespaces", self.what),
            Some(namespace) => write!(formatter, "{} of namespace {namespace}", self.what),
        }
    }
}

/// A kind of objects that is followed.
pub(crate) trait Kind:
    kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// What is kept of an object.
    type Value: Send;
    const WHAT: &'static str;
    /// Which objects are asked for, by their labels.
    const LABELS: Option<&'static str>;

    /// What is kept of it; `None` when nothing is.
    fn value(self) -> Option<Self::Value>;
    fn mirror(known: &mut Known) -> &mut Mirror<Self::Value>;
    fn touches(key: &Key, value: &Self::Value) -> Touched;
}

impl Kind for Function {
    type Value = Wanted;
    const WHAT: &'static str = "functions";
    const LABELS: Option<&'static str> = None;

    /// One that is being deleted is gone: nobody is to be sent to it.
    fn value(self) -> Option<Wanted> {
        self.metadata.deletion_timestamp.is_none().then(|| Wanted::of(self))
    }

    fn mirror(known: &mut Known) -> &mut Mirror<Wanted> {
        &mut known.functions
    }

    fn touches(key: &Key, _: &Wanted) -> Touched {
        Touched::Function(key.clone())
    }
}

impl Kind for EndpointSlice {
    type Value = Slice;
    const WHAT: &'static str = "endpoint slices";
    /// Those of functions' Services: a slice carries its Service's labels.
    const LABELS: Option<&'static str> = Some(label::FUNCTION);

    fn value(self) -> Option<Slice> {
        Slice::of(self)
    }

    fn mirror(known: &mut Known) -> &mut Mirror<Slice> {
        &mut known.slices
    }

    fn touches(key: &Key, slice: &Slice) -> Touched {
        Touched::Function(Key::new(&key.namespace, &slice.service))
    }
}

impl Kind for Namespace {
    type Value = Space;
    const WHAT: &'static str = "namespaces";
    const LABELS: Option<&'static str> = None;

    fn value(self) -> Option<Space> {
        Space::of(self)
    }

    fn mirror(known: &mut Known) -> &mut Mirror<Space> {
        &mut known.spaces
    }

    fn touches(_: &Key, _: &Space) -> Touched {
        Touched::All
    }
}

/// What is kept of an object, and which it is.
pub(crate) fn seen<K: Kind>(object: K) -> Seen<K::Value> {
    let meta = object.meta();
    let key = Key::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let uid = meta.uid.clone().unwrap_or_default();
    let version = meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
    Seen { key, uid, version, value: object.value() }
}

/// Follows a source for ever.
pub(crate) async fn follow<K: Kind>(api: Api<K>, source: Source, board: &Board) {
    let mut follower = Follower { source, board, wait: WAITS.0, last: None, errors: 0 };
    loop {
        follower.run(&api).await;
    }
}

struct Follower<'a> {
    source: Source,
    board: &'a Board,
    /// How long to wait after the next error.
    wait: Duration,
    /// When there was an error last.
    last: Option<Instant>,
    /// Errors since something was read.
    errors: u32,
}

impl Follower<'_> {
    /// Follows until it is better to begin anew.
    async fn run<K: Kind>(&mut self, api: &Api<K>) {
        let config = watcher::Config { label_selector: K::LABELS.map(str::to_owned), ..watcher::Config::default() };
        let mut events = pin!(watcher::watcher(api.clone(), config.timeout(WATCH_SECONDS)));
        let mut begun = self.board.now::<K>();
        let mut list = Vec::new();
        let mut listing = true;
        loop {
            let next = events.next();
            let event = if listing {
                match tokio::time::timeout(LIST_PATIENCE, next).await {
                    Ok(event) => event,
                    Err(_) => return self.failed("the Kubernetes API server does not answer").await,
                }
            } else {
                next.await
            };
            match event {
                None => return,
                Some(Ok(Event::Init)) => {
                    begun = self.board.now::<K>();
                    list.clear();
                    listing = true;
                }
                Some(Ok(Event::InitApply(object))) => list.push(seen(object)),
                Some(Ok(Event::InitDone)) => {
                    listing = false;
                    let list = std::mem::take(&mut list);
                    if list.is_empty() && self.board.knows_any::<K>(&self.source) && !self.is_empty(api).await {
                        return;
                    }
                    self.board.replace::<K>(&self.source, begun, list);
                    self.recovered();
                }
                Some(Ok(Event::Apply(object))) => {
                    self.board.heard::<K>(seen(object));
                    self.recovered();
                }
                Some(Ok(Event::Delete(object))) => {
                    let gone = seen(object);
                    self.board.heard_deleted::<K>(&gone.key, &gone.uid);
                    self.recovered();
                }
                Some(Err(error)) => {
                    self.failed(&described(&error)).await;
                    if self.errors.is_multiple_of(ERRORS) {
                        return;
                    }
                }
            }
        }
    }

    /// Looks a second time, a while later, before it is believed that nothing is left of what was there: a server that
    /// has just come up and knows nothing yet takes no function off the table.
    async fn is_empty<K: Kind>(&mut self, api: &Api<K>) -> bool {
        tracing::warn!(source = %self.source, "The API server lists nothing any more: looking again");
        loop {
            tokio::time::sleep(SECOND_LOOK).await;
            let params = ListParams { label_selector: K::LABELS.map(str::to_owned), ..ListParams::default() };
            match answer::ask("look again", api.list_metadata(&params.limit(1))).await {
                Ok(list) => return list.items.is_empty(),
                Err(refusal) => self.failed(&provider::ProviderError::from(refusal).to_string()).await,
            }
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.errors) > 0 {
            tracing::info!(source = %self.source, "The cluster is followed again");
        }
    }

    /// Notes an error and waits before the next try.
    async fn failed(&mut self, why: &str) {
        self.board.failed(&self.source, why);
        if self.last.is_none_or(|last| last.elapsed() > CALM) {
            (self.wait, self.errors) = (WAITS.0, 0);
        }
        self.errors += 1;
        if self.errors == 1 {
            tracing::warn!(source = %self.source, error = why, "The cluster cannot be followed: what is known stands");
        } else {
            tracing::debug!(source = %self.source, error = why, "The cluster cannot be followed");
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAITS.1);
        self.last = Some(Instant::now());
    }
}

fn described(error: &Error) -> String {
    match error {
        Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => match error {
            kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
            other => answer::unanswered(other),
        },
        Error::WatchError(status) => format!("{} ({})", status.message, status.code),
        Error::NoResourceVersion => error.to_string(),
    }
}
