//! What has to be known of Opus outside its decoder.
//!
//! The decoder is libopus, behind an adapter for Symphonia. Every packet is checked here before libopus sees it, and the
//! adapter is told nothing of what to trim: it would take the whole pre-skip from the first packet, however short, and
//! misread it in MP4.
//!
//! Sources: RFC 6716 section 3 (packets), RFC 7845 section 5.1 (the header), Encapsulation of Opus in ISO Base Media
//! File Format 0.8.1. Deliberately not done: the output gain, which no recorder sets.

use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::AudioCodecParameters;

use super::sniff::Container;
use super::AudioError;

/// Whatever the rate of the microphone was, Opus counts and decodes in this one.
pub(super) const RATE: u32 = 48_000;

/// The frames that a packet holds, per channel, or none if it is no Opus packet.
pub(super) fn frames(packet: &[u8]) -> Option<u64> {
    let &toc = packet.first()?;
    // In 1/48 ms: hybrid and SILK modes have 10 ms at least, CELT 2.5 ms.
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..=15 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1)? & 0x3f),
    };
    let frames = frame * count;
    // 120 ms at most.
    (1..=5_760).contains(&frames).then_some(frames)
}

/// The frames at the start of a stream that the encoder put there, as its header says.
pub(super) fn pre_skip(container: Container, parameters: &AudioCodecParameters) -> u64 {
    let header = parameters.extra_data.as_deref().unwrap_or_default();
    let Some(&bytes) = header.get(10..).and_then(|rest| rest.first_chunk()) else { return 0 };
    // The same header, but in the byte order of its container.
    match container {
        Container::Mp4 => u16::from_be_bytes(bytes).into(),
        _ => u16::from_le_bytes(bytes).into(),
    }
}

/// What the decoder is to be made of. Only surround sound needs the header.
pub(super) fn settle(parameters: &AudioCodecParameters) -> Result<AudioCodecParameters, AudioError> {
    let mut settled = parameters.clone();
    settled.with_sample_rate(RATE);
    if !is_surround(parameters) {
        settled.extra_data = None;
    }
    Ok(settled)
}

/// Whether packets hold several streams: more than two channels.
pub(super) fn is_surround(parameters: &AudioCodecParameters) -> bool {
    let header = parameters.extra_data.as_deref().unwrap_or_default();
    parameters.codec == CODEC_ID_OPUS
        && matches!(header.get(18..20), Some([family, streams]) if *family > 0 && *streams != 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_tell_their_frames() {
        assert_eq!(frames(&[0x48, 1, 2]), Some(960), "SILK, wideband, 20 ms");
        assert_eq!(frames(&[0x58]), Some(2_880), "SILK, wideband, 60 ms");
        assert_eq!(frames(&[0x79]), Some(1_920), "hybrid, two of 20 ms");
        assert_eq!(frames(&[0xe3, 48]), Some(5_760), "CELT, 48 of 2.5 ms");
        assert_eq!(frames(&[0xe3, 49]), None, "more than 120 ms");
        assert_eq!(frames(&[0xe3, 0x80]), None, "no frames");
        assert_eq!(frames(&[0xe3]), None, "no count");
        assert_eq!(frames(&[]), None);
    }

    #[test]
    fn the_pre_skip_is_in_the_byte_order_of_the_container() {
        let mut parameters = AudioCodecParameters::new();
        assert_eq!(pre_skip(Container::Ogg, &parameters), 0);
        parameters.with_extra_data(b"OpusHead\x01\x01\x38\x01\x80\x3e\0\0\0\0\0".to_vec().into());
        assert_eq!(pre_skip(Container::Ogg, &parameters), 312);
        assert_eq!(pre_skip(Container::Mp4, &parameters), 0x3801);
    }
}
