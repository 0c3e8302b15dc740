//! Samples as they are: PCM, A-law and mu-law, whatever container they lie in.
//!
//! Symphonia 0.6.1 refuses many a header of such files by its length, and guesses the byte order of QuickTime's. So their
//! headers are read in [`super::chunks`] and [`super::mp4`], and the samples here. Decoding them remains Symphonia's.

use std::io::{self, Seek, SeekFrom};
use std::ops::Range;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::*;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::{seek_error, Result as SymphoniaResult, SeekErrorKind};
use symphonia::core::formats::well_known::FORMAT_ID_WAVE;
use symphonia::core::formats::{FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track};
use symphonia::core::io::{MediaSourceStream, ReadBytes};
use symphonia::core::meta::{Metadata, MetadataLog};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::AudioError;

/// Where samples lie in a file, and what they are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    pub(super) codec: AudioCodecId,
    /// The bytes from one sample to the next. More than the codec's, the rest is left out.
    pub(super) width: usize,
    pub(super) channels: u16,
    pub(super) rate: u32,
    pub(super) parts: Vec<Range<u64>>,
}

/// Whole numbers of a width in bytes.
pub(super) fn integer(width: usize, big: bool, signed: bool) -> Option<AudioCodecId> {
    Some(match (width, big, signed) {
        (1, _, true) => CODEC_ID_PCM_S8,
        (1, _, false) => CODEC_ID_PCM_U8,
        (2, true, true) => CODEC_ID_PCM_S16BE,
        (2, false, true) => CODEC_ID_PCM_S16LE,
        (2, true, false) => CODEC_ID_PCM_U16BE,
        (2, false, false) => CODEC_ID_PCM_U16LE,
        (3, true, true) => CODEC_ID_PCM_S24BE,
        (3, false, true) => CODEC_ID_PCM_S24LE,
        (3, true, false) => CODEC_ID_PCM_U24BE,
        (3, false, false) => CODEC_ID_PCM_U24LE,
        (4, true, true) => CODEC_ID_PCM_S32BE,
        (4, false, true) => CODEC_ID_PCM_S32LE,
        (4, true, false) => CODEC_ID_PCM_U32BE,
        (4, false, false) => CODEC_ID_PCM_U32LE,
        _ => return None,
    })
}

/// Floating point numbers of a width in bytes.
pub(super) fn float(width: usize, big: bool) -> Option<AudioCodecId> {
    Some(match (width, big) {
        (4, true) => CODEC_ID_PCM_F32BE,
        (4, false) => CODEC_ID_PCM_F32LE,
        (8, true) => CODEC_ID_PCM_F64BE,
        (8, false) => CODEC_ID_PCM_F64LE,
        _ => return None,
    })
}

/// The codec of a type that QuickTime and AIFF-C share, of so many bits. `little` is what an `enda` box says.
pub(super) fn quicktime(kind: &[u8; 4], bits: usize, little: bool) -> Option<AudioCodecId> {
    let width = bits.div_ceil(8);
    match kind {
        b"twos" | b"NONE" if width > 0 => integer(width, !little, true),
        b"sowt" if width > 0 => integer(width, false, true),
        b"raw " if width == 1 => Some(CODEC_ID_PCM_U8),
        b"raw " => integer(width, true, true),
        b"in24" => integer(3, !little, true),
        b"42ni" => integer(3, false, true),
        b"in32" => integer(4, !little, true),
        b"23ni" => integer(4, false, true),
        b"fl32" | b"FL32" => float(4, !little),
        b"fl64" | b"FL64" => float(8, !little),
        b"alaw" | b"ALAW" => Some(CODEC_ID_PCM_ALAW),
        b"ulaw" | b"ULAW" => Some(CODEC_ID_PCM_MULAW),
        _ => None,
    }
}

/// The bytes of a sample of a codec.
pub(super) fn width(codec: AudioCodecId) -> usize {
    match codec {
        CODEC_ID_PCM_S8 | CODEC_ID_PCM_U8 | CODEC_ID_PCM_ALAW | CODEC_ID_PCM_MULAW => 1,
        CODEC_ID_PCM_S16BE | CODEC_ID_PCM_S16LE | CODEC_ID_PCM_U16BE | CODEC_ID_PCM_U16LE => 2,
        CODEC_ID_PCM_S24BE | CODEC_ID_PCM_S24LE | CODEC_ID_PCM_U24BE | CODEC_ID_PCM_U24LE => 3,
        CODEC_ID_PCM_F64BE | CODEC_ID_PCM_F64LE => 8,
        _ => 4,
    }
}

impl Raw {
    /// The bytes of a frame: a sample of every channel.
    pub(super) fn frame(&self) -> u64 {
        self.width as u64 * u64::from(self.channels)
    }
}

const INFO: FormatInfo = FormatInfo { format: FORMAT_ID_WAVE, short_name: "raw", long_name: "Samples as they are" };

/// What fits into a packet: enough to make the cost of one small, few enough to notice a cancel at once.
const PACKET_FRAMES: u64 = 1024;
const PACKET_BYTES: u64 = 256 * 1024;

/// The reader of a track of samples.
pub(super) struct RawReader<'s> {
    input: MediaSourceStream<'s>,
    len: u64,
    raw: Raw,
    track: [Track; 1],
    info: MediaInfo,
    log: MetadataLog,
    /// The part that is read, and where the next frame is.
    part: usize,
    at: u64,
    frames: u64,
}

impl<'s> RawReader<'s> {
    /// Of a source of `len` bytes. Parts may reach beyond it: the reader then ends early, and says so.
    pub(super) fn new(input: MediaSourceStream<'s>, len: u64, id: u32, raw: Raw) -> Result<Self, AudioError> {
        if raw.channels == 0 {
            return Err(AudioError::Corrupt { detail: "a header of no channels".to_owned() });
        }
        let rate = TimeBase::try_from_recip(raw.rate)
            .ok_or_else(|| AudioError::Corrupt { detail: "a header of no sample rate".to_owned() })?;
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(raw.codec).with_sample_rate(raw.rate).with_channels(Channels::Discrete(raw.channels));
        let frames = raw.parts.iter().map(|part| (part.end - part.start) / raw.frame()).sum();
        let mut track = Track::new(id);
        track
            .with_codec_params(CodecParameters::Audio(parameters))
            .with_time_base(rate)
            .with_num_frames(frames)
            .with_duration(Duration::new(frames));
        let at = raw.parts.first().map_or(0, |part| part.start);
        let (info, log) = (MediaInfo::new(), MetadataLog::default());
        Ok(Self { input, len, raw, track: [track], info, log, part: 0, at, frames: 0 })
    }
}

impl FormatReader for RawReader<'_> {
    fn format_info(&self) -> &FormatInfo {
        &INFO
    }

    fn media_info(&self) -> &MediaInfo {
        &self.info
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.log.metadata()
    }

    fn seek(&mut self, _: SeekMode, _: SeekTo) -> SymphoniaResult<SeekedTo> {
        seek_error(SeekErrorKind::Unseekable)
    }

    fn tracks(&self) -> &[Track] {
        &self.track
    }

    fn next_packet(&mut self) -> SymphoniaResult<Option<Packet>> {
        let frame = self.raw.frame();
        loop {
            let Some(part) = self.raw.parts.get(self.part) else { return Ok(None) };
            let left = part.end.saturating_sub(self.at) / frame;
            if left == 0 {
                self.part += 1;
                self.at = self.raw.parts.get(self.part).map_or(0, |part| part.start);
                continue;
            }
            let there = self.len.saturating_sub(self.at) / frame;
            if there == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let frames = left.min(there).min(PACKET_FRAMES).min((PACKET_BYTES / frame).max(1));
            if self.input.pos() != self.at {
                self.input.seek(SeekFrom::Start(self.at))?;
            }
            let mut data = self.input.read_boxed_slice_exact((frames * frame) as usize)?;
            let width = width(self.raw.codec);
            if width < self.raw.width {
                data = data.chunks_exact(self.raw.width).flat_map(|sample| &sample[..width]).copied().collect();
            }
            let starts = i64::try_from(self.frames).unwrap_or(i64::MAX);
            self.at += frames * frame;
            self.frames += frames;
            return Ok(Some(Packet::new(self.track[0].id, Timestamp::new(starts), Duration::new(frames), data)));
        }
    }

    fn into_inner<'i>(self: Box<Self>) -> MediaSourceStream<'i>
    where
        Self: 'i,
    {
        self.input
    }
}
