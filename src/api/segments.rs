//! Segments as diarizers and transcribers write them.

use pgrx::prelude::*;
use speaker_core::segments;

use crate::error::raise;
use crate::{memory, settings};

#[pg_extern(immutable, strict, parallel_safe)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
pub fn speaker_parse_segments(
    segments: &str,
    segment_source: &str,
) -> TableIterator<
    'static,
    (
        name!(external_id, Option<String>),
        name!(source_index, i32),
        name!(start_s, f64),
        name!(end_s, f64),
        name!(speaker_label, Option<String>),
        name!(text, Option<String>),
        name!(confidence, Option<f64>),
    ),
> {
    raise(|| {
        let max_memory = settings::max_memory();
        memory::available(segments::memory_of_text(segments).min(max_memory))?;
        let parsed = segments::parse_segments(segments, max_memory)?;
        // Whisper transcribes and does not tell voices apart.
        let unlabeled = (segment_source == "whisper").then(|| "UNKNOWN".to_string());
        // A row at a time, made when PostgreSQL asks for it.
        Ok(TableIterator::new(parsed.into_iter().map(move |segment| {
            (
                segment.external_id,
                segment.index as i32,
                segment.start_s,
                segment.end_s,
                unlabeled.clone().or(segment.speaker_label),
                segment.text,
                segment.confidence,
            )
        })))
    })
}

extension_sql!(
    r#"
COMMENT ON FUNCTION speaker_parse_segments(text, text) IS
    'Reads Whisper''s verbose JSON, pyannote turns or RTTM. Times are in seconds, as given.';
"#,
    name = "segments_comments",
    requires = [speaker_parse_segments],
);
