//! A confined process, seen from inside and outside.
