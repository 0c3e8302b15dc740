//! Which codecs there are, and what they are called.

use std::sync::OnceLock;

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_AC3, CODEC_ID_AC4, CODEC_ID_DCA, CODEC_ID_EAC3, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_OPUS,
    CODEC_ID_SPEEX, CODEC_ID_TRUEHD, CODEC_ID_TTA, CODEC_ID_WAVPACK, CODEC_ID_WMA,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as SymphoniaError;

use super::guard::guarded;
use super::surround::Surround;
use super::{aac, opus, AudioError};

/// Every decoder that this build has. A further codec is registered here, and nowhere else.
pub(super) fn registry() -> &'static CodecRegistry {
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
        CODEC_ID_AAC => &aac::settle(parameters)?,
        _ => parameters,
    };
    if opus::is_surround(parameters) {
        return Ok(Box::new(Surround::new(parameters)?));
    }
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
        0x0005 => "ibm cvsd",
        0x0008 | 0x2001 => "dts",
        0x0010 => "adpcm_ima_oki",
        0x0014 | 0x0040 | 0x0045 | 0x0064 | 0x0065 | 0x0085 => "adpcm_g726",
        0x0015 | 0x0016 => "digistd",
        0x0017 => "adpcm_dialogic",
        0x0020 => "adpcm_yamaha",
        0x0022 => "truespeech",
        0x0031 | 0x0032 => "gsm",
        0x0038 => "amr",
        0x0039 | 0x003a => "voxware",
        0x0041 | 0x0042 | 0x0059 | 0x0111 => "g723.1",
        0x0050 => "mpeg audio in wav",
        0x0055 => "mp3 in wav",
        0x0057 => "amr-nb",
        0x0058 => "amr-wb",
        0x0061..=0x0063 => "adpcm_duck",
        0x0069 => "voxware",
        0x0070..=0x0073 => "lucent",
        0x0083 | 0x0134 => "g729",
        0x0092 | 0x2000 => "ac3",
        0x00ff | 0x1600 | 0x1602 | 0x706d | 0xa106 => "aac in wav",
        0x0130 => "sipr",
        0x0160..=0x0164 => "wma",
        0x0200 | 0x0202 => "adpcm_creative",
        0x0270 => "atrac3",
        0x028f => "adpcm_g722",
        0x0401 => "imc",
        0x1500 => "gsm 6.10",
        0x6c75 => "speex in acm",
        0x674f..=0x6751 | 0x676f..=0x6771 => "vorbis in wav",
        0x7361 => "amr",
        0xa109 => "speex",
        0xa112 => "g722",
        0xa10c | 0xa123 => "g729",
        0xa100 => "g723.1",
        0xf1ac => "flac in wav",
        _ => return format!("of wav format {tag:#06x}"),
    };
    name.to_owned()
}

/// The name of a type of four letters, as QuickTime, MP4, AIFF-C and CAF use them.
pub(super) fn four_letters_name(kind: &[u8; 4]) -> String {
    let name = match kind {
        b"mp4a" | b"aac " | b"aach" | b"aacp" | b"aacl" | b"aace" => "aac",
        b"alac" => "alac",
        b"fLaC" | b"flac" => "flac",
        b"Opus" | b"opus" => "opus",
        b".mp1" => "mp1",
        b".mp2" => "mp2",
        b".mp3" | b"ms\0\x55" => "mp3",
        b"ac-3" | b"AC-3" | b"sac3" => "ac3",
        b"ec-3" | b"EC-3" => "eac3",
        b"ac-4" => "ac4",
        b"dtsc" | b"dtse" | b"dtsh" | b"dtsl" | b"dtsx" => "dts",
        b"mlpa" => "truehd",
        b"samr" => "amr",
        b"sawb" => "amr-wb",
        b"sawp" => "amr-wb+",
        b"sevc" => "evrc",
        b"sqcp" | b"Qclp" | b"QCLP" | b"Qclq" => "qcelp",
        b"ssmv" => "smv",
        b"sevs" => "evs",
        b"ima4" => "adpcm_ima_qt (ima4)",
        b"ms\0\x02" => "adpcm_ms",
        b"ms\0\x11" => "adpcm_ima_wav",
        b"MAC3" => "mace3",
        b"MAC6" => "mace6",
        b"agsm" | b"GSM " | b"ms\0\x31" => "gsm",
        b"QDM2" => "qdesign2",
        b"QDMC" => "qdesign",
        b"spex" | b"SPXN" => "speex",
        b"ilbc" => "ilbc",
        b"XiVs" | b"OggS" => "vorbis",
        b"WMA2" | b"wma " => "wma",
        b"mhm1" | b"mha1" => "mpeg-h",
        b"enca" => "encrypted",
        b"drms" | b"aavd" => "encrypted (drm)",
        b"lpcm" | b"twos" | b"sowt" | b"raw " | b"NONE" | b"in24" | b"in32" | b"fl32" | b"fl64" | b"ipcm" | b"fpcm" => {
            return format!("pcm ({})", String::from_utf8_lossy(kind).trim_end());
        }
        _ if kind.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => {
            return String::from_utf8_lossy(kind).trim_end().to_owned();
        }
        _ => return format!("of type {:#010x}", u32::from_be_bytes(*kind)),
    };
    name.to_owned()
}
