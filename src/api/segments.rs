//! Segments as diarizers and transcribers write them.

use pgrx::prelude::*;
use speaker_core::segments;

use crate::error::{flaw, raise};
use crate::{memory, settings};

#[pg_extern(immutable, strict, parallel_safe)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
pub fn speaker_parse_segments(
    segments: &str,
) -> TableIterator<
    'static,
    (
        name!(external_id, Option<String>),
        name!(source_index, i32),
        name!(start_s, f64),
        name!(end_s, f64),
        name!(channel, Option<i32>),
        name!(speaker_label, Option<String>),
        name!(text, Option<String>),
        name!(confidence, Option<f64>),
        name!(error_code, Option<&'static str>),
        name!(error, Option<String>),
        name!(format, &'static str),
    ),
> {
    raise(|| {
        let max_memory = settings::max_memory();
        memory::available(segments::memory_of_text(segments).min(max_memory))?;
        let read = segments::parse_segments(segments, max_memory)?;
        // A row at a time, made when PostgreSQL asks for it.
        Ok(TableIterator::new(read.segments.into_iter().map(move |segment| {
            (
                segment.external_id,
                segment.index as i32,
                segment.start_s,
                segment.end_s,
                segment.channel,
                segment.speaker_label,
                segment.text,
                segment.confidence,
                segment.flaw.as_ref().map(|found| flaw(found).code),
                segment.flaw.map(|found| found.to_string()),
                read.format,
            )
        })))
    })
}

extension_sql!(
    r#"
COMMENT ON FUNCTION speaker_parse_segments(text) IS
    'Reads segments as diarizers and transcribers write them; the format is told by the text, and is the last column. Times are in seconds, channels count from 1. A segment that cannot be used has an error_code.';
"#,
    name = "segments_comments",
    requires = [speaker_parse_segments],
);
