#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| speaker_core_fuzz::decode(bytes, &[(0, b"riff\x2e\x91\xcf\x11"), (24, b"wave\xf3\xac\xd3\x11")]));
