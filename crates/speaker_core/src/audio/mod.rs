//! Audio of any container, codec, rate and channel count to mono at 16 kHz.
//!
//! One pass over the source, from its start, in blocks: bytes are demultiplexed and decoded by Symphonia, channels
//! averaged or taken apart, each resampled by one filter, and each wanted span cut out on the way ([`decode_spans`]).
//! [`decode_stretches`] joins what is made of several spans.
//! [`probe()`] decodes the same, and counts.
//!
//! Any byte string gives a value or an error. Every input is somebody's upload: formats are told by their bytes and
//! never by a name, headers are believed only as far as the data bear them out, panics of the libraries become
//! errors, and all work is bounded by [`Limits`] and interrupted by [`crate::Check`].
//!
//! Deliberately not done: seeking (a decoder that starts in the middle gives other samples than one that came
//! there, and a span shall not depend on what else was asked for), tags, cover art, loudness, mixing several tracks.

mod aac;
mod chunks;
mod codec;
mod cut;
mod decode;
mod error;
mod guard;
mod health;
mod length;
mod mp4;
mod ogg;
mod opus;
mod probe;
mod raw;
mod resample;
mod sniff;
mod source;
mod span;
mod stream;
mod stretch;
mod surround;
mod trim;
mod wav;

pub use decode::decode_spans;
pub use error::AudioError;
pub use probe::{probe, AudioInfo};
pub use source::{from_bytes, MediaSource};
pub use span::{Span, SpanError};
pub use stretch::{decode_stretches, Stretch};
pub use wav::write_wav;

/// Every model here hears 16,000 samples a second.
pub const SAMPLE_RATE: u32 = 16_000;

/// Seconds by which two statements about a length may differ before it is worth an error: a span's end and the
/// audio's (diarizers round, and pad their last window), a header and the data behind it (encoder padding).
const TOLERANCE_S: f64 = 0.1;

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

/// What one source may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The largest source, in bytes as stored.
    pub max_bytes: u64,
    /// The longest audio, in seconds as decoded. This is the limit that counts: ten kilobytes can hold hours of
    /// silence.
    pub max_seconds: f64,
    /// The most memory, in bytes, that samples of spans in flight may take. A span that is still open when it is used
    /// up is an error of that span alone, the one that began first.
    pub max_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 100 * 1024 * 1024, max_seconds: 6.0 * 3600.0, max_memory: 512 * 1024 * 1024 }
    }
}
