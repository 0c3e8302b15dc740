//! What can go wrong with a whole source. What can go wrong with one span is [`super::SpanError`].

use thiserror::Error;

/// Why a source gave no audio, or not all of it. Messages carry sizes and names, never samples.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AudioError {
    #[error("audio is empty")]
    Empty,

    /// `got` is the size of the source, or, if it does not tell its size, the bytes read before giving up.
    #[error("audio has {got} bytes, but at most {max} are allowed")]
    TooLarge { got: u64, max: u64 },

    #[error("audio is longer than the {max_s} s that are allowed")]
    TooLong { max_s: f64 },

    #[error("{bytes} bytes are not in any known audio format")]
    UnknownFormat { bytes: u64 },

    #[error("{container} file has no audio track")]
    NoAudioTrack { container: &'static str },

    #[error("audio codec {codec} is not supported")]
    UnsupportedCodec { codec: String },

    #[error("{container} files are not supported")]
    UnsupportedContainer { container: &'static str },

    /// An MP4 file whose list of what is to be heard is not one that is kept to.
    #[error("an edit list {detail} is not supported")]
    UnsupportedEdits { detail: String },

    #[error("sample rate {rate} Hz is not between {min} and {max} Hz")]
    UnsupportedRate { rate: u32, min: u32, max: u32 },

    #[error("audio has {channels} channels, but at most {max} are supported")]
    UnsupportedChannels { channels: usize, max: usize },

    /// The header declares a length, and the data end before it.
    #[error("audio ends after {got_s:.2} s of the {declared_s:.2} s that its header declares")]
    Truncated { declared_s: f64, got_s: f64 },

    /// The file ends before the part that tells how long the audio is, or before any audio.
    #[error("audio file ends after {got_bytes} of the {declared_bytes} bytes that it declares")]
    Incomplete { declared_bytes: u64, got_bytes: u64 },

    #[error("audio is damaged: {detail}")]
    Corrupt { detail: String },

    #[error("audio has no samples")]
    NoSamples,

    /// A panic inside a decoder or the resampler: a bug there, set off by this source.
    #[error("audio decoder failed: {detail}")]
    Decoder { detail: String },

    #[error("audio cannot be read: {detail}")]
    Io { detail: String },

    #[error("interrupted")]
    Interrupted,
}

impl From<std::io::Error> for AudioError {
    fn from(error: std::io::Error) -> Self {
        Self::Io { detail: error.to_string() }
    }
}
