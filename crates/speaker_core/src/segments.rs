//! Segments as diarizers and transcribers write them: Whisper's verbose JSON, pyannote turns as JSON, and RTTM.
//!
//! The text tells which it is. Times are passed on as given, as long as they are numbers: Whisper emits empty segments
//! and ends beyond the file, and whoever stores them decides. Formats: the verbose JSON of `whisper.transcribe`;
//! `Annotation.for_json` of pyannote.core; RTTM of the NIST Rich Transcription 2009 evaluation plan, appendix A.

use std::collections::HashSet;

use serde_json::{Map, Value};
use thiserror::Error;

/// One segment, as given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SegmentInput {
    /// The source's own id, if it has one.
    pub external_id: Option<String>,
    /// Position in the source, from 0.
    pub index: usize,
    pub start_s: f64,
    pub end_s: f64,
    /// The diarizer's label, such as SPEAKER_00.
    pub speaker_label: Option<String>,
    pub text: Option<String>,
    /// In [0, 1].
    pub confidence: Option<f64>,
}

/// Why a text is not segments. Positions count from 1.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SegmentsError {
    #[error("segments are not valid JSON: {detail}")]
    Json { detail: String },

    #[error("segments are neither a JSON array, nor an object with \"segments\" or \"content\", nor RTTM")]
    Shape,

    #[error("segment {position}: {what}")]
    Segment { position: usize, what: String },

    #[error("RTTM line {line}: {what}")]
    Rttm { line: usize, what: String },

    #[error("segment {position} has the id \"{id}\" of an earlier one")]
    Duplicate { position: usize, id: String },
}

/// Reads any of the formats.
pub fn parse_segments(text: &str) -> Result<Vec<SegmentInput>, SegmentsError> {
    let segments = if text.trim_start().starts_with(['[', '{']) {
        let value = serde_json::from_str(text).map_err(|error| SegmentsError::Json { detail: error.to_string() })?;
        json_items(&value)?.iter().enumerate().map(|(index, item)| json_segment(index, item)).collect()
    } else {
        rttm(text)
    }?;

    let mut seen = HashSet::new();
    for (index, segment) in segments.iter().enumerate() {
        if let Some(id) = &segment.external_id {
            if !seen.insert(id.as_str()) {
                return Err(SegmentsError::Duplicate { position: index + 1, id: id.clone() });
            }
        }
    }
    Ok(segments)
}

/// The array of segments: bare, or in Whisper's `segments`, or in pyannote's `content`.
fn json_items(value: &Value) -> Result<&[Value], SegmentsError> {
    let items = match value {
        Value::Array(items) => Some(items),
        Value::Object(object) => ["segments", "content"].iter().find_map(|key| object.get(*key)?.as_array()),
        _ => None,
    };
    items.map(Vec::as_slice).ok_or(SegmentsError::Shape)
}

fn json_segment(index: usize, item: &Value) -> Result<SegmentInput, SegmentsError> {
    let wrong = |what: String| SegmentsError::Segment { position: index + 1, what };
    let object = item.as_object().ok_or_else(|| wrong(format!("expected an object, not {}", kind(item))))?;
    // pyannote nests the times.
    let times = object.get("segment").and_then(Value::as_object).unwrap_or(object);
    Ok(SegmentInput {
        external_id: id(object).map_err(&wrong)?,
        index,
        start_s: time(times, "start").map_err(&wrong)?,
        end_s: time(times, "end").map_err(&wrong)?,
        speaker_label: string(object, &["speaker", "label", "speaker_label"]).map_err(&wrong)?,
        text: string(object, &["text"]).map_err(&wrong)?,
        confidence: confidence(object).map_err(&wrong)?,
    })
}

fn id(object: &Map<String, Value>) -> Result<Option<String>, String> {
    match present(object, &["external_id", "id"]) {
        None => Ok(None),
        Some((_, Value::String(id))) if !id.is_empty() => Ok(Some(id.clone())),
        Some((_, Value::Number(id))) => Ok(Some(id.to_string())),
        Some((key, other)) => Err(format!("\"{key}\" is {}, not a number or a text", kind(other))),
    }
}

fn time(object: &Map<String, Value>, key: &str) -> Result<f64, String> {
    match object.get(key) {
        None => Err(format!("\"{key}\" is missing")),
        Some(value) => value.as_f64().ok_or_else(|| format!("\"{key}\" is {}, not a number of seconds", kind(value))),
    }
}

fn string(object: &Map<String, Value>, keys: &[&str]) -> Result<Option<String>, String> {
    match present(object, keys) {
        None => Ok(None),
        Some((_, Value::String(text))) if text.contains('\0') => Err("a text has a NUL character".into()),
        Some((_, Value::String(text))) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some((key, other)) => Err(format!("\"{key}\" is {}, not a text", kind(other))),
    }
}

fn confidence(object: &Map<String, Value>) -> Result<Option<f64>, String> {
    match present(object, &["confidence"]) {
        None => Ok(None),
        Some((_, value)) => match value.as_f64() {
            Some(number) if (0.0..=1.0).contains(&number) => Ok(Some(number)),
            _ => Err("\"confidence\" is not a number from 0 to 1".into()),
        },
    }
}

/// The first of the keys that has a value.
fn present<'a>(object: &'a Map<String, Value>, keys: &[&'a str]) -> Option<(&'a str, &'a Value)> {
    keys.iter().find_map(|key| Some((*key, object.get(*key).filter(|value| !value.is_null())?)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// `SPEAKER file channel onset duration <NA> <NA> name <NA> <NA>`; other types of line and comments are passed over.
fn rttm(text: &str) -> Result<Vec<SegmentInput>, SegmentsError> {
    let mut segments = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let wrong = |what: String| SegmentsError::Rttm { line: number + 1, what };
        match fields.first() {
            None => {}
            Some(first) if first.starts_with(";;") => {}
            Some(first) if !RTTM_TYPES.contains(first) => return Err(SegmentsError::Shape),
            Some(&"SPEAKER") => {
                if fields.len() < 8 {
                    return Err(wrong(format!("it has {} fields, not at least 8", fields.len())));
                }
                let seconds = |field: usize| {
                    let number = fields[field].parse().ok().filter(|number: &f64| number.is_finite());
                    number.ok_or_else(|| wrong(format!("field {} is not a number of seconds", field + 1)))
                };
                let (onset, duration) = (seconds(3)?, seconds(4)?);
                segments.push(SegmentInput {
                    index: segments.len(),
                    start_s: onset,
                    end_s: onset + duration,
                    speaker_label: Some(fields[7].to_owned()).filter(|name| name != "<NA>"),
                    ..SegmentInput::default()
                });
            }
            Some(_) => {}
        }
    }
    Ok(segments)
}

/// All types of line that RTTM has.
const RTTM_TYPES: [&str; 11] = [
    "SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "IP", "SU", "SPEAKER",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whisper() {
        let text = r#"{"text": "Hello there.", "language": "en", "segments": [
            {"id": 0, "seek": 0, "start": 0.0, "end": 1.5, "text": " Hello", "avg_logprob": -0.2, "no_speech_prob": 0.01},
            {"id": 1, "seek": 0, "start": 1.5, "end": 1.5, "text": " there."}]}"#;
        let segments = parse_segments(text).unwrap();
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[0].external_id.as_deref(), Some("0"));
        assert_eq!(segments[0].text.as_deref(), Some("Hello"));
        assert_eq!((segments[1].start_s, segments[1].end_s), (1.5, 1.5), "an empty segment is passed on");
    }

    #[test]
    fn pyannote() {
        let nested = r#"{"content": [{"segment": {"start": 0.5, "end": 2}, "track": "A", "label": "SPEAKER_00"}]}"#;
        let flat = r#"[{"start": 0.5, "end": 2, "speaker": "SPEAKER_00", "confidence": 0.9, "id": null}]"#;
        let nested = parse_segments(nested).unwrap();
        let flat = parse_segments(flat).unwrap();
        assert_eq!((nested[0].start_s, nested[0].end_s), (0.5, 2.0));
        assert_eq!(nested[0].speaker_label, flat[0].speaker_label);
        assert_eq!(flat[0].confidence, Some(0.9));
    }

    #[test]
    fn rttm_lines() {
        let text = ";; made by hand\nSPKR-INFO is not a type\n";
        assert_eq!(parse_segments(text), Err(SegmentsError::Shape));
        let text = "SPEAKER meeting 1 1.25 2.00 <NA> <NA> SPEAKER_01 <NA> <NA>\n\nLEXEME meeting 1 1.3 0.2 hello lex x 0.9\n";
        let segments = parse_segments(text).unwrap();
        assert_eq!(segments.len(), 1);
        assert_eq!((segments[0].start_s, segments[0].end_s), (1.25, 3.25));
        assert_eq!(segments[0].speaker_label.as_deref(), Some("SPEAKER_01"));
        let short = parse_segments("SPEAKER meeting 1 1.25 x <NA> <NA> A").unwrap_err();
        assert_eq!(short.to_string(), "RTTM line 1: field 5 is not a number of seconds");
    }

    #[test]
    fn errors_tell_the_position() {
        let message = |text: &str| parse_segments(text).unwrap_err().to_string();
        assert!(message("[1, ").starts_with("segments are not valid JSON"));
        assert_eq!(message("[{\"start\": 0, \"end\": 1}, 7]"), "segment 2: expected an object, not a number");
        assert_eq!(message("[{\"start\": \"0\", \"end\": 1}]"), "segment 1: \"start\" is a text, not a number of seconds");
        assert_eq!(message("[{\"start\": 0}]"), "segment 1: \"end\" is missing");
        assert_eq!(
            message(r#"[{"id": 1, "start": 0, "end": 1}, {"id": "1", "start": 1, "end": 2}]"#),
            "segment 2 has the id \"1\" of an earlier one"
        );
        assert_eq!(parse_segments("{\"turns\": []}"), Err(SegmentsError::Shape));
        assert_eq!(parse_segments("hello"), Err(SegmentsError::Shape));
    }

    #[test]
    fn no_segments_are_no_error() {
        assert_eq!(parse_segments("[]"), Ok(vec![]));
        assert_eq!(parse_segments(""), Ok(vec![]));
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = "[".repeat(100_000);
        assert!(matches!(parse_segments(&deep), Err(SegmentsError::Json { .. })));
    }
}
