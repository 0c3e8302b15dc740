//! What can go wrong with a model, and with one utterance.

use std::path::PathBuf;

use speaker_core::embedding::EmbeddingError;
use speaker_core::features::SpeechError;
use speaker_core::manifest::ManifestError;
use thiserror::Error;

/// Why a model cannot be used. None of these is the audio's fault.
#[derive(Debug, Clone, Error)]
pub enum OnnxError {
    #[error("ONNX Runtime cannot be loaded from {path}: {detail}")]
    Library { path: PathBuf, detail: String },

    #[error("\"{name}\" is not a model's name")]
    Name { name: String },

    #[error("model \"{name}\" is not installed")]
    NotInstalled { name: String },

    #[error("model file {path} cannot be read: {detail}")]
    Missing { path: PathBuf, detail: String },

    #[error("model file {path} has sha256 {got}, but its manifest says {expected}")]
    Altered { path: PathBuf, expected: String, got: String },

    #[error("model \"{name}\" is wanted with sha256 {wanted}, but the installed one has sha256 {installed}")]
    OtherVersion { name: String, wanted: String, installed: String },

    #[error(transparent)]
    Manifest(#[from] ManifestError),

    #[error("model \"{name}\" does not fit its manifest: {detail}")]
    Contract { name: String, detail: String },

    #[error("inference failed: {detail}")]
    Inference { detail: String },

    #[error("interrupted")]
    Interrupted,
}

/// Why one utterance has no embedding.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EmbedError {
    #[error(transparent)]
    Speech(#[from] SpeechError),

    #[error("model answered no embedding: {0}")]
    Output(#[from] EmbeddingError),
}
