//! Conditions of a Function (kubernetes.md §1). What waits for a deploy (Fleet, Flux, Argo, `kubectl wait`) reads them.

/// `True`: the objects of this generation are applied and what they need is there; also at zero replicas. `Unknown`: a new
/// generation is not looked at yet. `False`: it cannot be done, `Stalled` says why.
pub const READY: &str = "Ready";
/// `True` while a change is being rolled out; absent otherwise.
pub const RECONCILING: &str = "Reconciling";
/// `True` when it cannot go on by itself; the message says what is missing and what to do. Absent otherwise.
pub const STALLED: &str = "Stalled";
/// `True` when at least one replica is ready; `False` at zero.
pub const HEALTHY: &str = "Healthy";

/// The reason, with [`RECONCILING`] `True` or [`HEALTHY`] `False`, that replicas do not get ready and why is known: the image
/// cannot be pulled, the program ends. The message says which; it is what REST clients see. Any other reason is progress.
pub const REPLICAS_FAILING: &str = "ReplicasFailing";
