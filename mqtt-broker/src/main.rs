//! An MQTT broker that acknowledges an event after it is on disk.
fn main() {}
