//! Which codecs there are, and what they are called.

use std::sync::OnceLock;

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AC3, CODEC_ID_AC4, CODEC_ID_DCA, CODEC_ID_EAC3, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_OPUS, CODEC_ID_SPEEX,
    CODEC_ID_TRUEHD, CODEC_ID_TTA, CODEC_ID_WAVPACK, CODEC_ID_WMA,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as SymphoniaError;

use super::guard::guarded;
use super::{opus, AudioError};

/// Every decoder that this build has. A further codec is registered here, and nowhere else.
fn registry() -> &'static CodecRegistry {
    static REGISTRY: OnceLock<CodecRegistry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = CodecRegistry::new();
        symphonia::default::register_enabled_codecs(&mut registry);
        registry.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
        registry
    })
}

/// More than any recording has: 64 are the channels of seventh-order ambisonics. Buffers grow with this number.
const MOST_CHANNELS: usize = 64;

/// More than any codec packs into a packet. Decoders allocate by this number, which some headers state freely.
const MOST_FRAMES_PER_PACKET: u64 = 1 << 18;

/// Makes a decoder, which trims what the encoder added in front and behind, where the container tells it.
pub(super) fn make_decoder(parameters: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, AudioError> {
    let unsupported = || AudioError::UnsupportedCodec { codec: name(parameters.codec) };
    if registry().get_audio_decoder(parameters.codec).is_none() {
        return Err(unsupported());
    }
    if let Some(channels) = parameters.channels.as_ref().map(|channels| channels.count()) {
        if channels > MOST_CHANNELS {
            return Err(AudioError::UnsupportedChannels { channels, max: MOST_CHANNELS });
        }
    }
    if let Some(frames) = parameters.max_frames_per_packet.filter(|&frames| frames > MOST_FRAMES_PER_PACKET) {
        return Err(AudioError::Corrupt { detail: format!("packets of {frames} frames") });
    }
    let parameters = match parameters.codec {
        CODEC_ID_OPUS => &opus::settle(parameters)?,
        _ => parameters,
    };
    let options = AudioDecoderOptions::default().gapless(true);
    guarded(|| registry().make_audio_decoder(parameters, &options))?.map_err(|error| match error {
        // A known codec in a profile that is not: say which.
        SymphoniaError::Unsupported(detail) => {
            AudioError::UnsupportedCodec { codec: format!("{} ({detail})", name(parameters.codec)) }
        }
        error => AudioError::Corrupt { detail: error.to_string() },
    })
}

/// The lower-case name that users know.
pub(super) fn name(codec: AudioCodecId) -> String {
    if let Some(decoder) = registry().get_audio_decoder(codec) {
        return decoder.codec.info.short_name.to_owned();
    }
    let known = [
        (CODEC_ID_MP1, "mp1"),
        (CODEC_ID_MP2, "mp2"),
        (CODEC_ID_AC3, "ac3"),
        (CODEC_ID_EAC3, "eac3"),
        (CODEC_ID_AC4, "ac4"),
        (CODEC_ID_DCA, "dts"),
        (CODEC_ID_TRUEHD, "truehd"),
        (CODEC_ID_WMA, "wma"),
        (CODEC_ID_SPEEX, "speex"),
        (CODEC_ID_WAVPACK, "wavpack"),
        (CODEC_ID_TTA, "tta"),
    ];
    let name = known.iter().find(|(id, _)| *id == codec).map(|(_, name)| *name);
    name.map_or_else(|| format!("number {codec}"), str::to_owned)
}

/// The name of a WAV format that has no reader.
pub(super) fn wav_tag_name(tag: u16) -> String {
    let name = match tag {
        0x0031 => "gsm",
        0x0045 => "adpcm_g726",
        0x0050 | 0x0055 => "mpeg audio in wav",
        0x0161 | 0x0162 => "wma",
        _ => return format!("of wav format {tag:#06x}"),
    };
    name.to_owned()
}
