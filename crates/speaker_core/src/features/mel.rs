//! Mel power spectrogram as librosa makes it: periodic Hann, centred frames, zeros beyond the ends, Slaney's mel scale
//! and area normalisation (`librosa.feature.melspectrogram` with its defaults; Slaney, "Auditory Toolbox", 1998).
//!
//! No logarithm and no pre-emphasis: the GE2E model was trained without.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

/// Sums that run side by side, as one that waits for each addition to end would take several times as long.
const LANES: usize = 4;

/// A filter's first bin and its weights from there on: triangles are narrow, most of a dense matrix is zeros. The weights
/// are padded with zeros to a multiple of `LANES`.
struct Band {
    first: usize,
    weights: Vec<f32>,
}

/// Mel spectrogram of fixed parameters.
pub struct MelSpectrogram {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    bands: Vec<Band>,
    hop: usize,
}

impl MelSpectrogram {
    /// `n_fft`, `hop` in samples; bands from 0 Hz to half the sample rate.
    pub fn new(sample_rate: u32, n_fft: usize, hop: usize, n_mels: usize) -> Self {
        let window = (0..n_fft).map(|n| (0.5 - 0.5 * (2.0 * PI * n as f64 / n_fft as f64).cos()) as f32).collect();
        Self {
            fft: RealFftPlanner::new().plan_fft_forward(n_fft),
            window,
            bands: slaney_bands(f64::from(sample_rate), n_fft, n_mels),
            hop,
        }
    }

    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// The first `count` frames of `samples`, row-major [frames, bands]; frame f is centred at sample f * hop. `pause` is
    /// asked once a second of audio, and true stops the work.
    pub fn frames(&self, samples: &[f32], count: usize, mut pause: impl FnMut() -> bool) -> Option<Vec<f32>> {
        let n_fft = self.window.len();
        let mut input = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        // Padded as the bands are.
        let mut power = vec![0.0_f32; spectrum.len() + LANES];
        let mut frames = Vec::with_capacity(count * self.bands.len());
        for frame in 0..count {
            if frame % 100 == 0 && pause() {
                return None;
            }
            let centre = frame * self.hop;
            // Zeros before the first sample and after the last.
            let before = (n_fft / 2).saturating_sub(centre).min(n_fft);
            let within = samples.get(centre + before - n_fft / 2..).unwrap_or_default();
            let (zeros, rest) = input.split_at_mut(before);
            zeros.fill(0.0);
            let heard = rest.len().min(within.len());
            for (value, (weight, sample)) in rest.iter_mut().zip(self.window[before..].iter().zip(within)) {
                *value = weight * sample;
            }
            rest[heard..].fill(0.0);
            self.fft
                .process_with_scratch(&mut input, &mut spectrum, &mut scratch)
                .expect("the buffers are the plan's own");
            for (power, bin) in power.iter_mut().zip(&spectrum) {
                *power = bin.norm_sqr();
            }
            frames.extend(self.bands.iter().map(|band| dot(&band.weights, &power[band.first..])));
        }
        Some(frames)
    }
}

/// Of as many values as there are weights.
fn dot(weights: &[f32], values: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (weights, values) in weights.chunks_exact(LANES).zip(values.chunks_exact(LANES)) {
        for (sum, (weight, value)) in sums.iter_mut().zip(weights.iter().zip(values)) {
            *sum += weight * value;
        }
    }
    sums.iter().sum()
}

/// Triangles whose corners are equally spaced in mels, each of unit area over Hz.
fn slaney_bands(sample_rate: f64, n_fft: usize, n_mels: usize) -> Vec<Band> {
    let highest = mel_from_hz(sample_rate / 2.0);
    let corners: Vec<f64> = (0..n_mels + 2).map(|n| hz_from_mel(highest * n as f64 / (n_mels + 1) as f64)).collect();
    let hz = |bin: usize| bin as f64 * sample_rate / n_fft as f64;
    corners
        .windows(3)
        .map(|corner| {
            let &[low, centre, high] = corner else { unreachable!("windows of three") };
            let area = 2.0 / (high - low);
            let weight = |bin: usize| ((hz(bin) - low) / (centre - low)).min((high - hz(bin)) / (high - centre)) * area;
            let inside = |bin: &usize| weight(*bin) > 0.0;
            let first = (0..=n_fft / 2).find(inside).unwrap_or(0);
            let mut weights: Vec<f32> = (first..=n_fft / 2).take_while(inside).map(|bin| weight(bin) as f32).collect();
            weights.resize(weights.len().next_multiple_of(LANES), 0.0);
            Band { first, weights }
        })
        .collect()
}

/// Slaney's scale: linear below 1 kHz, logarithmic above.
const HZ_PER_MEL: f64 = 200.0 / 3.0;
const KNEE_HZ: f64 = 1000.0;
const KNEE_MEL: f64 = KNEE_HZ / HZ_PER_MEL;

fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

fn mel_from_hz(hz: f64) -> f64 {
    if hz < KNEE_HZ {
        hz / HZ_PER_MEL
    } else {
        KNEE_MEL + (hz / KNEE_HZ).ln() / log_step()
    }
}

fn hz_from_mel(mel: f64) -> f64 {
    if mel < KNEE_MEL {
        mel * HZ_PER_MEL
    } else {
        KNEE_HZ * (log_step() * (mel - KNEE_MEL)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mel_scale_is_its_own_inverse() {
        for hz in [0.0, 440.0, 999.9, 1000.0, 6400.0, 8000.0] {
            assert!((hz_from_mel(mel_from_hz(hz)) - hz).abs() < 1e-9, "{hz}");
        }
    }

    #[test]
    fn a_tone_is_loudest_in_its_band() {
        let mel = MelSpectrogram::new(16_000, 400, 160, 40);
        let tone: Vec<f32> = (0..16_000).map(|n| (2.0 * PI * 1000.0 * f64::from(n) / 16_000.0).sin() as f32).collect();
        let frames = mel.frames(&tone, 51, || false).unwrap();
        let middle = &frames[50 * 40..];
        let loudest = (0..40).max_by(|a, b| middle[*a].total_cmp(&middle[*b])).unwrap();
        let centre = hz_from_mel(mel_from_hz(8000.0) * (loudest + 1) as f64 / 41.0);
        assert!((centre - 1000.0).abs() < 70.0, "band {loudest} is centred at {centre} Hz");
    }

    #[test]
    fn a_pause_stops_the_work() {
        let mel = MelSpectrogram::new(16_000, 400, 160, 40);
        assert_eq!(mel.frames(&[0.0; 1600], 10, || true), None);
    }

    fn golden(name: &str) -> Vec<f32> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let bytes = std::fs::read(path).unwrap();
        let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        bytes[header..].chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
    }

    #[test]
    fn the_filterbank_is_librosas() {
        let bands = slaney_bands(16_000.0, 400, 40);
        for (band, expected) in bands.iter().zip(golden("mel_filterbank.npy").chunks(201)) {
            for (bin, expected) in expected.iter().enumerate() {
                let got = bin.checked_sub(band.first).and_then(|at| band.weights.get(at)).copied().unwrap_or(0.0);
                assert!(
                    (got - expected).abs() < 1e-8,
                    "band at bin {}, bin {bin}: {got} is not {expected}",
                    band.first
                );
            }
        }
    }

    #[test]
    fn frames_are_librosas() {
        let expected = golden("mel_frames.npy");
        let largest = expected.iter().fold(0.0_f32, |most, value| most.max(*value));
        let frames =
            MelSpectrogram::new(16_000, 400, 160, 40).frames(&golden("mel_signal.npy"), 160, || false).unwrap();
        assert_eq!(frames.len(), expected.len());
        let worst = frames.iter().zip(&expected).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }
}
