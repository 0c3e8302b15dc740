//! Formats in lines: RTTM, subtitles, and tables of times.

use super::shapes::{clock, ENDS, LABELS, STARTS, TEXTS};
use super::words::join;
use super::{counters_that_start_again, Budget, Channel, Id, Raw, SegmentsError};

pub(super) fn read(text: &str, budget: &mut Budget) -> Result<(&'static str, Vec<Raw>), SegmentsError> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if first.starts_with("WEBVTT") {
        return Ok(("webvtt", subtitles(text, budget)?));
    }
    for (format, delimiter) in [("tsv", '\t'), ("csv", ','), ("csv", ';')] {
        let header: Vec<&str> = first.split(delimiter).map(|name| name.trim().trim_matches('"')).collect();
        if let Some(columns) = Columns::of(&header) {
            return Ok((format, table(text, delimiter, &columns, budget)?));
        }
    }
    if text.lines().take(3).any(|line| line.contains("-->")) {
        return Ok(("srt", subtitles(text, budget)?));
    }
    if let Some(labels) = labels(text, budget)? {
        return Ok(("labels", labels));
    }
    if let Some(words) = ctm(text, budget)? {
        return Ok(("ctm", words));
    }
    Ok(("rttm", rttm(text, budget)?))
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

fn rttm(text: &str, budget: &mut Budget) -> Result<Vec<Raw>, SegmentsError> {
    // One more than there may be.
    const FIELDS: usize = 11;
    let mut found: Vec<Raw> = Vec::new();
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
            Some(kind) if *kind != "SPEAKER" && found.is_empty() => return Err(SegmentsError::Unknown),
            Some(kind) if *kind != "SPEAKER" => return Err(expected("a line type of RTTM")),
            Some(_) => {}
        }
        // Signal look-ahead time, the tenth, came later than the format, and some leave out the ninth.
        let [_, file, channel, onset, duration, _, _, name, rest @ ..] = &fields[..] else {
            return Err(expected("the 10 fields of SPEAKER"));
        };
        if rest.len() > 2 {
            return Err(expected("the 10 fields of SPEAKER"));
        }
        match first {
            Some((first, other)) if other != *file => {
                return Err(SegmentsError::OtherFile { format: "RTTM", line, first })
            }
            Some(_) => {}
            None => first = Some((line, file)),
        }
        let (start_s, duration_s) = (finite(onset), finite(duration));
        budget.take_segment()?;
        found.push(Raw {
            start_s,
            end_s: start_s.zip(duration_s).map(|(start, duration)| start + duration),
            channel: match *channel {
                "<NA>" => None,
                number => Some(number_of_channel(number)),
            },
            label: (*name != "<NA>").then(|| (*name).into()),
            confidence: rest.first().and_then(|confidence| finite(confidence)),
            ..Raw::default()
        });
    }
    // Some count the only channel from 0, or name it by a letter.
    if found.iter().all(|turn| turn.channel == Some(Channel::Odd)) {
        found.iter_mut().for_each(|turn| turn.channel = None);
    }
    Ok(found)
}

/// Rust reads "inf" and "nan" as numbers; no clock shows them.
fn finite(field: &str) -> Option<f64> {
    field.parse().ok().filter(|number: &f64| number.is_finite())
}

// Subtitles

/// SubRip and WebVTT: a line with an arrow, then what was said until an empty line.
fn subtitles(text: &str, budget: &mut Budget) -> Result<Vec<Raw>, SegmentsError> {
    let mut found: Vec<Raw> = Vec::new();
    let mut said: Option<String> = None;
    let named = names_are_in_front(text);
    for line in text.lines().map(str::trim).chain([""]) {
        if let Some((from, to)) = line.split_once("-->") {
            // Settings of the cue may follow.
            let to = to.split_whitespace().next().unwrap_or_default();
            budget.take_segment()?;
            found.push(Raw { start_s: clock(from.trim()), end_s: clock(to), ..Raw::default() });
            said = Some(String::new());
        } else if line.is_empty() {
            if let (Some(said), Some(last)) = (said.take(), found.last_mut()) {
                let (label, text) = speaker_of(&said, named);
                (last.label, last.text) = (label, Some(text));
            }
        } else if let Some(said) = &mut said {
            if !said.is_empty() {
                said.push(' ');
            }
            said.push_str(line);
        }
    }
    Ok(found)
}

/// Who speaks, by WebVTT's voice tag, or by a name in front: "[SPEAKER_00]: ..." and "SPEAKER_00: ..." as whisperX and
/// whisper.cpp write them, "Jane Doe: ..." as meeting software does.
fn speaker_of(said: &str, named: bool) -> (Option<String>, String) {
    let name = |name: &str| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
    if let Some((voice, rest)) = said.strip_prefix("<v").and_then(|tag| tag.split_once('>')) {
        // Classes are between the v and the name.
        let voice = voice.split_once(' ').map_or("", |(_, voice)| voice);
        return (name(voice), rest.replace("</v>", "").trim().to_owned());
    }
    if let Some((voice, rest)) = said.strip_prefix('[').and_then(|tag| tag.split_once("]:")) {
        return (name(voice), rest.trim().to_owned());
    }
    match name_in_front(said) {
        Some((voice, rest)) if named || is_diarizers(voice) => (name(voice), rest.trim().to_owned()),
        _ => (None, said.to_owned()),
    }
}

/// A name and a colon, before what was said.
fn name_in_front(said: &str) -> Option<(&str, &str)> {
    let (voice, rest) = said.split_once(": ")?;
    let is_name = !voice.is_empty() && voice.len() <= 64 && voice.split_whitespace().count() <= 4;
    (is_name && !voice.contains([',', '?', '!', ';', '>'])).then_some((voice, rest))
}

/// "SPEAKER_00", "Speaker 1".
fn is_diarizers(voice: &str) -> bool {
    let rest = voice.strip_prefix("SPEAKER").or_else(|| voice.strip_prefix("Speaker")).unwrap_or_default();
    !rest.is_empty() && rest.trim_start_matches(['_', ' ']).bytes().all(|digit| digit.is_ascii_digit())
}

/// Whether most cues begin with a name: a sentence may have a colon ("Note: ..."), but not every one.
fn names_are_in_front(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let (mut cues, mut names) = (0, 0);
    while lines.any(|line| line.contains("-->")) {
        cues += 1;
        names += usize::from(lines.next().and_then(name_in_front).is_some());
    }
    2 * names > cues
}

// Tables

/// Where the columns of a table are that has a line of names.
struct Columns {
    start: usize,
    end: usize,
    label: Option<usize>,
    text: Option<usize>,
    channel: Option<usize>,
    id: Option<usize>,
}

impl Columns {
    fn of(header: &[&str]) -> Option<Self> {
        let place = |names: &[&str]| names.iter().find_map(|name| header.iter().position(|column| column == name));
        Some(Self {
            start: place(&STARTS)?,
            end: place(&ENDS)?,
            label: place(&LABELS),
            text: place(&TEXTS),
            channel: place(&["channel"]),
            id: place(&["external_id", "id"]),
        })
    }
}

/// A table with a line of names. Whisper's and whisper.cpp's have whole milliseconds under `start` and `end`; times with a
/// fraction are seconds.
fn table(text: &str, delimiter: char, columns: &Columns, budget: &mut Budget) -> Result<Vec<Raw>, SegmentsError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter as u8)
        .quoting(delimiter != '\t')
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut found = Vec::new();
    let mut milliseconds = true;
    while reader.read_record(&mut record).map_err(|_| SegmentsError::Unknown)? {
        let field = |place: usize| record.get(place).map(str::trim).filter(|field| !field.is_empty());
        let column = |place: Option<usize>| field(place?).map(str::to_owned);
        let mut time = |place: usize| {
            let field = field(place)?;
            let seconds = finite(field).or_else(|| clock(field));
            milliseconds &= seconds.is_none() || field.bytes().all(|digit| digit.is_ascii_digit());
            seconds
        };
        budget.take_segment()?;
        found.push(Raw {
            id: column(columns.id).map(|id| if finite(&id).is_some() { Id::Number(id) } else { Id::Text(id) }),
            start_s: time(columns.start),
            end_s: time(columns.end),
            channel: column(columns.channel).map(|channel| number_of_channel(&channel)),
            label: column(columns.label),
            text: column(columns.text),
            confidence: None,
        });
    }
    if milliseconds {
        for segment in &mut found {
            for time in [&mut segment.start_s, &mut segment.end_s] {
                *time = time.map(|ms| ms / 1000.0);
            }
        }
    }
    counters_that_start_again(&mut found);
    Ok(found)
}

/// NIST's conversation time marks: file, channel, start, duration, word, and perhaps a confidence. They tell no speakers.
fn ctm(text: &str, budget: &mut Budget) -> Result<Option<Vec<Raw>>, SegmentsError> {
    let mut words = Vec::new();
    let mut first: Option<(usize, &str)> = None;
    for (line, content) in
        (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with(";;"))
    {
        let mut fields = content.split_whitespace();
        let mut next = || fields.next();
        let (Some(file), Some(channel), Some(start_s), Some(duration_s), Some(word), confidence, None) =
            (next(), next(), next().and_then(finite), next().and_then(finite), next(), next(), next())
        else {
            return Ok(None);
        };
        if file == "SPEAKER" {
            return Ok(None);
        }
        match first {
            Some((first, other)) if other != file => {
                return Err(SegmentsError::OtherFile { format: "CTM", line, first })
            }
            Some(_) => {}
            None => first = Some((line, file)),
        }
        budget.take_segment()?;
        words.push(Raw {
            start_s: Some(start_s),
            end_s: Some(start_s + duration_s),
            channel: Some(number_of_channel(channel)),
            text: Some(word.to_owned()),
            confidence: confidence.and_then(finite),
            ..Raw::default()
        });
    }
    Ok((!words.is_empty()).then(|| join(words)))
}

/// A channel from 1: its number, or A and B as the NIST's telephone corpora name them.
fn number_of_channel(name: &str) -> Channel {
    match (name, name.parse()) {
        (_, Ok(number)) if number > 0 => Channel::Number(number),
        ("A" | "a", _) => Channel::Number(1),
        ("B" | "b", _) => Channel::Number(2),
        _ => Channel::Odd,
    }
}

/// Start, end and a label in each line, in seconds: Audacity's label tracks, HTK's and others' lab files.
fn labels(text: &str, budget: &mut Budget) -> Result<Option<Vec<Raw>>, SegmentsError> {
    let mut found = Vec::new();
    // Audacity has further lines for the frequencies of a label.
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('\\')) {
        let mut fields = line.trim().splitn(3, char::is_whitespace).map(str::trim);
        let (Some(start), Some(end)) = (fields.next().and_then(finite), fields.next().and_then(finite)) else {
            return Ok(None);
        };
        budget.take_segment()?;
        let label = fields.next().filter(|label| !label.is_empty()).map(str::to_owned);
        found.push(Raw { start_s: Some(start), end_s: Some(end), label, ..Raw::default() });
    }
    Ok(Some(found))
}
