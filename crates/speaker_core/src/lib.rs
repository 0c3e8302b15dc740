//! What pg_speaker computes, without a server: audio to samples, samples to features, vectors to clusters.
//!
//! Everything here takes bytes and numbers and returns bytes and numbers. There is no PostgreSQL, no ONNX and no
//! unsafe code in this crate, so all of it is tested, measured and fuzzed on its own.
#![forbid(unsafe_code)]

pub mod assign;
pub mod audio;
pub mod cluster;
pub mod embedding;
pub mod features;
pub mod manifest;
pub mod overlap;
pub mod segments;

use std::ops::ControlFlow;

/// Asked between chunks of work, at least every few milliseconds. On `Break` the callee stops and returns its
/// `Interrupted` error; the caller knows why.
pub type Check<'a> = &'a dyn Fn() -> ControlFlow<()>;

/// For callers that are never interrupted.
pub fn never() -> ControlFlow<()> {
    ControlFlow::Continue(())
}
