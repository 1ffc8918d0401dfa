//! MQTT topics to functions, from any broker.
fn main() {}
