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

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
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

    #[error("a text of {bytes} bytes with more than {segments} segments needs more than the {max_bytes} bytes of memory that are allowed")]
    TooMuchMemory { bytes: usize, segments: usize, max_bytes: u64 },
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

/// Reads segments in any of the formats above, in the order of the source. `max_memory` bounds what that takes, the text
/// itself not counted.
pub fn parse_segments(text: &str, max_memory: u64) -> Result<Vec<SegmentInput>, SegmentsError> {
    let list = List::new(text, max_memory)?;
    let text = text.trim_start_matches('\u{feff}');
    let segments = match text.trim_start().chars().next() {
        None => return Err(SegmentsError::Empty),
        Some('{' | '[') => from_json(text, list)?,
        Some(_) => from_rttm(text, list)?,
    };
    ids_are_unique(&segments)?;
    Ok(segments)
}

/// The most that reading a text can take, in bytes.
pub fn memory_of_text(text: &str) -> u64 {
    SHORTEST.len() as u64 + OF_TEXT * text.len() as u64 + SEGMENT * (text.len() / SHORTEST.len()) as u64
}

/// No segment is written in less.
const SHORTEST: &str = r#"{"end":1,"start":0},"#;

/// Bytes per byte of text: one for the strings that are kept, two for the one that the JSON reader unescapes, in a buffer
/// that grows.
const OF_TEXT: u64 = 3;

/// Bytes per segment besides its strings: its place in a vector that grows, what three allocations add to the strings,
/// and its id's place in a hash map.
const SEGMENT: u64 = 2 * size_of::<SegmentInput>() as u64 + 3 * 32 + 64;

/// The segments so far, no more than memory allows.
struct List {
    segments: Vec<SegmentInput>,
    most: usize,
    too_many: SegmentsError,
}

impl List {
    fn new(text: &str, max_memory: u64) -> Result<Self, SegmentsError> {
        let left = max_memory.checked_sub(OF_TEXT * text.len() as u64);
        let most = (left.unwrap_or(0) / SEGMENT) as usize;
        let too_many = SegmentsError::TooMuchMemory { bytes: text.len(), segments: most, max_bytes: max_memory };
        match left {
            None => Err(too_many),
            Some(_) => Ok(List { segments: Vec::new(), most, too_many }),
        }
    }

    fn push(&mut self, segment: SegmentInput) -> Result<(), SegmentsError> {
        if self.segments.len() == self.most {
            return Err(self.too_many.clone());
        }
        self.segments.push(segment);
        Ok(())
    }
}

fn ids_are_unique(segments: &[SegmentInput]) -> Result<(), SegmentsError> {
    let mut seen = HashMap::with_capacity(segments.iter().filter(|segment| segment.external_id.is_some()).count());
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

fn from_rttm(text: &str, mut list: List) -> Result<Vec<SegmentInput>, SegmentsError> {
    // One more than there may be.
    const FIELDS: usize = 11;
    let mut fields = Vec::with_capacity(FIELDS);
    let mut first: Option<(usize, &str)> = None;
    for (line, content) in (1..).zip(text.lines()) {
        let expected = |expected| SegmentsError::Line { line, expected };
        fields.clear();
        fields.extend(content.split_whitespace().take(FIELDS));
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
        list.push(SegmentInput {
            external_id: None,
            index: list.segments.len(),
            start_s,
            end_s: start_s + duration_s,
            speaker_label: (name != "<NA>").then(|| name.into()),
            text: None,
            confidence,
        })?;
    }
    Ok(list.segments)
}

/// Rust reads "inf" and "nan" as numbers; no clock shows them.
fn finite(field: &str) -> Option<f64> {
    field.parse().ok().filter(|number: &f64| number.is_finite())
}

// JSON

fn from_json(text: &str, list: List) -> Result<Vec<SegmentInput>, SegmentsError> {
    let mut reader = Reader { list, refused: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let found = Document(&mut reader).deserialize(&mut json).and_then(|found| json.end().map(|()| found));
    match (found, reader.refused) {
        (_, Some(refused)) => Err(refused),
        (Err(error), None) => {
            let (line, column) = (error.line(), error.column());
            let detail = error.to_string();
            let place = format!(" at line {line} column {column}");
            Err(SegmentsError::Json { line, column, detail: detail.strip_suffix(&place).unwrap_or(&detail).into() })
        }
        (Ok(false), None) => Err(SegmentsError::NoList),
        (Ok(true), None) => Ok(reader.list.segments),
    }
}

/// Takes segments straight from the text, one by one, so that what nobody asks for (words, tokens) takes no memory.
struct Reader {
    list: List,
    /// Why reading stopped, where it was not for the JSON.
    refused: Option<SegmentsError>,
}

impl Reader {
    fn take<E: de::Error>(&mut self, item: Item) -> Result<(), E> {
        let taken = item.segment(self.list.segments.len()).and_then(|segment| self.list.push(segment));
        taken.map_err(|error| {
            self.refused = Some(error);
            E::custom("refused")
        })
    }
}

/// A list of items, bare or in an object; the value is whether there is one.
struct Document<'a>(&'a mut Reader);

struct Items<'a>(&'a mut Reader);

/// One segment as written: every field may be missing, or of the wrong type.
#[derive(Default)]
struct Item {
    external_id: Scalar,
    id: Scalar,
    start: Scalar,
    end: Scalar,
    /// pyannote keeps start and end one level down.
    segment: Bounds,
    speaker: Scalar,
    label: Scalar,
    text: Scalar,
    confidence: Scalar,
}

#[derive(Default)]
struct Bounds {
    start: Scalar,
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
        let Bounds { start, end } = self.segment;
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

/// For visitors that read no strings. serde's own error would repeat the string: what was said, at any length.
macro_rules! no_strings {
    () => {
        fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(E::invalid_type(Unexpected::Other("a string"), &self))
        }
    };
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of segments")
    }

    no_strings!();

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<bool, A::Error> {
        Items(self.0).visit_seq(list).map(|()| true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key()? {
            match key {
                Key::List if found => return Err(de::Error::custom("more than one list of segments")),
                Key::List => {
                    map.next_value_seed(Items(&mut *self.0))?;
                    found = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    // Any, and not a list: what else there is shall come to the visitor.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of segments")
    }

    no_strings!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            self.0.take(item)?;
        }
        Ok(())
    }
}

/// The keys that say something here.
enum Key {
    List,
    ExternalId,
    Id,
    Start,
    End,
    Speaker,
    Label,
    Text,
    Confidence,
    Segment,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "segments" | "content" | "diarization" => Key::List,
                    "external_id" => Key::ExternalId,
                    "id" => Key::Id,
                    "start" => Key::Start,
                    "end" => Key::End,
                    "speaker" => Key::Speaker,
                    "label" => Key::Label,
                    "text" => Key::Text,
                    "confidence" => Key::Confidence,
                    "segment" => Key::Segment,
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_identifier(Name)
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

            no_strings!();

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                let mut item = Item::default();
                while let Some(key) = map.next_key()? {
                    let field = match key {
                        Key::ExternalId => &mut item.external_id,
                        Key::Id => &mut item.id,
                        Key::Start => &mut item.start,
                        Key::End => &mut item.end,
                        Key::Speaker => &mut item.speaker,
                        Key::Label => &mut item.label,
                        Key::Text => &mut item.text,
                        Key::Confidence => &mut item.confidence,
                        Key::Segment => {
                            item.segment = map.next_value()?;
                            continue;
                        }
                        Key::List | Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *field = map.next_value()?;
                }
                Ok(item)
            }
        }
        deserializer.deserialize_any(Fields)
    }
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Times;
        impl<'de> Visitor<'de> for Times {
            type Value = Bounds;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with start and end")
            }

            no_strings!();

            fn visit_unit<E>(self) -> Result<Bounds, E> {
                Ok(Bounds::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bounds, A::Error> {
                let mut bounds = Bounds::default();
                while let Some(key) = map.next_key()? {
                    match key {
                        Key::Start => bounds.start = map.next_value()?,
                        Key::End => bounds.end = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(bounds)
            }
        }
        deserializer.deserialize_any(Times)
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
