//! One event to every function whose topics match.
