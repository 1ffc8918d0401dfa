//! Reads stack.yml as faas-cli does.
