//! Voice activity detection: WebRTC's detector per short frame, smoothed and widened.
//!
//! Follows `trim_long_silences` of Resemblyzer 0.1.4. Needed for parity: without it one embedding of a 5 s file had a
//! cosine of only 0.961 to the reference's.

use webrtc_vad::{SampleRate, Vad, VadMode};

use super::SpeechError;
use crate::audio::SAMPLE_RATE;
use crate::Check;

/// Parameters in frames, but for the length of one.
pub struct VoiceActivity {
    pub frame_ms: usize,
    /// Width of the moving average.
    pub average: usize,
    /// Frames by which speech is widened to either side.
    pub dilate: usize,
}

impl VoiceActivity {
    /// Samples of one frame.
    fn frame(&self) -> usize {
        SAMPLE_RATE as usize * self.frame_ms / 1000
    }

    /// The speech in `samples`, times `gain`; a last frame that is not whole is dropped.
    pub fn speech(&self, samples: &[f32], gain: f32, check: Check) -> Result<Vec<f32>, SpeechError> {
        let mask = self.widen(&self.smooth(&self.decide(samples, gain, check)?));
        let mut speech = Vec::with_capacity(mask.iter().filter(|speech| **speech).count() * self.frame());
        for (frame, _) in samples.chunks_exact(self.frame()).zip(mask).filter(|(_, speech)| *speech) {
            speech.extend(frame.iter().map(|sample| sample * gain));
        }
        Ok(speech)
    }

    fn decide(&self, samples: &[f32], gain: f32, check: Check) -> Result<Vec<bool>, SpeechError> {
        let mut vad = Vad::new_with_rate_and_mode(SampleRate::Rate16kHz, VadMode::VeryAggressive);
        let mut pcm = vec![0_i16; self.frame()];
        let per_second = 1000 / self.frame_ms;
        let mut decisions = Vec::with_capacity(samples.len() / self.frame());
        for (index, frame) in samples.chunks_exact(self.frame()).enumerate() {
            if index % per_second == 0 && check().is_break() {
                return Err(SpeechError::Interrupted);
            }
            for (pcm, sample) in pcm.iter_mut().zip(frame) {
                *pcm = to_pcm(sample * gain);
            }
            // An error would mean a frame length that the detector does not know, which the manifest rules out.
            decisions.push(vad.is_voice_segment(&pcm).unwrap_or(false));
        }
        Ok(decisions)
    }

    /// Speech where more than half of the frames around are: an exact half rounds to even, which is silence.
    fn smooth(&self, decisions: &[bool]) -> Vec<bool> {
        let (before, after) = ((self.average - 1) / 2, self.average / 2);
        (0..decisions.len())
            .map(|index| {
                let around = &decisions[index.saturating_sub(before)..decisions.len().min(index + after + 1)];
                2 * around.iter().filter(|speech| **speech).count() > self.average
            })
            .collect()
    }

    fn widen(&self, mask: &[bool]) -> Vec<bool> {
        (0..mask.len())
            .map(|index| {
                let around = index.saturating_sub(self.dilate)..mask.len().min(index + self.dilate + 1);
                mask[around].contains(&true)
            })
            .collect()
    }
}

/// Rounds ties to even, as numpy does. Saturates, where the reference wraps beyond full scale.
fn to_pcm(sample: f32) -> i16 {
    // Above this number an f32 has no fraction left: adding it rounds, and unlike `round_ties_even`, which is a call of
    // the C library on processors of the baseline, the compiler makes vectors of it.
    const NO_FRACTION: f32 = 12_582_912.0; // 1.5 * 2^23
    let scaled = (sample * f32::from(i16::MAX)).clamp(f32::from(i16::MIN), f32::from(i16::MAX));
    ((scaled + NO_FRACTION) - NO_FRACTION) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAD: VoiceActivity = VoiceActivity { frame_ms: 30, average: 8, dilate: 3 };

    fn mask(text: &str) -> Vec<bool> {
        text.bytes().map(|byte| byte == b'#').collect()
    }

    #[test]
    fn an_exact_half_is_silence() {
        assert_eq!(VAD.smooth(&mask("####....")), mask("........"));
        assert_eq!(VAD.smooth(&mask("#####...")), mask("####...."));
    }

    #[test]
    fn speech_is_widened_to_both_sides() {
        assert_eq!(VAD.widen(&mask(".....#.....#")), mask("..##########"));
        assert_eq!(VAD.widen(&mask("#.........")), mask("####......"));
    }

    #[test]
    fn samples_round_to_even_and_saturate() {
        let full = f32::from(i16::MAX);
        for step in -80_000..80_000 {
            let sample = (step as f32 / 2.0) / full;
            assert_eq!(to_pcm(sample), (sample * full).round_ties_even() as i16, "{sample}");
        }
        assert_eq!([2.5, -2.5, 3.5].map(|tie| to_pcm(tie / full)), [2, -2, 4]);
    }

    #[test]
    fn silence_has_no_speech() {
        assert_eq!(VAD.speech(&[0.0; 16_000], 1.0, &crate::never), Ok(vec![]));
    }
}
