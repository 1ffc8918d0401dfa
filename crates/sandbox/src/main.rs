//! The helper on its own, for tests: `crema` and `gateway` carry it in themselves.

fn main() {}
