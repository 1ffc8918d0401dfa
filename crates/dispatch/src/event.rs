//! What happened somewhere.

use bytes::Bytes;

/// What happened somewhere, and what functions are told of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// The topic: `X-Topic`, and what functions' filters are held against.
    pub topic: String,
    /// The body, as it came.
    pub payload: Bytes,
    /// `X-Connector`, such as `crema/mqtt-broker`.
    pub connector: &'static str,
    /// The payload's media type, when the event says one.
    pub content_type: Option<String>,
    /// W3C Trace Context that came with the event.
    pub traceparent: Option<String>,
    /// W3C Trace Context: vendor state.
    pub tracestate: Option<String>,
}
