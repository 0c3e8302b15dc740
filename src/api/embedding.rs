//! Audio to embeddings.

use pgrx::prelude::*;
use speaker_core::audio::Span;
use speaker_onnx::Embedded;

use crate::backend;
use crate::datum::Vector;
use crate::error::{raise, Report, SqlError};
use crate::source::{Audio, Bytea};

// Not strict: NULL audio gives NULL, NULL start and end mean the bounds of the recording, NULL model the default one.
/// A row per span: an embedding, or an error and whether it lasts.
type Rows = TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(embedding, Option<Vector>),
        name!(speech_s, Option<f64>),
        name!(error_code, Option<&'static str>),
        name!(error, Option<String>),
        name!(permanent, Option<bool>),
    ),
>;

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
    raise(|| match audio {
        Some(audio) => embed(&Audio::Bytea(audio), starts, ends, model),
        None => Ok(TableIterator::empty()),
    })
}

#[pg_schema]
pub mod speaker {
    use super::*;

    #[pg_extern(stable, parallel_safe, cost = 1000000)]
    #[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
    pub fn extract_recording(
        audio: Option<Bytea>,
        audio_lo: Option<pg_sys::Oid>,
        audio_path: Option<String>,
        starts: Option<Array<f64>>,
        ends: Option<Array<f64>>,
        model: &str,
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
            let audio = Audio::of_recording(audio, audio_lo, audio_path)
                .ok_or(SqlError::AudioMissing { what: "the recording's audio".to_owned() })?;
            embed(&audio, starts, ends, Some(model))
        })
    }

    #[pg_extern(stable, parallel_safe)]
    pub fn load_model(model: &str) {
        raise(|| backend::with_model(Some(model), |_| Ok(())));
    }
}

fn embed(
    audio: &Audio,
    starts: Option<Array<f64>>,
    ends: Option<Array<f64>>,
    model: Option<&str>,
) -> Result<Rows, Report> {
    let starts = starts.ok_or(SqlError::Null { argument: "starts" })?;
    let ends = ends.ok_or(SqlError::Null { argument: "ends" })?;
    if starts.len() != ends.len() {
        return Err(SqlError::Lengths { starts: starts.len(), ends: ends.len() }.into());
    }
    let spans: Vec<_> = starts.iter().zip(ends.iter()).map(|(start, end)| Span::new(start, end)).collect();
    let mut outcomes = Vec::with_capacity(spans.len());
    backend::embed_all(audio, &spans, model, |ordinal, outcome| {
        outcomes.push((ordinal, outcome));
    })?;
    outcomes.sort_by_key(|(ordinal, _)| *ordinal);
    Ok(TableIterator::new(outcomes.into_iter().map(|(ordinal, outcome)| {
        let ordinal = ordinal as i32 + 1;
        match outcome {
            Ok(Embedded { embedding, speech_s }) => {
                (ordinal, Some(Vector::new(embedding.into_vec())), Some(speech_s), None, None, None)
            }
            Err(report) => {
                let code = report.code();
                (ordinal, None, None, Some(code.code), Some(report.to_string()), Some(code.permanent))
            }
        }
    })))
}

extension_sql!(
    r#"
ALTER FUNCTION extract_speaker_embeddings(bytea, float8[], float8[], text) ROWS 100;
COMMENT ON FUNCTION extract_speaker_embedding(bytea, float8, float8, text) IS
    'The voice embedding of a stretch of audio, from start_s to end_s (seconds; NULL means from the start, to the end), L2-normalised. In ORDER BY write (SELECT extract_speaker_embedding(...)), or it is computed for every row.';
COMMENT ON FUNCTION extract_speaker_embeddings(bytea, float8[], float8[], text) IS
    'Embeddings of many stretches of one recording, which is decoded once: a row per stretch, ordinal from 1, with its embedding or its error. permanent tells whether the same input can ever work.';
"#,
    name = "embedding_comments",
    requires = [extract_speaker_embedding, extract_speaker_embeddings],
);
