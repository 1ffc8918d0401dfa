//! HTTP in: /function, /async-function, /system.
fn main() {}
