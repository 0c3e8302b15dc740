//! Samples to the features that a model hears. One file per frontend; the manifest chooses.

mod ge2e;
mod mel;
mod vad;

use thiserror::Error;

use crate::audio::Mono16k;
use crate::manifest::{FrontendParams, Manifest};
use crate::Check;

/// Why audio has no features.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SpeechError {
    #[error("audio has {got_s:.2} s of speech, but at least {need_s:.2} s is required")]
    TooShort { got_s: f64, need_s: f64 },

    #[error("audio of {audio_s:.2} s has no speech")]
    Silent { audio_s: f64 },

    #[error("interrupted")]
    Interrupted,
}

/// Feature frames of one utterance, and the windows of them that a model is run on. Windows overlap.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// Row-major [frames, bands].
    frames: Vec<f32>,
    bands: usize,
    /// First frame of each window.
    starts: Vec<usize>,
    window_frames: usize,
    /// Seconds of speech after voice activity detection.
    pub speech_s: f64,
}

impl Windows {
    /// Number of windows, at least one.
    #[allow(clippy::len_without_is_empty, reason = "an utterance has at least one window")]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// One window, row-major [window_frames, bands].
    pub fn window(&self, index: usize) -> &[f32] {
        let start = self.starts[index] * self.bands;
        &self.frames[start..start + self.window_frames * self.bands]
    }
}

/// A model's way from samples to features.
pub enum Frontend {
    Ge2e(ge2e::Ge2e),
}

impl Frontend {
    /// The frontend that a manifest asks for.
    pub fn new(manifest: &Manifest) -> Self {
        match &manifest.frontend {
            FrontendParams::Ge2e(params) => Self::Ge2e(ge2e::Ge2e::new(params)),
        }
    }

    /// Shape of one window: frames, bands.
    pub fn window_shape(&self) -> [usize; 2] {
        match self {
            Self::Ge2e(ge2e) => ge2e.window_shape(),
        }
    }

    /// The windows of an utterance with at least `min_speech_s` of speech.
    pub fn windows(&self, audio: &Mono16k, min_speech_s: f64, check: Check) -> Result<Windows, SpeechError> {
        match self {
            Self::Ge2e(ge2e) => ge2e.windows(audio, min_speech_s, check),
        }
    }
}
