//! Reading segments takes no more memory than it may, whatever the text.

mod heap_support;

use heap_support::heap;
use speaker_core::segments::{memory_of_text, parse_segments, SegmentsError};

const MB: u64 = 1 << 20;

/// What reading a text took, and how many segments there were.
fn read(text: &str, max_memory: u64) -> (u64, Result<usize, SegmentsError>) {
    let mut outcome = Ok(0);
    let taken = heap(|| outcome = parse_segments(text, max_memory).map(|read| read.segments.len()));
    assert!(taken <= max_memory && taken <= memory_of_text(text), "{taken} bytes for {} of text", text.len());
    (taken, outcome)
}

fn is_refused(outcome: Result<usize, SegmentsError>) -> bool {
    matches!(outcome, Err(SegmentsError::TooMuchMemory { .. }))
}

// One test, for the counters are the process's.
#[test]
fn reading_takes_what_it_may() {
    let many = |item: &str, count: usize| format!("[{}{item}]", format!("{item},").repeat(count - 1));
    let least = r#"{"start":0,"end":1}"#;

    let (taken, found) = read(&many(least, 100_000), 256 * MB);
    assert_eq!(found, Ok(100_000));
    println!("{taken} bytes for 100,000 segments");
    assert!(is_refused(read(&many(least, 1_000_000), 64 * MB).1));
    for item in ["{}", "[]", "[0,1]", r#"{"start":0}"#, r#"{"a":[{}]}"#] {
        assert!(is_refused(read(&many(item, 1_000_000), 64 * MB).1), "{item}");
        assert!(!is_refused(read(&many(item, 50_000), 128 * MB).1), "{item}");
    }
    assert!(is_refused(read(&"-->\n".repeat(1_000_000), 64 * MB).1));
    assert!(is_refused(read(&"0 1 a\n".repeat(1_000_000), 64 * MB).1));
    assert!(is_refused(read(&"f 1 0 1 a\n".repeat(1_000_000), 64 * MB).1));
    assert!(is_refused(read(&format!("start,end\n{}", "0,1\n".repeat(1_000_000)), 64 * MB).1));
    assert_eq!(read(&format!("start,end\n{}", "0,1\n".repeat(50_000)), 64 * MB).1, Ok(50_000));

    let turn = "SPEAKER f 1 0 1 <NA> <NA> a <NA> <NA>\n";
    assert_eq!(read(&turn.repeat(10_000), 64 * MB).1, Ok(10_000));
    assert!(is_refused(read(&turn.repeat(400_000), 64 * MB).1));
    let (taken, found) = read(&"a ".repeat(5_000_000), 64 * MB);
    assert!(matches!(found, Err(SegmentsError::Unknown)) && taken < MB);

    // Ids are kept twice, strings unescaped in a buffer.
    let ids: Vec<String> = (0..50_000).map(|id| format!(r#"{{"start":0,"end":1,"id":{id},"speaker":{id}}}"#)).collect();
    assert_eq!(read(&format!("[{}]", ids.join(",")), 128 * MB).1, Ok(50_000));
    let long = "\\u0041\\n".repeat(1_000_000);
    let text = format!(r#"[{{"start":0,"end":1,"text":"{long}","label":"{long}","{long}":1,"words":"{long}"}}]"#);
    assert_eq!(read(&text, 128 * MB).1, Ok(1));
    assert!(is_refused(read(&text, 64 * MB).1));
    for broken in [format!(r#""{long}""#), format!(r#"["{long}"]"#), format!(r#"{{"segments":"{long}"}}"#)] {
        assert!(read(&broken, 64 * MB).1.is_err());
    }
}
