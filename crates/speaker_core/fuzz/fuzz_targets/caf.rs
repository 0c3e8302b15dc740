#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| speaker_core_fuzz::decode(bytes, &[(0, b"caff\0\x01\0\0desc")]));
