//! Formats in JSON, told apart by their keys.
//!
//! Each function knows one tool's documented output and answers none where a tree is not of that shape. The more
//! particular ones are asked first.

use super::json::Node;
use super::words::join;
use super::{counters_that_start_again, Channel, Id, Raw, SegmentsError};

type Shape = fn(&Node) -> Option<Vec<Raw>>;

const SHAPES: [(&str, Shape); 20] = [
    ("pyannoteai", pyannoteai),
    ("pyannote", pyannote),
    ("whisper.cpp", whisper_cpp),
    ("transformers", transformers),
    ("deepgram", deepgram),
    ("aws", aws),
    ("watson", watson),
    ("speechmatics", speechmatics),
    ("google", google),
    ("azure", azure),
    ("revai", revai),
    ("gladia", gladia),
    ("assemblyai", assemblyai),
    ("whisper", whisper),
    ("elevenlabs", elevenlabs),
    ("nemo", nemo),
    ("soniox", soniox),
    ("faster-whisper", faster_whisper),
    ("assemblyai", assemblyai_words),
    ("list", list),
];

/// Answers of services come inside of what they say of the job.
const WRAPPERS: [&str; 4] = ["output", "result", "data", "response"];

pub(super) fn read(tree: &Node) -> Result<(&'static str, Vec<Raw>), SegmentsError> {
    let of = |tree: &Node| SHAPES.iter().find_map(|(name, shape)| Some((*name, shape(tree)?)));
    let inside = || WRAPPERS.iter().find_map(|key| of(tree.get(key)?));
    let (format, mut raw) = of(tree).or_else(inside).ok_or(SegmentsError::Unknown)?;
    counters_that_start_again(&mut raw);
    Ok((format, raw))
}

// What the fields of most tools have in common

pub(super) const STARTS: [&str; 7] = ["start", "start_s", "start_time", "start_sec", "begin", "onset", "offset"];
pub(super) const ENDS: [&str; 5] = ["end", "end_s", "end_time", "end_sec", "stop"];
pub(super) const LABELS: [&str; 6] = ["speaker", "label", "speaker_label", "speaker_id", "speakerId", "speaker_tag"];
pub(super) const TEXTS: [&str; 3] = ["text", "transcript", "sentence"];
const WORDS: [&str; 4] = ["punctuated_word", "word", "text", "content"];

fn segment(node: &Node) -> Raw {
    let bounds = node.get("segment").filter(|bounds| matches!(bounds, Node::Object(_)));
    let timestamp = node.get("timestamp").and_then(Node::items);
    let first = |keys: &[&str], place: usize| {
        let value = node.any(keys).or_else(|| bounds?.any(keys)).or_else(|| timestamp?.get(place));
        value.and_then(seconds)
    };
    let start_s = first(&STARTS, 0);
    let duration_s = || node.any(&["duration", "duration_s"]).and_then(seconds);
    Raw {
        id: node.get("external_id").and_then(Node::name).map(Id::Text).or_else(|| node.get("id").and_then(id)),
        start_s,
        end_s: first(&ENDS, 1).or_else(|| Some(start_s? + duration_s()?)),
        channel: node.get("channel").map(|channel| channel_from(channel, 1)),
        label: label(node),
        text: text(node, &TEXTS),
        confidence: node.get("confidence").and_then(Node::number),
    }
}

/// The same of a tool that counts milliseconds.
fn segment_ms(node: &Node) -> Raw {
    let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds / 1000.0);
    let raw = segment(node);
    Raw { start_s: ms(raw.start_s), end_s: ms(raw.end_s), ..raw }
}

fn word(node: &Node) -> Raw {
    Raw { id: None, text: text(node, &WORDS), ..segment(node) }
}

fn id(node: &Node) -> Option<Id> {
    let name = node.name()?;
    Some(match node {
        Node::Text(_) => Id::Text(name),
        _ => Id::Number(name),
    })
}

fn label(node: &Node) -> Option<String> {
    LABELS.iter().find_map(|key| node.get(key)?.name())
}

fn text(node: &Node, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| node.get(key)?.text()).map(|text| text.replace('\0', ""))
}

/// A channel that is counted from `first`, as one that is counted from 1.
fn channel_from(node: &Node, first: i32) -> Channel {
    let number = match node {
        Node::Integer(number) => i32::try_from(*number).ok(),
        Node::Number(number) if number.fract() == 0.0 && number.abs() < 1e9 => Some(*number as i32),
        // "1", "ch_0", "channel_1".
        Node::Text(text) => {
            let digits = text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
            digits.strip_suffix(".0").unwrap_or(digits).parse().ok()
        }
        _ => None,
    };
    match number.and_then(|number: i32| number.checked_sub(first)?.checked_add(1)) {
        Some(number) if number > 0 => Channel::Number(number),
        _ => Channel::Odd,
    }
}

fn channel(node: &Node, keys: &[&str], first: i32) -> Option<Channel> {
    Some(channel_from(node.any(keys)?, first))
}

/// A time in seconds: a number, "1.2", "1.200s", "00:01:02.500", "PT1M2.5S", or seconds and nanos.
fn seconds(node: &Node) -> Option<f64> {
    match node {
        Node::Object(_) => {
            let part = |key| node.get(key).and_then(Node::number);
            let (whole, nanos) = (part("seconds"), part("nanos"));
            whole.or(nanos)?;
            Some(whole.unwrap_or(0.0) + nanos.unwrap_or(0.0) * 1e-9)
        }
        Node::Text(text) => {
            let text = text.trim();
            node.number().or_else(|| text.strip_suffix('s')?.parse().ok()).or_else(|| clock(text)).or_else(|| iso(text))
        }
        _ => node.number(),
    }
    .filter(|seconds| seconds.is_finite())
}

/// Hours, minutes and seconds; a comma or a point before the fraction.
pub(super) fn clock(text: &str) -> Option<f64> {
    let text = text.replace(',', ".");
    let mut parts = text.split(':').map(|part| part.trim().parse::<f64>().ok().filter(|number| *number >= 0.0));
    let total = parts.try_fold(None, |total: Option<f64>, part| Some(Some(total.unwrap_or(0.0) * 60.0 + part?)))??;
    text.contains(':').then_some(total)
}

/// A duration of ISO 8601: PT1H2M3.5S.
fn iso(text: &str) -> Option<f64> {
    let mut total = 0.0;
    let mut rest = text.strip_prefix("PT")?;
    while !rest.is_empty() {
        let unit = rest.find(|letter: char| letter.is_ascii_alphabetic())?;
        let number: f64 = rest[..unit].parse().ok()?;
        total += number
            * match &rest[unit..=unit] {
                "H" => 3600.0,
                "M" => 60.0,
                "S" => 1.0,
                _ => return None,
            };
        rest = &rest[unit + 1..];
    }
    Some(total)
}

fn is_object(node: &Node) -> bool {
    matches!(node, Node::Object(_))
}

fn segments(items: &[Node]) -> Vec<Raw> {
    items.iter().map(segment).collect()
}

// Diarizers

/// pyannoteAI's jobs: turns, with a confidence for each speaker in percent.
fn pyannoteai(tree: &Node) -> Option<Vec<Raw>> {
    let from = tree.get("output").unwrap_or(tree);
    let marks = ["jobId", "turnLevelTranscription", "wordLevelTranscription", "identification", "voiceprints"];
    let turns = || ["turnLevelTranscription", "diarization", "identification"].iter().find_map(|key| from.list(key));
    let has_map = |turn: &Node| turn.get("confidence").is_some_and(is_object);
    if tree.any(&marks).or_else(|| from.any(&marks)).is_none() && !turns()?.iter().any(has_map) {
        return None;
    }
    let turn = |node: &Node| {
        let raw = segment(node);
        let own = || node.get("confidence")?.get(raw.label.as_deref()?)?.number();
        Raw { confidence: own().map(|percent| percent / 100.0).or(raw.confidence), ..raw }
    };
    match turns() {
        Some(turns) => Some(turns.iter().map(turn).collect()),
        None => Some(join(from.list("wordLevelTranscription")?.iter().map(word))),
    }
}

/// pyannote.audio 4's output, and what pyannote.core makes of an annotation. The turns that overlap are read, not the
/// exclusive ones: what one speaker has alone is cut out of them where it is needed.
fn pyannote(tree: &Node) -> Option<Vec<Raw>> {
    let inner = |key| {
        let value: &Node = tree.get(key)?;
        value.items().or_else(|| value.list("content")).or_else(|| value.list("segments"))
    };
    let turns = ["speaker_diarization", "exclusive_speaker_diarization", "diarization", "content"];
    turns.iter().find_map(|key| inner(key)).map(segments)
}

/// NeMo's transcripts with speakers: sentences, or words.
fn nemo(tree: &Node) -> Option<Vec<Raw>> {
    let sentences = tree.list("sentences").map(segments);
    let words = || {
        let words = tree.list("words")?;
        words.iter().any(|word| word.get("start_time").is_some()).then(|| join(words.iter().map(word)))
    };
    sentences.or_else(words)
}

// Whisper and its relatives

fn whisper(tree: &Node) -> Option<Vec<Raw>> {
    let items = tree.list("segments")?;
    let marks = ["text", "seek", "tokens", "avg_logprob", "no_speech_prob", "words"];
    let marked = items.iter().any(|item| item.any(&marks).is_some());
    (marked || tree.any(&["text", "language", "word_segments"]).is_some()).then(|| segments(items))
}

/// Segments as tuples: id, seek, start, end, text and more.
fn faster_whisper(tree: &Node) -> Option<Vec<Raw>> {
    let items = tree.items().or_else(|| tree.list("segments"))?;
    let tuple = |node: &Node| match node.items()? {
        [id_of, _, start, end, Node::Text(text), ..] if id_of.number().is_some() => Some(Raw {
            id: id(id_of),
            start_s: start.number(),
            end_s: end.number(),
            text: Some(text.replace('\0', "")),
            ..Raw::default()
        }),
        _ => None,
    };
    items.first().and_then(tuple)?;
    Some(items.iter().map(|item| tuple(item).unwrap_or_default()).collect())
}

fn whisper_cpp(tree: &Node) -> Option<Vec<Raw>> {
    let items = tree.list("transcription")?;
    let part = |node: &Node| {
        let bound = |key| {
            let ms = || Some(node.at(&["offsets", key])?.number()? / 1000.0);
            ms().or_else(|| seconds(node.at(&["timestamps", key])?))
        };
        Raw { start_s: bound("from"), end_s: bound("to"), ..segment(node) }
    };
    Some(items.iter().map(part).collect())
}

/// The pipelines of transformers, and insanely-fast-whisper: chunks, with speakers beside them.
fn transformers(tree: &Node) -> Option<Vec<Raw>> {
    let speakers = tree.list("speakers").filter(|items| items.iter().any(|item| item.get("timestamp").is_some()));
    Some(segments(speakers.or_else(|| tree.list("chunks"))?))
}

// Services

fn deepgram(tree: &Node) -> Option<Vec<Raw>> {
    let results = tree.get("results").filter(|results| is_object(results))?;
    let channels = results.list("channels");
    let several = channels.is_some_and(|channels| channels.len() > 1);
    let on = |node: &Node, raw: Raw| Raw { channel: channel(node, &["channel"], 0).filter(|_| several), ..raw };
    if let Some(utterances) = results.list("utterances") {
        let several = utterances.iter().any(|item| item.get("channel").and_then(Node::number) > Some(0.0));
        let on = |node: &Node| match several {
            true => Raw { channel: channel(node, &["channel"], 0), ..segment(node) },
            false => Raw { channel: None, ..segment(node) },
        };
        return Some(utterances.iter().map(on).collect());
    }
    let mut found = Vec::new();
    for (place, node) in channels?.iter().enumerate() {
        let best = node.list("alternatives").and_then(<[Node]>::first);
        let words = best.and_then(|best| best.list("words")).unwrap_or_default();
        let own = Channel::Number(i32::try_from(place + 1).unwrap_or(i32::MAX));
        found.extend(
            join(words.iter().map(|item| Raw { channel: several.then_some(own), ..on(item, word(item)) }))
                .into_iter()
                .map(|raw| Raw { channel: several.then_some(own), ..raw }),
        );
    }
    Some(found)
}

/// Utterances in milliseconds: whole numbers, which tells them from others' seconds.
fn assemblyai(tree: &Node) -> Option<Vec<Raw>> {
    let items = tree.list("utterances")?;
    whole_numbers(items).then(|| items.iter().map(segment_ms).collect())
}

fn assemblyai_words(tree: &Node) -> Option<Vec<Raw>> {
    let items = tree.list("words")?;
    whole_numbers(items).then(|| {
        join(items.iter().map(|node| {
            let raw = word(node);
            let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds / 1000.0);
            Raw { start_s: ms(raw.start_s), end_s: ms(raw.end_s), ..raw }
        }))
    })
}

fn whole_numbers(items: &[Node]) -> bool {
    let times = || items.iter().flat_map(|item| [item.get("start"), item.get("end")]).flatten();
    let whole = |node: &Node| node.number().is_some_and(|time| time.fract() == 0.0);
    // Nobody speaks for less than a tenth of a second in all.
    times().all(whole) && times().filter_map(Node::number).fold(0.0, f64::max) >= 100.0
}

fn aws(tree: &Node) -> Option<Vec<Raw>> {
    let results = tree.get("results")?;
    let spoken = |node: &Node| {
        let best = node.list("alternatives").and_then(<[Node]>::first);
        let said = best.and_then(|best| text(best, &["content"]));
        let confidence = best.and_then(|best| best.get("confidence")?.number());
        // Punctuation has neither times nor a confidence.
        Raw {
            id: None,
            text: said,
            confidence: confidence.filter(|_| node.get("start_time").is_some()),
            ..segment(node)
        }
    };
    if let Some(channels) = results.at(&["channel_labels", "channels"]).and_then(Node::items) {
        let mut found = Vec::new();
        for node in channels {
            let own = channel(node, &["channel_label"], 0);
            let items = node.list("items").unwrap_or_default();
            found.extend(join(items.iter().map(|item| Raw { channel: own, label: None, ..spoken(item) })));
        }
        return Some(found);
    }
    if let Some(parts) = results.list("audio_segments").filter(|parts| parts.iter().any(|part| label(part).is_some())) {
        return Some(segments(parts));
    }
    let turns = results.at(&["speaker_labels", "segments"])?.items()?;
    let mut items = results.list("items").unwrap_or_default().iter().map(spoken).peekable();
    let mut found = segments(turns);
    for turn in &mut found {
        let mut said = Vec::new();
        while let Some(item) = items.next_if(|item| item.start_s.is_none_or(|start| Some(start) < turn.end_s)) {
            said.push(Raw { label: None, ..item });
        }
        turn.text = join(said).into_iter().filter_map(|part| part.text).reduce(|all, more| all + " " + &more);
    }
    Some(found)
}

/// The words are all in the last result, with their speakers; without speakers each result is a segment. A batch has
/// its results under the file's address.
fn google(tree: &Node) -> Option<Vec<Raw>> {
    let of_file = |file: &Node| google(file.at(&["inlineResult", "transcript"]).or_else(|| file.get("transcript"))?);
    if let Some(files) = tree.get("results").and_then(Node::entries) {
        return match files {
            [(_, file)] => of_file(file),
            _ => None,
        };
    }
    let results = tree.list("results")?;
    let best = |result: &Node| -> Option<Vec<Raw>> {
        let own = channel(result, &["channelTag", "channel_tag"], 1).filter(|own| *own != Channel::Odd);
        let spoken = |node: &Node| {
            let time = |keys: &[&str]| node.any(keys).and_then(seconds);
            // Zero is left out by its encoding.
            let end_s = time(&["endTime", "endOffset", "end_time", "end_offset"]);
            let start_s = time(&["startTime", "startOffset", "start_time", "start_offset"]).or(end_s.map(|_| 0.0));
            let speaker = node.any(&["speakerLabel", "speakerTag", "speaker_label", "speaker_tag"]);
            // Tag 0 is nobody's.
            let label = speaker.and_then(Node::name).filter(|name| name != "0");
            let confidence = node.get("confidence").and_then(Node::number).filter(|confidence| *confidence > 0.0);
            Raw { start_s, end_s, channel: own, label, text: text(node, &WORDS), confidence, id: None }
        };
        Some(result.list("alternatives")?.first()?.list("words")?.iter().map(spoken).collect())
    };
    let all: Vec<Vec<Raw>> = results.iter().filter_map(best).collect();
    if all.is_empty() {
        return None;
    }
    let told = |words: &Vec<Raw>| words.iter().any(|word| word.label.is_some());
    if !all.iter().any(told) {
        let one = |words: Vec<Raw>| {
            let mut whole = join(words).into_iter();
            let first = whole.next()?;
            Some(whole.fold(first, |all, more| Raw {
                end_s: more.end_s,
                text: all.text.zip(more.text).map(|(a, b)| a + " " + &b),
                ..all
            }))
        };
        return Some(all.into_iter().filter_map(one).collect());
    }
    let begins = |words: &Vec<Raw>| words.first().and_then(|word| word.start_s);
    let repeats = all.len() > 1 && begins(&all[all.len() - 1]) <= begins(&all[0]);
    let from = if repeats { all.len() - 1 } else { 0 };
    Some(all.into_iter().skip(from).filter(told).flat_map(join).collect())
}

fn azure(tree: &Node) -> Option<Vec<Raw>> {
    let phrases = tree.list("recognizedPhrases").or_else(|| tree.list("phrases"))?;
    let phrase = |node: &Node| {
        let ticks = |key| Some(node.get(key)?.number()? * 1e-7);
        let ms = |key| Some(node.get(key)?.number()? / 1000.0);
        let start_s =
            ticks("offsetInTicks").or_else(|| ms("offsetMilliseconds")).or_else(|| seconds(node.get("offset")?));
        let length_s =
            ticks("durationInTicks").or_else(|| ms("durationMilliseconds")).or_else(|| seconds(node.get("duration")?));
        let best = node.list("nBest").and_then(<[Node]>::first);
        Raw {
            start_s,
            end_s: start_s.zip(length_s).map(|(start, length)| start + length),
            channel: channel(node, &["channel"], 0),
            label: label(node),
            text: text(node, &TEXTS).or_else(|| text(best?, &["display", "lexical"])),
            confidence: node.get("confidence").or_else(|| best?.get("confidence")).and_then(Node::number),
            id: None,
        }
    };
    Some(phrases.iter().map(phrase).collect())
}

fn speechmatics(tree: &Node) -> Option<Vec<Raw>> {
    let results = tree.list("results")?;
    results.iter().find(|item| item.get("start_time").is_some() && item.get("alternatives").is_some())?;
    // Channels may have names, which the job's configuration lists in their order.
    let names = tree.at(&["metadata", "transcription_config", "channel_diarization_labels"]).and_then(Node::items);
    let own = |node: &Node| {
        let name = node.get("channel")?;
        let place = names.and_then(|names| names.iter().position(|other| other == name));
        Some(place.map_or_else(|| channel_from(name, 1), |place| Channel::Number(place as i32 + 1)))
    };
    let spoken = |node: &Node| {
        let best = node.list("alternatives").and_then(<[Node]>::first);
        // Whom it does not know it calls UU.
        let label = best.and_then(label).filter(|name| name != "UU");
        let timed = node.get("type").and_then(Node::text) != Some("punctuation");
        let raw = segment(node);
        Raw {
            id: None,
            start_s: raw.start_s.filter(|_| timed),
            channel: own(node),
            label,
            text: best.and_then(|best| text(best, &["content"])),
            confidence: best.and_then(|best| best.get("confidence")?.number()).filter(|_| timed),
            ..raw
        }
    };
    Some(join(results.iter().filter(|item| item.get("alternatives").is_some()).map(spoken)))
}

fn revai(tree: &Node) -> Option<Vec<Raw>> {
    let monologues = tree.list("monologues")?;
    let mut found = Vec::new();
    for node in monologues {
        let speaker = label(node);
        let spoken = |element: &Node| Raw {
            start_s: element.get("ts").and_then(Node::number),
            end_s: element.get("end_ts").and_then(Node::number),
            text: text(element, &["value"]),
            confidence: element.get("confidence").and_then(Node::number),
            label: speaker.clone(),
            ..Raw::default()
        };
        let words = join(node.list("elements").unwrap_or_default().iter().map(spoken));
        found.extend(words.into_iter().map(|raw| Raw { text: raw.text.map(|text| text.trim().to_owned()), ..raw }));
    }
    Some(found)
}

fn gladia(tree: &Node) -> Option<Vec<Raw>> {
    let transcription = tree.at(&["result", "transcription"]).or_else(|| tree.get("transcription"))?;
    let utterances = transcription.list("utterances")?;
    Some(utterances.iter().map(|node| Raw { channel: channel(node, &["channel"], 0), ..segment(node) }).collect())
}

/// Words with spaces between them, and sounds; several channels are transcripts of their own.
fn elevenlabs(tree: &Node) -> Option<Vec<Raw>> {
    if let Some(transcripts) = tree.list("transcripts") {
        let of_channel = |node: &Node| {
            let own = channel(node, &["channel_index"], 0)?;
            Some(elevenlabs(node)?.into_iter().map(move |raw| Raw { channel: Some(own), ..raw }))
        };
        let read: Option<Vec<_>> = transcripts.iter().map(of_channel).collect();
        return Some(read?.into_iter().flatten().collect());
    }
    let words = tree.list("words")?;
    let told = words.iter().any(|word| word.get("speaker_id").is_some() || word.get("type").is_some());
    (told || words.iter().any(|word| !matches!(word.get("start"), None | Some(Node::Integer(_))))).then(|| {
        let spoken = words
            .iter()
            .filter(|word| !matches!(word.get("type").and_then(Node::text), Some("spacing" | "audio_event")));
        join(spoken.map(word))
    })
}

fn watson(tree: &Node) -> Option<Vec<Raw>> {
    let labels = tree.list("speaker_labels")?;
    let results = tree.list("results").unwrap_or_default();
    let stamps = results.iter().filter_map(|result| result.list("alternatives")?.first()?.list("timestamps")).flatten();
    let mut words = stamps.filter_map(|stamp| match stamp.items()? {
        [Node::Text(said), from, to, ..] => Some((said.replace('\0', ""), from.number()?, to.number()?)),
        _ => None,
    });
    let spoken = |node: &Node| Raw {
        start_s: node.get("from").and_then(Node::number),
        end_s: node.get("to").and_then(Node::number),
        label: label(node),
        text: words.next().map(|(said, ..)| said),
        confidence: node.get("confidence").and_then(Node::number),
        ..Raw::default()
    };
    Some(join(labels.iter().map(spoken)))
}

fn soniox(tree: &Node) -> Option<Vec<Raw>> {
    let tokens = tree.list("tokens").filter(|tokens| tokens.iter().any(|token| token.get("start_ms").is_some()))?;
    let ms = |node: &Node, key| Some(node.get(key)?.number()? / 1000.0);
    // Tokens are parts of words, and bring their spaces.
    let mut found: Vec<Raw> = Vec::new();
    for token in tokens {
        let raw = Raw { start_s: ms(token, "start_ms"), end_s: ms(token, "end_ms"), id: None, ..segment(token) };
        match found.last_mut() {
            Some(last)
                if last.label == raw.label
                    && last.end_s.zip(raw.start_s).is_none_or(|(end, start)| start - end <= 1.0) =>
            {
                last.end_s = raw.end_s.or(last.end_s);
                last.text.get_or_insert_default().push_str(raw.text.as_deref().unwrap_or_default());
            }
            _ => found.push(Raw { confidence: None, ..raw }),
        }
    }
    Some(found.into_iter().map(|raw| Raw { text: raw.text.map(|text| text.trim().to_owned()), ..raw }).collect())
}

// Anything else with starts and ends

/// A list of segments, bare or under a key that says so. An item may also be a tuple: start, end, label.
fn list(tree: &Node) -> Option<Vec<Raw>> {
    let keys = ["segments", "turns", "utterances", "entries", "annotations", "results"];
    let one = || tree.any(&STARTS).and(Some(std::slice::from_ref(tree)));
    let items = tree.items().or_else(|| keys.iter().find_map(|key| tree.list(key))).or_else(one)?;
    let tuple = |node: &Node| match node {
        Node::List(values) => match &values[..] {
            [start, end] => Raw { start_s: seconds(start), end_s: seconds(end), ..Raw::default() },
            [Node::Text(speaker), start, end] if seconds(start).is_some() => Raw {
                start_s: seconds(start),
                end_s: seconds(end),
                label: Node::Text(speaker.clone()).name(),
                ..Raw::default()
            },
            // pyannote.core's itertracks(yield_label=True): segment, track, label.
            [bounds @ (Node::Object(_) | Node::List(_)), _, speaker] => {
                let bound = |keys: &[&str], place: usize| {
                    bounds.any(keys).or_else(|| bounds.items()?.get(place)).and_then(seconds)
                };
                Raw { start_s: bound(&STARTS, 0), end_s: bound(&ENDS, 1), label: speaker.name(), ..Raw::default() }
            }
            [start, end, speaker, ..] => {
                Raw { start_s: seconds(start), end_s: seconds(end), label: speaker.name(), ..Raw::default() }
            }
            _ => Raw::default(),
        },
        node => segment(node),
    };
    let mut parts = items.iter().filter(|item| matches!(item, Node::Object(_) | Node::List(_))).peekable();
    (items.is_empty() || parts.peek().is_some()).then(|| parts.map(tuple).collect())
}
