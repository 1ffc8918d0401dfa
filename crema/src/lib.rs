//! The all-in-one: gateway, broker, connectors and local provider in one process, and its command line.
