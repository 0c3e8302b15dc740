//! What the audio tests share: sample files, WAV files made by hand, and comparisons.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::ops::ControlFlow;

use speaker_core::audio::{self, AudioError, AudioInfo, Limits, Mono16k, Span, SpanError};
use speaker_core::never;

/// A sample file made by tools/make_audio_samples.sh.
pub fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The samples of speech.wav, of which all other sample files are made.
pub fn speech() -> Vec<i16> {
    sample("speech.wav")[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

pub fn to_f32(samples: &[i16]) -> Vec<f32> {
    samples.iter().map(|&sample| f32::from(sample) / 32768.0).collect()
}

pub fn span(start: f64, end: f64) -> Span {
    Span::new(Some(start), Some(end)).expect("a valid span")
}

pub fn whole() -> Span {
    Span::new(None, None).expect("a valid span")
}

pub type Spans = Vec<(usize, Result<Mono16k, SpanError>)>;

/// Decodes spans with given limits; the second value is the result of the whole call.
pub fn decode_within(bytes: Vec<u8>, spans: &[Span], limits: &Limits) -> (Spans, Result<(), AudioError>) {
    let mut out = Vec::new();
    let mut sink = |index, audio| {
        out.push((index, audio));
        ControlFlow::Continue(())
    };
    let result = audio::decode_spans(audio::from_bytes(bytes), spans, limits, &never, &mut sink);
    (out, result)
}

/// Decodes the whole file.
pub fn decode(bytes: Vec<u8>) -> Result<Vec<f32>, AudioError> {
    let (mut out, result) = decode_within(bytes, &[whole()], &Limits::default());
    result?;
    let (_, audio) = out.pop().expect("one span");
    Ok(audio.expect("the whole file is no span beyond its end").samples().to_vec())
}

pub fn probe(bytes: Vec<u8>) -> Result<AudioInfo, AudioError> {
    audio::probe(audio::from_bytes(bytes), &Limits::default(), &never)
}

/// A WAV file with a format chunk of 16, 18 or 40 bytes.
pub struct Wav<'a> {
    pub tag: u16,
    pub bits: u16,
    pub rate: u32,
    pub channels: u16,
    pub extensible: bool,
    pub data: &'a [u8],
    /// What the header says of the data; their size if none.
    pub declared: Option<u32>,
}

impl Wav<'_> {
    pub fn pcm16(rate: u32, channels: u16, data: &[u8]) -> Wav<'_> {
        Wav { tag: 1, bits: 16, rate, channels, extensible: false, data, declared: None }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let frame = self.channels * self.bits / 8;
        let mut fmt = Vec::new();
        fmt.extend((if self.extensible { 0xfffe } else { self.tag }).to_le_bytes());
        fmt.extend(self.channels.to_le_bytes());
        fmt.extend(self.rate.to_le_bytes());
        fmt.extend(self.rate.wrapping_mul(frame.into()).to_le_bytes());
        fmt.extend(frame.to_le_bytes());
        fmt.extend(self.bits.to_le_bytes());
        if self.extensible {
            fmt.extend(22u16.to_le_bytes());
            fmt.extend(self.bits.to_le_bytes());
            fmt.extend(((1u32 << self.channels) - 1).to_le_bytes());
            fmt.extend(self.tag.to_le_bytes());
            fmt.extend(b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71");
        } else if self.tag != 1 {
            fmt.extend(0u16.to_le_bytes());
        }
        let declared = self.declared.unwrap_or(self.data.len() as u32);
        let mut wav = b"RIFF".to_vec();
        wav.extend(declared.saturating_add(20 + fmt.len() as u32).to_le_bytes());
        wav.extend(b"WAVEfmt ");
        wav.extend((fmt.len() as u32).to_le_bytes());
        wav.extend(fmt);
        wav.extend(b"data");
        wav.extend(declared.to_le_bytes());
        wav.extend(self.data);
        wav
    }
}

pub fn pcm16(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// The samples by which `b` is late for `a`, and the correlation of the two at that lag. Codecs add a delay that MP4 tells
/// only in edit lists: at most 1024 frames, 64 ms at 16 kHz. The search goes on to 150 ms.
pub fn alignment(a: &[f32], b: &[f32]) -> (f64, isize) {
    const MOST: isize = 2400;
    // A fifth of a second in the middle is enough to find the lag.
    let probe = &a[8_000..11_200];
    let product_at = |late: isize| dot(probe, &b[(8_000 + late) as usize..]);
    let late = (-MOST..=MOST).max_by(|&x, &y| product_at(x).total_cmp(&product_at(y))).expect("a lag");
    let (a, b) = if late >= 0 { (a, &b[late as usize..]) } else { (&a[late.unsigned_abs()..], b) };
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(), late)
}

fn dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum()
}

/// A generator of pseudo-random numbers (SplitMix64), so that a failure can be repeated.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}
