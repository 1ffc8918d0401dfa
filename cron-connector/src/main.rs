//! Schedules to functions.
fn main() {}
