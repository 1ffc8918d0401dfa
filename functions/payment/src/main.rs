//! Authorises, captures, voids and refunds cards.
fn main() {}
