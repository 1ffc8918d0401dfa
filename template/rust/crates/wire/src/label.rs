//! Label names that steer scaling (kubernetes.md §3).

/// The fewest replicas; 1 unless given.
pub const SCALE_MIN: &str = "com.openfaas.scale.min";
/// The most replicas.
pub const SCALE_MAX: &str = "com.openfaas.scale.max";
/// `true` when an idle function may be scaled to zero.
pub const SCALE_ZERO: &str = "com.openfaas.scale.zero";
/// The share of the most replicas that one alert adds, in percent.
pub const SCALE_FACTOR: &str = "com.openfaas.scale.factor";

/// The image label that says how an image's process serves; functions built with our SDK or watchdog carry it.
pub const IMAGE_SERVES: &str = "com.crema.serves";
/// The value of [`IMAGE_SERVES`]: on the Unix socket that the environment variable `CREMA_SOCKET` names.
pub const SERVES_UNIX_SOCKET: &str = "unix-socket";
