#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let (Some(b'{' | b'['), Ok(text)) = (bytes.first(), std::str::from_utf8(bytes)) {
        let _ = speaker_core::segments::parse_segments(text, 1 << 28);
    }
});
