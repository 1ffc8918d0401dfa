//! The operator against a real cluster, the one `KUBECONFIG` names: in namespaces of its own, which it deletes.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says where")]

mod changes;
mod cluster;
mod faults;
mod generated;
mod leaders;
mod namespaces;
mod pods;
mod refusals;
