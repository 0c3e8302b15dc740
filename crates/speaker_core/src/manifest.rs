//! A model's manifest: the whole contract between an ONNX file and this code, as TOML.
//!
//! Parsing checks everything that can be checked without the ONNX file, so that code behind it needs no guard.

use serde::Deserialize;
use thiserror::Error;

/// Why a manifest is none.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ManifestError {
    #[error("manifest is not valid: {detail}")]
    Syntax { detail: String },

    #[error("manifest field {field} is not valid: {why}")]
    Field { field: &'static str, why: String },
}

/// What is known of a model. See `models/` for examples.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What SQL calls the model, and the manifest's file name.
    pub name: String,
    /// Another version is another model: its vectors do not mix with this one's.
    pub version: String,
    /// The ONNX file, beside the manifest.
    pub file: String,
    /// Of the ONNX file, in hexadecimal.
    pub sha256: String,
    /// Values of an embedding.
    pub dim: usize,
    /// Least speech that an embedding needs, in seconds after voice activity detection.
    pub min_speech_s: f64,
    pub license: String,
    /// Where the weights come from.
    pub source: String,
    pub input: Input,
    pub output: Output,
    pub frontend: FrontendParams,
    pub thresholds: Thresholds,
}

/// The graph's input tensor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub name: String,
    /// Samples a second that the features are made from.
    pub sample_rate: u32,
}

/// The graph's output tensor, [batch, dim].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub name: String,
}

/// How samples become features: a kind of frontend and its parameters.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum FrontendParams {
    Ge2e(Ge2eParams),
}

/// Parameters of [`crate::features::ge2e`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ge2eParams {
    /// Quieter audio is raised to this RMS level; louder audio is left alone.
    pub target_dbfs: f64,
    /// Samples of one FFT.
    pub n_fft: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    pub n_mels: usize,
    /// Frames of one window.
    pub window_frames: usize,
    /// Windows a second.
    pub windows_per_s: f64,
    /// The last window is dropped if less of it than this is audio.
    pub min_coverage: f64,
    /// Milliseconds of one voice activity decision.
    pub vad_frame_ms: usize,
    /// Decisions in the moving average that smooths them.
    pub vad_average: usize,
    /// Decisions by which speech is widened to either side.
    pub vad_dilate: usize,
}

/// Raw cosine similarity at or above which two voices are called the same. The three have different distributions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// An utterance against an utterance.
    pub utterance: f64,
    /// An utterance against the mean of a speaker's embeddings, that is, their average similarity.
    pub speaker: f64,
    /// A speaker's mean against another's.
    pub centroid: f64,
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self =
            toml::from_str(text).map_err(|error| ManifestError::Syntax { detail: error.message().into() })?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        require("name", is_model_name(&self.name), "it is 1 to 63 of a-z, 0-9, '_' and '-'")?;
        require("version", !self.version.is_empty(), "it is empty")?;
        require("file", is_file_name(&self.file), "it is the name of a file beside the manifest")?;
        require("sha256", is_sha256(&self.sha256), "it is 64 hexadecimal digits in lower case")?;
        require("dim", (1..=16_000).contains(&self.dim), "it is 1 to 16000")?;
        require("min_speech_s", (0.0..=60.0).contains(&self.min_speech_s), "it is 0 to 60 s")?;
        require("input.sample_rate", self.input.sample_rate == 16_000, "only 16000 Hz is supported")?;
        let FrontendParams::Ge2e(ge2e) = &self.frontend;
        ge2e.check()?;
        let thresholds = [self.thresholds.utterance, self.thresholds.speaker, self.thresholds.centroid];
        require("thresholds", thresholds.iter().all(|t| (-1.0..=1.0).contains(t)), "each is -1 to 1")
    }
}

impl Ge2eParams {
    fn check(&self) -> Result<(), ManifestError> {
        require("frontend.target_dbfs", (-100.0..=0.0).contains(&self.target_dbfs), "it is -100 to 0")?;
        require("frontend.n_fft", (64..=8192).contains(&self.n_fft), "it is 64 to 8192")?;
        require("frontend.hop", (1..=self.n_fft).contains(&self.hop), "it is 1 to n_fft")?;
        require("frontend.n_mels", (1..=256).contains(&self.n_mels), "it is 1 to 256")?;
        require("frontend.window_frames", (1..=4096).contains(&self.window_frames), "it is 1 to 4096")?;
        require("frontend.windows_per_s", (0.1..=100.0).contains(&self.windows_per_s), "it is 0.1 to 100")?;
        require("frontend.min_coverage", (0.0..=1.0).contains(&self.min_coverage), "it is 0 to 1")?;
        require("frontend.vad_frame_ms", [10, 20, 30].contains(&self.vad_frame_ms), "it is 10, 20 or 30")?;
        require("frontend.vad_average", (1..=1000).contains(&self.vad_average), "it is 1 to 1000")?;
        require("frontend.vad_dilate", self.vad_dilate <= 1000, "it is 0 to 1000")
    }
}

/// Whether this can be the name of a model, and so of a file in the model folder.
pub fn is_model_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn require(field: &'static str, holds: bool, why: &str) -> Result<(), ManifestError> {
    if holds {
        Ok(())
    } else {
        Err(ManifestError::Field { field, why: why.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GE2E: &str = include_str!("../../../models/ge2e.toml");

    fn with(from: &str, to: &str) -> Result<Manifest, ManifestError> {
        assert!(GE2E.contains(from), "the manifest has {from}");
        Manifest::parse(&GE2E.replacen(from, to, 1))
    }

    #[test]
    fn the_default_model_has_a_manifest() {
        let manifest = Manifest::parse(GE2E).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.dim), ("ge2e", 256));
    }

    #[test]
    fn a_file_outside_the_model_folder_is_refused() {
        let error = with("file = \"ge2e.onnx\"", "file = \"../ge2e.onnx\"").unwrap_err();
        assert!(matches!(error, ManifestError::Field { field: "file", .. }), "{error}");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = with("dim = 256", "dim = 256\ndimension = 256").unwrap_err();
        assert!(matches!(error, ManifestError::Syntax { .. }), "{error}");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (from, to) in [("dim = 256", "dim = 0"), ("hop = 160", "hop = 0"), ("utterance = 0.72", "utterance = nan")]
        {
            let error = with(from, to).unwrap_err();
            assert!(matches!(error, ManifestError::Field { .. }), "{to}: {error}");
        }
    }

    #[test]
    fn names_of_models_cannot_leave_their_folder() {
        assert!(is_model_name("ge2e") && is_model_name("wespeaker-resnet34_lm"));
        assert!(!is_model_name("") && !is_model_name("../ge2e") && !is_model_name("a.b") && !is_model_name("GE2E"));
    }
}
