//! Calls of other functions, through the gateway as every caller does.

use crate::client::{Address, Client};
use crate::{Call, CallError, Response, call_id};
use wire::{env, header};

/// Calls other functions. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Gateway {
    target: Result<Target, Unusable>,
    namespace: String,
}

#[derive(Clone, Debug)]
struct Target {
    client: Client,
    /// What stands before `/function/…`; empty as a rule.
    base: String,
}

/// Why there is no gateway: not named, or not usable.
#[derive(Clone, Debug)]
enum Unusable {
    Unset,
    Bad { url: String, why: &'static str },
}

impl Gateway {
    /// A gateway at `url` for the functions of `namespace`.
    #[must_use]
    pub fn new(url: &str, namespace: &str) -> Self {
        let bad = |why| Unusable::Bad { url: url.to_owned(), why };
        Self { target: target(url).map_err(bad), namespace: namespace.to_owned() }
    }

    pub(crate) fn from_env(env: impl Fn(&str) -> Option<String>) -> Self {
        let namespace = env(env::FUNCTION_NAMESPACE).unwrap_or_else(|| wire::DEFAULT_NAMESPACE.to_owned());
        match env(env::GATEWAY_URL) {
            Some(url) => Self::new(&url, &namespace),
            None => Self { target: Err(Unusable::Unset), namespace },
        }
    }

    /// Calls a function of the same namespace, or of another one when it is given as `name.namespace`.
    ///
    /// The answer is whatever the function or the gateway said, any status: see [`Response::is_success`]. The trace
    /// context of the request that is being answered is passed on.
    pub async fn call(&self, function: &str, mut call: Call) -> Result<Response, CallError> {
        let target = match &self.target {
            Ok(target) => target,
            Err(Unusable::Unset) => return Err(CallError::NoGateway { function: function.to_owned() }),
            Err(Unusable::Bad { url, why }) => return Err(CallError::Address { url: url.clone(), why }),
        };
        if let Some(current) = call_id::with_current(Clone::clone) {
            call.pass_on(header::TRACEPARENT, current.traceparent);
            call.pass_on(header::TRACESTATE, current.tracestate);
        }
        let prefix = if function.contains('.') {
            format!("{}/function/{function}", target.base)
        } else {
            format!("{}/function/{function}.{}", target.base, self.namespace)
        };
        target.client.send(call.prefix(&prefix)).await
    }
}

/// Takes `http://host:port/base` apart.
fn target(url: &str) -> Result<Target, &'static str> {
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => {
            return Err("a function calls its gateway without TLS, over an address of its own host or cluster");
        }
        _ => return Err("it does not start with http://"),
    };
    let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| "its port is no number")?),
        _ => (authority, 80),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("it names no host");
    }
    let base = base.trim_end_matches('/');
    let base = if base.is_empty() { String::new() } else { format!("/{base}") };
    Ok(Target { client: Client::new(Address::Tcp(host.to_owned(), port)), base })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_address_is_read_from_its_url() {
        for (url, address, base) in [
            ("http://127.0.0.1:8080", "Client(127.0.0.1:8080)", ""),
            ("http://127.0.0.1:8080/", "Client(127.0.0.1:8080)", ""),
            ("http://gateway.openfaas:8080/faas/", "Client(gateway.openfaas:8080)", "/faas"),
            ("http://[::1]:81", "Client([::1]:81)", ""),
            ("http://10.0.0.1", "Client(10.0.0.1:80)", ""),
        ] {
            let target = target(url).unwrap();
            assert_eq!((format!("{:?}", target.client).as_str(), target.base.as_str()), (address, base), "{url}");
        }
        for bad in ["", "127.0.0.1:8080", "https://x", "http://", "http://a:port"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
