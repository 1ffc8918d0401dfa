//! Streams one HTTP exchange to an upstream and back, over TCP or a Unix socket.
