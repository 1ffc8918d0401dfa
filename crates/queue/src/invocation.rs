//! What is kept of an accepted invocation: all that a delivery needs, nothing decoded.

use bytes::Bytes;
use wire::FunctionName;

/// An asynchronous invocation as it was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// The invocation's id, `X-Call-Id`: the client's or one made for it. Never a key of the store.
    pub call_id: String,
    /// The function.
    pub function: FunctionName,
    /// The HTTP method as the client sent it.
    pub method: String,
    /// Raw path after the function's name and raw query: `/a%2Fb?c=d`; at least `/`.
    pub path_and_query: String,
    /// All headers but hop-by-hop ones, in order, values as bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// Where the result is posted.
    pub callback_url: Option<String>,
    /// When it was accepted: milliseconds since 1970.
    pub accepted_at: u64,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
    /// Who brought it.
    pub source: Source,
    /// Invocations of one function with one key run one after another, in the order accepted.
    pub key: Option<String>,
}

/// W3C Trace Context as text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceContext {
    /// `traceparent`.
    pub traceparent: String,
    /// `tracestate`; empty when there was none.
    pub tracestate: String,
}

/// Who brought an invocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// A client of `/async-function`.
    Http,
    /// An MQTT message.
    Mqtt,
    /// A schedule.
    Cron,
}
