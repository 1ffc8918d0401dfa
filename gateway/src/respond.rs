//! Status codes are chosen here and nowhere else: what went wrong becomes a plain-text answer that says the hop, the
//! reason and the next step.

use crate::PRODUCT;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError};
use futures_util::FutureExt;
use hyper::header::HeaderValue as CallValue;
use provider::ProviderError;
use queue::QueueError;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// Why a request gets no answer of its own. The text goes to the client as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The provider did not do it.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The queue did not take it.
    #[error("the gateway did not accept the call: {0}; send it again later")]
    Queue(#[from] QueueError),
    /// The client's request is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// Not without a password.
    #[error("invalid credentials")]
    Unauthorized,
    /// Not for whoever asks.
    #[error("{0}")]
    Forbidden(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// Not with this method.
    #[error("method not allowed; allowed: {0}")]
    MethodNotAllowed(&'static str),
    /// It took the client too long to send the request.
    #[error("{0}")]
    RequestTimeout(String),
    /// It goes against what is there.
    #[error("{0}")]
    Conflict(String),
    /// The gateway asked itself, taking one of its own addresses for a peer's.
    #[error("the gateway asked itself")]
    Misdirected,
    /// The body is over a limit.
    #[error("{0}")]
    TooLarge(String),
    /// The gateway failed.
    #[error("{0}")]
    Internal(String),
    /// The function could not be reached or broke off.
    #[error("{0}")]
    BadGateway(String),
    /// Not now; try again after a while.
    #[error("{text}")]
    Unavailable {
        /// What, why, what to try.
        text: String,
        /// When it is worth trying again.
        retry_after: Option<Duration>,
    },
    /// The function took too long.
    #[error("{0}")]
    GatewayTimeout(String),
}

const CALL_ID: HeaderName = HeaderName::from_static(wire::header::CALL_ID);
const START_TIME: HeaderName = HeaderName::from_static(wire::header::START_TIME);
const INTERNAL: HeaderName = HeaderName::from_static(wire::header::INTERNAL);
const SERVED_BY: HeaderName = HeaderName::from_static(wire::header::SERVED_BY);
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(5);

impl Refusal {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Queue(_) => Some(QUEUE_RETRY_AFTER),
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The answer.
    pub(crate) fn answer(&self) -> HttpResponse {
        self.error_response()
    }
}

/// What a request gets whose handler panicked. The panic itself has been logged.
pub(crate) fn panicked() -> Refusal {
    Refusal::Internal("the gateway failed on this request; its log says why".to_owned())
}

/// What a request gets on a thread that lacks what it serves with: a fault of the gateway.
pub(crate) fn not_set_up() -> Refusal {
    Refusal::Internal("the gateway's worker was not set up".to_owned())
}

/// Lets a panic end one request and nothing else.
pub(crate) async fn survive(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    AssertUnwindSafe(next.call(request)).catch_unwind().await.unwrap_or_else(|_panic| Err(panicked().into()))
}

/// Marks the answer of a call: its id, when it began, who answered.
pub(crate) fn mark(headers: &mut HeaderMap, call_id: &CallValue, start: &CallValue) {
    headers.insert(SERVED_BY, HeaderValue::from_static(PRODUCT));
    for (name, value) in [(CALL_ID, call_id), (START_TIME, start)] {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Provider(error) => of_provider(error),
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::Queue(_) | Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        answer
            .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
            .insert_header((INTERNAL, HeaderValue::from_static("gateway")))
            .insert_header((SERVED_BY, HeaderValue::from_static(PRODUCT)));
        match self {
            Self::Unauthorized => {
                answer
                    .insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="Restricted""#)));
            }
            Self::MethodNotAllowed(allowed) => {
                answer.insert_header((header::ALLOW, HeaderValue::from_static(allowed)));
            }
            Self::Provider(error @ ProviderError::Failed { .. }) => {
                tracing::error!(error = error as &dyn std::error::Error, "the provider failed");
            }
            _ => {}
        }
        if let Some(wait) = self.retry_after() {
            answer.insert_header((header::RETRY_AFTER, wait.as_secs().max(1)));
        }
        // What OpenFaaS's clients compare has no line end.
        let end = if matches!(self, Self::Unauthorized) { "" } else { "\n" };
        answer.body(format!("{self}{end}"))
    }
}

fn of_provider(error: &ProviderError) -> StatusCode {
    match error {
        ProviderError::NoFunction(_) | ProviderError::NoNamespace(_) | ProviderError::NoSecret { .. } => {
            StatusCode::NOT_FOUND
        }
        ProviderError::Exists(_) | ProviderError::Conflict(_) => StatusCode::CONFLICT,
        ProviderError::Invalid(_) => StatusCode::BAD_REQUEST,
        ProviderError::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
