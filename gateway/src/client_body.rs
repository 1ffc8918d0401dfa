//! The body a client sends: whole when it is small, else as it comes, and not for longer than the time limit.

use crate::respond::Refusal;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use forward::{Body, BodyError};
use futures_util::{Stream, StreamExt};
use std::cell::Cell;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, timeout_at};

/// Why a client's body did not come to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("the body did not arrive within {} (read_timeout); send it faster", wire::duration::format(*.0))]
    TooSlow(Duration),
    #[error("the connection broke off before the body had arrived: {0}")]
    Cut(String),
    #[error(
        "the body is larger than {0} bytes, which is the most for an asynchronous call (async_body_limit); send less, \
         or call /function instead"
    )]
    TooLarge(usize),
}

impl ClientError {
    /// Finds it among the causes of another error.
    pub(crate) fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::TooSlow(_) => Self::RequestTimeout(text),
            ClientError::Cut(_) => Self::BadRequest(text),
            ClientError::TooLarge(_) => Self::TooLarge(text),
        }
    }
}

/// A body that goes on to a function.
pub(crate) enum ClientBody {
    /// Can be sent again.
    Small(AtHand),
    /// Can be sent once it is begun.
    Stream { lent: Rc<Cell<Option<Chunks>>>, length: Option<u64> },
}

/// A body at hand.
pub(crate) enum AtHand {
    None,
    Bytes(Bytes),
}

impl ClientBody {
    /// The body for one sending; `None` when one has begun already.
    pub(crate) fn take(&mut self) -> Option<Body> {
        match self {
            Self::Small(AtHand::None) => Some(Body::Empty),
            Self::Small(AtHand::Bytes(bytes)) => Some(Body::Full(bytes.clone())),
            Self::Stream { lent, length } => {
                let chunks = Lent { chunks: Some(lent.take()?), home: Rc::clone(lent), begun: false };
                Some(Body::stream(chunks, *length))
            }
        }
    }

    /// Reads what is small, and prepares what is not.
    pub(crate) async fn read(headers: &HeaderMap, payload: Payload, limit: Duration) -> Result<Self, ClientError> {
        let deadline = Instant::now() + limit;
        let length = match length(headers) {
            Length::None => return Ok(Self::Small(AtHand::None)),
            Length::Known(0) => return Ok(Self::Small(AtHand::Bytes(Bytes::new()))),
            Length::Known(length) => Some(length),
            Length::Unknown => None,
        };
        if let Some(length) = length.and_then(|length| usize::try_from(length).ok())
            && length <= forward::SMALL_BODY
        {
            let bytes = collect(payload, length, forward::SMALL_BODY, deadline, limit).await?;
            return Ok(Self::Small(AtHand::Bytes(bytes)));
        }
        let chunks = Chunks { payload, alarm: Box::pin(tokio::time::sleep_until(deadline)), limit };
        Ok(Self::Stream { lent: Rc::new(Cell::new(Some(chunks))), length })
    }
}

/// Reads a body whole, up to `most` bytes.
pub(crate) async fn read_whole(
    headers: &HeaderMap,
    payload: Payload,
    most: usize,
    limit: Duration,
) -> Result<Bytes, ClientError> {
    let length = match length(headers) {
        Length::None => return Ok(Bytes::new()),
        Length::Known(length) => match usize::try_from(length) {
            Ok(length) if length <= most => length,
            _ => return Err(ClientError::TooLarge(most)),
        },
        Length::Unknown => 0,
    };
    collect(payload, length, most, Instant::now() + limit, limit).await
}

async fn collect(
    mut payload: Payload,
    expected: usize,
    most: usize,
    deadline: Instant,
    limit: Duration,
) -> Result<Bytes, ClientError> {
    let reading = async {
        let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
        let first = first.map_err(cut)?;
        // What came in one piece is not copied.
        if first.len() == expected {
            return Ok(first);
        }
        if first.len() > most {
            return Err(ClientError::TooLarge(most));
        }
        let mut whole = BytesMut::with_capacity(expected.max(first.len()));
        whole.extend_from_slice(&first);
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(cut)?;
            if whole.len() + chunk.len() > most {
                return Err(ClientError::TooLarge(most));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    };
    timeout_at(deadline, reading).await.unwrap_or(Err(ClientError::TooSlow(limit)))
}

fn cut(error: PayloadError) -> ClientError {
    ClientError::Cut(error.to_string())
}

enum Length {
    None,
    Known(u64),
    Unknown,
}

/// How long a body is. The server has refused a length that is none.
fn length(headers: &HeaderMap) -> Length {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Length::Unknown;
    }
    match headers.get(CONTENT_LENGTH) {
        Some(length) => length.to_str().ok().and_then(|text| text.parse().ok()).map_or(Length::Unknown, Length::Known),
        None => Length::None,
    }
}

/// A body on loan for one sending. It comes back when nothing was read of it, so that another replica may have it.
struct Lent {
    chunks: Option<Chunks>,
    home: Rc<Cell<Option<Chunks>>>,
    begun: bool,
}

impl Stream for Lent {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(chunks) = &mut self.chunks else { return Poll::Ready(None) };
        let polled = chunks.poll_next_unpin(context);
        self.begun |= polled.is_ready();
        polled
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.begun {
            self.home.set(self.chunks.take());
        }
    }
}

/// A body as it comes.
pub(crate) struct Chunks {
    payload: Payload,
    alarm: Pin<Box<Sleep>>,
    limit: Duration,
}

impl Stream for Chunks {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(next) = self.payload.poll_next_unpin(context) {
            return Poll::Ready(next.map(|chunk| chunk.map_err(|error| cut(error).into())));
        }
        if self.alarm.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(ClientError::TooSlow(self.limit).into())));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::FromRequest;
    use actix_web::test::TestRequest;

    #[tokio::test]
    async fn a_streamed_body_comes_back_until_something_was_read_of_it() {
        let request = TestRequest::default().insert_header(("transfer-encoding", "chunked")).set_payload("abc");
        let (request, mut payload) = request.to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        let mut body = ClientBody::read(request.headers(), payload, Duration::from_secs(20)).await.unwrap();
        drop(body.take().unwrap());
        let Some(Body::Stream { mut chunks, length: None }) = body.take() else { panic!("it is streamed") };
        assert!(body.take().is_none());
        assert_eq!(chunks.next().await.unwrap().unwrap(), "abc");
        drop(chunks);
        assert!(body.take().is_none());
    }
}
