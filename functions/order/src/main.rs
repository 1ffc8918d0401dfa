//! Places orders: reserve, authorise, capture, commit.
fn main() {}
