//! Stock per sku: reserve, commit, release, restock.
fn main() {}
