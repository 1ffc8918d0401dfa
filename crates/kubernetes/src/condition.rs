//! Conditions of a Function (kubernetes.md §1). What waits for a deploy (Fleet, Flux, Argo, `kubectl wait`) reads them.

/// `True`: what this generation asks for is applied and rolled out; also at zero replicas, while it is scaled, and when a
/// replica is lost later. `False`: not yet, `Reconciling` says how far it is, or not at all, `Stalled` says why. `Unknown`: it
/// is about to be looked at for the first time.
pub const READY: &str = "Ready";
/// `True` while a change is being rolled out; absent otherwise.
pub const RECONCILING: &str = "Reconciling";
/// `True` when it cannot go on by itself; the message says what is missing and what to do. Absent otherwise.
pub const STALLED: &str = "Stalled";
/// `True` when at least one replica is ready; `False` at zero.
pub const HEALTHY: &str = "Healthy";

/// The reason, with [`RECONCILING`] `True` or [`HEALTHY`] `False`, that replicas do not get ready and why is known: the image
/// cannot be pulled, the program ends, a quota is used up. The message says which; it is what REST clients see. Any other
/// reason is progress.
pub const REPLICAS_FAILING: &str = "ReplicasFailing";
