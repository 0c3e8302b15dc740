#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if !text.trim_start().starts_with(['{', '[']) {
        let _ = speaker_core::segments::parse_segments(text, 1 << 28);
    }
});
