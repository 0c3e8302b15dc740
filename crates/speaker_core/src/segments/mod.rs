//! Segments as diarizers and transcribers write them, brought to one form.
//!
//! The format is told by the text itself: [`json`] trees by their keys ([`shapes`]), lines by their columns ([`lines`]).
//! Where a tool gives words and no segments, its words are joined ([`words`]). Sources: each tool's documentation of its
//! output; NIST's "RT-09 Meeting Recognition Evaluation Plan", appendix A, for RTTM.
//!
//! What is not needed is ignored, whatever its type. A segment that cannot be used is a segment with a flaw, and no
//! reason to refuse the others: whether its times are in the recording is decided where the recording is known.
//!
//! Deliberately not done: guessing that the times of a list without a unit are milliseconds, alternatives, translations,
//! Whisper's log probabilities (not a confidence in who speaks), and pyannote's track names (they repeat, so they are
//! no ids).

mod json;
mod lines;
mod shapes;
mod words;

use std::collections::HashSet;

use thiserror::Error;

/// Why a text is not a list of segments. Positions and ids, never what was said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SegmentsError {
    #[error("there are no segments: the text is empty")]
    Empty,

    #[error("segments are not valid JSON: {detail}, at line {line} column {column}")]
    Json { line: usize, column: usize, detail: String },

    #[error("the text has no segments of a kind that is read: {}", FORMATS.join(", "))]
    Unknown,

    #[error("RTTM line {line} does not have {expected}")]
    Line { line: usize, expected: &'static str },

    #[error("{format} line {line} is of another file than line {first}")]
    OtherFile { format: &'static str, line: usize, first: usize },

    #[error("a text of {bytes} bytes needs more than the {max_bytes} bytes of memory that are allowed")]
    TooMuchMemory { bytes: usize, max_bytes: u64 },
}

/// What is read, by the names that [`Segments::format`] has.
pub const FORMATS: [&str; 26] = [
    "whisper",
    "faster-whisper",
    "whisper.cpp",
    "transformers",
    "pyannote",
    "pyannoteai",
    "nemo",
    "rttm",
    "deepgram",
    "assemblyai",
    "aws",
    "google",
    "azure",
    "speechmatics",
    "revai",
    "gladia",
    "elevenlabs",
    "watson",
    "soniox",
    "srt",
    "webvtt",
    "tsv",
    "csv",
    "ctm",
    "labels",
    "list",
];

/// Why one segment cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Flaw {
    #[error("the {field} of segment {index} is not a number of seconds")]
    Time { index: usize, field: &'static str },

    #[error("the channel of segment {index} is not a number from 1 on")]
    Channel { index: usize },
}

/// A stretch of speech as its source gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentInput {
    /// Unique among the segments of one source; `None` means the position.
    pub external_id: Option<String>,
    /// Position in the source, from 0.
    pub index: usize,
    /// Seconds; finite, and no more than that: it may be negative, or after the end. 0 where there is a flaw.
    pub start_s: f64,
    pub end_s: f64,
    /// From 1; `None`: the source does not tell channels apart.
    pub channel: Option<i32>,
    /// The diarizer's name for the speaker, as given.
    pub speaker_label: Option<String>,
    pub text: Option<String>,
    /// From 0 to 1.
    pub confidence: Option<f64>,
    pub flaw: Option<Flaw>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Segments {
    /// One of [`FORMATS`].
    pub format: &'static str,
    /// In the order of the source.
    pub segments: Vec<SegmentInput>,
}

/// Reads segments in any of the formats above. `max_memory` bounds what that takes, the text itself not counted.
pub fn parse_segments(text: &str, max_memory: u64) -> Result<Segments, SegmentsError> {
    let mut budget = Budget { left: max_memory, max: max_memory, bytes: text.len(), exhausted: false };
    let text = text.trim_start_matches('\u{feff}').trim();
    // Strings that are kept, once more while they are joined or unescaped.
    budget.take(2 * text.len() as u64)?;
    let (format, raw) = match text.chars().next() {
        None => return Err(SegmentsError::Empty),
        // A label in square brackets is no list.
        Some('{' | '[') => {
            let text = json::without_nan(text, &mut budget)?;
            let tree = json::parse(&text, &mut budget)?;
            shapes::read(&tree)?
        }
        Some(_) => lines::read(text, &mut budget)?,
    };
    let mut segments: Vec<SegmentInput> = raw.into_iter().enumerate().map(finish).collect();
    one_channel_is_none(&mut segments);
    ids_are_unique(&mut segments);
    Ok(Segments { format, segments })
}

/// The most that reading a text can take, in bytes: the shortest lines take the most.
pub fn memory_of_text(text: &str) -> u64 {
    256 * text.len() as u64
}

/// Bytes of a segment besides its strings: on its way, as the answer, what three allocations add, and its id in a set. In JSON
/// any object or list may be one.
const SEGMENT: usize = size_of::<Raw>() + size_of::<SegmentInput>() + 3 * 32 + 128;

/// What memory is left.
struct Budget {
    left: u64,
    max: u64,
    /// Of the text.
    bytes: usize,
    exhausted: bool,
}

impl Budget {
    fn take(&mut self, bytes: u64) -> Result<(), SegmentsError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.exhausted = true;
                Err(self.refusal())
            }
        }
    }

    fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn refusal(&self) -> SegmentsError {
        SegmentsError::TooMuchMemory { bytes: self.bytes, max_bytes: self.max }
    }

    /// A segment of a line: its place in a vector that grows too.
    fn take_segment(&mut self) -> Result<(), SegmentsError> {
        self.take((SEGMENT + 2 * size_of::<Raw>()) as u64)
    }
}

/// A segment on its way from its source.
#[derive(Debug, Clone, Default, PartialEq)]
struct Raw {
    id: Option<Id>,
    start_s: Option<f64>,
    end_s: Option<f64>,
    channel: Option<Channel>,
    label: Option<String>,
    text: Option<String>,
    confidence: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Id {
    /// Of a counter, which may start again with each part of a recording.
    Number(String),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Channel {
    /// From 1.
    Number(i32),
    Odd,
}

fn finish((index, raw): (usize, Raw)) -> SegmentInput {
    let times = [("start", raw.start_s), ("end", raw.end_s)];
    let untimed = times.into_iter().find(|(_, seconds)| seconds.is_none_or(|seconds| !seconds.is_finite()));
    let flaw = match (untimed, raw.channel) {
        (Some((field, _)), _) => Some(Flaw::Time { index, field }),
        (None, Some(Channel::Odd)) => Some(Flaw::Channel { index }),
        _ => None,
    };
    let at = |seconds: Option<f64>| seconds.filter(|_| untimed.is_none()).unwrap_or(0.0);
    SegmentInput {
        external_id: raw.id.map(|id| match id {
            Id::Number(id) | Id::Text(id) => id,
        }),
        index,
        start_s: at(raw.start_s),
        end_s: at(raw.end_s),
        channel: match raw.channel {
            Some(Channel::Number(number)) => Some(number),
            _ => None,
        },
        speaker_label: raw.label,
        text: raw.text,
        confidence: raw.confidence.and_then(share),
        flaw,
    }
}

/// A confidence from 0 to 1, also of one in percent or with a rounding above 1.
fn share(confidence: f64) -> Option<f64> {
    match confidence {
        c if !(0.0..=100.0).contains(&c) => None,
        c if c <= 1.0 => Some(c),
        c if c < 1.01 => Some(1.0),
        c => Some(c / 100.0),
    }
}

/// Diarizers of the mix write channel 1 for everything: that tells nothing of the recording's channels.
fn one_channel_is_none(segments: &mut [SegmentInput]) {
    if segments.iter().all(|segment| matches!(segment.channel, None | Some(1))) {
        segments.iter_mut().for_each(|segment| segment.channel = None);
    }
}

/// An id that came before, or that is another's position, is none.
fn ids_are_unique(segments: &mut [SegmentInput]) {
    let mut seen: HashSet<String> = HashSet::with_capacity(segments.len());
    for segment in segments.iter_mut() {
        if let Some(id) = segment.external_id.take() {
            segment.external_id = seen.insert(id.clone()).then_some(id);
        }
    }
    for segment in segments.iter_mut().filter(|segment| segment.external_id.is_none()) {
        let mut id = segment.index.to_string();
        if seen.contains(&id) {
            while !seen.insert(id.clone()) {
                id.insert(0, '#');
            }
            segment.external_id = Some(id);
        }
    }
}

/// Numbers that repeat are no ids: what counts anew with each chunk or channel says nothing about any of them.
fn counters_that_start_again(raw: &mut [Raw]) {
    let mut seen = HashSet::new();
    let number = |raw: &Raw| match &raw.id {
        Some(Id::Number(id)) => Some(id.clone()),
        _ => None,
    };
    if raw.iter().filter_map(number).all(|id| seen.insert(id)) {
        return;
    }
    for segment in raw {
        if let Some(Id::Number(_)) = segment.id {
            segment.id = None;
        }
    }
}
