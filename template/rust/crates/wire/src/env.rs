//! Names of the environment variables a function is given.

/// The function's name.
pub const FUNCTION_NAME: &str = "OPENFAAS_NAME";
/// The function's namespace.
pub const FUNCTION_NAMESPACE: &str = "OPENFAAS_NAMESPACE";
/// Where the function reaches the gateway: scheme, numeric address, port.
pub const GATEWAY_URL: &str = "gateway_url";
/// The directory with the function's secrets, one file each; `/var/openfaas/secrets` when absent.
pub const SECRET_MOUNT_PATH: &str = "secret_mount_path";
/// The function's data directory as this replica sees it, when the annotation `com.crema.data.path` asks for one.
pub const DATA_PATH: &str = "data_path";
/// The Unix socket to serve on instead of TCP `port`.
pub const SOCKET: &str = "CREMA_SOCKET";
/// The Unix socket to serve metrics on instead of TCP 8081.
pub const METRICS_SOCKET: &str = "CREMA_METRICS_SOCKET";
/// The TCP port to serve on when no socket is named.
pub const PORT: &str = "port";
/// The command a watchdog runs.
pub const FPROCESS: &str = "fprocess";
