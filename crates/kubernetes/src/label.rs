//! Labels and annotations on Kubernetes objects, and who writes which fields.

/// The function an object belongs to (kubernetes.md §2), and what a function's Service selects its pods by.
pub const FUNCTION: &str = "faas_function";
/// Which program looks after an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// [`MANAGED_BY`] of what the operator makes of a Function.
pub const MANAGED_BY_OPERATOR: &str = "crema";
/// [`MANAGED_BY`] of Functions that came through the gateway's REST API: only those can be changed by it. What Git, Helm
/// or kubectl has applied carries another value or none.
pub const MANAGED_BY_GATEWAY: &str = "crema-gateway";
/// [`MANAGED_BY`] of secrets that the gateway's REST API lists and changes (kubernetes.md §2).
pub const MANAGED_BY_OPENFAAS: &str = "openfaas";
/// The annotation of a namespace that holds functions; any value.
pub const FUNCTION_NAMESPACE: &str = "openfaas";
/// The annotation that names profiles, comma-separated; later ones win.
pub const PROFILE: &str = "com.openfaas.profile";
/// The annotation that names a function's ServiceAccount.
pub const SERVICE_ACCOUNT: &str = "com.openfaas.serviceaccount";

/// The annotation of a function in REST answers that says who looks after it (Helm, Fleet, kubectl) when it did not come
/// through the REST API. It is on no object.
pub const ORIGIN: &str = "com.crema.managed-by";

/// The field manager of the operator.
pub const OPERATOR: &str = "crema-operator";
/// The field manager of the gateway.
pub const GATEWAY: &str = "crema-gateway";

/// The claim of a function's data directory.
#[must_use]
pub fn data_claim(function: &str) -> String {
    format!("{function}-data")
}
