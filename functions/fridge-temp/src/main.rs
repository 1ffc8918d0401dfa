//! Judges a fridge temperature.
fn main() {}
