//! The body of a request on its way to an upstream.

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Why a body broke off before its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>>>>;

/// A request's body.
#[derive(Default)]
pub enum Body {
    /// None, and no `Content-Length` either.
    #[default]
    Empty,
    /// All of it, sent with its length, also when that is 0.
    Full(Bytes),
    /// As it comes: read no faster than the upstream takes it.
    Stream {
        /// The chunks.
        chunks: Chunks,
        /// The length when it is known; sent chunked when it is not.
        length: Option<u64>,
    },
}

impl Body {
    /// A streamed body.
    pub fn stream(chunks: impl Stream<Item = Result<Bytes, BodyError>> + 'static, length: Option<u64>) -> Self {
        Self::Stream { chunks: Box::pin(chunks), length }
    }

    /// The length that is sent; `None` when none is.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::Stream { length, .. } => *length,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Stream { .. } => "Stream",
        };
        formatter.debug_struct(kind).field("length", &self.length()).finish()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream { chunks, .. } => {
                chunks.as_mut().poll_next(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream { length, .. } => *length == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stream { length: None, .. } => SizeHint::default(),
            known => SizeHint::with_exact(known.length().unwrap_or(0)),
        }
    }
}
