//! The secrets a stack asks to be made: `x-crema: {generate_secrets: [NAME]}` in stack.yml, which faas-cli ignores.
//!
//! Each is made once, at random, in the namespace of every function that names it. Other secrets are the owner's to
//! bring: a function that names one that is not there is refused.

use gateway_client::GatewayClient;
use rand::Rng;
use rand::distr::Alphanumeric;
use std::collections::BTreeSet;
use wire::function::FunctionDeployment;
use wire::secret::Secret;

/// Letters and digits in a made secret: about 250 bits.
const LENGTH: usize = 43;

/// Makes the secrets that are to be made and are not there.
pub(crate) async fn make(
    client: &GatewayClient,
    names: &[String],
    deployments: &[FunctionDeployment],
) -> anyhow::Result<()> {
    for name in names {
        let users = deployments.iter().filter(|deployment| deployment.secrets.contains(name));
        let namespaces: BTreeSet<&str> = users.map(|deployment| deployment.namespace.as_str()).collect();
        for namespace in namespaces {
            if client.secrets(namespace).await?.iter().any(|secret| secret.name == *name) {
                continue;
            }
            let value = rand::rng().sample_iter(Alphanumeric).take(LENGTH).map(char::from).collect();
            let secret =
                Secret { name: name.clone(), namespace: namespace.to_owned(), value: Some(value), raw_value: None };
            client.create_secret(&secret).await?;
            tracing::info!(name, "a secret was made");
        }
    }
    Ok(())
}
