//! W3C Trace Context of a call: taken over, or begun.
//!
//! With an exporter every call is a span whose parent is the context that came; the span's own context goes on to the
//! function. Without one a context that came goes on as it is, and one is made up when none came, so that functions
//! and the queue have something to tell calls apart by.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use queue::TraceContext;
use rand::Rng;
use std::str::FromStr;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use wire::header::{TRACEPARENT, TRACESTATE};

pub(crate) const PARENT: HeaderName = HeaderName::from_static(TRACEPARENT);
pub(crate) const STATE: HeaderName = HeaderName::from_static(TRACESTATE);

/// Writes the context that goes on into `headers`, which hold the one that came, if any.
pub(crate) fn pass_on(span: &Span, headers: &mut HeaderMap) {
    if !span.is_none() {
        let context = span.context();
        let context = context.span().span_context().clone();
        if context.is_valid() {
            if let Ok(value) = HeaderValue::from_str(&written(&context)) {
                headers.insert(PARENT, value);
            }
            return;
        }
    }
    if !headers.contains_key(PARENT)
        && let Ok(value) = HeaderValue::from_str(&made_up())
    {
        headers.remove(STATE);
        headers.insert(PARENT, value);
    }
}

/// Sets a span's parent to the context that came.
pub(crate) fn set_parent(span: &Span, traceparent: &str, tracestate: &str) {
    if let Some(parent) = read(traceparent, tracestate) {
        // An error says that nothing listens to the span.
        drop(span.set_parent(Context::new().with_remote_span_context(parent)));
    }
}

/// The context of `headers`, for the queue's record.
pub(crate) fn of_headers(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name| headers.get(&name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Some(TraceContext { traceparent: text(PARENT)?, tracestate: text(STATE).unwrap_or_default() })
}

fn read(traceparent: &str, tracestate: &str) -> Option<SpanContext> {
    let mut parts = traceparent.trim().split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let extended = parts.next().is_some();
    if version.len() != 2 || version == "ff" || (version == "00" && extended) {
        return None;
    }
    if trace.len() != 32 || parent.len() != 16 || flags.len() != 2 {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(parent).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & 1),
        true,
        TraceState::from_str(tracestate).unwrap_or_default(),
    );
    context.is_valid().then_some(context)
}

fn written(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

fn made_up() -> String {
    let mut random = rand::rng();
    // Not sampled: nobody collects it.
    format!("00-{:032x}-{:016x}-00", random.random_range(1..=u128::MAX), random.random_range(1..=u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_that_came_is_understood_and_one_made_up_is_valid() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(written(&read(text, "a=b").unwrap()), text);
        assert!(read(&made_up(), "").is_some());
        for bad in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(read(bad, "").is_none(), "{bad}");
        }
    }

    #[test]
    fn without_an_exporter_a_context_that_came_stays_as_it_is() {
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        let before = headers.clone();
        pass_on(&Span::none(), &mut headers);
        assert_eq!(headers, before);
    }
}
