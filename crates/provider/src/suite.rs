//! The suite every provider passes: each promise of [`Provider`] as a test.
//!
//! A provider's crate implements [`Subject`] and calls [`provider_suite!`](crate::provider_suite) with it; each promise
//! becomes a `#[tokio::test]` of its own.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a broken promise ends the test")]

pub mod functions;
pub mod namespaces;
pub mod secrets;
pub mod table;

use crate::{Provider, ReplicaTable, Result};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use wire::FunctionName;
use wire::function::{FunctionDeployment, TextMap};
use wire::namespace::{MARK, Namespace};

/// How long a replica may take to get ready or to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// A provider under test, and what it can run.
#[async_trait]
pub trait Subject: Send + Sync {
    /// A new provider without functions, at work. Whatever it needs lives as long as the subject.
    async fn provider(&self) -> Arc<dyn Provider>;

    /// An image that it can run.
    fn image(&self) -> String;

    /// Another one.
    fn other_image(&self) -> String;

    /// A valid reference to an image it does not have; `None` when it only finds out by starting one.
    fn missing_image(&self) -> Option<String>;

    /// What [`provider`](Self::provider) gave last, after a crash and a new start; `None` when it keeps nothing.
    async fn after_a_crash(&self) -> Option<Arc<dyn Provider>> {
        None
    }
}

/// A subject with a provider: what each promise is tried on.
#[expect(missing_debug_implementations, reason = "neither a subject nor a provider has one")]
pub struct Trial {
    subject: Box<dyn Subject>,
    provider: Arc<dyn Provider>,
}

impl Trial {
    /// Starts the subject's provider.
    pub async fn new(subject: impl Subject + 'static) -> Self {
        let subject = Box::new(subject);
        let provider = subject.provider().await;
        Self { subject, provider }
    }

    /// The least that can be deployed.
    fn deployment(&self, name: &str) -> FunctionDeployment {
        FunctionDeployment { service: name.to_owned(), image: self.subject.image(), ..FunctionDeployment::default() }
    }

    async fn deployed(&self, name: &str) -> FunctionName {
        self.provider.deploy(self.deployment(name)).await.unwrap();
        name.parse().unwrap()
    }

    async fn names(&self, namespace: &str) -> Vec<String> {
        self.provider.list(namespace).await.unwrap().into_iter().map(|status| status.name).collect()
    }
}

/// Waits until so many replicas of a function are ready.
async fn ready(mut table: ReplicaTable, name: &FunctionName, wanted: usize) {
    let waiting = table.wait_for(name, |replicas| replicas.is_some_and(|replicas| replicas.ready.len() == wanted));
    let alive = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(alive.is_ok_and(|alive| alive), "{name} never had {wanted} replicas ready");
}

fn namespace(name: &str) -> Namespace {
    let mark: TextMap = [MARK].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Namespace { name: name.to_owned(), annotations: mark.clone(), labels: mark }
}

/// Asserts that a result is the error of this variant.
macro_rules! refused {
    ($result:expr, $variant:ident) => {
        match $result {
            Err($crate::ProviderError::$variant { .. }) => {}
            other => panic!(
                concat!("{}: expected ", stringify!($variant), ", got {:?}"),
                stringify!($result),
                other.map(|_| "success")
            ),
        }
    };
}
use refused;

fn map<const N: usize>(entries: [(&str, &str); N]) -> TextMap {
    entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Gives what a promise made under `Result` says, for `?` where a failure needs no more words.
type Promise = Result<()>;

/// Makes one test of each promise. Give an expression that makes a [`Subject`].
#[macro_export]
macro_rules! provider_suite {
    ($subject:expr) => {
        $crate::provider_suite!(@group functions, $subject;
            a_function_is_listed_as_it_was_deployed,
            functions_are_listed_by_name,
            what_is_deployed_is_not_deployed_again,
            an_update_replaces_the_specification,
            the_same_update_changes_nothing,
            an_update_of_an_unknown_function_is_refused,
            a_failed_update_harms_nothing,
            bad_deployments_are_refused,
            a_missing_image_is_refused,
            a_deleted_function_is_gone,
            a_deleted_function_can_be_deployed_again,
            scaling_changes_what_is_wanted,
            logs_of_an_unknown_function_are_refused,
            logs_without_following_end,
            a_crash_loses_no_function,
        );
        $crate::provider_suite!(@group namespaces, $subject;
            the_default_namespace_is_there,
            a_namespace_keeps_labels_and_annotations,
            namespaces_keep_functions_apart,
            unknown_namespaces_are_refused,
            bad_namespace_names_are_refused,
            the_default_namespace_stays,
            a_namespace_with_functions_stays,
            a_removed_namespace_takes_its_secrets_along,
        );
        $crate::provider_suite!(@group secrets, $subject;
            secrets_are_listed_by_name_and_apart,
            an_existing_secret_is_not_made_again,
            unknown_secrets_are_refused,
            bad_secret_names_are_refused,
            a_missing_secret_refuses_the_deployment,
            a_mounted_secret_stays,
        );
        $crate::provider_suite!(@group table, $subject;
            the_table_has_a_function_when_deploy_returns,
            replicas_get_ready_and_go_with_scaling,
            replicas_of_one_function_have_names_of_their_own,
            the_fewest_replicas_follow_the_label,
            a_deleted_function_leaves_the_table,
            a_failed_update_leaves_the_table_alone,
        );
    };
    (@group $group:ident, $subject:expr; $($promise:ident,)*) => {
        mod $group {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test]
                async fn $promise() {
                    let trial = $crate::suite::Trial::new($subject).await;
                    if let Err(error) = $crate::suite::$group::$promise(&trial).await {
                        panic!("{error}");
                    }
                }
            )*
        }
    };
}
