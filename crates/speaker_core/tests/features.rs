//! The GE2E frontend against its reference, and on audio that is not speech.

mod features_support;

use std::cell::Cell;
use std::ops::ControlFlow;

use features_support::{golden, read, stretches};
use serde_json::Value;
use speaker_core::audio::Mono16k;
use speaker_core::features::{Frontend, SpeechError};
use speaker_core::manifest::Manifest;
use speaker_core::never;

fn ge2e() -> Frontend {
    let manifest = String::from_utf8(read("models/ge2e.toml")).unwrap();
    Frontend::new(&Manifest::parse(&manifest).unwrap())
}

/// The clips of tests/golden/ge2e_clips.json with their samples.
fn clips() -> Vec<(Value, Mono16k)> {
    let facts: Vec<Value> = serde_json::from_slice(&read("crates/speaker_core/tests/golden/ge2e_clips.json")).unwrap();
    assert!(!facts.is_empty());
    facts
        .into_iter()
        .map(|fact| {
            let [start, end, factor] = ["start", "end", "factor"].map(|key| fact[key].as_f64().unwrap());
            let audio = stretches(fact["recording"].as_str().unwrap(), &[(start, end)]).remove(0);
            let scaled = audio.samples().iter().map(|sample| sample * factor as f32).collect();
            (fact, Mono16k::new(scaled))
        })
        .collect()
}

/// Speech that lasts, whatever voice activity detection does: a turn without pauses.
fn speech() -> Mono16k {
    stretches("meeting", &[(14.486, 17.773)]).remove(0)
}

#[test]
fn the_same_speech_is_kept_and_cut_into_as_many_windows() {
    for (fact, audio) in clips() {
        let windows = ge2e().windows(&audio, 0.6, &never).unwrap();
        let speech = (windows.speech_s * 16_000.0).round();
        assert_eq!(speech, fact["speech_samples"].as_f64().unwrap(), "{}", fact["name"]);
        assert_eq!(windows.len(), fact["window_starts"].as_array().unwrap().len(), "{}", fact["name"]);
    }
}

#[test]
fn mel_windows_are_the_references() {
    let expected = golden("ge2e_windows.npy");
    let largest = expected.iter().fold(0.0_f32, |most, value| most.max(*value));
    let windows = ge2e().windows(&speech(), 0.6, &never).unwrap();
    assert_eq!(expected.len(), windows.len() * 160 * 40);
    for (index, window) in expected.chunks(160 * 40).enumerate() {
        for (position, (got, want)) in windows.window(index).iter().zip(window).enumerate() {
            // Both sides transform in f32, each in its own order: 2e-6 of the largest value was seen on other audio.
            let error = (got - want).abs() / largest;
            assert!(error < 1e-5, "window {index} at {position}: {got} is not {want}");
        }
    }
}

#[test]
fn windows_overlap_by_the_frames_they_share() {
    let windows = ge2e().windows(&speech(), 0.6, &never).unwrap();
    let step = 77 * 40;
    for index in 1..windows.len() {
        assert_eq!(windows.window(index - 1)[step..], windows.window(index)[..160 * 40 - step]);
    }
}

#[test]
fn loud_audio_is_not_lowered() {
    let loud = speech();
    let louder = Mono16k::new(loud.samples().iter().map(|sample| sample * 2.0).collect());
    let [a, b] = [loud, louder].map(|audio| ge2e().windows(&audio, 0.6, &never).unwrap());
    let energy =
        |windows: &speaker_core::features::Windows| windows.window(0).iter().map(|v| f64::from(*v)).sum::<f64>();
    assert!((energy(&b) / energy(&a) - 4.0).abs() < 1e-3);
}

#[test]
fn what_is_not_speech_is_silent_however_loud() {
    let audio = |sample: fn(usize) -> f32| Mono16k::new((0..32_000).map(sample).collect());
    let silent = Err(SpeechError::Silent { audio_s: 2.0 });
    for (what, audio) in [
        ("zeros", audio(|_| 0.0)),
        ("a constant", audio(|_| 0.5)),
        ("one click", audio(|n| if n == 9_000 { 1.0 } else { 0.0 })),
        ("the smallest numbers", audio(|_| f32::from_bits(1))),
    ] {
        assert_eq!(ge2e().windows(&audio, 0.6, &never).map(|windows| windows.speech_s), silent, "{what}");
    }
}

#[test]
fn any_length_and_any_level_gives_a_value_or_an_error() {
    let whole = speech();
    for length in [0, 1, 159, 479, 480, 481, 9_599, 25_600, 25_601, 37_920] {
        for factor in [1e-30_f32, 1e-3, 1.0, 1e3, 1e18] {
            let audio = Mono16k::new(whole.samples()[..length].iter().map(|sample| sample * factor).collect());
            match ge2e().windows(&audio, 0.0, &never) {
                Ok(windows) => {
                    assert!(windows.len() > 0 && windows.speech_s <= audio.seconds());
                    assert_eq!(windows.window(windows.len() - 1).len(), 160 * 40);
                }
                Err(SpeechError::Silent { .. } | SpeechError::TooShort { .. }) => {}
                Err(SpeechError::Interrupted) => panic!("nobody interrupted"),
            }
        }
    }
}

#[test]
fn too_little_speech_says_how_much_there_is() {
    let expected = SpeechError::TooShort { got_s: 3.27, need_s: 4.0 };
    assert_eq!(ge2e().windows(&speech(), 4.0, &never).unwrap_err(), expected);
    assert_eq!(expected.to_string(), "audio has 3.27 s of speech, but at least 4.00 s is required");
}

#[test]
fn the_caller_is_asked_at_least_once_a_second_of_audio() {
    let minute = stretches("meeting", &[(0.0, 60.0)]).remove(0);
    let asked = Cell::new(0);
    let count = || {
        asked.set(asked.get() + 1);
        ControlFlow::Continue(())
    };
    ge2e().windows(&minute, 0.6, &count).unwrap();
    // Voice activity detection and the spectrogram each go through it, the latter without the pauses.
    assert!(asked.get() >= 60 + 45, "{} times", asked.get());

    for patience in [0, 30, asked.get() - 1] {
        let left = Cell::new(patience);
        let check = || match left.get() {
            0 => ControlFlow::Break(()),
            more => {
                left.set(more - 1);
                ControlFlow::Continue(())
            }
        };
        let stopped = ge2e().windows(&minute, 0.6, &check).map(|windows| windows.len());
        assert_eq!(stopped, Err(SpeechError::Interrupted), "after {patience}");
    }
}
