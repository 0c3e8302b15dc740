//! Audio to embeddings.

use pgrx::prelude::*;
use pgrx::spi::{self, SpiClient};
use speaker_core::audio::{Span, SpanError};
use speaker_onnx::Embedded;

use crate::backend::{self, Outcome};
use crate::datum::Vector;
use crate::error::{raise, Report, SqlError};
use crate::source::{Audio, Bytea};

// Not strict: NULL audio gives NULL, NULL start and end mean the bounds of the recording, NULL model the default one.
#[pg_extern(stable, parallel_safe, cost = 100000)]
fn extract_speaker_embedding(
    audio: Option<Bytea>,
    start_s: default!(Option<f64>, "NULL"),
    end_s: default!(Option<f64>, "NULL"),
    model: default!(Option<&str>, "NULL"),
) -> Option<Vector> {
    raise(|| {
        let Some(audio) = audio else { return Ok(None) };
        let span = Span::new(start_s, end_s)?;
        Ok(Some(Vector::new(backend::embed_one(&Audio::Bytea(audio), span, model)?.into_vec())))
    })
}

#[pg_extern(stable, parallel_safe, cost = 1000000)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
fn extract_speaker_embeddings(
    audio: Option<Bytea>,
    starts: Option<Array<f64>>,
    ends: Option<Array<f64>>,
    model: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(embedding, Option<Vector>),
        name!(speech_s, Option<f64>),
        name!(error_code, Option<&'static str>),
        name!(error, Option<String>),
        name!(permanent, Option<bool>),
    ),
> {
    raise(|| {
        let Some(audio) = audio else { return Ok(TableIterator::empty()) };
        let spans = spans(starts, ends)?;
        let outcomes = backend::embed_all(model, |extraction| extraction.take(&Audio::Bytea(audio), &spans))?;
        Ok(TableIterator::new((1..).zip(outcomes).map(|(ordinal, outcome)| {
            let Columns { embedding, speech_s, error_code, error, permanent } = outcome.into();
            (ordinal, embedding, speech_s, error_code, error, permanent)
        })))
    })
}

#[pg_schema]
pub mod speaker {
    use super::*;

    // Volatile: its query may see more than the statement that calls it.
    #[pg_extern(volatile, cost = 1000000)]
    #[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
    pub fn extract_segments(
        segment_ids: Vec<Option<i64>>,
        model: &str,
    ) -> TableIterator<
        'static,
        (
            name!(segment_id, i64),
            name!(source_hash, Option<Vec<u8>>),
            name!(embedding, Option<Vector>),
            name!(speech_s, Option<f64>),
            name!(error_code, Option<&'static str>),
            name!(error, Option<String>),
            name!(permanent, Option<bool>),
        ),
    > {
        raise(|| {
            Spi::connect(|client| {
                let recordings = recordings(client, segment_ids).expect("the query fits its columns");
                if recordings.is_empty() {
                    return Ok(TableIterator::empty());
                }
                let outcomes = backend::embed_all(Some(model), |extraction| {
                    recordings.iter().try_for_each(|recording| extraction.take(&recording.audio, &recording.spans))
                })?;
                let segments = recordings.into_iter().flat_map(|recording| recording.segments);
                Ok(TableIterator::new(segments.zip(outcomes).map(|((id, source_hash), outcome)| {
                    let Columns { embedding, speech_s, error_code, error, permanent } = outcome.into();
                    (id, source_hash, embedding, speech_s, error_code, error, permanent)
                })))
            })
        })
    }

    #[pg_extern(stable, parallel_safe)]
    pub fn load_model(model: &str) {
        raise(|| backend::with_model(Some(model), |_| Ok(())));
    }
}

/// A recording, and what of it is wanted. Its audio is there as long as the query's connection.
struct Recording {
    audio: Audio,
    /// Ids, and hashes of what their embeddings are made from.
    segments: Vec<(i64, Option<Vec<u8>>)>,
    /// One of each segment.
    spans: Vec<Result<Span, SpanError>>,
}

/// The recordings of these segments, as far as they have audio.
fn recordings(client: &SpiClient, segment_ids: Vec<Option<i64>>) -> spi::Result<Vec<Recording>> {
    let query = "SELECT audio, audio_lo, audio_path, ids, source_hashes, starts, ends \
                 FROM speaker.audio_of_segments($1)";
    let mut rows = client.select(query, None, &[segment_ids.into()])?;
    let mut recordings = Vec::new();
    while rows.next().is_some() {
        let audio = Audio::of_recording(rows.get(1)?, rows.get(2)?, rows.get(3)?);
        let ids = rows.get::<Vec<i64>>(4)?.unwrap_or_default();
        let hashes = rows.get::<Array<&[u8]>>(5)?;
        let hashes = hashes.iter().flat_map(|hashes| hashes.iter()).map(|hash| hash.map(<[u8]>::to_vec));
        let [starts, ends] = [rows.get::<Vec<f64>>(6)?, rows.get::<Vec<f64>>(7)?].map(Option::unwrap_or_default);
        let recording = Recording {
            audio: audio.expect("the query leaves out recordings without audio"),
            segments: ids.into_iter().zip(hashes).collect(),
            spans: starts.into_iter().zip(ends).map(|(start, end)| Span::new(Some(start), Some(end))).collect(),
        };
        assert_eq!(recording.segments.len(), recording.spans.len(), "the arrays are of the same segments");
        recordings.push(recording);
    }
    Ok(recordings)
}

fn spans(starts: Option<Array<f64>>, ends: Option<Array<f64>>) -> Result<Vec<Result<Span, SpanError>>, Report> {
    let starts = starts.ok_or(SqlError::Null { argument: "starts" })?;
    let ends = ends.ok_or(SqlError::Null { argument: "ends" })?;
    if starts.len() != ends.len() {
        return Err(SqlError::Lengths { starts: starts.len(), ends: ends.len() }.into());
    }
    Ok(starts.iter().zip(ends.iter()).map(|(start, end)| Span::new(start, end)).collect())
}

/// An embedding, or an error and whether it lasts.
#[derive(Default)]
struct Columns {
    embedding: Option<Vector>,
    speech_s: Option<f64>,
    error_code: Option<&'static str>,
    error: Option<String>,
    permanent: Option<bool>,
}

impl From<Outcome> for Columns {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Ok(Embedded { embedding, speech_s }) => {
                Self { embedding: Some(Vector::new(embedding.into_vec())), speech_s: Some(speech_s), ..Self::default() }
            }
            Err(report) => {
                let code = report.code();
                Self {
                    error_code: Some(code.code),
                    error: Some(report.to_string()),
                    permanent: Some(code.permanent),
                    ..Self::default()
                }
            }
        }
    }
}

extension_sql!(
    r#"
ALTER FUNCTION extract_speaker_embeddings(bytea, float8[], float8[], text) ROWS 100;
ALTER FUNCTION speaker.extract_segments(bigint[], text) ROWS 200;
COMMENT ON FUNCTION extract_speaker_embedding(bytea, float8, float8, text) IS
    'The voice embedding of a stretch of audio, from start_s to end_s (seconds; NULL means from the start, to the end), L2-normalised. In ORDER BY write (SELECT extract_speaker_embedding(...)), or it is computed for every row.';
COMMENT ON FUNCTION extract_speaker_embeddings(bytea, float8[], float8[], text) IS
    'Embeddings of many stretches of one recording, which is decoded once: a row per stretch, ordinal from 1, with its embedding or its error. permanent tells whether the same input can ever work.';
COMMENT ON FUNCTION speaker.extract_segments(bigint[], text) IS
    'Embeddings of segments of any recordings, each decoded once, with the hash of what they were made from. No row: rejected, or without audio.';
"#,
    name = "embedding_comments",
    requires = [extract_speaker_embedding, extract_speaker_embeddings, speaker::extract_segments],
);
