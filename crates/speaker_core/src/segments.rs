//! Segments as transcribers and diarizers write them: Whisper's verbose JSON, pyannote's turns, and RTTM.
//!
//! Sources: the `segments` of OpenAI's `verbose_json` and of whisper and WhisperX; `Annotation.for_json` of
//! pyannote.core and the lists of turns that people make of it; NIST's "RT-09 Meeting Recognition Evaluation Plan",
//! appendix A, for RTTM.
//!
//! The format is told by the text itself. What cannot be read is an error that says where. What can be read is passed
//! on as it stands, however odd its times: whether a segment is usable is decided where segments are kept.
//!
//! Deliberately not done: words, alternatives, Whisper's log probabilities (not a confidence in who speaks), and
//! pyannote's track names (they repeat, so they are no ids).

use std::collections::hash_map::{Entry, HashMap};
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

/// Why a text is not a list of segments. Positions and ids, never what was said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SegmentsError {
    #[error("there are no segments: the text is empty")]
    Empty,

    #[error("segments are not valid JSON: {detail}, at line {line} column {column}")]
    Json { line: usize, column: usize, detail: String },

    #[error("the JSON object has none of the lists \"segments\", \"content\" and \"diarization\"")]
    NoList,

    #[error("\"{field}\" of segment {index} is not {expected}")]
    Field { index: usize, field: &'static str, expected: &'static str },

    #[error("RTTM line {line} does not have {expected}")]
    Line { line: usize, expected: &'static str },

    #[error("RTTM line {line} is of another file than line {first}")]
    OtherFile { line: usize, first: usize },

    #[error("segments {first} and {second} have the same id \"{id}\"")]
    DuplicateId { id: String, first: usize, second: usize },
}

/// A stretch of speech as its source gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentInput {
    /// Unique among the segments of one source.
    pub external_id: Option<String>,
    /// Position in the source, from 0.
    pub index: usize,
    /// Seconds; finite, and no more than that: it may be negative, or after the end.
    pub start_s: f64,
    pub end_s: f64,
    /// The diarizer's name for the speaker.
    pub speaker_label: Option<String>,
    pub text: Option<String>,
    pub confidence: Option<f64>,
}

/// Reads segments in any of the formats above, in the order of the source.
pub fn parse_segments(text: &str) -> Result<Vec<SegmentInput>, SegmentsError> {
    let text = text.trim_start_matches('\u{feff}');
    let segments = match text.trim_start().chars().next() {
        None => return Err(SegmentsError::Empty),
        Some('{' | '[') => from_json(text)?,
        Some(_) => from_rttm(text)?,
    };
    ids_are_unique(&segments)?;
    Ok(segments)
}

fn ids_are_unique(segments: &[SegmentInput]) -> Result<(), SegmentsError> {
    let mut seen = HashMap::new();
    for segment in segments {
        let Some(id) = segment.external_id.as_deref() else { continue };
        match seen.entry(id) {
            Entry::Vacant(vacant) => vacant.insert(segment.index),
            Entry::Occupied(first) => {
                return Err(SegmentsError::DuplicateId { id: id.into(), first: *first.get(), second: segment.index })
            }
        };
    }
    Ok(())
}

// RTTM

/// Line types that say nothing of who speaks when.
const OTHER_TYPES: [&str; 13] = [
    "SEGMENT",
    "NOSCORE",
    "NO_RT_METADATA",
    "LEXEME",
    "NON-LEX",
    "NON-SPEECH",
    "FILLER",
    "EDIT",
    "IP",
    "SU",
    "CB",
    "A/P",
    "SPKR-INFO",
];

fn from_rttm(text: &str) -> Result<Vec<SegmentInput>, SegmentsError> {
    let mut segments = Vec::new();
    let mut first: Option<(usize, &str)> = None;
    for (line, content) in (1..).zip(text.lines()) {
        let expected = |expected| SegmentsError::Line { line, expected };
        let fields: Vec<&str> = content.split_whitespace().collect();
        match fields.first() {
            None => continue,
            Some(comment) if comment.starts_with(";;") => continue,
            Some(kind) if OTHER_TYPES.contains(kind) => continue,
            // Not skipped: a text of some other format would otherwise read as no segments at all.
            Some(kind) if *kind != "SPEAKER" => return Err(expected("a line type of RTTM")),
            Some(_) => {}
        }
        // Signal look-ahead time, the tenth, came later than the format.
        let (_, file, onset, duration, name, confidence) = match fields[..] {
            [kind, file, _, onset, duration, _, _, name, confidence]
            | [kind, file, _, onset, duration, _, _, name, confidence, _] => {
                (kind, file, onset, duration, name, confidence)
            }
            _ => return Err(expected("the 10 fields of SPEAKER")),
        };
        match first {
            Some((first, other)) if other != file => return Err(SegmentsError::OtherFile { line, first }),
            Some(_) => {}
            None => first = Some((line, file)),
        }
        let start_s = finite(onset).ok_or(expected("an onset in seconds"))?;
        let duration_s = finite(duration).ok_or(expected("a duration in seconds"))?;
        let confidence = match confidence {
            "<NA>" => None,
            number => Some(finite(number).ok_or(expected("a confidence that is a number or <NA>"))?),
        };
        segments.push(SegmentInput {
            external_id: None,
            index: segments.len(),
            start_s,
            end_s: start_s + duration_s,
            speaker_label: (name != "<NA>").then(|| name.into()),
            text: None,
            confidence,
        });
    }
    Ok(segments)
}

/// Rust reads "inf" and "nan" as numbers; no clock shows them.
fn finite(field: &str) -> Option<f64> {
    field.parse().ok().filter(|number: &f64| number.is_finite())
}

// JSON

fn from_json(text: &str) -> Result<Vec<SegmentInput>, SegmentsError> {
    let document: Document = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let detail = error.to_string();
        let place = format!(" at line {line} column {column}");
        SegmentsError::Json { line, column, detail: detail.strip_suffix(&place).unwrap_or(&detail).into() }
    })?;
    let Items(items) = document.0.ok_or(SegmentsError::NoList)?;
    items.into_iter().enumerate().map(|(index, item)| item.segment(index)).collect()
}

/// A list of items, bare or in an object. All of this reads straight from the text, so that what nobody asks for (words,
/// tokens) takes no memory.
struct Document(Option<Items>);

struct Items(Vec<Item>);

/// One segment as written: every field may be missing, or of the wrong type.
#[derive(Default)]
struct Item {
    external_id: Scalar,
    id: Scalar,
    start: Scalar,
    end: Scalar,
    /// pyannote keeps start and end one level down.
    segment: Option<Bounds>,
    speaker: Scalar,
    label: Scalar,
    text: Scalar,
    confidence: Scalar,
}

#[derive(serde::Deserialize)]
struct Bounds {
    #[serde(default)]
    start: Scalar,
    #[serde(default)]
    end: Scalar,
}

#[derive(Default)]
enum Scalar {
    /// Missing, or null.
    #[default]
    None,
    Number(f64),
    /// Kept apart: as f64, large ids would lose their last digits.
    Integer(String),
    Text(String),
    /// true, false, a list or an object.
    Other,
}

impl Item {
    fn segment(self, index: usize) -> Result<SegmentInput, SegmentsError> {
        let wrong = |field| move |expected| SegmentsError::Field { index, field, expected };
        let (start, end) = self.segment.map_or_else(Default::default, |bounds| (bounds.start, bounds.end));
        let external_id = self.external_id.name().map_err(wrong("external_id"))?;
        let id = self.id.name().map_err(wrong("id"))?;
        let speaker = self.speaker.name().map_err(wrong("speaker"))?;
        let label = self.label.name().map_err(wrong("label"))?;
        Ok(SegmentInput {
            external_id: external_id.or(id),
            index,
            start_s: self.start.or(start).seconds().map_err(wrong("start"))?,
            end_s: self.end.or(end).seconds().map_err(wrong("end"))?,
            speaker_label: speaker.or(label),
            text: self.text.text().map_err(wrong("text"))?,
            confidence: self.confidence.number().map_err(wrong("confidence"))?,
        })
    }
}

/// Each reading of a value, or what was expected of it.
impl Scalar {
    fn or(self, other: Self) -> Self {
        match self {
            Self::None => other,
            some => some,
        }
    }

    fn number(self) -> Result<Option<f64>, &'static str> {
        match self {
            Self::None => Ok(None),
            Self::Number(number) => Ok(Some(number)),
            Self::Integer(digits) => digits.parse().map(Some).map_err(|_| "a number"),
            Self::Text(_) | Self::Other => Err("a number"),
        }
    }

    fn seconds(self) -> Result<f64, &'static str> {
        self.number().ok().flatten().ok_or("a number of seconds")
    }

    /// An id or a label. An empty one names nothing.
    fn name(self) -> Result<Option<String>, &'static str> {
        match self {
            Self::None => Ok(None),
            Self::Integer(name) | Self::Text(name) => Ok(Some(name).filter(|name| !name.is_empty())),
            Self::Number(_) | Self::Other => Err("a string or a whole number"),
        }
    }

    fn text(self) -> Result<Option<String>, &'static str> {
        match self {
            Self::None => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Number(_) | Self::Integer(_) | Self::Other => Err("a string"),
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;
        impl<'de> Visitor<'de> for Lists {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of segments")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Document, A::Error> {
                Items::deserialize(SeqAccessDeserializer::new(list)).map(|items| Document(Some(items)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut items = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "segments" | "content" | "diarization" if items.is_some() => {
                            return Err(de::Error::custom("more than one list of segments"));
                        }
                        "segments" | "content" | "diarization" => items = Some(map.next_value()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Document(items))
            }
        }
        deserializer.deserialize_any(Lists)
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of segments")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

// By hand: what serde derives would take the list ["1", 0.5, 2.0] for an item as well, its values in the order of the
// fields above.
impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a segment, an object with start and end")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                let mut item = Item::default();
                while let Some(key) = map.next_key::<String>()? {
                    let field = match key.as_str() {
                        "external_id" => &mut item.external_id,
                        "id" => &mut item.id,
                        "start" => &mut item.start,
                        "end" => &mut item.end,
                        "speaker" => &mut item.speaker,
                        "label" => &mut item.label,
                        "text" => &mut item.text,
                        "confidence" => &mut item.confidence,
                        "segment" => {
                            item.segment = map.next_value()?;
                            continue;
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *field = map.next_value()?;
                }
                Ok(item)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::None)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
                Ok(Scalar::Other)
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Integer(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar::Integer(number.to_string()))
            }

            // JSON can write U+0000; the text of a database, and the names of most other programs, cannot hold it.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                if text.contains('\0') {
                    return Err(E::custom("a string contains the character U+0000"));
                }
                Ok(Scalar::Text(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
