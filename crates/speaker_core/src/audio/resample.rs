//! Any rate to 16 kHz.
//!
//! Rubato's synchronous FFT resampler, fed block by block: band-limited (Blackman-Harris window squared), linear
//! phase, its delay trimmed, so that a sound stays at its time. One filter runs over the whole stream. A filter started
//! afresh at each span would give each span other samples at its edges.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};

use super::guard::guarded;
use super::{AudioError, SAMPLE_RATE};

/// Lower rates carry no speech; higher ones no microphone makes. The filter's memory grows with the rate.
const RATES: std::ops::RangeInclusive<u32> = 2_000..=384_000;

pub(super) fn check_rate(rate: u32) -> Result<(), AudioError> {
    if RATES.contains(&rate) {
        return Ok(());
    }
    Err(AudioError::UnsupportedRate { rate, min: *RATES.start(), max: *RATES.end() })
}

/// The least frames per block: long enough for a steep filter, short enough to interrupt.
const BLOCK: usize = 1024;

/// Frames per block of a rate: a whole number of samples at 16 kHz, and an even number of both. An odd one would put the
/// centre of the filter between two of them, and the sound late by half.
fn block(rate: u32) -> usize {
    let (mut unit, mut rest) = (rate, SAMPLE_RATE);
    while rest != 0 {
        (unit, rest) = (rest, unit % rest);
    }
    let step = 2 * (rate / unit) as usize;
    step * BLOCK.div_ceil(step)
}

pub(super) struct Resampler {
    rate: u32,
    /// None at 16 kHz: samples pass unchanged.
    filter: Option<Filter>,
}

struct Filter {
    fft: Fft<f32>,
    /// Input that does not fill a block yet.
    pending: Vec<f32>,
    block: Vec<f32>,
    /// Output still to be dropped: the filter's delay.
    delay: usize,
    /// Frames that went in, samples that came out.
    fed: u64,
    given: u64,
}

impl Resampler {
    pub(super) fn new(rate: u32) -> Result<Self, AudioError> {
        check_rate(rate)?;
        if rate == SAMPLE_RATE {
            return Ok(Self { rate, filter: None });
        }
        let fft = guarded(|| Fft::new(rate as usize, SAMPLE_RATE as usize, block(rate), 1, FixedSync::Both))?
            .map_err(|error| AudioError::Decoder { detail: error.to_string() })?;
        let filter = Filter {
            pending: Vec::with_capacity(fft.input_frames_next()),
            block: vec![0.0; fft.output_frames_next()],
            delay: fft.output_delay(),
            fed: 0,
            given: 0,
            fft,
        };
        Ok(Self { rate, filter: Some(filter) })
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes samples at the source's rate, appends those at 16 kHz that are ready.
    pub(super) fn feed(&mut self, mut samples: &[f32], out: &mut Vec<f32>) -> Result<(), AudioError> {
        let Some(filter) = &mut self.filter else {
            out.extend_from_slice(samples);
            return Ok(());
        };
        filter.fed += samples.len() as u64;
        let block = filter.fft.input_frames_next();
        while filter.pending.len() + samples.len() >= block {
            let (now, later) = samples.split_at(block - filter.pending.len());
            samples = later;
            filter.pending.extend_from_slice(now);
            filter.run(out)?;
        }
        filter.pending.extend_from_slice(samples);
        Ok(())
    }

    /// Appends what is still in the filter. The whole output is as long as the input, rounded up to a sample.
    pub(super) fn finish(self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let Some(mut filter) = self.filter else { return Ok(()) };
        let total = (filter.fed * u64::from(SAMPLE_RATE)).div_ceil(u64::from(self.rate));
        while filter.given < total {
            filter.run(out)?;
        }
        let excess = (filter.given - total) as usize;
        out.truncate(out.len().saturating_sub(excess));
        Ok(())
    }
}

impl Filter {
    /// Filters one block, of which what is not pending is silence.
    fn run(&mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.pending.resize(self.fft.input_frames_next(), 0.0);
        guarded(|| {
            let input = SequentialSlice::new(&self.pending[..], 1, self.pending.len()).map_err(|e| e.to_string())?;
            let frames = self.block.len();
            let mut output = SequentialSlice::new_mut(&mut self.block[..], 1, frames).map_err(|e| e.to_string())?;
            let whole = Indexing::new();
            self.fft.process_into_buffer(&input, &mut output, Some(&whole)).map_err(|e| e.to_string())
        })?
        .map_err(|detail| AudioError::Decoder { detail })?;
        self.pending.clear();
        let late = self.delay.min(self.block.len());
        self.delay -= late;
        out.extend_from_slice(&self.block[late..]);
        self.given += (self.block.len() - late) as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    const RATES_IN_USE: [u32; 11] =
        [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 44_101];

    /// Feeds blocks of odd sizes, as decoders do.
    fn resample(rate: u32, samples: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(rate).unwrap();
        let mut out = Vec::new();
        for block in samples.chunks(1153) {
            resampler.feed(block, &mut out).unwrap();
        }
        resampler.finish(&mut out).unwrap();
        out
    }

    fn sine(rate: u32, hz: f64, seconds: f64) -> Vec<f32> {
        let frames = (f64::from(rate) * seconds) as usize;
        (0..frames).map(|n| (0.5 * (TAU * hz * n as f64 / f64::from(rate)).sin()) as f32).collect()
    }

    fn rms_db(samples: &[f32]) -> f64 {
        let power: f64 = samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
        10.0 * (power / samples.len() as f64).log10()
    }

    #[test]
    fn an_impulse_stays_at_its_time() {
        for rate in RATES_IN_USE {
            // A soft pulse of 1 ms: an impulse that every rate can carry.
            let frames = rate as usize;
            let samples: Vec<f32> =
                (0..frames).map(|n| (-((n as f64 / f64::from(rate) - 0.4) / 0.0005).powi(2)).exp() as f32).collect();
            let out = resample(rate, &samples);
            assert_eq!(out.len(), 16_000, "{rate} Hz");
            let weight: f64 = out.iter().map(|&s| f64::from(s)).sum();
            let centre = out.iter().enumerate().map(|(n, &s)| n as f64 * f64::from(s)).sum::<f64>() / weight;
            assert!((centre - 6_400.0).abs() < 1.0, "{rate} Hz: at sample {centre}, not 6400");
        }
    }

    #[test]
    fn a_sine_keeps_its_level_and_its_phase() {
        for rate in RATES_IN_USE {
            let out = resample(rate, &sine(rate, 1000.0, 1.0));
            let wanted = sine(16_000, 1000.0, 1.0);
            let (out, wanted) = (&out[1_600..14_400], &wanted[1_600..14_400]);
            let gain = rms_db(out) - rms_db(wanted);
            assert!(gain.abs() < 0.1, "{rate} Hz: gain {gain} dB");
            let difference: Vec<f32> = out.iter().zip(wanted).map(|(a, b)| a - b).collect();
            assert!(rms_db(&difference) < -60.0, "{rate} Hz: differs by {} dB", rms_db(&difference));
        }
    }

    #[test]
    fn tones_above_8_khz_do_not_fold_back() {
        for (rate, hz) in [(44_100, 10_000.0), (48_000, 9_000.0), (96_000, 20_000.0), (44_100, 8_500.0)] {
            let out = resample(rate, &sine(rate, hz, 1.0));
            let level = rms_db(&out[1_600..14_400]);
            assert!(level < -80.0, "{hz} Hz at {rate} Hz comes out at {level} dB");
        }
    }

    #[test]
    fn speech_up_to_7_khz_passes() {
        for rate in [22_050, 44_100, 48_000] {
            let out = resample(rate, &sine(rate, 7_000.0, 1.0));
            let gain = rms_db(&out[1_600..14_400]) - rms_db(&sine(16_000, 7_000.0, 1.0));
            assert!(gain.abs() < 0.1, "{rate} Hz: gain {gain} dB");
        }
    }

    #[test]
    fn lengths_round_up_to_a_sample() {
        for (rate, frames, samples) in
            [(44_100, 1, 1), (44_100, 441, 160), (8_000, 1, 2), (48_000, 4, 2), (48_000, 0, 0)]
        {
            assert_eq!(resample(rate, &vec![0.1; frames]).len(), samples, "{frames} at {rate} Hz");
        }
    }

    #[test]
    fn rates_of_no_recording_are_refused() {
        for rate in [0, 1, 1_999, 384_001, u32::MAX] {
            let wanted = AudioError::UnsupportedRate { rate, min: 2_000, max: 384_000 };
            assert_eq!(Resampler::new(rate).err(), Some(wanted));
        }
    }
}
