//! The SQL functions in Rust, one file per group.

pub mod audio;
pub mod cluster;
pub mod embedding;
pub mod errors;
pub mod lease;
pub mod manifest;
pub mod nearest;
pub mod overlap;
pub mod segments;
pub mod settings;
pub mod similarity;
pub mod sums;
