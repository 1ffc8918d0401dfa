//! OCI images without Docker: build, import, export, unpack.
