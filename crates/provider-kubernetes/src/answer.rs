//! What the API server answers when it does not do what it is asked, in the provider's words.

use provider::ProviderError;
use std::error::Error;
use std::fmt::Write;
use std::future::Future;
use std::time::Duration;

/// How long one call of the API server may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a call of the API server came to nothing.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no such object, or no namespace for it.
    NotFound(ProviderError),
    /// There is such an object already.
    Exists(ProviderError),
    /// The object was changed meanwhile.
    Changed(ProviderError),
    /// Anything else.
    Other(ProviderError),
}

impl From<Refusal> for ProviderError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(error) | Refusal::Exists(error) | Refusal::Changed(error) | Refusal::Other(error) => {
                error
            }
        }
    }
}

/// Calls the API server.
pub(crate) async fn ask<T>(
    doing: impl Into<String>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(refusal(doing.into(), error)),
        Err(_) => Err(Refusal::Other(ProviderError::failed(
            doing,
            format!("the Kubernetes API server does not answer: nothing came for {} s", PATIENCE.as_secs()),
        ))),
    }
}

/// The same when it does not matter whether the object is there.
pub(crate) fn if_there<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Refusal::NotFound(_)) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn refusal(doing: String, error: kube::Error) -> Refusal {
    let kube::Error::Api(status) = error else {
        return Refusal::Other(ProviderError::failed(doing, unanswered(&error)));
    };
    let message = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
    match (status.code, status.reason.as_str()) {
        (404, _) => Refusal::NotFound(ProviderError::failed(doing, message)),
        (409, "AlreadyExists") => Refusal::Exists(ProviderError::Exists(doing)),
        (409, _) => Refusal::Changed(ProviderError::Conflict(format!("{doing}: {message}"))),
        (400 | 413 | 422, _) => Refusal::Other(ProviderError::Invalid(format!("{doing}: {message}"))),
        (401, _) => Refusal::Other(ProviderError::failed(
            doing,
            format!("the Kubernetes API server does not know the gateway's service account: {message}"),
        )),
        // RBAC says "cannot VERB resource"; quotas and admission say other things under the same code.
        (403, _) if message.contains(" cannot ") => Refusal::Other(ProviderError::failed(
            doing,
            format!("the gateway's service account lacks a right: {message}; give it by a Role or ClusterRole"),
        )),
        (403, _) => Refusal::Other(ProviderError::Conflict(format!("{doing}: {message}"))),
        (_, _) if message.contains("request is too large") => {
            Refusal::Other(ProviderError::Invalid(format!("{doing}: it is too large for the cluster: {message}")))
        }
        (code, _) => {
            Refusal::Other(ProviderError::failed(doing, format!("the Kubernetes API server says {code}: {message}")))
        }
    }
}

/// What happened to a call that got no answer, with its causes: kube's own text ends at "client error".
pub(crate) fn unanswered(error: &kube::Error) -> String {
    if let kube::Error::SerdeError(error) = error {
        return format!("the Kubernetes API server answers something unexpected: {error}");
    }
    let mut text = format!("the Kubernetes API server does not answer: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            write!(text, ": {said}").unwrap_or_default();
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn of(code: u16, reason: &str, message: &str) -> Refusal {
        let status = Status { code, ..Status::failure(message, reason) };
        refusal("make secret x".to_owned(), kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn each_answer_has_its_meaning() {
        assert!(matches!(of(404, "NotFound", "x"), Refusal::NotFound(_)));
        assert!(matches!(of(409, "AlreadyExists", "x"), Refusal::Exists(_)));
        assert!(matches!(of(409, "Conflict", "x"), Refusal::Changed(_)));
        for code in [400, 413, 422] {
            assert!(matches!(of(code, "Invalid", "x"), Refusal::Other(ProviderError::Invalid(_))));
        }
        assert!(matches!(of(500, "", "etcdserver: request is too large"), Refusal::Other(ProviderError::Invalid(_))));
        assert!(matches!(of(403, "Forbidden", "exceeded quota: q"), Refusal::Other(ProviderError::Conflict(_))));
        let denied = "secrets is forbidden: User \"u\" cannot create resource \"secrets\" in API group \"\"";
        let denied = ProviderError::from(of(403, "Forbidden", denied)).to_string();
        assert!(denied.contains("lacks a right") && denied.contains("cannot create resource"), "{denied}");
        assert!(ProviderError::from(of(503, "", "busy")).to_string().contains("503"));
    }

    #[test]
    fn a_server_that_is_away_is_said_to_be() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = ProviderError::from(refusal("list".to_owned(), kube::Error::Service(refused.into()))).to_string();
        assert!(error.contains("the Kubernetes API server does not answer"), "{error}");
        assert!(error.contains("connection refused"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let error = ask::<()>("list", std::future::pending()).await.map_err(ProviderError::from).unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
    }
}
