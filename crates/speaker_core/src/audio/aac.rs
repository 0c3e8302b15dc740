//! What has to be known of AAC outside its decoder.
//!
//! The decoder knows AAC-LC. HE-AAC is AAC-LC at half the rate, and a description of the upper half of the spectrum beside
//! it, which decoders that do not know it pass over. Whether a header says so ("explicitly") or not, the core is decoded:
//! the upper half, above 11 kHz mostly, is out of reach of every model here, and what it describes is not the voice's own.
//!
//! Source: ISO/IEC 14496-3, 1.6.2.1 (AudioSpecificConfig). Deliberately not done: channels that only a program config
//! element describes, and parametric stereo, whose core is mono.

use symphonia::core::codecs::audio::AudioCodecParameters;

use super::AudioError;

/// AAC-LC, the two that add prediction to it, and the two that add to its spectrum.
const LC: u32 = 2;
const MAIN: u32 = 1;
const LTP: u32 = 4;
const SBR: u32 = 5;
const PS: u32 = 29;

/// What the decoder is to be made of.
pub(super) fn settle(parameters: &AudioCodecParameters) -> Result<AudioCodecParameters, AudioError> {
    let mut settled = parameters.clone();
    let Some(header) = parameters.extra_data.as_deref() else { return Ok(settled) };
    let corrupt = || AudioError::Corrupt { detail: "aac: a header that ends early".to_owned() };
    let (object, core) = read(&mut Bits { bytes: header, at: 0 }).ok_or_else(corrupt)?;
    let unsupported = |detail: &str| Err(AudioError::UnsupportedCodec { codec: format!("aac ({detail})") });
    match object {
        // Main and LTP are LC but for packets that predict, which the decoder refuses by name.
        MAIN | LC | LTP => {}
        3 => return unsupported("ssr profile"),
        17 => return unsupported("er lc"),
        23 => return unsupported("low delay"),
        34 => return unsupported("mp3 by its header"),
        39 => return unsupported("enhanced low delay"),
        42 => return unsupported("xhe-aac"),
        object => return unsupported(&format!("object type {object}")),
    }
    match core {
        Core { channels: 0, .. } => return unsupported("channels described by a program config element"),
        Core { is_short: true, .. } => return unsupported("frames of 960"),
        core => settled.with_extra_data(core.bytes().into()),
    };
    Ok(settled)
}

/// What an AAC-LC header says.
struct Core {
    rate_index: u32,
    /// With an index of 15.
    rate: u32,
    channels: u32,
    is_short: bool,
}

/// The object type that is coded, and its parameters.
fn read(bits: &mut Bits) -> Option<(u32, Core)> {
    let rate = |bits: &mut Bits| {
        let index = bits.take(4)?;
        Some((index, if index == 15 { bits.take(24)? } else { 0 }))
    };
    let object_type = |bits: &mut Bits| match bits.take(5)? {
        31 => Some(32 + bits.take(6)?),
        object => Some(object),
    };
    let mut object = object_type(bits)?;
    let (rate_index, core_rate) = rate(bits)?;
    let channels = bits.take(4)?;
    if matches!(object, SBR | PS) {
        rate(bits)?;
        object = object_type(bits)?;
    }
    let is_short = matches!(object, MAIN | LC | LTP) && bits.take(1)? == 1;
    Some((object, Core { rate_index, rate: core_rate, channels, is_short }))
}

impl Core {
    /// As a header of AAC-LC.
    fn bytes(&self) -> Vec<u8> {
        let mut number = u64::from(LC) << 4 | u64::from(self.rate_index);
        let mut width = 9;
        if self.rate_index == 15 {
            number = number << 24 | u64::from(self.rate);
            width += 24;
        }
        number = number << 4 | u64::from(self.channels);
        // Three flags follow, all off.
        width += 4 + 3;
        number <<= 3;
        let bytes = (number << (64 - width)).to_be_bytes();
        bytes[..usize::div_ceil(width, 8)].to_vec()
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |number, _| {
            let byte = self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(number << 1 | u32::from(bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(header: &[u8]) -> Result<Vec<u8>, String> {
        let mut parameters = AudioCodecParameters::new();
        parameters.with_extra_data(header.into());
        let settled = settle(&parameters).map_err(|error| error.to_string())?;
        Ok(settled.extra_data.unwrap().into())
    }

    #[test]
    fn he_aac_is_its_core() {
        // 22.05 kHz, stereo.
        let core = Ok(vec![0x13, 0x90]);
        assert_eq!(settled(&[0x13, 0x90]), core);
        assert_eq!(settled(&[0x13, 0x90, 0x56, 0xe5, 0xa0]), core, "explicit, but for those who do not look");
        assert_eq!(settled(&[0x2b, 0x92, 0x08, 0x00]), core, "SBR");
        assert_eq!(settled(&[0xeb, 0x92, 0x08, 0x00]), core, "PS");
        assert_eq!(settled(&[0x2b, 0x92, 0x10, 0x00]), core, "SBR beside LTP");
        assert_eq!(settled(&[0x0b, 0x90]), core, "main profile");
        let odd = [0b0001_0111, 0b1000_0000, 0b0001_1111, 0b0100_0000, 0b0000_1000];
        assert_eq!(settled(&odd), Ok(odd.to_vec()), "16,000 Hz in full");
    }

    #[test]
    fn what_is_not_decoded_has_a_name() {
        assert_eq!(settled(&[0x1b, 0x90]), Err("audio codec aac (ssr profile) is not supported".into()));
        assert_eq!(settled(&[0xf9, 0x48, 0x40]), Err("audio codec aac (xhe-aac) is not supported".into()));
        assert_eq!(settled(&[0x13, 0x94]), Err("audio codec aac (frames of 960) is not supported".into()));
        assert!(settled(&[0x13, 0x80]).unwrap_err().contains("program config"));
        assert!(settled(&[0x13]).unwrap_err().contains("ends early"));
    }
}
