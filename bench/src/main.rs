//! The figures: Crema beside haproxy, in one run.
fn main() {}
