//! The shop of `stack.yml` in a namespace of a cluster.

use super::images::image;
use crate::binaries::{root, variable};
use crate::http::Http;
use crate::shop::Shop;
use serde_json::{Value, json};
use stack::Stack;
use wire::function::FunctionDeployment;

/// The secret all branches have.
pub const SECRET: &str = "shop-key";

/// One shop.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Its namespace.
    pub namespace: String,
    /// Whether orders come in by a topic too.
    pub has_machines: bool,
    gateway: String,
    http: Http,
}

impl Branch {
    /// The one in a namespace, behind a gateway.
    #[must_use]
    pub fn new(namespace: &str, gateway: &str) -> Self {
        Self { namespace: namespace.to_owned(), has_machines: true, gateway: gateway.to_owned(), http: Http::default() }
    }

    /// The one that Fleet's bundles make, of a store that is called as its namespace.
    #[must_use]
    pub fn of_fleet(self) -> Self {
        Self { has_machines: false, ..self }
    }

    /// What `stack.yml` says of the functions, with the images that are loaded, and the topics of a store of its own.
    #[must_use]
    pub fn deployments(&self) -> Vec<FunctionDeployment> {
        let stack = Stack::read(&root().join("stack.yml"), variable).unwrap();
        let mut deployments = stack.deployments();
        for deployment in &mut deployments {
            deployment.image = image(&deployment.service);
            deployment.namespace.clone_from(&self.namespace);
            match deployment.service.as_str() {
                "fridge-temp" => {
                    let topics = format!("{0},/{0}", self.topic());
                    deployment.annotations.insert("topic".to_owned(), topics);
                }
                "order" if self.has_machines => {
                    deployment.annotations.entry("topic".to_owned()).and_modify(|topic| {
                        *topic = format!("{topic},{}", self.orders_topic());
                    });
                }
                _ => {}
            }
        }
        deployments
    }

    /// Where this branch's fridges report.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("store{}/fridge/temp", self.namespace)
    }

    /// Where this branch's machines order.
    #[must_use]
    pub fn orders_topic(&self) -> String {
        format!("store{}/orders", self.namespace)
    }

    /// The secret as an object.
    #[must_use]
    pub fn secret(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": self.namespace},
            "stringData": {SECRET: self.key()},
        })
    }
}

impl Shop for Branch {
    fn http(&self) -> &Http {
        &self.http
    }

    fn at(&self, route: &str, path: &str) -> String {
        let (function, rest) = path.split_at(path.find(['/', '?']).unwrap_or(path.len()));
        format!("{}/{route}/{function}.{}{rest}", self.gateway, self.namespace)
    }

    fn key(&self) -> String {
        format!("key-of-{}", self.namespace)
    }
}
