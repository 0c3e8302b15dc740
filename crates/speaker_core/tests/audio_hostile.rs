//! Any byte string gives a value or an error, in bounded time and memory.

mod audio_support;

use std::time::{Duration, Instant};

use audio_support::{decode, decode_within, pcm16, probe, sample, span, speech, to_f32, whole, Random, Wav};
use speaker_core::audio::{AudioError, Limits};

const FILES: [&str; 17] = [
    "speech.aac",
    "speech_alac.m4a",
    "speech.mp3",
    "speech_tagged.mp3",
    "speech.ogg",
    "speech_adpcm_ima.wav",
    "speech_adpcm_ms.wav",
    "speech_mulaw.wav",
    "speech.mkv",
    "speech.webm",
    "speech_fragmented.mp4",
    "film.mp4",
    "speech.flac",
    "speech.aiff",
    "speech.opus",
    "speech_live.webm",
    "speech_opus.mp4",
];

/// Limits that keep the damage of one input small.
fn tight() -> Limits {
    Limits { max_seconds: 30.0, ..Limits::default() }
}

#[test]
fn empty_and_unknown() {
    assert_eq!(decode(Vec::new()), Err(AudioError::Empty));
    assert_eq!(probe(Vec::new()), Err(AudioError::Empty));
    let text = "It is a truth universally acknowledged, that RIFF fLaC OggS FORM ftyp. ".repeat(1000);
    assert_eq!(decode(text.clone().into()), Err(AudioError::UnknownFormat { bytes: 71_000 }));
    assert_eq!(probe(text.into()), Err(AudioError::UnknownFormat { bytes: 71_000 }));
}

#[test]
fn random_bytes_are_no_audio() {
    let mut random = Random(20_261_121);
    for size in (1..300).chain([4_096, 65_536, 1 << 20]).flat_map(|size| [size; 4]) {
        let bytes: Vec<u8> = (0..size).map(|_| random.next() as u8).collect();
        assert_eq!(decode(bytes), Err(AudioError::UnknownFormat { bytes: size }));
    }
}

#[test]
fn limits_hold() {
    let wav = sample("speech.wav");
    let limits = Limits { max_bytes: 1000, ..Limits::default() };
    let (_, result) = decode_within(wav.clone(), &[whole()], &limits);
    assert_eq!(result, Err(AudioError::TooLarge { got: wav.len() as u64, max: 1000 }));
    let limits = Limits { max_seconds: 1.0, ..Limits::default() };
    let (out, result) = decode_within(wav.clone(), &[span(0.0, 0.5), whole()], &limits);
    assert_eq!(result, Err(AudioError::TooLong { max_s: 1.0 }));
    assert_eq!(out.len(), 1, "what is complete before the limit is delivered");
    let (_, result) = decode_within(wav, &[span(0.0, 0.9)], &limits);
    assert_eq!(result, Ok(()), "the limit is on what is decoded");
}

#[test]
fn a_bomb_meets_the_limit() {
    let bomb = sample("two_hours_of_silence.flac");
    assert!(bomb.len() < 25_000);
    let info = probe(bomb.clone()).unwrap();
    assert!((info.duration_s - 7_200.0).abs() < 0.1);
    let limits = Limits { max_seconds: 60.0, ..Limits::default() };
    let started = Instant::now();
    let (out, result) = decode_within(bomb, &[whole()], &limits);
    assert_eq!((out.len(), result), (0, Err(AudioError::TooLong { max_s: 60.0 })));
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
}

#[test]
fn truncated_wav() {
    let wav = sample("speech.wav");
    let cut = wav[..44 + 32_000].to_vec();
    let truncated = AudioError::Truncated { declared_s: 1.5, got_s: 1.0 };
    assert_eq!(probe(cut.clone()), Err(truncated.clone()));
    let (out, result) = decode_within(cut, &[span(0.2, 0.7), span(0.5, 1.2), whole()], &Limits::default());
    assert_eq!(result, Err(truncated));
    assert_eq!(out.len(), 1, "only what was complete before the end");
    assert!(out[0].1.as_ref().unwrap().samples() == &to_f32(&speech())[3_200..11_200]);
    assert_eq!(decode(wav[..wav.len() - 3_000].to_vec()).unwrap().len(), 22_500, "0.09 s are forgiven");
    let nothing = AudioError::Incomplete { declared_bytes: 48_044, got_bytes: 44 };
    assert_eq!(decode(wav[..44].to_vec()), Err(nothing));
}

#[test]
fn every_container_that_declares_a_length_can_be_truncated() {
    for (file, keep) in [
        ("speech.flac", 25_000),
        ("speech_stereo.m4a", 9_000),
        ("speech.aiff", 12_000),
        ("speech_stereo.mp3", 12_000),
        ("speech.webm", 8_000),
        ("speech.mkv", 4_000),
    ] {
        let cut = sample(file)[..keep].to_vec();
        let (out, result) = decode_within(cut.clone(), &[span(0.0, 0.25), whole()], &Limits::default());
        match result {
            Err(AudioError::Truncated { declared_s, got_s }) => {
                assert!((declared_s - 1.55).abs() < 0.06, "{file} declares {declared_s} s");
                assert!((0.3..1.3).contains(&got_s), "{file} has {got_s} s");
            }
            other => panic!("{file}: {other:?}"),
        }
        assert_eq!(out.len(), 1, "{file}");
        assert!(matches!(probe(cut), Err(AudioError::Truncated { .. })), "{file}");
    }
}

/// The index of this file is at its end. Without it, only the size of a box tells that something is missing.
#[test]
fn truncated_before_the_index() {
    let m4a = sample("speech_alac.m4a");
    let incomplete = decode(m4a[..20_000].to_vec());
    assert!(matches!(incomplete, Err(AudioError::Incomplete { got_bytes: 20_000, .. })), "{incomplete:?}");
}

/// Encoders that write to a pipe cannot know the length.
#[test]
fn placeholders_are_no_lengths() {
    let data = pcm16(&speech());
    for declared in [0, u32::MAX, u32::MAX - 36, 0x7fff_ffff, 0x7fff_0000, 200_000_000] {
        let wav = Wav { declared: Some(declared), ..Wav::pcm16(16_000, 1, &data) }.bytes();
        assert_eq!(decode(wav.clone()).unwrap().len(), 24_000, "{declared:#x}");
        assert_eq!(probe(wav).unwrap().duration_s, 1.5, "{declared:#x}");
    }
    // One hour is a length like any other.
    let wav = Wav { declared: Some(32_000 * 3_600), ..Wav::pcm16(16_000, 1, &data) }.bytes();
    assert_eq!(decode(wav), Err(AudioError::Truncated { declared_s: 3_600.0, got_s: 1.5 }));

    // FLAC keeps the number of samples in the last 36 bits of eight bytes that begin 18 bytes into the file.
    for samples in [0u64, (1 << 36) - 1, 16_000 * 7_200] {
        let mut flac = sample("speech.flac");
        flac[21] = flac[21] & 0xf0 | (samples >> 32) as u8;
        flac[22..26].copy_from_slice(&(samples as u32).to_be_bytes());
        assert!(decode(flac.clone()).unwrap() == to_f32(&speech()), "{samples}");
        assert_eq!(probe(flac).unwrap().duration_s, 1.5, "{samples}");
    }
}

#[test]
fn sizes_of_rf64() {
    let data = pcm16(&speech());
    let rf64 = |declared: u64| {
        let plain = Wav { declared: Some(u32::MAX), ..Wav::pcm16(16_000, 1, &data) }.bytes();
        let mut file = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
        file.extend((declared + 72).to_le_bytes());
        file.extend(declared.to_le_bytes());
        file.extend([0; 12]);
        file.extend(&plain[12..]);
        file
    };
    assert!(decode(rf64(48_000)).unwrap() == to_f32(&speech()));
    assert_eq!(decode(rf64(96_000)), Err(AudioError::Truncated { declared_s: 3.0, got_s: 1.5 }));
}

#[test]
fn damage_is_silence_of_the_same_length() {
    for (file, damage) in
        [("speech.flac", 20_000..20_400), ("speech_stereo.mp3", 9_000..9_500), ("speech.aac", 3_000..3_060)]
    {
        let sound = decode(sample(file)).unwrap();
        let mut bytes = sample(file);
        bytes[damage].fill(0xaa);
        let damaged = decode(bytes.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(damaged.len().abs_diff(sound.len()) < 1_600, "{file}: {} samples, not {}", damaged.len(), sound.len());
        let told = probe(bytes).unwrap().duration_s;
        assert!((told - damaged.len() as f64 / 16_000.0).abs() < 0.1, "{file}: {told} s");
        if file == "speech.flac" {
            assert_eq!(damaged.len(), sound.len());
            assert!(damaged[20_480..] == sound[20_480..], "what follows the damage has not moved");
        }
    }
}

#[test]
fn mostly_damage_is_an_error() {
    let mut mp3 = sample("speech_stereo.mp3");
    let frames: Vec<usize> = (0..mp3.len() - 4).filter(|&at| mp3[at..].starts_with(&[0xff, 0xfb])).collect();
    for at in frames.into_iter().skip(3) {
        // Side information of all ones: block types and lengths that cannot be.
        let end = (at + 60).min(mp3.len());
        mp3[at + 4..end].fill(0xff);
    }
    let result = decode(mp3);
    assert!(matches!(result, Err(AudioError::Corrupt { .. })), "{result:?}");
}

/// Decodes and probes within tight limits; only what must not happen fails: a panic, or a hang.
fn survives(bytes: &[u8], what: &dyn Fn() -> String) {
    let started = Instant::now();
    let (_, decoded) = decode_within(bytes.to_vec(), &[whole()], &tight());
    let probed = probe(bytes.to_vec());
    assert!(started.elapsed() < Duration::from_secs(20), "{}: {:?}", what(), started.elapsed());
    if let Err(AudioError::Decoder { detail }) = decoded.and(probed.map(|_| ())) {
        println!("{}: decoder panicked: {detail}", what());
    }
}

#[test]
fn every_prefix_ends() {
    // Panics of the libraries are caught; their reports would fill the log.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(|| {
        for file in FILES {
            let bytes = sample(file);
            // Every length within the headers, then about 150 more.
            let step = (bytes.len() / 150).max(1);
            for end in (0..bytes.len()).filter(|&end| end < 600 || end % step == 0) {
                survives(&bytes[..end], &|| format!("{file} cut at {end}"));
            }
        }
    });
    let _ = std::panic::take_hook();
    outcome.expect("no panic");
}

#[test]
fn mutations_end() {
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(|| {
        let mut random = Random(7);
        for file in FILES {
            let original = sample(file);
            for round in 0..150 {
                let mut bytes = original.clone();
                // Headers hold most of the lengths; half of the changes go there.
                let reach = if round % 2 == 0 { bytes.len() } else { bytes.len().min(400) };
                for _ in 0..=random.below(8) {
                    let at = random.below(reach);
                    bytes[at] = match random.below(4) {
                        0 => 0,
                        1 => 0xff,
                        2 => bytes[at] ^ (1 << random.below(8)),
                        _ => random.next() as u8,
                    };
                }
                survives(&bytes, &|| format!("{file}, mutation {round}"));
            }
        }
    });
    let _ = std::panic::take_hook();
    outcome.expect("no panic");
}
