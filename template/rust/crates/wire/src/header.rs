//! Header names as text, lower case, because two generations of the `http` crate are in use (actix-web has 0.2).

/// The invocation's id; the same over retries.
pub const CALL_ID: &str = "x-call-id";
/// When the gateway took the call: Unix time in nanoseconds, decimal.
pub const START_TIME: &str = "x-start-time";
/// Who answered: `crema/VERSION`.
pub const SERVED_BY: &str = "x-served-by";
/// Where the result of an asynchronous invocation is posted.
pub const CALLBACK_URL: &str = "x-callback-url";
/// Seconds the call took, as a decimal number.
pub const DURATION_SECONDS: &str = "x-duration-seconds";
/// The function of a callback.
pub const FUNCTION_NAME: &str = "x-function-name";
/// The function's HTTP status in a callback.
pub const FUNCTION_STATUS: &str = "x-function-status";
/// Which hop made an error answer: the platform, not the function.
pub const INTERNAL: &str = "x-openfaas-internal";
/// The event's topic.
pub const TOPIC: &str = "x-topic";
/// Which connector made the call.
pub const CONNECTOR: &str = "x-connector";
/// Attempts made before this one.
pub const RETRY: &str = "x-retry";
/// The most attempts there will be.
pub const RETRY_MAX: &str = "x-retry-max";
/// A shorter time limit for this call, a Go duration.
pub const TIMEOUT: &str = "x-timeout";
/// The peers a request came through.
pub const FORWARDED_FOR: &str = "x-forwarded-for";
/// The `Host` the client asked for.
pub const FORWARDED_HOST: &str = "x-forwarded-host";
/// W3C Trace Context: the parent span.
pub const TRACEPARENT: &str = "traceparent";
/// W3C Trace Context: vendor state.
pub const TRACESTATE: &str = "tracestate";

/// Headers that belong to one connection and are not passed on (RFC 9110 §7.6.1, and those gateway-api §3.4 names).
pub const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether `name` (any case) belongs to one connection only.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|hop| hop.eq_ignore_ascii_case(name))
}
