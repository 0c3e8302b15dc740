//! Segments of every source that is read, and what is said of those that are not.

use speaker_core::segments::{self, SegmentInput, SegmentsError};

fn parse_segments(text: &str) -> Result<Vec<SegmentInput>, SegmentsError> {
    segments::parse_segments(text, 1 << 30)
}

/// A segment without text or confidence.
fn turn(id: Option<&str>, index: usize, start_s: f64, end_s: f64, label: Option<&str>) -> SegmentInput {
    SegmentInput {
        external_id: id.map(Into::into),
        index,
        start_s,
        end_s,
        speaker_label: label.map(Into::into),
        text: None,
        confidence: None,
    }
}

fn message(text: &str) -> String {
    parse_segments(text).unwrap_err().to_string()
}

const WHISPER: &str = r#"{
  "task": "transcribe", "language": "en", "duration": 8.47, "text": " Hello. Goodbye.",
  "segments": [
    {"id": 0, "seek": 0, "start": 0.0, "end": 3.32, "text": " Hello.", "tokens": [50364, 2425, 13],
     "temperature": 0.0, "avg_logprob": -0.286, "compression_ratio": 1.24, "no_speech_prob": 0.009,
     "words": [{"word": " Hello.", "start": 0, "end": 3.32, "probability": 0.9}]},
    {"id": 1, "seek": 0, "start": 3.32, "end": 8, "text": " Goodbye.", "tokens": [], "avg_logprob": -0.3}
  ]
}"#;

#[test]
fn whispers_segments_have_ids_and_text_but_no_speaker_and_no_confidence() {
    let expected = [
        SegmentInput { text: Some(" Hello.".into()), ..turn(Some("0"), 0, 0.0, 3.32, None) },
        SegmentInput { text: Some(" Goodbye.".into()), ..turn(Some("1"), 1, 3.32, 8.0, None) },
    ];
    assert_eq!(parse_segments(WHISPER).unwrap(), expected);

    let (from, to) = (WHISPER.find('[').unwrap(), WHISPER.rfind(']').unwrap());
    assert_eq!(parse_segments(&WHISPER[from..=to]).unwrap(), expected, "a bare array");
    assert_eq!(parse_segments(&format!("\u{feff}\n {WHISPER}")).unwrap(), expected, "after a byte order mark");
}

#[test]
fn turns_name_their_speaker_in_either_way() {
    let turns = r#"[{"start": 0.5, "end": 1.25, "speaker": "SPEAKER_00", "confidence": 0.75},
                    {"start": 1, "end": 2, "label": 7, "external_id": "b-1", "id": 9},
                    {"start": 2, "end": 3, "speaker": null, "label": "", "id": 18446744073709551615}]"#;
    assert_eq!(
        parse_segments(turns).unwrap(),
        [
            SegmentInput { confidence: Some(0.75), ..turn(None, 0, 0.5, 1.25, Some("SPEAKER_00")) },
            turn(Some("b-1"), 1, 1.0, 2.0, Some("7")),
            turn(Some("18446744073709551615"), 2, 2.0, 3.0, None),
        ]
    );
}

#[test]
fn pyannotes_own_json_keeps_its_times_one_level_down() {
    let annotation = r#"{"pyannote": "Annotation", "uri": "call", "content": [
        {"segment": {"start": 0.1, "end": 0.9}, "track": "A", "label": "SPEAKER_00"},
        {"segment": {"start": 0.5, "end": 1.5}, "track": "A", "label": "SPEAKER_01"}]}"#;
    let expected = [turn(None, 0, 0.1, 0.9, Some("SPEAKER_00")), turn(None, 1, 0.5, 1.5, Some("SPEAKER_01"))];
    assert_eq!(parse_segments(annotation).unwrap(), expected);
}

#[test]
fn rttm_gives_onset_and_duration() {
    let rttm = ";; by hand\n\
        SPKR-INFO call 1 <NA> <NA> <NA> unknown SPEAKER_00 <NA> <NA>\n\
        SPEAKER call 1 0.25 1.50 <NA> <NA> SPEAKER_00 0.9 <NA>\n\n\
        SPEAKER\tcall\t1\t2\t0.5\t<NA>\t<NA>\t<NA>\t<NA>\r\n";
    let expected = [
        SegmentInput { confidence: Some(0.9), ..turn(None, 0, 0.25, 1.75, Some("SPEAKER_00")) },
        turn(None, 1, 2.0, 2.5, None),
    ];
    assert_eq!(parse_segments(rttm).unwrap(), expected);
    assert_eq!(parse_segments(";; nobody spoke").unwrap(), []);
}

#[test]
fn no_segments_are_a_list_too_but_no_text_is_none() {
    assert_eq!(parse_segments("[]").unwrap(), []);
    assert_eq!(parse_segments(r#"{"segments": []}"#).unwrap(), []);
    assert_eq!(parse_segments(" \n"), Err(SegmentsError::Empty));
    assert_eq!(parse_segments(r#"{"text": " Hello."}"#), Err(SegmentsError::NoList));
}

#[test]
fn odd_times_are_passed_on() {
    let odd = r#"[{"start": 5, "end": 5}, {"start": 3, "end": 1}, {"start": -1.5, "end": 1e9}]"#;
    let times: Vec<_> = parse_segments(odd).unwrap().iter().map(|it| (it.start_s, it.end_s)).collect();
    assert_eq!(times, [(5.0, 5.0), (3.0, 1.0), (-1.5, 1e9)]);
    assert_eq!(parse_segments("SPEAKER f 1 2 -1 <NA> <NA> a <NA> <NA>").unwrap()[0].end_s, 1.0);
}

#[test]
fn an_id_names_one_segment() {
    let twice = r#"[{"start": 0, "end": 1, "id": 3}, {"start": 1, "end": 2}, {"start": 0, "end": 1, "id": "3"}]"#;
    let expected = SegmentsError::DuplicateId { id: "3".into(), first: 0, second: 2 };
    assert_eq!(parse_segments(twice), Err(expected));
    assert_eq!(message(twice), r#"segments 0 and 2 have the same id "3""#);
}

#[test]
fn a_field_of_the_wrong_type_is_named_with_its_segment() {
    let cases = [
        (r#"{"end": 1}"#, r#""start" of segment 1 is not a number of seconds"#),
        (r#"{"start": "0.5", "end": 1}"#, r#""start" of segment 1 is not a number of seconds"#),
        (r#"{"start": 0, "end": null}"#, r#""end" of segment 1 is not a number of seconds"#),
        (r#"{"start": 0, "end": 1, "id": 1.5}"#, r#""id" of segment 1 is not a string or a whole number"#),
        (r#"{"start": 0, "end": 1, "speaker": ["a"]}"#, r#""speaker" of segment 1 is not a string or a whole number"#),
        (r#"{"start": 0, "end": 1, "text": {"a": 1}}"#, r#""text" of segment 1 is not a string"#),
        (r#"{"start": 0, "end": 1, "confidence": true}"#, r#""confidence" of segment 1 is not a number"#),
    ];
    for (item, expected) in cases {
        assert_eq!(message(&format!(r#"[{{"start": 0, "end": 1}}, {item}]"#)), expected, "{item}");
    }
}

#[test]
fn broken_json_is_an_error_with_a_place() {
    let cases = [
        ("[{\"start\": 0,\n \"end\": NaN}]", "expected value, at line 2 column 9"),
        ("[{\"start\": 1e999, \"end\": 2}]", "number out of range, at line 1 column 16"),
        ("[{\"start\": 0", "EOF while parsing an object, at line 1 column 12"),
        ("[[\"1\", 0, 1]]", "expected a segment, an object with start and end, at line 1 column 2"),
        ("{\"segments\": {}}", "expected a list of segments, at line 1 column 15"),
        ("{\"segments\": [], \"content\": []}", "more than one list of segments, at line 1 column 26"),
        (r#"[{"text": "a\u0000b"}]"#, "a string contains the character U+0000, at line 1 column 20"),
        ("[] []", "trailing characters, at line 1 column 4"),
    ];
    for (text, expected) in cases {
        let got = message(text);
        assert!(got.starts_with("segments are not valid JSON: ") && got.ends_with(expected), "{text}: {got}");
    }
}

#[test]
fn a_broken_line_of_rttm_is_an_error_with_its_number() {
    let good = "SPEAKER f 1 0 1 <NA> <NA> a <NA> <NA>\n";
    let cases = [
        ("start,end,speaker", "RTTM line 2 does not have a line type of RTTM"),
        ("SPEAKER f 1 0 1 <NA> <NA> a", "RTTM line 2 does not have the 10 fields of SPEAKER"),
        ("SPEAKER f 1 <NA> 1 <NA> <NA> a <NA> <NA>", "RTTM line 2 does not have an onset in seconds"),
        ("SPEAKER f 1 0 inf <NA> <NA> a <NA> <NA>", "RTTM line 2 does not have a duration in seconds"),
        ("SPEAKER f 1 0 1 <NA> <NA> a sure <NA>", "RTTM line 2 does not have a confidence that is a number or <NA>"),
        ("SPEAKER g 1 0 1 <NA> <NA> a <NA> <NA>", "RTTM line 2 is of another file than line 1"),
    ];
    for (line, expected) in cases {
        assert_eq!(message(&format!("{good}{line}")), expected);
    }
}

#[test]
fn hostile_text_ends_in_an_error() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(parse_segments(&deep), Err(SegmentsError::Json { .. })));
    // What nobody asks for is skipped, without recursion.
    let ignored = format!(r#"[{{"start": 0, "end": 1, "words": {deep}}}]"#);
    assert_eq!(parse_segments(&ignored).map(|segments| segments.len()), Ok(1));
    let asked = format!(r#"[{{"start": 0, "end": 1, "text": {deep}}}]"#);
    assert!(matches!(parse_segments(&asked), Err(SegmentsError::Field { field: "text", .. })));
    for end in (0..WHISPER.len() - 1).filter(|end| WHISPER.is_char_boundary(*end)) {
        assert!(parse_segments(&WHISPER[..end]).is_err(), "cut after {end} bytes");
    }
}

#[test]
fn what_was_said_is_not_repeated_in_an_error() {
    for broken in [r#""a secret""#, r#"{"segments": "a secret"}"#, r#"["a secret"]"#, r#"[{"segment": "a secret"}]"#] {
        let message = message(broken);
        assert!(!message.contains("secret"), "{message}");
    }
    let message = message(r#"{"content": "a secret"}"#);
    assert!(message.contains("invalid type: a string, expected a list of segments"), "{message}");
}
