//! The body of an answer, wherever it comes from.

use crate::output::{Failure, Output};
use bytes::Bytes;
use forward::ResponseBody;
use function_sdk::log;
use function_sdk::server::BoxError;
use futures_util::Stream;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of an answer.
pub(crate) enum Reply {
    /// Held whole.
    Whole(Full<Bytes>),
    /// From the process that serves HTTP.
    Upstream(ResponseBody),
    /// From the process that serves HTTP, asked for a WebSocket.
    Incoming(Incoming),
    /// From a file.
    File(Pin<Box<dyn Stream<Item = io::Result<Bytes>>>>),
    /// From a process's stdout.
    Output(Pin<Box<dyn Stream<Item = Result<Bytes, Failure>>>>),
}

impl Reply {
    /// `first` and then what else comes. An end that is not good is an error, which cuts the answer short.
    pub(crate) fn streamed(first: Bytes, output: Output) -> Self {
        let pieces = futures_util::stream::unfold((Some(first), Some(output)), |(first, output)| async {
            if let Some(first) = first {
                return Some((Ok(first), (None, output)));
            }
            let mut output = output?;
            match output.next().await? {
                Ok(piece) => Some((Ok(piece), (None, Some(output)))),
                Err(failure) => {
                    log(format_args!("the answer is cut short: {failure}"));
                    // What came before goes out first: an error drops what is still buffered.
                    tokio::task::yield_now().await;
                    Some((Err(failure), (None, None)))
                }
            }
        });
        Self::Output(Box::pin(pieces))
    }
}

impl Reply {
    /// A file, read as it goes out.
    pub(crate) fn file(pieces: impl Stream<Item = io::Result<Bytes>> + 'static) -> Self {
        Self::File(Box::pin(pieces))
    }
}

impl From<Bytes> for Reply {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl From<Full<Bytes>> for Reply {
    fn from(body: Full<Bytes>) -> Self {
        Self::Whole(body)
    }
}

impl From<ResponseBody> for Reply {
    fn from(body: ResponseBody) -> Self {
        Self::Upstream(body)
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Upstream(body) => {
                // Its error holds a boxed one that is no `Sync` everywhere; the words are what counts here.
                Pin::new(body).poll_frame(context).map_err(|error| error.to_string().into())
            }
            Self::Incoming(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::File(pieces) => {
                let piece = pieces.as_mut().poll_next(context);
                piece.map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(Into::into)))
            }
            Self::Output(pieces) => {
                let piece = pieces.as_mut().poll_next(context);
                piece.map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Incoming(body) => body.is_end_stream(),
            Self::Output(_) | Self::File(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Incoming(body) => body.size_hint(),
            Self::Output(_) | Self::File(_) => SizeHint::default(),
        }
    }
}
