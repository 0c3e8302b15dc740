//! The one table from errors to what a user sees: code, SQLSTATE, message and hint.
//!
//! Every match is exhaustive: a new error of core does not compile until someone has written its line here.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};
use speaker_core::assign::AssignError;
use speaker_core::audio::{AudioError, SpanError};
use speaker_core::cluster::ClusterError;
use speaker_core::embedding::EmbeddingError;
use speaker_core::features::SpeechError;
use speaker_core::manifest::ManifestError;
use speaker_core::segments::SegmentsError;
use speaker_onnx::{EmbedError, OnnxError};
use thiserror::Error;

/// Errors of the glue itself: arguments that no type could rule out.
#[derive(Debug, Clone, Error)]
pub enum SqlError {
    #[error("different vector dimensions {left} and {right}")]
    Dimensions { left: usize, right: usize },

    #[error("starts has {starts} elements, but ends has {ends}")]
    Lengths { starts: usize, ends: usize },

    #[error("element {position} of {argument} is NULL")]
    NullElement { argument: &'static str, position: usize },

    #[error("{argument} is {got}, but must be at least 1")]
    NotPositive { argument: &'static str, got: i32 },

    #[error("{argument} is \"{got}\", not {choices}")]
    Choice { argument: &'static str, got: String, choices: &'static str },

    #[error("mean of {got} values, but a vector has at most {most}")]
    TooManyValues { got: usize, most: usize },
}

/// A line of the table.
pub struct Entry {
    /// For programs; it does not change between versions.
    pub code: &'static str,
    pub sqlstate: PgSqlErrorCode,
    /// Whether the same input can never work.
    pub permanent: bool,
    pub hint: &'static str,
}

/// Any error of core, on its way to SQL.
#[derive(Debug, Error)]
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
    /// This error's line of the table.
    pub fn entry(&self) -> Entry {
        match self {
            Self::Audio(error) => audio(error),
            Self::Span(error) => span(error),
            Self::Embed(EmbedError::Speech(error)) => speech(error),
            Self::Embed(EmbedError::Output(error)) | Self::Embedding(error) => embedding(error),
            Self::Model(error) => model(error),
            Self::Manifest(_) => manifest(),
            Self::Segments(error) => segments(error),
            Self::Cluster(error) => cluster(error),
            Self::Assign(error) => assign(error),
            Self::Sql(error) => sql(error),
        }
    }
}

/// Runs the body of an SQL function and raises its error, if it has one, with SQLSTATE and hint.
pub fn raise<T>(body: impl FnOnce() -> Result<T, Report>) -> T {
    body().unwrap_or_else(|report| {
        let Entry { code, sqlstate, hint, .. } = report.entry();
        ErrorReport::new(sqlstate, report.to_string(), code).set_hint(hint).report(PgLogLevel::ERROR);
        unreachable!("reporting an error does not return")
    })
}

const fn permanent(code: &'static str, sqlstate: PgSqlErrorCode, hint: &'static str) -> Entry {
    Entry { code, sqlstate, permanent: true, hint }
}

const fn passing(code: &'static str, sqlstate: PgSqlErrorCode, hint: &'static str) -> Entry {
    Entry { code, sqlstate, permanent: false, hint }
}

fn interrupted() -> Entry {
    passing("interrupted", PgSqlErrorCode::ERRCODE_QUERY_CANCELED, "Run it again; nothing was written.")
}

fn audio(error: &AudioError) -> Entry {
    use PgSqlErrorCode::*;
    match error {
        AudioError::Empty => permanent(
            "audio_empty",
            ERRCODE_ZERO_LENGTH_CHARACTER_STRING,
            "Pass the bytes of an audio file; NULL means that there is none.",
        ),
        AudioError::TooLarge { .. } => passing(
            "audio_too_large",
            ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "Raise speaker.max_audio_bytes, or compress the audio: FLAC halves a WAV file without loss.",
        ),
        AudioError::TooLong { .. } => passing(
            "audio_too_long",
            ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "Raise speaker.max_audio_seconds, or split the recording.",
        ),
        AudioError::UnknownFormat { .. } => permanent(
            "audio_unknown_format",
            ERRCODE_INVALID_BINARY_REPRESENTATION,
            "WAV, FLAC, MP3, AAC, M4A and MP4, Ogg, AIFF and Matroska files are read; check that these are the file's bytes.",
        ),
        AudioError::NoAudioTrack { .. } => {
            permanent("audio_no_track", ERRCODE_NO_DATA_FOUND, "Pass a file that has sound.")
        }
        AudioError::UnsupportedCodec { .. }
        | AudioError::UnsupportedRate { .. }
        | AudioError::UnsupportedChannels { .. } => permanent(
            "audio_unsupported",
            ERRCODE_FEATURE_NOT_SUPPORTED,
            "Convert the recording, for example to FLAC at 16 kHz.",
        ),
        AudioError::Truncated { .. } | AudioError::Incomplete { .. } => permanent(
            "audio_truncated",
            ERRCODE_STRING_DATA_LENGTH_MISMATCH,
            "The file was cut off on its way; upload it again.",
        ),
        AudioError::Corrupt { .. } => {
            permanent("audio_corrupt", ERRCODE_DATA_EXCEPTION, "The file is damaged; upload it again, or convert it anew.")
        }
        AudioError::NoSamples => {
            permanent("audio_no_samples", ERRCODE_STRING_DATA_LENGTH_MISMATCH, "The file is valid but holds no sound.")
        }
        AudioError::Decoder { .. } => passing(
            "audio_decoder_failed",
            ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
            "This is a bug of a decoder; convert the recording, for example to FLAC, and report the file.",
        ),
        AudioError::Io { .. } => passing("audio_unreadable", ERRCODE_IO_ERROR, "Try again; the server's log may tell more."),
        AudioError::Interrupted => interrupted(),
    }
}

fn span(error: &SpanError) -> Entry {
    use PgSqlErrorCode::*;
    match error {
        SpanError::NotFinite { .. } | SpanError::Negative { .. } => permanent(
            "segment_invalid_time",
            ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            "Times are seconds from the start of the recording.",
        ),
        SpanError::EndNotAfterStart { .. } => {
            permanent("segment_empty", ERRCODE_INVALID_PARAMETER_VALUE, "Pass an end that is after the start.")
        }
        SpanError::BeyondEnd { .. } => permanent(
            "segment_beyond_end",
            ERRCODE_SUBSTRING_ERROR,
            "Times are seconds, not milliseconds; audio_info() tells the recording's duration.",
        ),
    }
}

fn speech(error: &SpeechError) -> Entry {
    use PgSqlErrorCode::*;
    match error {
        SpeechError::TooShort { .. } => {
            permanent("speech_too_short", ERRCODE_DATA_EXCEPTION, "Pass a longer clip, or lower speaker.min_speech.")
        }
        SpeechError::Silent { .. } => permanent(
            "speech_none",
            ERRCODE_NO_DATA_FOUND,
            "Check the times, and that the recording has a voice in this stretch.",
        ),
        SpeechError::Interrupted => interrupted(),
    }
}

fn embedding(error: &EmbeddingError) -> Entry {
    use PgSqlErrorCode::*;
    match error {
        EmbeddingError::Dimensions { .. } => permanent("vector_dimensions", ERRCODE_DATA_EXCEPTION, SAME_MODEL),
        EmbeddingError::Empty | EmbeddingError::NotFinite { .. } | EmbeddingError::ZeroNorm => permanent(
            "vector_invalid",
            ERRCODE_INVALID_PARAMETER_VALUE,
            "An embedding has finite values that are not all zero.",
        ),
    }
}

const SAME_MODEL: &str = "Compare embeddings of the same model only.";

fn model(error: &OnnxError) -> Entry {
    use PgSqlErrorCode::*;
    match error {
        OnnxError::Library { .. } => passing(
            "runtime_missing",
            ERRCODE_UNDEFINED_FILE,
            "Install onnxruntime 1.20 or newer on the server and name the library in speaker.onnxruntime.",
        ),
        OnnxError::Name { .. } => passing(
            "model_unknown",
            ERRCODE_UNDEFINED_OBJECT,
            "Names have a-z, 0-9, '_' and '-'; SELECT name FROM speaker.models lists the models.",
        ),
        OnnxError::NotInstalled { .. } => passing(
            "model_unknown",
            ERRCODE_UNDEFINED_OBJECT,
            "SELECT name FROM speaker.models lists the models; others need their manifest in speaker.model_dir.",
        ),
        OnnxError::Missing { .. } => passing(
            "model_missing",
            ERRCODE_UNDEFINED_FILE,
            "Put the model's manifest and ONNX file into speaker.model_dir, readable by the server.",
        ),
        OnnxError::Altered { .. } => passing(
            "model_altered",
            ERRCODE_CONFIG_FILE_ERROR,
            "Install the file that belongs to the manifest; another file is another version and needs its own.",
        ),
        OnnxError::Manifest(_) => manifest(),
        OnnxError::Contract { .. } => passing(
            "model_contract",
            ERRCODE_CONFIG_FILE_ERROR,
            "Correct the manifest's tensors, frontend or dimension.",
        ),
        OnnxError::Inference { .. } => passing(
            "inference_failed",
            ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
            "Try again; if it lasts, the server may lack memory.",
        ),
        OnnxError::Interrupted => interrupted(),
    }
}

fn manifest() -> Entry {
    passing(
        "manifest_invalid",
        PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        "Correct the manifest; the one of the default model is an example.",
    )
}

fn segments(error: &SegmentsError) -> Entry {
    use PgSqlErrorCode::*;
    match error {
        SegmentsError::Empty | SegmentsError::Json { .. } | SegmentsError::NoList | SegmentsError::Line { .. } => {
            permanent(
                "segments_invalid",
                ERRCODE_INVALID_TEXT_REPRESENTATION,
                "Pass Whisper's verbose JSON, an array of {\"start\", \"end\", \"speaker\"}, or RTTM.",
            )
        }
        SegmentsError::Field { .. } => permanent(
            "segments_invalid",
            ERRCODE_INVALID_TEXT_REPRESENTATION,
            "Every segment needs a start and an end in seconds.",
        ),
        SegmentsError::OtherFile { .. } => permanent(
            "segments_of_several_files",
            ERRCODE_INVALID_PARAMETER_VALUE,
            "Split the RTTM: each recording has segments of its own.",
        ),
        SegmentsError::DuplicateId { .. } => permanent(
            "segments_duplicate",
            ERRCODE_UNIQUE_VIOLATION,
            "Ids are unique within a run; leave them out to number the segments.",
        ),
    }
}

fn sql(error: &SqlError) -> Entry {
    use PgSqlErrorCode::*;
    match error {
        SqlError::Dimensions { .. } => permanent("vector_dimensions", ERRCODE_DATA_EXCEPTION, SAME_MODEL),
        SqlError::Lengths { .. } => {
            permanent("array_lengths", ERRCODE_ARRAY_ELEMENT_ERROR, "Pass one start and one end for each segment.")
        }
        SqlError::NullElement { .. } => {
            permanent("null_element", ERRCODE_NULL_VALUE_NOT_ALLOWED, "Leave the element out of the array.")
        }
        SqlError::TooManyValues { .. } => permanent(
            "vector_invalid",
            ERRCODE_INVALID_PARAMETER_VALUE,
            "rebuild_speaker_centroids() makes the sums anew.",
        ),
        SqlError::NotPositive { .. } | SqlError::Choice { .. } => permanent(
            "invalid_argument",
            ERRCODE_INVALID_PARAMETER_VALUE,
            "See the function's comment for its arguments.",
        ),
    }
}

fn cluster(error: &ClusterError) -> Entry {
    use PgSqlErrorCode::*;
    match error {
        ClusterError::NotFinite { .. } | ClusterError::ZeroNorm { .. } => permanent(
            "vector_invalid",
            ERRCODE_INVALID_PARAMETER_VALUE,
            "An embedding has finite values that are not all zero.",
        ),
        ClusterError::MinClusterSize { .. }
        | ClusterError::MinSamples { .. }
        | ClusterError::TooFewPoints { .. }
        | ClusterError::Epsilon { .. } => permanent(
            "invalid_argument",
            ERRCODE_INVALID_PARAMETER_VALUE,
            "min_cluster_size is at least 2, min_samples at least 1 and at most the number of vectors.",
        ),
        ClusterError::TooMany { .. } => {
            permanent("too_many_vectors", ERRCODE_PROGRAM_LIMIT_EXCEEDED, "Cluster a part of the vectors at a time.")
        }
        ClusterError::Dimension { .. } => permanent("vector_dimensions", ERRCODE_DATA_EXCEPTION, SAME_MODEL),
        ClusterError::OtherPoints { .. } | ClusterError::Inconsistent { .. } => permanent(
            "clustering_inconsistent",
            ERRCODE_DATA_EXCEPTION,
            "The clustering is not of these vectors; cluster anew.",
        ),
        ClusterError::Interrupted => interrupted(),
    }
}

fn assign(error: &AssignError) -> Entry {
    match error {
        AssignError::Dimensions { .. } => {
            permanent("vector_dimensions", PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, SAME_MODEL)
        }
        AssignError::Interrupted => interrupted(),
    }
}
