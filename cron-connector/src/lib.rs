//! Schedules to functions.
