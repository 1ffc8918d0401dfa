//! What every long-running binary does around its work: read the environment, tell the time, log, trace, say how it is,
//! keep a state directory, run its parts, stop.
//!
//! [`Env`] and [`Clock`] are the only doors to the environment and to wall-clock time, so that tests can give others.
//! Durations are measured with [`std::time::Instant`], which no one can set.

pub mod clock;
pub mod env;
pub mod health;
pub mod log;
pub mod part;
pub mod program;
pub mod state_dir;
pub mod stop;
pub mod trace;

pub use clock::{Clock, SystemClock, TestClock};
pub use env::{Env, EnvError, ProcessEnv};
pub use health::Health;
pub use part::Part;
pub use state_dir::StateDir;
pub use stop::{Stop, Stopper};

/// The exit code of a configuration that cannot be used (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
