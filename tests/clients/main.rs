//! A Rust program on the Unix socket, with the crates `postgres` and `pgvector`.
