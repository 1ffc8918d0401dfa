//! EndpointSlices: which pods of a function can be called.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use provider::{Address, Replica};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The label that names a slice's Service.
pub(crate) const SERVICE: &str = "kubernetes.io/service-name";
/// A function's port, by name and number.
const PORT: (&str, u16) = ("http", 8080);

/// What is kept of a slice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice {
    /// The Service: a function's name.
    pub(crate) service: String,
    /// The pods that can be called.
    pub(crate) ready: Vec<Arc<Replica>>,
}

impl Slice {
    /// Of a slice that belongs to a Service.
    pub(crate) fn of(slice: EndpointSlice) -> Option<Self> {
        let service = slice.metadata.labels?.remove(SERVICE)?;
        let ports = slice.ports.unwrap_or_default();
        let named = ports.iter().find(|port| port.name.as_deref() == Some(PORT.0)).or(ports.first());
        let port = named.and_then(|port| u16::try_from(port.port?).ok()).unwrap_or(PORT.1);
        let ready = slice.endpoints.into_iter().filter_map(|endpoint| {
            let conditions = endpoint.conditions.unwrap_or_default();
            // An unknown readiness counts as ready, as the API has it.
            if conditions.ready == Some(false) || conditions.terminating == Some(true) {
                return None;
            }
            // Only the first address means anything.
            let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
            let address = SocketAddr::new(address, port);
            let instance = endpoint.target_ref.and_then(|target| target.name).unwrap_or_else(|| address.to_string());
            Some(Arc::new(Replica { instance, address: Address::Tcp(address) }))
        });
        Some(Self { service, ready: ready.collect() })
    }
}

/// The replicas of a function by all its slices: each pod once, in the order of their names. A pod that moves from one
/// slice to another is in both for a moment, and one with two families of addresses always is; IPv4 comes first.
pub(crate) fn replicas<'a>(slices: impl Iterator<Item = &'a Slice>) -> Vec<Arc<Replica>> {
    let mut all: Vec<Arc<Replica>> = slices.flat_map(|slice| slice.ready.iter().cloned()).collect();
    let family = |replica: &Replica| matches!(replica.address, Address::Tcp(SocketAddr::V6(_)));
    let address = |replica: &Replica| replica.address.to_string();
    all.sort_by(|a, b| (&a.instance, family(a), address(a)).cmp(&(&b.instance, family(b), address(b))));
    all.dedup_by(|later, first| later.instance == first.instance);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(text: &str) -> Slice {
        Slice::of(serde_json::from_str(text).unwrap()).unwrap()
    }

    fn addresses(slices: &[Slice]) -> Vec<(String, String)> {
        let name = |replica: Arc<Replica>| (replica.instance.clone(), replica.address.to_string());
        replicas(slices.iter()).into_iter().map(name).collect()
    }

    #[test]
    fn a_pod_is_called_while_it_is_ready_and_not_ending() {
        let found = slice(
            r#"{"metadata":{"labels":{"kubernetes.io/service-name":"order"}},"addressType":"IPv4",
            "ports":[{"name":"metrics","port":9090},{"name":"http","port":8081}],
            "endpoints":[
              {"addresses":["10.0.0.2"],"conditions":{"ready":true,"serving":true,"terminating":false},
               "targetRef":{"kind":"Pod","name":"order-b"}},
              {"addresses":["10.0.0.1"],"conditions":{},"targetRef":{"kind":"Pod","name":"order-a"}},
              {"addresses":["10.0.0.3"],"conditions":{"ready":false},"targetRef":{"kind":"Pod","name":"order-c"}},
              {"addresses":["10.0.0.4"],"conditions":{"ready":true,"terminating":true},
               "targetRef":{"kind":"Pod","name":"order-d"}},
              {"addresses":["not an address"],"conditions":{"ready":true}},
              {"addresses":["10.0.0.5"],"conditions":{"ready":true}}]}"#,
        );
        assert_eq!(found.service, "order");
        let pair = |name: &str, address: &str| (name.to_owned(), address.to_owned());
        assert_eq!(
            addresses(&[found]),
            [
                pair("10.0.0.5:8081", "10.0.0.5:8081"),
                pair("order-a", "10.0.0.1:8081"),
                pair("order-b", "10.0.0.2:8081")
            ]
        );
    }

    #[test]
    fn a_pod_in_two_slices_is_one_replica() {
        let of = |address: &str| {
            slice(&format!(
                r#"{{"metadata":{{"labels":{{"kubernetes.io/service-name":"order"}}}},"addressType":"IPv4",
                "endpoints":[{{"addresses":["{address}"],"conditions":{{"ready":true}},
                "targetRef":{{"kind":"Pod","name":"order-a"}}}}]}}"#
            ))
        };
        let found = addresses(&[of("fd00::1"), of("10.0.0.1"), of("10.0.0.1")]);
        assert_eq!(found, [("order-a".to_owned(), "10.0.0.1:8080".to_owned())]);
        assert_eq!(addresses(&[of("fd00::1")]), [("order-a".to_owned(), "[fd00::1]:8080".to_owned())]);
    }

    #[test]
    fn a_slice_without_a_service_is_nobodys() {
        let lost = r#"{"metadata":{},"addressType":"IPv4","endpoints":[]}"#;
        assert!(Slice::of(serde_json::from_str(lost).unwrap()).is_none());
    }
}
