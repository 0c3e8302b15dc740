//! Audio to embeddings.

use pgrx::fcinfo::pg_getarg;
use pgrx::prelude::*;
use pgrx::{Array, Internal};
use speaker_core::audio::{Span, SpanError, Stretch};
use speaker_onnx::Embedded;

use crate::aggregate::with_state;
use crate::composite::Composite;
use crate::datum::Vector;
use crate::error::{raise, Report, SqlError};
use crate::extraction::{embed_one, Extraction, Outcome};
use crate::model_cache;
use crate::source::{Audio, Bytea};

// Not strict: NULL audio gives NULL, NULL start and end mean the bounds of the recording, NULL model the default one.
#[pg_extern(stable, parallel_safe, cost = 100000)]
fn extract_speaker_embedding(
    audio: Option<Bytea>,
    start_s: default!(Option<f64>, "NULL"),
    end_s: default!(Option<f64>, "NULL"),
    model: default!(Option<&str>, "NULL"),
    channel: default!(Option<i32>, "NULL"),
) -> Option<Vector> {
    raise(|| {
        let Some(audio) = audio else { return Ok(None) };
        let span = Span::new(start_s, end_s)?.on_channel(channel)?;
        Ok(Some(Vector::new(embed_one(&Audio::Bytea(audio), span, model)?.into_vec())))
    })
}

#[pg_extern(stable, parallel_safe, cost = 1000000)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
fn extract_speaker_embeddings(
    audio: Option<Bytea>,
    starts: Option<Array<f64>>,
    ends: Option<Array<f64>>,
    model: default!(Option<&str>, "NULL"),
    channels: default!(Option<Array<i32>>, "NULL"),
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
        let bounds = Bounds::new(starts, ends, channels)?;
        let mut extraction = Extraction::new(model, None)?;
        extraction.check_room(bounds.len())?;
        extraction.take(&Audio::Bytea(audio), bounds.spans().map(|span| Ok(vec![span?])))?;
        Ok(TableIterator::new((1..).zip(extraction.finish()?).map(|(ordinal, outcome)| {
            let Answer { embedding, speech_s, error_code, error, permanent } = outcome.into();
            (ordinal, embedding, speech_s, error_code, error, permanent)
        })))
    })
}

/// The state of `speaker_extract`.
struct Extract {
    extraction: Extraction,
    /// As the first row asked for them.
    model: Option<String>,
    sha256: Option<String>,
    segment_ids: Vec<i64>,
}

// It takes its arguments by hand: pgrx has no unpacking beside the state of an aggregate, which needs the call's own
// record.
#[pg_extern(sql = r#"
    CREATE FUNCTION speaker_extract_state(
        state internal, audio bytea, audio_lo oid, audio_path text, named_by text,
        segment_ids bigint[], starts float8[], ends float8[], channels int[], model text, sha256 text)
    RETURNS internal LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn speaker_extract_state(fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    // SAFETY: the types are those of the SQL signature.
    let (state, audio, large_object, path) = unsafe {
        (
            pg_getarg::<Internal>(fcinfo, 0),
            pg_getarg::<Bytea>(fcinfo, 1),
            pg_getarg::<pg_sys::Oid>(fcinfo, 2),
            pg_getarg::<String>(fcinfo, 3),
        )
    };
    // SAFETY: as above.
    let (named_by, segment_ids, starts, ends, channels, model, sha256) = unsafe {
        (
            pg_getarg::<&str>(fcinfo, 4),
            pg_getarg::<Array<i64>>(fcinfo, 5),
            pg_getarg::<Array<f64>>(fcinfo, 6),
            pg_getarg::<Array<f64>>(fcinfo, 7),
            pg_getarg::<Array<i32>>(fcinfo, 8),
            pg_getarg::<&str>(fcinfo, 9),
            pg_getarg::<&str>(fcinfo, 10),
        )
    };
    let start = || {
        raise(|| {
            let extraction = Extraction::new(model, sha256)?;
            let [model, sha256] = [model, sha256].map(|text| text.map(str::to_owned));
            Ok(Extract { extraction, model, sha256, segment_ids: Vec::new() })
        })
    };
    let take = |state: &mut Extract| {
        raise(|| {
            for (argument, first, now) in [("model", &state.model, model), ("sha256", &state.sha256, sha256)] {
                if first.as_deref() != now {
                    return Err(SqlError::Differs { argument }.into());
                }
            }
            let bounds = Bounds::new(starts, ends, channels)?;
            let ids = segment_ids.ok_or(SqlError::Null { argument: "segment_ids" })?;
            if ids.len() != bounds.len() {
                return Err(
                    SqlError::OtherLength { argument: "segment_ids", got: ids.len(), starts: bounds.len() }.into()
                );
            }
            state.extraction.check_room(ids.len())?;
            // Elements of one segment, one after the other, are its pieces.
            let mut stretches: Vec<Result<Stretch, SpanError>> = Vec::new();
            let mut last = None;
            for (row, (id, span)) in ids.iter().zip(bounds.spans()).enumerate() {
                let id = id.ok_or(SqlError::NullElement { argument: "segment_ids", position: row + 1 })?;
                match (stretches.last_mut(), span) {
                    (Some(stretch), span) if last == Some(id) => match (&mut *stretch, span) {
                        (Ok(pieces), Ok(span)) => pieces.push(span),
                        (Ok(_), Err(error)) => *stretch = Err(error),
                        (Err(_), _) => {}
                    },
                    (_, span) => {
                        state.segment_ids.push(id);
                        stretches.push(span.map(|span| vec![span]));
                    }
                }
                last = Some(id);
            }
            match Audio::of_recording(audio, large_object, path, named_by) {
                Some(audio) => state.extraction.take(&audio, stretches.into_iter()),
                None => {
                    let missing = SqlError::AudioMissing { what: "the recording's audio".to_owned() };
                    state.extraction.refuse(&missing.into(), stretches.len());
                    Ok(())
                }
            }
        })
    };
    // SAFETY: the aggregate below uses this state for an Extract, here and in its final function.
    unsafe { with_state(state.unwrap_or_default(), fcinfo, start, take) }
}

#[pg_extern(
    sql = r#"
    CREATE FUNCTION speaker_extract_final(state internal) RETURNS speaker_extracted
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 100000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#,
    requires = ["speaker_extracted"]
)]
fn speaker_extract_final(fcinfo: pg_sys::FunctionCallInfo) -> Option<Composite> {
    // SAFETY: the type is that of the SQL signature.
    let mut state = unsafe { pg_getarg::<Internal>(fcinfo, 0) }?;
    // SAFETY: the state that speaker_extract_state made.
    let state = unsafe { state.get_mut::<Extract>() }?;
    let outcomes = raise(|| state.extraction.finish());
    let (mut embeddings, mut speech_s) = (Vec::new(), Vec::new());
    let (mut error_codes, mut errors, mut permanent) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        let answer = Answer::from(outcome);
        embeddings.push(answer.embedding);
        speech_s.push(answer.speech_s);
        error_codes.push(answer.error_code);
        errors.push(answer.error);
        permanent.push(answer.permanent);
    }
    let segment_ids = std::mem::take(&mut state.segment_ids);
    // SAFETY: the columns are those of speaker_extracted, below.
    Some(unsafe {
        Composite::of_result(fcinfo, |columns| {
            columns.push(segment_ids);
            columns.push_vectors(embeddings);
            columns.push(speech_s);
            columns.push(error_codes);
            columns.push(errors);
            columns.push(permanent);
        })
    })
}

#[pg_extern(stable, parallel_safe)]
fn speaker_load_model(model: &str, sha256: Option<&str>) {
    raise(|| {
        model_cache::model(Some(model), sha256)?;
        Ok(())
    });
}

/// Starts, ends and channels of as many spans.
struct Bounds<'a> {
    starts: Array<'a, f64>,
    ends: Array<'a, f64>,
    channels: Option<Array<'a, i32>>,
}

impl<'a> Bounds<'a> {
    fn new(
        starts: Option<Array<'a, f64>>,
        ends: Option<Array<'a, f64>>,
        channels: Option<Array<'a, i32>>,
    ) -> Result<Self, Report> {
        let starts = starts.ok_or(SqlError::Null { argument: "starts" })?;
        let ends = ends.ok_or(SqlError::Null { argument: "ends" })?;
        if starts.len() != ends.len() {
            return Err(SqlError::Lengths { starts: starts.len(), ends: ends.len() }.into());
        }
        if let Some(got) = channels.as_ref().map(Array::len).filter(|got| *got != starts.len()) {
            return Err(SqlError::OtherLength { argument: "channels", got, starts: starts.len() }.into());
        }
        Ok(Self { starts, ends, channels })
    }

    fn len(&self) -> usize {
        self.starts.len()
    }

    fn spans(&self) -> impl Iterator<Item = Result<Span, SpanError>> + '_ {
        let mut channels = self.channels.as_ref().map(Array::iter);
        self.starts.iter().zip(self.ends.iter()).map(move |(start, end)| {
            let channel = channels.as_mut().and_then(Iterator::next).flatten();
            Span::new(start, end)?.on_channel(channel)
        })
    }
}

/// An embedding, or an error and whether it lasts.
#[derive(Default)]
struct Answer {
    embedding: Option<Vector>,
    speech_s: Option<f64>,
    error_code: Option<&'static str>,
    error: Option<String>,
    permanent: Option<bool>,
}

impl From<Outcome> for Answer {
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
CREATE TYPE speaker_extracted AS (
    segment_ids bigint[], embeddings vector[], speech_s float8[], error_codes text[], errors text[], permanent boolean[]
);
COMMENT ON TYPE speaker_extracted IS
    'What speaker_extract() answers: arrays with an element for each segment, in the order they came in. An element of embeddings is NULL where there is an error; permanent tells whether the same input can ever work.';
"#,
    name = "speaker_extracted",
);

extension_sql!(
    r#"
CREATE AGGREGATE speaker_extract(
    audio bytea, audio_lo oid, audio_path text, named_by text,
    segment_ids bigint[], starts float8[], ends float8[], channels int[], model text, sha256 text
) (
    SFUNC = speaker_extract_state, STYPE = internal,
    FINALFUNC = speaker_extract_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = RESTRICTED
);
COMMENT ON AGGREGATE speaker_extract(bytea, oid, text, text, bigint[], float8[], float8[], int[], text, text) IS
    'Embeddings of segments of many recordings: a row for each recording, decoded once, with one of audio, audio_lo and audio_path, and its segments. A segment that comes several times in a row is made of these pieces. What is not in the row is read with the rights of the role named_by as well as the caller''s. With sha256 no other version of the model will do. Not a row: NULL.';

ALTER FUNCTION extract_speaker_embeddings(bytea, float8[], float8[], text, int[]) ROWS 100;
COMMENT ON FUNCTION extract_speaker_embedding(bytea, float8, float8, text, int) IS
    'The voice embedding of a stretch of audio, from start_s to end_s (seconds; NULL means from the start, to the end), L2-normalised; of one channel (from 1), or of the mix of all. In ORDER BY write (SELECT extract_speaker_embedding(...)), or it is computed for every row.';
COMMENT ON FUNCTION extract_speaker_embeddings(bytea, float8[], float8[], text, int[]) IS
    'Embeddings of many stretches of one recording, which is decoded once: a row per stretch, ordinal from 1, with its embedding or its error. permanent tells whether the same input can ever work.';
COMMENT ON FUNCTION speaker_extract_state(internal, bytea, oid, text, text, bigint[], float8[], float8[], int[], text, text) IS
    'Part of speaker_extract().';
COMMENT ON FUNCTION speaker_extract_final(internal) IS 'Part of speaker_extract().';
COMMENT ON FUNCTION speaker_load_model(text, text) IS
    'Opens a model for this session, or raises why it cannot be used: with sha256, because the installed version is another.';
"#,
    name = "embedding_comments",
    requires = [
        extract_speaker_embedding,
        extract_speaker_embeddings,
        speaker_extract_state,
        speaker_extract_final,
        speaker_load_model
    ],
);
