//! The one way from errors to what a user sees: a message, and a code of the catalogue with SQLSTATE and hint.
//!
//! Every match is exhaustive: a new error of core does not compile until someone has said which code it has.

mod catalogue;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::PgLogLevel;
use speaker_core::assign::AssignError;
use speaker_core::audio::{AudioError, SpanError};
use speaker_core::cluster::ClusterError;
use speaker_core::embedding::EmbeddingError;
use speaker_core::features::SpeechError;
use speaker_core::manifest::ManifestError;
use speaker_core::segments::{Flaw, SegmentsError};
use speaker_onnx::{EmbedError, OnnxError};
use thiserror::Error;

use catalogue::*;
pub use catalogue::{ErrorCode, ALL};

/// Errors of the glue itself: arguments that no type could rule out.
#[derive(Debug, Clone, Error)]
pub enum SqlError {
    #[error("this store is of version {store}, but the library works with version {library}")]
    StoreVersion { store: i32, library: i32 },

    #[error("different vector dimensions {left} and {right}")]
    Dimensions { left: usize, right: usize },

    #[error("starts has {starts} elements, but ends has {ends}")]
    Lengths { starts: usize, ends: usize },

    #[error("{argument} has {got} elements, but starts has {starts}")]
    OtherLength { argument: &'static str, got: usize, starts: usize },

    #[error("element {position} of {argument} is NULL")]
    NullElement { argument: &'static str, position: usize },

    #[error("{argument} is NULL")]
    Null { argument: &'static str },

    #[error("{argument} is {got}, but must be at least {least}")]
    TooSmall { argument: &'static str, got: i32, least: i32 },

    #[error("{argument} is \"{got}\", not {choices}")]
    Choice { argument: &'static str, got: String, choices: &'static str },

    #[error("mean of {got} values, but a vector has at most {most}")]
    TooManyValues { got: usize, most: usize },

    #[error("{what} takes up to {bytes} bytes of memory, but {max_bytes} are allowed")]
    TooMuchMemory { what: String, bytes: u64, max_bytes: u64 },

    #[error("{bytes} bytes of memory are not to be had")]
    OutOfMemory { bytes: u64 },

    #[error("\"{got}\" is no error code of the catalogue")]
    ErrorCode { got: String },

    #[error("{what} does not exist")]
    AudioMissing { what: String },

    #[error("permission denied to read audio from files of the server")]
    FilesForbidden,

    #[error("role \"{role}\", which named the audio file, may not read files of the server")]
    NamerOfFileForbidden { role: String },

    #[error("permission denied for large object {oid}")]
    LargeObjectForbidden { oid: u32 },

    #[error("role \"{role}\", which named large object {oid}, may not read it")]
    NamerOfLargeObjectForbidden { oid: u32, role: String },

    #[error("the path of an audio file is absolute")]
    RelativePath,

    #[error("the audio file is outside of speaker.audio_dir")]
    OutsideAudioDir,

    #[error("the audio file cannot be read: {detail}")]
    Unreadable { detail: String },

    #[error("{argument} is not the same in all rows")]
    Differs { argument: &'static str },

    #[error("permission denied to take leases of relation {ledger}: the current user does not own it")]
    LedgerForbidden { ledger: u32 },

    #[error("the store belongs to another role")]
    StoreOfOthers,
}

/// Any error of core, on its way to SQL.
#[derive(Debug, Clone, Error)]
pub enum Report {
    #[error(transparent)]
    Audio(#[from] AudioError),
    #[error(transparent)]
    Span(#[from] SpanError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    #[error(transparent)]
    Model(#[from] OnnxError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Segments(#[from] SegmentsError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Assign(#[from] AssignError),
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl Report {
    /// This error's entry in the catalogue.
    pub fn code(&self) -> &'static ErrorCode {
        match self {
            Self::Audio(error) => audio(error),
            Self::Span(error) => span(error),
            Self::Embed(EmbedError::Speech(error)) => speech(error),
            Self::Embed(EmbedError::Output(error)) | Self::Embedding(error) => embedding(error),
            Self::Model(error) => model(error),
            Self::Manifest(_) => &MANIFEST_INVALID,
            Self::Segments(error) => segments(error),
            Self::Cluster(error) => cluster(error),
            Self::Assign(error) => assign(error),
            Self::Sql(error) => sql(error),
        }
    }
}

/// Runs the body of an SQL function and raises its error, if it has one.
pub fn raise<T>(body: impl FnOnce() -> Result<T, Report>) -> T {
    body().unwrap_or_else(|report| {
        let code = report.code();
        raise_code(code, &report.to_string(), code.recovery)
    })
}

/// Raises an error of the catalogue. Its code is the report's routine, and its detail for those that do not see the
/// routine: plpgsql, and drivers that pass on SQLSTATE, message and detail only.
pub fn raise_code(code: &'static ErrorCode, message: &str, hint: &str) -> ! {
    ErrorReport::new(code.sqlstate, message.to_owned(), code.code)
        .set_detail(format!("error code: {}", code.code))
        .set_hint(hint.to_owned())
        .report(PgLogLevel::ERROR);
    unreachable!("reporting an error does not return")
}

fn audio(error: &AudioError) -> &'static ErrorCode {
    match error {
        AudioError::Empty => &AUDIO_EMPTY,
        AudioError::TooLarge { .. } => &AUDIO_TOO_LARGE,
        AudioError::TooLong { .. } => &AUDIO_TOO_LONG,
        AudioError::UnknownFormat { .. } => &AUDIO_UNKNOWN_FORMAT,
        AudioError::NoAudioTrack { .. } => &AUDIO_NO_TRACK,
        AudioError::UnsupportedCodec { .. }
        | AudioError::UnsupportedContainer { .. }
        | AudioError::UnsupportedEdits { .. }
        | AudioError::UnsupportedRate { .. }
        | AudioError::UnsupportedChannels { .. } => &AUDIO_UNSUPPORTED,
        AudioError::Truncated { .. } | AudioError::Incomplete { .. } => &AUDIO_TRUNCATED,
        AudioError::Corrupt { .. } => &AUDIO_CORRUPT,
        AudioError::NoSamples => &AUDIO_NO_SAMPLES,
        AudioError::Decoder { .. } => &AUDIO_DECODER_FAILED,
        AudioError::Io { .. } => &AUDIO_UNREADABLE,
        AudioError::Interrupted => &INTERRUPTED,
    }
}

fn span(error: &SpanError) -> &'static ErrorCode {
    match error {
        SpanError::NotFinite { .. } | SpanError::Negative { .. } => &SEGMENT_INVALID_TIME,
        SpanError::EndNotAfterStart { .. } => &SEGMENT_EMPTY,
        SpanError::NoChannel { .. } | SpanError::ChannelMissing { .. } => &CHANNEL_MISSING,
        SpanError::BeyondEnd { .. } => &SEGMENT_BEYOND_END,
        SpanError::TooMuchMemory { .. } => &AUDIO_TOO_MUCH_MEMORY,
    }
}

fn speech(error: &SpeechError) -> &'static ErrorCode {
    match error {
        SpeechError::TooShort { .. } => &SPEECH_TOO_SHORT,
        SpeechError::Silent { .. } => &SPEECH_NONE,
        SpeechError::Interrupted => &INTERRUPTED,
    }
}

fn embedding(error: &EmbeddingError) -> &'static ErrorCode {
    match error {
        EmbeddingError::Dimensions { .. } => &VECTOR_DIMENSIONS,
        EmbeddingError::Empty | EmbeddingError::NotFinite { .. } | EmbeddingError::ZeroNorm => &VECTOR_INVALID,
    }
}

fn model(error: &OnnxError) -> &'static ErrorCode {
    match error {
        OnnxError::Library { .. } => &RUNTIME_MISSING,
        OnnxError::Name { .. } | OnnxError::NotInstalled { .. } => &MODEL_UNKNOWN,
        OnnxError::Missing { .. } => &MODEL_MISSING,
        OnnxError::Altered { .. } => &MODEL_ALTERED,
        OnnxError::OtherVersion { .. } => &MODEL_OTHER_VERSION,
        OnnxError::Manifest(_) => &MANIFEST_INVALID,
        OnnxError::Contract { .. } => &MODEL_CONTRACT,
        OnnxError::Inference { .. } => &INFERENCE_FAILED,
        OnnxError::Interrupted => &INTERRUPTED,
    }
}

fn segments(error: &SegmentsError) -> &'static ErrorCode {
    match error {
        SegmentsError::Empty | SegmentsError::Json { .. } | SegmentsError::Unknown | SegmentsError::Line { .. } => {
            &SEGMENTS_INVALID
        }
        SegmentsError::OtherFile { .. } => &SEGMENTS_OF_SEVERAL_FILES,
        SegmentsError::TooMuchMemory { .. } => &TOO_MUCH_MEMORY,
    }
}

/// The code of a segment that cannot be used.
pub fn flaw(flaw: &Flaw) -> &'static ErrorCode {
    match flaw {
        Flaw::Time { .. } => &SEGMENT_INVALID_TIME,
        Flaw::Channel { .. } => &CHANNEL_MISSING,
    }
}

fn sql(error: &SqlError) -> &'static ErrorCode {
    match error {
        SqlError::StoreVersion { .. } => &STORE_VERSION,
        SqlError::Dimensions { .. } => &VECTOR_DIMENSIONS,
        SqlError::Lengths { .. } | SqlError::OtherLength { .. } => &ARRAY_LENGTHS,
        SqlError::NullElement { .. } => &NULL_ELEMENT,
        SqlError::TooManyValues { .. } => &VECTOR_INVALID,
        SqlError::Null { .. } => &ARGUMENT_MISSING,
        SqlError::TooSmall { .. } | SqlError::Choice { .. } | SqlError::ErrorCode { .. } | SqlError::Differs { .. } => {
            &INVALID_ARGUMENT
        }
        SqlError::TooMuchMemory { .. } => &TOO_MUCH_MEMORY,
        SqlError::OutOfMemory { .. } => &OUT_OF_MEMORY,
        SqlError::AudioMissing { .. } => &MISSING_AUDIO,
        SqlError::FilesForbidden | SqlError::NamerOfFileForbidden { .. } => &FILES_FORBIDDEN,
        SqlError::LargeObjectForbidden { .. } | SqlError::NamerOfLargeObjectForbidden { .. } => &AUDIO_FORBIDDEN,
        SqlError::RelativePath | SqlError::OutsideAudioDir => &FILE_PATH,
        SqlError::Unreadable { .. } => &AUDIO_UNREADABLE,
        SqlError::LedgerForbidden { .. } => &LEDGER_FORBIDDEN,
        SqlError::StoreOfOthers => &STORE_FORBIDDEN,
    }
}

fn cluster(error: &ClusterError) -> &'static ErrorCode {
    match error {
        ClusterError::NotFinite { .. } | ClusterError::ZeroNorm { .. } => &VECTOR_INVALID,
        ClusterError::MinClusterSize { .. }
        | ClusterError::MinSamples { .. }
        | ClusterError::TooFewPoints { .. }
        | ClusterError::Epsilon { .. } => &INVALID_ARGUMENT,
        ClusterError::TooMany { .. } => &TOO_MANY_VECTORS,
        ClusterError::Dimension { .. } => &VECTOR_DIMENSIONS,
        ClusterError::OtherPoints { .. } | ClusterError::Inconsistent { .. } => &CLUSTERING_INCONSISTENT,
        ClusterError::Interrupted => &INTERRUPTED,
    }
}

fn assign(error: &AssignError) -> &'static ErrorCode {
    match error {
        AssignError::Dimensions { .. } => &VECTOR_DIMENSIONS,
        AssignError::TooMuchMemory { .. } => &TOO_MUCH_MEMORY,
        AssignError::Interrupted => &INTERRUPTED,
    }
}
