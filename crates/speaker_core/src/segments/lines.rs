//! Formats in lines: RTTM, subtitles, and tables of times.

use super::shapes::clock;
use super::{Budget, Channel, Raw, SegmentsError};

pub(super) fn read(text: &str, budget: &mut Budget) -> Result<(&'static str, Vec<Raw>), SegmentsError> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if first.starts_with("WEBVTT") {
        return Ok(("webvtt", subtitles(text, budget)?));
    }
    let header: Vec<&str> = first.split('\t').map(str::trim).collect();
    if header.starts_with(&["start", "end"]) {
        return Ok(("tsv", whisper_tsv(text, &header, budget)?));
    }
    if text.lines().take(3).any(|line| line.contains("-->")) {
        return Ok(("srt", subtitles(text, budget)?));
    }
    if let Some(labels) = labels(text, budget)? {
        return Ok(("labels", labels));
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
            Some((first, other)) if other != *file => return Err(SegmentsError::OtherFile { line, first }),
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
                number => Some(match number.parse() {
                    Ok(number) if number > 0 => Channel::Number(number),
                    _ => Channel::Odd,
                }),
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
    for line in text.lines().map(str::trim).chain([""]) {
        if let Some((from, to)) = line.split_once("-->") {
            // Settings of the cue may follow.
            let to = to.split_whitespace().next().unwrap_or_default();
            budget.take_segment()?;
            found.push(Raw { start_s: clock(from.trim()), end_s: clock(to), ..Raw::default() });
            said = Some(String::new());
        } else if line.is_empty() {
            if let (Some(said), Some(last)) = (said.take(), found.last_mut()) {
                let (label, text) = speaker_of(&said);
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

/// Who speaks, by WebVTT's voice tag, or by a name in front: "[SPEAKER_00]: ...", "SPEAKER_00: ..." as whisperX and
/// whisper.cpp write them.
fn speaker_of(said: &str) -> (Option<String>, String) {
    let name = |name: &str| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
    if let Some((voice, rest)) = said.strip_prefix("<v").and_then(|tag| tag.split_once('>')) {
        // Classes are between the v and the name.
        let voice = voice.split_once(' ').map_or("", |(_, voice)| voice);
        return (name(voice), rest.replace("</v>", "").trim().to_owned());
    }
    if let Some((voice, rest)) = said.strip_prefix('[').and_then(|tag| tag.split_once("]:")) {
        return (name(voice), rest.trim().to_owned());
    }
    match said.split_once(": ") {
        // A sentence may have a colon; a diarizer's label has no space.
        Some((voice, rest)) if !voice.is_empty() && !voice.contains(char::is_whitespace) && voice.len() <= 64 => {
            (name(voice), rest.trim().to_owned())
        }
        _ => (None, said.to_owned()),
    }
}

// Tables

/// Whisper's table: a line of names, times in milliseconds.
fn whisper_tsv(text: &str, header: &[&str], budget: &mut Budget) -> Result<Vec<Raw>, SegmentsError> {
    let place = |name| header.iter().position(|column| *column == name);
    let (said, speaker) = (place("text"), place("speaker"));
    let mut found = Vec::new();
    for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split('\t').collect();
        let ms = |place: usize| finite(fields.get(place)?.trim()).map(|ms| ms / 1000.0);
        let column = |place: Option<usize>| {
            fields.get(place?).map(|field| field.trim().to_owned()).filter(|field| !field.is_empty())
        };
        budget.take_segment()?;
        found.push(Raw { start_s: ms(0), end_s: ms(1), label: column(speaker), text: column(said), ..Raw::default() });
    }
    Ok(found)
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
