//! What the Kubernetes provider is told.

use daemon::{Env, EnvError};
use wire::DEFAULT_NAMESPACE;
use wire::info::Version;

/// The namespaces of functions, comma-separated; `openfaas-fn`. The first one is the default namespace.
pub const ENV_FUNCTION_NAMESPACE: &str = "function_namespace";
/// Whether functions live in every namespace with the annotation `openfaas`, besides the default one; false. It takes
/// rights in the whole cluster.
pub const ENV_CLUSTER_ROLE: &str = "cluster_role";
/// Whether the REST API may change and delete what Git, Helm or kubectl has applied; false.
pub const ENV_ADOPT: &str = "CREMA_ADOPT";

/// The namespace that never holds functions.
pub(crate) const SYSTEM_NAMESPACE: &str = "kube-system";

/// Where functions are, and what the REST API may change.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespaces of functions; the first one is the default namespace.
    pub function_namespaces: Vec<String>,
    /// Whether functions live in every namespace with the annotation `openfaas` too.
    pub cluster_role: bool,
    /// Whether the REST API may change and delete what Git, Helm or kubectl has applied.
    pub adopt: bool,
    /// The version `/system/info` tells.
    pub version: Version,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            function_namespaces: vec![DEFAULT_NAMESPACE.to_owned()],
            cluster_role: false,
            adopt: false,
            version: Version { release: env!("CARGO_PKG_VERSION").to_owned(), ..Version::default() },
        }
    }
}

impl Config {
    /// Reads the settings.
    pub fn from_env(env: &impl Env) -> Result<Self, EnvError> {
        let mut config = Self::default();
        if let Some(text) = env.get(ENV_FUNCTION_NAMESPACE) {
            let refuse = |why: &str| EnvError::new(ENV_FUNCTION_NAMESPACE, &text, why);
            let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
            for name in &names {
                wire::name::check_label("namespace", name).map_err(|error| refuse(&error.to_string()))?;
            }
            if names.is_empty() {
                return Err(refuse("name a namespace, such as openfaas-fn"));
            }
            if names.contains(&SYSTEM_NAMESPACE) {
                return Err(refuse("kube-system is the cluster's own; functions need another namespace"));
            }
            config.function_namespaces = names.into_iter().map(str::to_owned).collect();
        }
        config.cluster_role = env.flag(ENV_CLUSTER_ROLE, false)?;
        config.adopt = env.flag(ENV_ADOPT, false)?;
        Ok(config)
    }

    /// The namespace of functions that name none.
    pub(crate) fn default_namespace(&self) -> &str {
        self.function_namespaces.first().map_or(DEFAULT_NAMESPACE, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where_functions_are() {
        let config = Config::from_env(&([] as [(&str, &str); 0])).unwrap();
        assert_eq!((config.default_namespace(), config.cluster_role, config.adopt), ("openfaas-fn", false, false));
        let env = [(ENV_FUNCTION_NAMESPACE, "shop, office"), (ENV_CLUSTER_ROLE, "true"), (ENV_ADOPT, "1")];
        let config = Config::from_env(&env).unwrap();
        assert_eq!((config.default_namespace(), config.cluster_role, config.adopt), ("shop", true, true));
        assert_eq!(config.function_namespaces, ["shop", "office"]);
        for bad in ["kube-system", "a,kube-system", "Shop", "a.b", ","] {
            let error = Config::from_env(&[(ENV_FUNCTION_NAMESPACE, bad)]).unwrap_err();
            assert!(error.to_string().contains(ENV_FUNCTION_NAMESPACE), "{error}");
        }
    }
}
