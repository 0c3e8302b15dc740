//! A Rust program on the Unix socket, with the crates `postgres` and `pgvector`, as a role with no special rights.

mod backend;
mod errors;
mod extraction;
mod vectors;
