//! The watchdog as a service: every call to its mode, health by the lock file, readiness by the process.

use crate::lock::Lock;
use crate::mode::Mode;
use crate::reply::Reply;
use bytes::Bytes;
use function_sdk::server::{CallInfo, Service};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::rc::Rc;

pub(crate) struct Front {
    mode: Mode,
    lock: Option<Lock>,
}

impl Front {
    pub(crate) fn new(mode: Mode, lock: Option<Lock>) -> Self {
        Self { mode, lock }
    }
}

impl Service for Front {
    type Body = Reply;

    async fn call(self: Rc<Self>, request: Request<Incoming>, call: CallInfo) -> Response<Reply> {
        match &self.mode {
            Mode::Http(upstream) => upstream.call(request, call).await,
            Mode::Streaming(fork) => fork.stream(request, call).await,
            Mode::Serializing(fork) => fork.serialize(request, call).await,
            Mode::Classic(classic) => classic.call(request, call).await,
            Mode::Static(files) => files.call(request, call).await,
        }
    }

    async fn ready(self: Rc<Self>) -> Response<Full<Bytes>> {
        match &self.mode {
            Mode::Http(upstream) => upstream.ready().await,
            // A process comes with every call, or none does.
            Mode::Streaming(_) | Mode::Serializing(_) | Mode::Classic(_) | Mode::Static(_) => {
                Response::new(Full::default())
            }
        }
    }

    fn healthy(&self) -> bool {
        self.lock.as_ref().is_none_or(Lock::is_held)
    }

    fn draining(&self) {
        if let Some(lock) = &self.lock {
            lock.release();
        }
    }
}
