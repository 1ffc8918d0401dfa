//! What can go wrong in a provider, without a word of HTTP.

use wire::FunctionName;

/// Why a provider did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// There is no such function.
    #[error("function {0} not found")]
    NoFunction(FunctionName),
    /// There is no such namespace.
    #[error("namespace {0} not found")]
    NoNamespace(String),
    /// There is no such secret.
    #[error("secret {name} not found in namespace {namespace}")]
    NoSecret {
        /// The secret's name.
        name: String,
        /// The namespace looked in.
        namespace: String,
    },
    /// What was to be made exists.
    #[error("{0} already exists")]
    Exists(String),
    /// What was asked for is against the rules; the text says what, why and what to try.
    #[error("{0}")]
    Invalid(String),
    /// What was asked for does not go with what else is there; the text says with what.
    #[error("{0}")]
    Conflict(String),
    /// The disk, the system or whoever does the work failed.
    #[error("{context}: {source}")]
    Failed {
        /// What was being done.
        context: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ProviderError {
    /// A failure of the system while doing something.
    pub fn failed(context: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed { context: context.into(), source: source.into() }
    }
}
