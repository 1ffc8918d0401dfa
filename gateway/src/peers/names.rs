//! Where the peers are: names, looked up again every few seconds, because pods come back at other addresses.

use super::lock;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a look-up holds.
const FRESH: Duration = Duration::from_secs(5);

/// The peers' names and what they led to last.
pub(super) struct Names {
    names: Vec<String>,
    // A std mutex: held for a look or a change only.
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    addresses: Vec<SocketAddr>,
    at: Instant,
}

/// Where peers are.
#[derive(Debug)]
pub(super) struct Found {
    /// Each once.
    pub(super) addresses: BTreeSet<SocketAddr>,
    /// Names that lead nowhere.
    pub(super) unknown: Vec<String>,
}

impl Names {
    /// Names as `host:port`; each may stand for several addresses.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names, known: Mutex::default() }
    }

    /// Looks them up, all beside each other. When that fails, where a name led last stands.
    pub(super) async fn resolve(&self, deadline: Instant) -> Found {
        let looked_up =
            futures_util::future::join_all(self.names.iter().map(|name| self.look_up(name, deadline))).await;
        let mut found = Found { addresses: BTreeSet::new(), unknown: Vec::new() };
        for (name, addresses) in self.names.iter().zip(looked_up) {
            if addresses.is_empty() {
                found.unknown.push(name.clone());
            }
            found.addresses.extend(addresses);
        }
        found
    }

    async fn look_up(&self, name: &str, deadline: Instant) -> Vec<SocketAddr> {
        let known = lock(&self.known).get(name).cloned();
        if let Some(Known { addresses, at }) = &known
            && at.elapsed() < FRESH
        {
            return addresses.clone();
        }
        let looked_up = timeout_at(deadline, tokio::net::lookup_host(name)).await;
        match looked_up.map_err(Into::into).and_then(|found: std::io::Result<_>| found) {
            Ok(addresses) => {
                let addresses: Vec<SocketAddr> = addresses.collect();
                let now = Known { addresses: addresses.clone(), at: Instant::now() };
                lock(&self.known).insert(name.to_owned(), now);
                addresses
            }
            Err(error) => {
                tracing::debug!(name, %error, "A peer's name leads nowhere");
                known.map(|known| known.addresses).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_named_once_and_names_without_any_are_told() {
        let names = ["127.0.0.1:1", "localhost:1", "[::1]:2", "nowhere.invalid:3"].map(str::to_owned);
        let names = Names::new(names.to_vec());
        let found = names.resolve(Instant::now() + Duration::from_secs(20)).await;
        assert!(found.addresses.contains(&"127.0.0.1:1".parse().unwrap()), "{found:?}");
        assert!(found.addresses.contains(&"[::1]:2".parse().unwrap()), "{found:?}");
        assert_eq!(found.unknown, ["nowhere.invalid:3"]);
    }

    #[tokio::test]
    async fn where_a_name_led_stands_while_it_cannot_be_looked_up() {
        let names = Names::new(vec!["nowhere.invalid:3".to_owned()]);
        let before: SocketAddr = "10.0.0.1:3".parse().unwrap();
        let old = Known { addresses: vec![before], at: Instant::now().checked_sub(FRESH).unwrap() };
        lock(&names.known).insert("nowhere.invalid:3".to_owned(), old);
        let found = names.resolve(Instant::now() + Duration::from_secs(20)).await;
        assert_eq!(found.addresses, BTreeSet::from([before]));
    }
}
