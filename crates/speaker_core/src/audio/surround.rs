//! Opus of more than two channels: several streams of one or two channels in each packet.
//!
//! The packets of all streams but the last tell their own length. They are taken apart here, and each stream has a decoder
//! of its own.
//!
//! Sources: RFC 6716 appendix B (self-delimited packets), RFC 7845 5.1.1 (channel mapping).

use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::errors::{decode_error, Result as SymphoniaResult};
use symphonia::core::packet::PacketRef;

use super::{codec, opus, AudioError};

pub(super) struct Surround {
    parameters: AudioCodecParameters,
    /// The first ones have two channels.
    streams: Vec<Box<dyn AudioDecoder>>,
    coupled: usize,
    /// For every channel of the output, which of the decoded it is. 255 is silence.
    mapping: Vec<u8>,
    decoded: Vec<Vec<f32>>,
    buffer: AudioBuffer<f32>,
}

/// 120 ms, the longest packet.
const MOST_FRAMES: usize = 5_760;

impl Surround {
    /// Of parameters with a header that [`opus::is_surround`].
    pub(super) fn new(parameters: &AudioCodecParameters) -> Result<Self, AudioError> {
        let corrupt = || AudioError::Corrupt { detail: "opus: a channel mapping that cannot be".to_owned() };
        let header = parameters.extra_data.as_deref().unwrap_or_default();
        let &[channels, .., family, streams, coupled] = header.get(9..21).ok_or_else(corrupt)? else {
            return Err(corrupt());
        };
        if family != 1 {
            return Err(AudioError::UnsupportedCodec { codec: format!("opus (channel mapping family {family})") });
        }
        let mapping = header.get(21..21 + usize::from(channels)).ok_or_else(corrupt)?;
        let decoded = u16::from(streams) + u16::from(coupled);
        let fits = |&index: &u8| index == 255 || u16::from(index) < decoded;
        if streams == 0 || coupled > streams || !(1..=8).contains(&channels) || !mapping.iter().all(fits) {
            return Err(corrupt());
        }
        let make = |number: u8| {
            let mut single = AudioCodecParameters::new();
            let channels = if number < coupled { 2 } else { 1 };
            single.for_codec(parameters.codec).with_sample_rate(opus::RATE).with_channels(Channels::Discrete(channels));
            codec::registry().make_audio_decoder(&single, &AudioDecoderOptions::default()).map_err(|_| corrupt())
        };
        let spec = AudioSpec::new(opus::RATE, Channels::Discrete(channels.into()));
        Ok(Self {
            parameters: parameters.clone(),
            streams: (0..streams).map(make).collect::<Result<_, _>>()?,
            coupled: coupled.into(),
            mapping: mapping.to_vec(),
            decoded: vec![Vec::new(); streams.into()],
            buffer: AudioBuffer::new(spec, MOST_FRAMES),
        })
    }

    fn decode_streams(&mut self, packet: &PacketRef<'_>) -> SymphoniaResult<()> {
        self.buffer.clear();
        let mut rest = packet.data;
        let mut frames = None;
        let last = self.streams.len() - 1;
        for (number, (stream, decoded)) in self.streams.iter_mut().zip(&mut self.decoded).enumerate() {
            let owned;
            let single = if number == last {
                rest
            } else {
                let Some((single, behind)) = split(rest) else { return decode_error("opus: streams that do not fit") };
                rest = behind;
                owned = single;
                &owned
            };
            if opus::frames(single).is_none_or(|count| *frames.get_or_insert(count) != count) {
                return decode_error("opus: streams of different lengths");
            }
            let single = PacketRef::new(packet.track_id, packet.pts, packet.dur, single);
            stream.decode_ref(&single)?.copy_to_vec_interleaved(decoded);
        }
        let frames = usize::try_from(frames.unwrap_or(0)).unwrap_or(0).min(MOST_FRAMES);
        self.buffer.render_silence(Some(frames));
        for (channel, &source) in self.mapping.iter().enumerate() {
            let source = usize::from(source);
            let (stream, place, width) = match source {
                255 => continue,
                source if source < 2 * self.coupled => (source / 2, source % 2, 2),
                source => (source - self.coupled, 0, 1),
            };
            let Some(plane) = self.buffer.plane_mut(channel) else { continue };
            let samples = self.decoded[stream].iter().skip(place).step_by(width);
            plane.iter_mut().zip(samples).for_each(|(out, sample)| *out = *sample);
        }
        Ok(())
    }
}

/// Takes a self-delimited packet off the front, and makes it one that is not.
fn split(packet: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (&toc, mut rest) = packet.split_first()?;
    let mut head = vec![toc];
    let mut body = 0;
    match toc & 3 {
        0 => body += length(&mut rest)?,
        1 => body += 2 * length(&mut rest)?,
        2 => {
            let before = rest;
            body += length(&mut rest)?;
            head.extend(&before[..before.len() - rest.len()]);
            body += length(&mut rest)?;
        }
        _ => {
            let (&kind, behind) = rest.split_first()?;
            rest = behind;
            head.push(kind);
            let frames = usize::from(kind & 0x3f);
            if kind & 0x40 != 0 {
                // Padding at the end: 255 is 254 bytes of it, and another length.
                loop {
                    let (&size, behind) = rest.split_first()?;
                    rest = behind;
                    head.push(size);
                    body += usize::from(size.min(254));
                    if size < 255 {
                        break;
                    }
                }
            }
            if kind & 0x80 != 0 {
                for _ in 1..frames {
                    let before = rest;
                    body += length(&mut rest)?;
                    head.extend(&before[..before.len() - rest.len()]);
                }
                body += length(&mut rest)?;
            } else {
                body += frames * length(&mut rest)?;
            }
        }
    }
    let (body, behind) = rest.split_at_checked(body)?;
    head.extend(body);
    Some((head, behind))
}

/// The length of a frame, in one byte or two.
fn length(rest: &mut &[u8]) -> Option<usize> {
    let (&first, behind) = rest.split_first()?;
    if first < 252 {
        *rest = behind;
        return Some(first.into());
    }
    let (&second, behind) = behind.split_first()?;
    *rest = behind;
    Some(4 * usize::from(second) + usize::from(first))
}

impl AudioDecoder for Surround {
    fn reset(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.reset());
    }

    fn codec_info(&self) -> &CodecInfo {
        self.streams[0].codec_info()
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> SymphoniaResult<GenericAudioBufferRef<'_>> {
        self.decode_streams(packet)?;
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_taken_apart() {
        let split = |packet: &[u8]| split(packet).map(|(single, rest)| (single, rest.to_vec()));
        let rest = b"rest".to_vec();
        assert_eq!(split(b"\x08\x02abrest"), Some((b"\x08ab".to_vec(), rest.clone())), "one frame");
        assert_eq!(split(b"\x09\x01abrest"), Some((b"\x09ab".to_vec(), rest.clone())), "two of one length");
        assert_eq!(split(b"\x0a\x01\x02abcrest"), Some((b"\x0a\x01abc".to_vec(), rest.clone())), "two of two");
        let cbr = b"\x0b\x03\x01abcrest";
        assert_eq!(split(cbr), Some((b"\x0b\x03abc".to_vec(), rest.clone())), "three of one length");
        let vbr = b"\x0b\xc3\x01\x01\x00\x02aff0rest";
        assert_eq!(split(vbr), Some((b"\x0b\xc3\x01\x01\x00aff0".to_vec(), rest.clone())), "three, and padding");
        let long = [&b"\x08\xfc\x01"[..], &[7; 256], b"rest"].concat();
        assert_eq!(split(&long), Some(([&[8][..], &[7; 256]].concat(), rest)), "a length of two bytes");
        for end in 0..vbr.len() - 4 {
            assert_eq!(split(&vbr[..end]), None, "cut after {end}");
        }
    }
}
