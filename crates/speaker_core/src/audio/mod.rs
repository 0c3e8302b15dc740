//! Audio of any container, codec, rate and channel count to mono at 16 kHz.

/// Every model here hears 16,000 samples a second.
pub const SAMPLE_RATE: u32 = 16_000;

/// Mono samples at 16 kHz, nominally in [-1, 1], all finite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mono16k(Vec<f32>);

impl Mono16k {
    /// Takes samples that are already mono at 16 kHz. Samples that are not finite become silence.
    pub fn new(mut samples: Vec<f32>) -> Self {
        for sample in &mut samples {
            if !sample.is_finite() {
                *sample = 0.0;
            }
        }
        Self(samples)
    }

    /// The samples.
    pub fn samples(&self) -> &[f32] {
        &self.0
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.0.len() as f64 / f64::from(SAMPLE_RATE)
    }
}
