//! The frontend of the GE2E voice encoder, as Resemblyzer 0.1.4 has it: level, voice activity, mel power frames, and
//! overlapping windows of them.
//!
//! Source: `resemblyzer/audio.py` and `VoiceEncoder.compute_partial_slices`.

use super::mel::MelSpectrogram;
use super::vad::VoiceActivity;
use super::{SpeechError, Windows};
use crate::audio::{Mono16k, SAMPLE_RATE};
use crate::manifest::Ge2eParams;
use crate::Check;

/// See the module.
pub struct Ge2e {
    params: Ge2eParams,
    voice: VoiceActivity,
    mel: MelSpectrogram,
}

impl Ge2e {
    pub fn new(params: &Ge2eParams) -> Self {
        Self {
            voice: VoiceActivity {
                frame_ms: params.vad_frame_ms,
                average: params.vad_average,
                dilate: params.vad_dilate,
            },
            mel: MelSpectrogram::new(SAMPLE_RATE, params.n_fft, params.hop, params.n_mels),
            params: params.clone(),
        }
    }

    pub fn window_shape(&self) -> [usize; 2] {
        [self.params.window_frames, self.params.n_mels]
    }

    pub fn windows(&self, audio: &Mono16k, min_speech_s: f64, check: Check) -> Result<Windows, SpeechError> {
        let level = rms(audio.samples());
        if level == 0.0 {
            return Err(SpeechError::Silent { audio_s: audio.seconds() });
        }
        let speech = self.voice.speech(audio.samples(), self.gain(level), check)?;
        let speech_s = speech.len() as f64 / f64::from(SAMPLE_RATE);
        if speech.is_empty() {
            return Err(SpeechError::Silent { audio_s: audio.seconds() });
        }
        if speech_s < min_speech_s {
            return Err(SpeechError::TooShort { got_s: speech_s, need_s: min_speech_s });
        }

        let starts = self.starts(speech.len());
        let count = starts.last().map_or(0, |last| last + self.params.window_frames);
        let frames = self.mel.frames(&speech, count, || check().is_break()).ok_or(SpeechError::Interrupted)?;
        Ok(Windows { frames, bands: self.mel.bands(), starts, window_frames: self.params.window_frames, speech_s })
    }

    /// The factor that raises quiet audio to the target level; loud audio stays as it is.
    fn gain(&self, level: f64) -> f32 {
        (10_f64.powf(self.params.target_dbfs / 20.0) / level).max(1.0) as f32
    }

    /// First frames of the windows. The last one is dropped if too little of it is audio, unless it is the only one.
    fn starts(&self, samples: usize) -> Vec<usize> {
        let Ge2eParams { hop, window_frames, windows_per_s, min_coverage, .. } = self.params;
        let frames = (samples + 1).div_ceil(hop);
        let step = (f64::from(SAMPLE_RATE) / windows_per_s / hop as f64).round_ties_even().max(1.0) as usize;
        let end = (frames + step + 1).saturating_sub(window_frames).max(1);
        let mut starts: Vec<usize> = (0..end).step_by(step).collect();
        if let [_, .., last] = starts[..] {
            let coverage = (samples as f64 - (last * hop) as f64) / (window_frames * hop) as f64;
            if coverage < min_coverage {
                starts.pop();
            }
        }
        starts
    }
}

fn rms(samples: &[f32]) -> f64 {
    // Sums side by side: one alone would wait for each addition to end.
    let mut sums = [0.0_f64; 8];
    for samples in samples.chunks(sums.len()) {
        for (sum, sample) in sums.iter_mut().zip(samples) {
            *sum += f64::from(*sample).powi(2);
        }
    }
    (sums.iter().sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::manifest::{FrontendParams, Manifest};

    fn frontend() -> Ge2e {
        let manifest = Manifest::parse(include_str!("../../../../models/ge2e.toml")).unwrap();
        let FrontendParams::Ge2e(params) = &manifest.frontend;
        Ge2e::new(params)
    }

    /// What the detector takes for a voice: a rich harmonic tone with a syllable's rhythm.
    fn voice(seconds: f64) -> Mono16k {
        let count = (seconds * 16_000.0) as usize;
        let sample = |n: usize| {
            let t = n as f64 / 16_000.0;
            let tone: f64 =
                (1..20).map(|h| (std::f64::consts::TAU * 140.0 * f64::from(h) * t).sin() / f64::from(h)).sum();
            (0.1 * tone * (0.6 + 0.4 * (std::f64::consts::TAU * 4.0 * t).sin())) as f32
        };
        Mono16k::new((0..count).map(sample).collect())
    }

    // Counted with compute_partial_slices of the reference.
    #[test]
    fn windows_start_where_the_reference_starts_them() {
        let ge2e = frontend();
        assert_eq!(ge2e.starts(9_600), [0]);
        assert_eq!(ge2e.starts(25_600), [0]);
        assert_eq!(ge2e.starts(48_000), [0, 77, 154]);
        assert_eq!(ge2e.starts(80_000), [0, 77, 154, 231, 308]);
    }

    #[test]
    fn a_voice_gives_windows_of_frames() {
        let windows = frontend().windows(&voice(3.0), 0.6, &crate::never).unwrap();
        assert!(windows.speech_s > 2.0, "{} s", windows.speech_s);
        assert_eq!(windows.window(windows.len() - 1).len(), 160 * 40);
        assert!(windows.window(0).iter().all(|value| value.is_finite() && *value >= 0.0));
    }

    #[test]
    fn loudness_below_the_target_does_not_matter() {
        let quiet = |factor: f32| Mono16k::new(voice(3.0).samples().iter().map(|sample| sample * factor).collect());
        let ge2e = frontend();
        let a = ge2e.windows(&quiet(0.05), 0.6, &crate::never).unwrap();
        let b = ge2e.windows(&quiet(0.01), 0.6, &crate::never).unwrap();
        let largest = a.frames.iter().fold(0.0_f32, |most, value| most.max(*value));
        assert!(a.frames.iter().zip(&b.frames).all(|(a, b)| (a - b).abs() <= 1e-4 * largest));
    }

    #[test]
    fn silence_and_too_little_speech_are_told_apart() {
        let ge2e = frontend();
        let silent = ge2e.windows(&Mono16k::new(vec![0.0; 32_000]), 0.6, &crate::never);
        assert_eq!(silent, Err(SpeechError::Silent { audio_s: 2.0 }));
        assert_eq!(ge2e.windows(&Mono16k::default(), 0.6, &crate::never), Err(SpeechError::Silent { audio_s: 0.0 }));
        let short = ge2e.windows(&voice(1.0), 5.0, &crate::never);
        assert!(matches!(short, Err(SpeechError::TooShort { need_s: 5.0, got_s }) if got_s < 1.1), "{short:?}");
    }

    #[test]
    fn an_interrupt_stops_the_work() {
        let interrupted = frontend().windows(&voice(3.0), 0.6, &|| ControlFlow::Break(()));
        assert_eq!(interrupted, Err(SpeechError::Interrupted));
    }
}
