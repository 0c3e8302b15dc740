//! What a source is, and how long it really is.

use super::source::MediaSource;
use super::stream::Stream;
use super::{AudioError, Limits};
use crate::Check;

/// What a source is.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioInfo {
    /// wav, w64, aiff, au, caf, flac, mp3, aac, mp4, ogg or matroska.
    pub container: String,
    /// pcm_s16le, flac, mp3, aac, vorbis, alac and so on.
    pub codec: String,
    pub sample_rate: u32,
    pub channels: u16,
    /// The length of what is there, not what a header says.
    pub duration_s: f64,
    /// The audio tracks that it has, and the one that is read, from 1.
    pub tracks: usize,
    pub track: usize,
}

/// Decodes the track that is read, as [`super::decode_spans`] does: the length is that of what it delivers, and the errors
/// are its errors.
pub fn probe(source: Box<dyn MediaSource + '_>, limits: &Limits, check: Check) -> Result<AudioInfo, AudioError> {
    let mut stream = Stream::open(source, limits, check)?;
    while let Some(packet) = stream.next_packet(check)? {
        stream.decode(&packet)?;
    }
    stream.finish()?;
    let (tracks, track) = stream.tracks();
    Ok(AudioInfo {
        container: stream.container().name().to_owned(),
        codec: stream.codec(),
        sample_rate: stream.rate(),
        channels: u16::try_from(stream.channels()).unwrap_or(u16::MAX),
        duration_s: stream.seconds(),
        tracks,
        track,
    })
}
