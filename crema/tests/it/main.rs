//! What is shipped beside the program.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod units;
