//! Segments of the fixtures in every format that is read, and hostile text.

use std::fs;
use std::path::Path;

use speaker_core::segments::{parse_segments, SegmentInput, SegmentsError};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parsed(name: &str) -> Vec<SegmentInput> {
    parse_segments(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn pyannotes_json_and_rttm_tell_the_same_turns() {
    for recording in ["meeting", "interview"] {
        let json = parsed(&format!("{recording}.pyannote.json"));
        let rttm = parsed(&format!("{recording}.rttm"));
        assert!(json.len() > 5, "{recording}");
        assert_eq!(json.len(), rttm.len(), "{recording}");
        for (a, b) in json.iter().zip(&rttm) {
            assert_eq!((a.index, &a.speaker_label), (b.index, &b.speaker_label), "{recording}");
            assert!(a.speaker_label.is_some(), "{recording} {}", a.index);
            // RTTM writes a duration, in milliseconds.
            assert!(
                (a.start_s - b.start_s).abs() < 2e-3 && (a.end_s - b.end_s).abs() < 2e-3,
                "{recording} {}",
                a.index
            );
        }
    }
}

#[test]
fn whispers_segments_have_ids_and_text_but_no_speaker_and_no_confidence() {
    for recording in ["meeting", "interview"] {
        let segments = parsed(&format!("{recording}.whisper.json"));
        assert!(segments.len() > 5, "{recording}");
        for (index, segment) in segments.iter().enumerate() {
            assert_eq!(segment.index, index);
            assert!(segment.external_id.is_some() && segment.text.is_some(), "{recording} {index}");
            assert_eq!((&segment.speaker_label, segment.confidence), (&None, None), "{recording} {index}");
        }
    }
}

#[test]
fn a_bare_array_is_the_same_as_whispers_object() {
    let text = fixture("interview.whisper.json");
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(parse_segments(&object["segments"].to_string()).unwrap(), parse_segments(&text).unwrap());
}

#[test]
fn odd_times_are_passed_on() {
    let odd = r#"[{"start": 5, "end": 5}, {"start": 3, "end": 1}, {"start": -1.5, "end": 1e9}]"#;
    let times: Vec<_> = parse_segments(odd).unwrap().iter().map(|it| (it.start_s, it.end_s)).collect();
    assert_eq!(times, [(5.0, 5.0), (3.0, 1.0), (-1.5, 1e9)]);
    assert_eq!(parse_segments("SPEAKER f 1 2 -1 <NA> <NA> a <NA> <NA>").unwrap()[0].end_s, 1.0);
}

#[test]
fn times_that_are_no_numbers_are_refused() {
    for text in [
        r#"[{"start": NaN, "end": 1}]"#,
        r#"[{"start": 0, "end": 1e999}]"#,
        r#"[{"start": 0, "end": null}]"#,
        r#"[{"start": [0], "end": 1}]"#,
        "SPEAKER f 1 nan 1 <NA> <NA> a <NA> <NA>",
        "SPEAKER f 1 0 inf <NA> <NA> a <NA> <NA>",
        "SPEAKER f 1 <NA> 1 <NA> <NA> a <NA> <NA>",
    ] {
        assert!(parse_segments(text).is_err(), "{text}");
    }
}

#[test]
fn an_id_names_one_segment_whether_it_is_a_number_or_a_string() {
    let twice = r#"[{"start": 0, "end": 1, "id": 3}, {"start": 1, "end": 2}, {"start": 0, "end": 1, "id": "3"}]"#;
    assert_eq!(parse_segments(twice), Err(SegmentsError::Duplicate { position: 3, id: "3".into() }));

    // As a float this one would be 18446744073709552000.
    let large = r#"[{"start": 0, "end": 1, "id": 18446744073709551615}]"#;
    assert_eq!(parse_segments(large).unwrap()[0].external_id.as_deref(), Some("18446744073709551615"));
}

#[test]
fn text_of_another_format_is_not_read_as_no_segments() {
    for text in ["start,end,speaker\n0,1,a", "WEBVTT\n\n00:00.000 --> 00:01.000\nhello", "<xml/>", "null", "7"] {
        assert_eq!(parse_segments(text), Err(SegmentsError::Shape), "{text}");
    }
}

#[test]
fn hostile_text_ends_in_an_error() {
    let deep = format!(r#"[{{"start": 0, "end": 1, "words": {}}}]"#, "[".repeat(100_000));
    assert!(matches!(parse_segments(&deep), Err(SegmentsError::Json { .. })));

    let whole = fixture("interview.whisper.json");
    let whole = whole.trim_end();
    for end in (1..whole.len()).step_by(7).filter(|end| whole.is_char_boundary(*end)) {
        assert!(parse_segments(&whole[..end]).is_err(), "cut after {end} bytes");
    }
}
