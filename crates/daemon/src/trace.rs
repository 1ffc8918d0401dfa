//! Traces: OpenTelemetry over OTLP/HTTP, off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
//!
//! Context travels as W3C Trace Context headers. With the exporter off a context that came in is passed on as it is,
//! and nothing else is done.

use crate::env::Env;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter as Exporter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::registry::LookupSpan;

/// Where spans go: the base URL of an OTLP/HTTP receiver, such as `http://127.0.0.1:4318`.
pub const ENV_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The exporter cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("{ENV_ENDPOINT}: {0}; give the base URL of an OTLP/HTTP receiver, such as http://127.0.0.1:4318, or unset it")]
pub struct TraceError(String);

/// Keeps the exporter; dropping it sends what is left.
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

static EXPORTING: AtomicBool = AtomicBool::new(false);

/// Whether spans go anywhere. Where they do not, making them is work for nothing.
#[must_use]
pub fn exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// How long a receiver may take: OTLP's usual time.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const LONGEST_ANSWER: usize = 1 << 20;

/// Posts spans. The exporter's own client speaks HTTP/2 besides, which was a twentieth of the whole program.
#[derive(Debug)]
struct Post(Client<HttpConnector, Full<Bytes>>);

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let (head, body) = self.0.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(LIMIT, exchange).await?
    }
}

/// An exporter with a runtime to do its I/O on: the SDK calls it from a thread that has none.
#[derive(Debug)]
struct OwnRuntime {
    exporter: SpanExporter,
    runtime: Runtime,
}

impl OwnRuntime {
    fn new(exporter: SpanExporter) -> std::io::Result<Self> {
        Ok(Self { exporter, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()? })
    }
}

impl Exporter for OwnRuntime {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        std::future::ready(self.runtime.block_on(self.exporter.export(batch)))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// A layer without a type of its own.
pub(crate) type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// The layer that turns spans into OpenTelemetry's, when an endpoint is configured.
pub(crate) fn init<S>(env: &impl Env, service: &'static str) -> Result<(Traces, Option<BoxedLayer<S>>), TraceError>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let Some(endpoint) = env.get(ENV_ENDPOINT) else { return Ok((Traces(None), None)) };
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Post(Client::builder(TokioExecutor::new()).build_http()))
        .with_endpoint(url)
        .build()
        .map_err(|error| TraceError(error.to_string()))?;
    let exporter = OwnRuntime::new(exporter).map_err(|error| TraceError(error.to_string()))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(
            Resource::builder_empty().with_attribute(opentelemetry::KeyValue::new("service.name", service)).build(),
        )
        .build();
    EXPORTING.store(true, Ordering::Relaxed);
    let layer =
        tracing_opentelemetry::layer().with_tracer(provider.tracer("crema")).with_filter(LevelFilter::INFO).boxed();
    Ok((Traces(Some(provider)), Some(layer)))
}
