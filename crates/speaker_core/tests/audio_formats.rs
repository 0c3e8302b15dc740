//! Every container and codec gives the same sentence.

mod audio_support;

use audio_support::{alignment, decode, pcm16, probe, sample, speech, to_f32, Wav};
use speaker_core::audio::{write_wav, AudioError, Mono16k};

struct Case {
    file: &'static str,
    container: &'static str,
    codec: &'static str,
    rate: u32,
    channels: u16,
    /// The least correlation with the original, at the best lag. Measured, then rounded down; the loss is the codec's.
    correlation: f64,
    /// Samples at 16 kHz by which a delay that the file does not tell makes it late, at most.
    late: isize,
    /// Seconds by which the encoder made it longer, at most.
    longer: f64,
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { file: "speech.wav", container: "wav", codec: "pcm_s16le", rate: 16_000, channels: 1, correlation: 1.0, late: 0, longer: 0.0 },
    Case { file: "speech_alaw.wav", container: "wav", codec: "pcm_alaw", rate: 8_000, channels: 1, correlation: 0.99, late: 0, longer: 0.001 },
    Case { file: "speech_mulaw.wav", container: "wav", codec: "pcm_mulaw", rate: 8_000, channels: 1, correlation: 0.99, late: 0, longer: 0.001 },
    Case { file: "speech_adpcm_ms.wav", container: "wav", codec: "adpcm_ms", rate: 16_000, channels: 1, correlation: 0.99, late: 0, longer: 0.07 },
    Case { file: "speech_adpcm_ima.wav", container: "wav", codec: "adpcm_ima_wav", rate: 16_000, channels: 1, correlation: 0.99, late: 0, longer: 0.07 },
    Case { file: "speech.aiff", container: "aiff", codec: "pcm_s16be", rate: 8_000, channels: 1, correlation: 0.99, late: 0, longer: 0.001 },
    Case { file: "speech.au", container: "au", codec: "pcm_mulaw", rate: 8_000, channels: 1, correlation: 0.99, late: 0, longer: 0.001 },
    Case { file: "speech.caf", container: "caf", codec: "pcm_alaw", rate: 8_000, channels: 1, correlation: 0.99, late: 0, longer: 0.001 },
    Case { file: "speech.w64", container: "w64", codec: "pcm_u8", rate: 8_000, channels: 1, correlation: 0.98, late: 0, longer: 0.001 },
    Case { file: "speech_24be.mov", container: "mp4", codec: "pcm_s24be", rate: 8_000, channels: 1, correlation: 0.99, late: 0, longer: 0.001 },
    Case { file: "speech_51.m4a", container: "mp4", codec: "aac", rate: 48_000, channels: 6, correlation: 0.96, late: 0, longer: 0.0011 },
    Case { file: "speech_51.opus", container: "ogg", codec: "opus", rate: 48_000, channels: 6, correlation: 0.96, late: 0, longer: 0.0 },
    Case { file: "speech_two_tracks.mov", container: "mp4", codec: "aac", rate: 16_000, channels: 1, correlation: 0.94, late: 0, longer: 0.0011 },
    Case { file: "speech.flac", container: "flac", codec: "flac", rate: 16_000, channels: 1, correlation: 1.0, late: 0, longer: 0.0 },
    Case { file: "speech_alac.m4a", container: "mp4", codec: "alac", rate: 16_000, channels: 1, correlation: 1.0, late: 0, longer: 0.0 },
    Case { file: "speech.mp3", container: "mp3", codec: "mp3", rate: 16_000, channels: 1, correlation: 0.98, late: 0, longer: 0.0 },
    Case { file: "speech_tagged.mp3", container: "mp3", codec: "mp3", rate: 16_000, channels: 1, correlation: 0.98, late: 0, longer: 0.0 },
    Case { file: "speech_stereo.mp3", container: "mp3", codec: "mp3", rate: 44_100, channels: 2, correlation: 0.99, late: 0, longer: 0.001 },
    // Without a LAME tag nobody knows of the encoder's delay, nor of the decoder's: 1105 frames of 44.1 kHz.
    Case { file: "speech_vbr_no_xing.mp3", container: "mp3", codec: "mp3", rate: 44_100, channels: 2, correlation: 0.98, late: 402, longer: 0.08 },
    Case { file: "speech.aac", container: "aac", codec: "aac", rate: 16_000, channels: 1, correlation: 0.94, late: 1024, longer: 0.13 },
    Case { file: "speech_stereo.m4a", container: "mp4", codec: "aac", rate: 44_100, channels: 2, correlation: 0.96, late: 0, longer: 0.0011 },
    Case { file: "speech_fragmented.mp4", container: "mp4", codec: "aac", rate: 16_000, channels: 1, correlation: 0.94, late: 1024, longer: 0.13 },
    Case { file: "film.mp4", container: "mp4", codec: "aac", rate: 16_000, channels: 1, correlation: 0.94, late: 0, longer: 0.0011 },
    Case { file: "speech.ogg", container: "ogg", codec: "vorbis", rate: 16_000, channels: 1, correlation: 0.98, late: 0, longer: 0.0 },
    Case { file: "speech_stereo.ogg", container: "ogg", codec: "vorbis", rate: 44_100, channels: 2, correlation: 0.97, late: 0, longer: 0.001 },
    Case { file: "speech_51.ogg", container: "ogg", codec: "vorbis", rate: 48_000, channels: 6, correlation: 0.97, late: 0, longer: 0.001 },
    Case { file: "speech.webm", container: "matroska", codec: "vorbis", rate: 16_000, channels: 1, correlation: 0.98, late: 0, longer: 0.07 },
    Case { file: "speech.mkv", container: "matroska", codec: "aac", rate: 16_000, channels: 1, correlation: 0.94, late: 1024, longer: 0.13 },
    Case { file: "speech.opus", container: "ogg", codec: "opus", rate: 48_000, channels: 1, correlation: 0.96, late: 0, longer: 0.0 },
    Case { file: "speech_60ms.opus", container: "ogg", codec: "opus", rate: 48_000, channels: 2, correlation: 0.98, late: 0, longer: 0.0 },
    Case { file: "speech_2ms.opus", container: "ogg", codec: "opus", rate: 48_000, channels: 1, correlation: 0.99, late: 0, longer: 0.0 },
    Case { file: "speech_opus.mp4", container: "mp4", codec: "opus", rate: 48_000, channels: 1, correlation: 0.96, late: 0, longer: 0.0011 },
    Case { file: "speech_opus.webm", container: "matroska", codec: "opus", rate: 48_000, channels: 1, correlation: 0.96, late: 0, longer: 0.02 },
    Case { file: "speech_live.webm", container: "matroska", codec: "opus", rate: 48_000, channels: 1, correlation: 0.96, late: 0, longer: 0.02 },
];

#[test]
fn every_format_gives_the_same_sentence() {
    let original = to_f32(&speech());
    for case in CASES {
        let audio = decode(sample(case.file)).unwrap_or_else(|error| panic!("{}: {error}", case.file));
        let (correlation, late) = alignment(&original, &audio);
        let longer = (audio.len() as f64 - original.len() as f64) / 16_000.0;
        println!("{}: correlation {correlation:.4}, {late} samples late, {longer:.4} s longer", case.file);
        assert!(correlation >= case.correlation - 1e-9, "{}: correlation {correlation}", case.file);
        assert!((-1..=case.late).contains(&late), "{}: {late} samples late", case.file);
        assert!((-1e-4..=case.longer + 1e-9).contains(&longer), "{}: {longer} s longer", case.file);
    }
}

#[test]
fn lossless_formats_are_exact() {
    let original = to_f32(&speech());
    for file in ["speech.wav", "speech.flac", "speech_alac.m4a"] {
        assert!(decode(sample(file)).unwrap() == original, "{file}");
    }
}

#[test]
fn probing_tells_what_decoding_gives() {
    for case in CASES {
        let info = probe(sample(case.file)).unwrap_or_else(|error| panic!("{}: {error}", case.file));
        let told = (&*info.container, &*info.codec, info.sample_rate, info.channels);
        assert_eq!(told, (case.container, case.codec, case.rate, case.channels), "{}", case.file);
        let decoded_s = decode(sample(case.file)).unwrap().len() as f64 / 16_000.0;
        assert!((info.duration_s - decoded_s).abs() < 0.001, "{}: {} s, not {decoded_s} s", case.file, info.duration_s);
    }
}

#[test]
fn every_wav_encoding() {
    let samples = speech();
    let original = to_f32(&samples);
    let u8s: Vec<u8> = samples.iter().map(|&s| ((s >> 8) + 128) as u8).collect();
    let s16 = pcm16(&samples);
    let s24: Vec<u8> = samples.iter().flat_map(|&s| (i32::from(s) << 8).to_le_bytes()[..3].to_vec()).collect();
    let s32: Vec<u8> = samples.iter().flat_map(|&s| (i32::from(s) << 16).to_le_bytes()).collect();
    let f32s: Vec<u8> = original.iter().flat_map(|s| s.to_le_bytes()).collect();
    let f64s: Vec<u8> = original.iter().flat_map(|&s| f64::from(s).to_le_bytes()).collect();
    for extensible in [false, true] {
        for (codec, tag, bits, data) in [
            ("pcm_u8", 1, 8, &u8s),
            ("pcm_s16le", 1, 16, &s16),
            ("pcm_s24le", 1, 24, &s24),
            ("pcm_s32le", 1, 32, &s32),
            ("pcm_f32le", 3, 32, &f32s),
            ("pcm_f64le", 3, 64, &f64s),
        ] {
            let wav = Wav { tag, bits, rate: 16_000, channels: 1, extensible, data, declared: None }.bytes();
            let info = probe(wav.clone()).unwrap_or_else(|error| panic!("{codec}: {error}"));
            assert_eq!((&*info.codec, info.duration_s), (codec, 1.5));
            let audio = decode(wav).unwrap();
            let tolerance = if bits == 8 { 1.0 / 128.0 } else { 0.0 };
            let same = audio.iter().zip(&original).all(|(a, b)| (a - b).abs() <= tolerance);
            assert!(audio.len() == original.len() && same, "{codec}, extensible: {extensible}");
        }
    }
}

#[test]
fn channels_are_averaged_and_rates_converted() {
    // Six channels at 48 kHz; channel c has (c + 1) / 21 of a 440 Hz tone, so the mean is a sixth of it.
    let tone = |n: usize, rate: f64| (std::f64::consts::TAU * 440.0 * n as f64 / rate).sin();
    let frames: Vec<i16> = (0..48_000)
        .flat_map(|n| (1..=6).map(move |share| (tone(n, 48_000.0) * 30_000.0 * f64::from(share) / 21.0).round() as i16))
        .collect();
    let data = pcm16(&frames);
    let wav = Wav { extensible: true, ..Wav::pcm16(48_000, 6, &data) }.bytes();
    assert_eq!(probe(wav.clone()).unwrap().channels, 6);
    let audio = decode(wav).unwrap();
    assert_eq!(audio.len(), 16_000);
    for (n, &sample) in audio.iter().enumerate().take(15_000).skip(1_000) {
        let wanted = tone(n, 16_000.0) * 30_000.0 / 32_768.0 / 6.0;
        assert!((f64::from(sample) - wanted).abs() < 1e-3, "sample {n}: {sample}, not {wanted}");
    }
}

#[test]
fn floats_that_are_no_numbers_are_silence() {
    let samples = [0.5, f32::NAN, f32::INFINITY, -0.5, f32::NEG_INFINITY];
    let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let wav =
        |rate| Wav { tag: 3, bits: 32, rate, channels: 1, extensible: false, data: &data, declared: None }.bytes();
    assert_eq!(decode(wav(16_000)).unwrap(), [0.5, 0.0, 0.0, -0.5, 0.0]);
    assert!(decode(wav(44_100)).unwrap().iter().all(|sample| sample.is_finite()));
}

#[test]
fn written_wav_reads_back() {
    let audio = Mono16k::new(to_f32(&speech()));
    let wav = write_wav(&audio);
    assert_eq!(wav, sample("speech.wav"));
    assert_eq!(decode(wav).unwrap(), audio.samples());
}

/// A file of variable bit rate without a Xing header: the demultiplexer estimates its length by the first frames, and
/// audio must not end there.
#[test]
fn estimates_do_not_cut_mp3() {
    let mut mp3 = sample("speech_vbr_no_xing.mp3");
    let tag = mp3.windows(2).position(|pair| pair == [0xff, 0xfb]).expect("a frame");
    mp3.drain(..tag);
    let once = decode(mp3.clone()).unwrap();
    // The largest frames in front make the estimate far too short.
    let mut frames = mp3_frames(&mp3);
    frames.sort_by_key(|frame| std::cmp::Reverse(frame.len()));
    let file = [frames[..20].concat(), mp3.clone(), mp3].concat();
    let audio = decode(file.clone()).unwrap();
    let wanted = 2 * once.len() + 20 * 1152 * 16_000 / 44_100;
    assert!(audio.len().abs_diff(wanted) <= 1, "{} samples, not {wanted}", audio.len());
    let (correlation, late) = alignment(&once, &audio[audio.len() - once.len() - 1_100..]);
    assert!(correlation > 0.99 && late == 1_100, "the end has a correlation of {correlation} at {late}");
    assert!((probe(file).unwrap().duration_s - audio.len() as f64 / 16_000.0).abs() < 0.001);
}

/// The frames of an MP3 file of version 1, layer III, 44.1 kHz.
fn mp3_frames(mp3: &[u8]) -> Vec<&[u8]> {
    const BIT_RATES: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    let mut frames = Vec::new();
    let mut rest = mp3;
    while let [0xff, 0xfb, b2, ..] = *rest {
        let len = 144_000 * BIT_RATES[usize::from(b2 >> 4)] / 44_100 + usize::from(b2 >> 1 & 1);
        let (frame, next) = rest.split_at(len);
        frames.push(frame);
        rest = next;
    }
    frames
}

/// Files joined to one: the first one's Xing header tells the length of the first only.
#[test]
fn joined_mp3_files_play_to_the_end() {
    let one = sample("speech.mp3");
    let once = decode(one.clone()).unwrap();
    let joined = [one.clone(), one].concat();
    let audio = decode(joined.clone()).unwrap();
    assert!(audio.len() >= 2 * once.len(), "{} samples", audio.len());
    // The second file's delay is not trimmed: only the first frame of a source may tell it.
    let (correlation, late) = alignment(&once, &audio[once.len() - 1_100..]);
    assert!(correlation > 0.98 && late >= 1_100, "the second part has a correlation of {correlation} at {late}");
    assert!((probe(joined).unwrap().duration_s - audio.len() as f64 / 16_000.0).abs() < 0.001);
}

/// Joined files of other rates and channels: 16 kHz mono, then 44.1 kHz stereo.
#[test]
fn parameters_may_change_on_the_way() {
    let (mono, stereo) = (sample("speech.mp3"), sample("speech_stereo.mp3"));
    let joined = [mono.clone(), stereo.clone()].concat();
    let audio = decode(joined.clone()).unwrap();
    let first = decode(mono).unwrap();
    let second = decode(stereo).unwrap();
    let wanted = first.len() + second.len();
    assert!(audio.len().abs_diff(wanted) < 16_000 / 5, "{} samples, not {wanted}", audio.len());
    assert!((probe(joined).unwrap().duration_s - audio.len() as f64 / 16_000.0).abs() < 0.1);
    let (correlation, _) = alignment(&second, &audio[audio.len() - second.len() - 480..]);
    assert!(correlation > 0.95, "the second part has a correlation of {correlation}");
}

/// Ogg streams one after the other.
#[test]
fn chained_ogg_plays_to_the_end() {
    let joined = [sample("speech.ogg"), sample("speech_stereo.ogg")].concat();
    let audio = decode(joined.clone()).unwrap();
    assert!(audio.len().abs_diff(48_000) < 10, "{} samples", audio.len());
    assert!((probe(joined).unwrap().duration_s - 3.0).abs() < 0.01);
    let (correlation, late) = alignment(&to_f32(&speech()), &audio[24_000..]);
    assert!(correlation > 0.97 && late == 0, "{correlation} at {late}");
}

#[test]
fn what_cannot_be_decoded_is_named() {
    let silent = AudioError::NoAudioTrack { container: "mp4" };
    assert_eq!(decode(sample("silent_film.mp4")), Err(silent.clone()));
    assert_eq!(probe(sample("silent_film.mp4")), Err(silent));
    let gsm = Wav { tag: 0x31, bits: 0, ..Wav::pcm16(8_000, 1, &[0; 650]) }.bytes();
    assert_eq!(decode(gsm), Err(AudioError::UnsupportedCodec { codec: "gsm".into() }));
    let slow = Wav::pcm16(1_000, 1, &[0; 2_000]).bytes();
    let refused = AudioError::UnsupportedRate { rate: 1_000, min: 2_000, max: 384_000 };
    assert_eq!(decode(slow.clone()), Err(refused.clone()));
    assert_eq!(probe(slow), Err(refused));
}
