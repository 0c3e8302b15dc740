//! Segments of every source that is read, and what is said of those that are not.

use speaker_core::segments::{self, Flaw, SegmentInput, SegmentsError};

fn parse_segments(text: &str) -> Result<Vec<SegmentInput>, SegmentsError> {
    segments::parse_segments(text, 1 << 30).map(|read| read.segments)
}

/// A segment without text or confidence.
fn turn(id: Option<&str>, index: usize, start_s: f64, end_s: f64, label: Option<&str>) -> SegmentInput {
    SegmentInput {
        external_id: id.map(Into::into),
        index,
        start_s,
        end_s,
        channel: None,
        speaker_label: label.map(Into::into),
        text: None,
        confidence: None,
        flaw: None,
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
    assert_eq!(parse_segments("start,end,speaker\n").unwrap(), []);
    assert_eq!(parse_segments(" \n"), Err(SegmentsError::Empty));
    for none in [r#"{"text": " Hello."}"#, "[1, 2]", "first,last,speaker", r#"{"segments": {}}"#] {
        assert_eq!(parse_segments(none), Err(SegmentsError::Unknown), "{none}");
    }
    let message = message("{}");
    assert!(["rttm", "deepgram", "whisper.cpp"].iter().all(|format| message.contains(format)), "{message}");
}

#[test]
fn odd_times_are_passed_on() {
    let odd = r#"[{"start": 5, "end": 5}, {"start": 3, "end": 1}, {"start": -1.5, "end": 1e9}]"#;
    let times: Vec<_> = parse_segments(odd).unwrap().iter().map(|it| (it.start_s, it.end_s)).collect();
    assert_eq!(times, [(5.0, 5.0), (3.0, 1.0), (-1.5, 1e9)]);
    assert_eq!(parse_segments("SPEAKER f 1 2 -1 <NA> <NA> a <NA> <NA>").unwrap()[0].end_s, 1.0);
}

fn ids(text: &str) -> Vec<Option<String>> {
    parse_segments(text).unwrap().into_iter().map(|segment| segment.external_id).collect()
}

#[test]
fn numbers_that_repeat_are_no_ids() {
    let item = |id: &str| format!(r#"{{"id": {id}, "start": 0, "end": 1}}"#);
    let of = |given: &[&str]| ids(&format!("[{}]", given.iter().map(|id| item(id)).collect::<Vec<_>>().join(",")));
    let some = |id: &str| Some(id.to_owned());
    assert_eq!(of(&["0", "1", "0"]), [None, None, None]);
    assert_eq!(of(&["5", "6", "7"]), [some("5"), some("6"), some("7")]);
    // Names are kept; the second of two alike is none.
    assert_eq!(of(&["\"a\"", "\"b\"", "\"a\""]), [some("a"), some("b"), None]);
    assert_eq!(of(&["0", "\"x\"", "0"]), [None, some("x"), None]);
}

#[test]
fn an_id_that_is_anothers_position_keeps_its_name() {
    let of = |text| ids(text);
    let some = |id: &str| Some(id.to_owned());
    assert_eq!(of(r#"[{"start": 0, "end": 3}, {"id": "0", "start": 3, "end": 6}]"#), [some("#0"), some("0")]);
    let twice = r##"[{"start": 0, "end": 3}, {"id": "0", "start": 3, "end": 6}, {"id": "#0", "start": 3, "end": 6}]"##;
    assert_eq!(of(twice), [some("##0"), some("0"), some("#0")]);
}

#[test]
fn a_segment_without_times_is_a_flaw_and_no_reason_to_refuse_the_others() {
    let time = |field| Some(Flaw::Time { index: 1, field });
    let cases = [
        (r#"{"end": 1}"#, time("start")),
        (r#"{"start": 0}"#, time("end")),
        (r#"{"start": 0, "end": null}"#, time("end")),
        (r#"{"start": NaN, "end": 1}"#, time("start")),
        (r#"{"start": -Infinity, "end": 1}"#, time("start")),
        (r#"{"start": "soon", "end": 1}"#, time("start")),
        (r#"{"start": [0], "end": 1}"#, time("start")),
        (r#"{"text": "2014"}"#, time("start")),
        ("[]", time("start")),
        (r#"{"start": 0, "end": 1, "channel": 0}"#, Some(Flaw::Channel { index: 1 })),
        (r#"{"start": 0, "end": 1, "channel": "left"}"#, Some(Flaw::Channel { index: 1 })),
        (r#"{"start": "0.5", "end": "1"}"#, None),
        (r#"{"start": "00:00:01,5", "end": "00:01:02.25"}"#, None),
    ];
    for (item, flaw) in cases {
        let got = parse_segments(&format!(r#"[{{"start": 0, "end": 1}}, {item}]"#)).unwrap();
        assert_eq!((got.len(), got[0].flaw, got[1].flaw), (2, None, flaw), "{item}");
        assert!(got[1].flaw.is_none() || (got[1].start_s, got[1].end_s) == (0.0, 0.0) || flaw != time("start"));
    }
    let clock = parse_segments(r#"[{"start": "00:00:01,5", "end": "01:02:03.25"}]"#).unwrap();
    assert_eq!((clock[0].start_s, clock[0].end_s), (1.5, 3723.25));
}

#[test]
fn what_is_not_needed_is_ignored_whatever_its_type() {
    let good = |more: &str| format!(r#"[{{"start": 0, "end": 2, "speaker": "A", {more}}}]"#);
    let more = [
        r#""segment": 7"#,
        r#""segment": "[ 00:00:00.000 -->  00:00:02.000]""#,
        r#""segment": null"#,
        r#""words": [{"score": NaN}]"#,
        r#""words": null"#,
        r#""words": Infinity"#,
        r#""text": {"a": 1}"#,
        r#""id": [1]"#,
        r#""id": true"#,
        r#""confidence": true"#,
        r#""confidence": "high""#,
        r#""track": {"deep": [[[{}]]]}"#,
    ];
    for more in more {
        let got = parse_segments(&good(more)).unwrap();
        assert_eq!(got, [turn(None, 0, 0.0, 2.0, Some("A"))], "{more}");
    }
}

#[test]
fn labels_are_kept_as_given() {
    let cases = [
        (r#""SPEAKER_01""#, Some("SPEAKER_01")),
        (r#""UNKNOWN""#, Some("UNKNOWN")),
        ("1", Some("1")),
        ("1.0", Some("1")),
        (r#""NaN: she said \"N\"""#, Some(r#"NaN: she said "N""#)),
        ("null", None),
        (r#""""#, None),
        (r#"{"name": "A"}"#, None),
        ("false", None),
    ];
    for (label, expected) in cases {
        let got = parse_segments(&format!(r#"[{{"start": 0, "end": 1, "speaker": {label}}}]"#)).unwrap();
        assert_eq!(got[0].speaker_label.as_deref(), expected, "{label}");
    }
}

#[test]
fn a_confidence_is_a_share() {
    let cases = [
        ("0.5", Some(0.5)),
        ("1", Some(1.0)),
        ("1.0000001", Some(1.0)),
        ("95", Some(0.95)),
        ("-1", None),
        ("1e9", None),
    ];
    for (confidence, expected) in cases {
        let got = parse_segments(&format!(r#"[{{"start": 0, "end": 1, "confidence": {confidence}}}]"#)).unwrap();
        assert_eq!(got[0].confidence, expected, "{confidence}");
    }
}

#[test]
fn channel_1_throughout_says_nothing() {
    let channels = |text: &str| parse_segments(text).unwrap().iter().map(|it| it.channel).collect::<Vec<_>>();
    let rttm = |channel: u32| format!("SPEAKER f {channel} 0 1 <NA> <NA> a <NA> <NA>\n");
    assert_eq!(channels(&(rttm(1) + &rttm(1))), [None, None]);
    assert_eq!(channels(&(rttm(1) + &rttm(2))), [Some(1), Some(2)]);
    assert_eq!(channels(&rttm(2)), [Some(2)]);
    assert_eq!(channels(r#"[{"start": 0, "end": 1, "channel": 2}, {"start": 0, "end": 1}]"#), [Some(2), None]);
}

#[test]
fn broken_json_is_an_error_with_a_place() {
    let cases = [
        ("[{\"start\": 0,\n \"end\": nan}]", "expected ident, at line 2 column 10"),
        ("[{\"start\": 0", "EOF while parsing an object, at line 1 column 12"),
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
        ("SPEAKER f 1 0 1 <NA> <NA>", "RTTM line 2 does not have the 10 fields of SPEAKER"),
        ("SPEAKER g 1 0 1 <NA> <NA> a <NA> <NA>", "RTTM line 2 is of another file than line 1"),
    ];
    for (line, expected) in cases {
        assert_eq!(message(&format!("{good}{line}")), expected);
    }
    let flawed = [("<NA> 1", "start"), ("0 inf", "end")];
    for (times, field) in flawed {
        let got = parse_segments(&format!("{good}SPEAKER f 1 {times} <NA> <NA> a <NA> <NA>")).unwrap();
        assert_eq!(got[1].flaw, Some(Flaw::Time { index: 1, field }), "{times}");
    }
}

#[test]
fn hostile_text_ends_in_an_error() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(parse_segments(&deep), Err(SegmentsError::Json { .. })));
    for end in (0..WHISPER.len() - 1).filter(|end| WHISPER.is_char_boundary(*end)) {
        assert!(parse_segments(&WHISPER[..end]).is_err(), "cut after {end} bytes");
    }
    let nul = parse_segments(r#"[{"start": 0, "end": 1, "text": "a\u0000b"}]"#).unwrap();
    assert_eq!(nul[0].text.as_deref(), Some("ab"));
}

#[test]
fn memory_is_counted_before_it_is_taken() {
    let numbers = format!("[{}0]", "0,".repeat(100_000));
    let objects = format!("[{}{{}}]", r#"{"a":1},"#.repeat(50_000));
    let turns = format!("[{}{{}}]", r#"{"start":0,"end":1},"#.repeat(50_000));
    let nan = format!("[{}NaN]", "NaN,".repeat(50_000));
    let lines = "0 1 a\n".repeat(50_000);
    for text in [numbers, objects, turns, nan, lines] {
        let refused = segments::parse_segments(&text, text.len() as u64);
        assert!(matches!(refused, Err(SegmentsError::TooMuchMemory { .. })), "{}", &text[..20]);
        let allowed = segments::parse_segments(&text, segments::memory_of_text(&text) + (1 << 20));
        assert!(!matches!(allowed, Err(SegmentsError::TooMuchMemory { .. })), "{}", &text[..20]);
    }
}

#[test]
fn what_was_said_is_not_repeated_in_an_error() {
    for broken in [r#""a secret""#, r#"{"segments": "a secret"}"#, r#"["a secret"]"#, "a secret --"] {
        let message = message(broken);
        assert!(!message.contains("secret"), "{message}");
    }
    assert!(!message(r#"{"content": "a secret"}"#).contains("secret"));
}
