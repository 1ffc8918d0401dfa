//! Runs handlers in a test, on a port of their own, and calls them; stands in for the gateway and other functions.
//!
//! ```
//! use function_sdk::{Call, Request, Response, testing};
//!
//! testing::block_on(async {
//!     let function = testing::start(async |request: Request| Response::ok().text(request.path));
//!     let answer = function.call(Call::get("/a")).await.unwrap();
//!     assert_eq!(answer.body_text(), "/a");
//! });
//! ```

use crate::client::{Address, Call, CallError, Client};
use crate::serve::{Function, on_one_thread};
use crate::server::{Leave, Server};
use crate::settings::{Listen, Settings};
use crate::{Gateway, Handler, Response};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Runs a test's future on this thread, as [`crate::serve`] runs a function.
pub fn block_on<F: Future>(test: F) -> F::Output {
    on_one_thread(test)
}

/// A function that is served; dropping it stops it.
#[derive(Debug)]
pub struct Running {
    address: Listen,
    client: Client,
    task: AbortHandle,
}

/// Serves `handler` on a free port of 127.0.0.1. To be called inside [`block_on`].
///
/// # Panics
/// When no port is free.
pub fn start(handler: impl Handler) -> Running {
    let settings = Settings {
        listen: Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        metrics: None,
        read_timeout: Some(Duration::from_secs(30)),
        write_timeout: Duration::from_secs(30),
        exec_timeout: Some(Duration::from_secs(30)),
        healthcheck_interval: Duration::ZERO,
        max_inflight: 0,
        body_limit: 16 * 1024 * 1024,
    };
    start_with(settings, handler)
}

/// Serves `handler` with other settings, on TCP or a Unix socket.
///
/// # Panics
/// When the address cannot be had.
pub fn start_with(settings: Settings, handler: impl Handler) -> Running {
    let function = Rc::new(Function::new(&settings));
    function.start(handler);
    let server = Server::bind(settings).expect("the address is free");
    let address = server.address();
    let client = Client::new(match &address {
        Listen::Tcp(address) => Address::Tcp(address.ip().to_string(), address.port()),
        Listen::Unix(path) => Address::Unix(path.clone()),
    });
    let task = tokio::task::spawn_local(server.run(function, std::future::pending::<Leave>())).abort_handle();
    Running { address, client, task }
}

impl Running {
    /// `http://127.0.0.1:port`; also what `gateway_url` is set to when this stands in for the gateway.
    ///
    /// # Panics
    /// When it listens on a Unix socket, which has no URL.
    #[must_use]
    pub fn url(&self) -> String {
        let Listen::Tcp(address) = &self.address else { panic!("a Unix socket has no URL") };
        format!("http://{address}")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// A gateway whose every call arrives here, as `/function/NAME.openfaas-fn/…`.
    #[must_use]
    pub fn as_gateway(&self) -> Gateway {
        Gateway::new(&self.url(), wire::DEFAULT_NAMESPACE)
    }

    /// Calls the function.
    pub async fn call(&self, call: Call) -> Result<Response, CallError> {
        self.client.send(call).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
