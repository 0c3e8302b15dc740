//! Writes WAV: 16-bit PCM, one channel, the canonical header of 44 bytes.

use super::{Mono16k, SAMPLE_RATE};

/// The audio as a WAV file. Samples outside [-1, 1] are clipped; a file so written and decoded gives the same 16-bit
/// samples.
pub fn write_wav(audio: &Mono16k) -> Vec<u8> {
    let samples = audio.samples();
    // Longer than 37 hours does not fit the format's 32 bits; the largest value is what streams write.
    let data_len = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX);
    let mut wav = Vec::with_capacity(44 + samples.len() * 2);
    wav.extend(b"RIFF");
    wav.extend(data_len.saturating_add(36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    wav.extend(1u16.to_le_bytes()); // PCM
    wav.extend(1u16.to_le_bytes()); // channels
    wav.extend(SAMPLE_RATE.to_le_bytes());
    wav.extend((SAMPLE_RATE * 2).to_le_bytes()); // bytes per second
    wav.extend(2u16.to_le_bytes()); // bytes per frame
    wav.extend(16u16.to_le_bytes()); // bits per sample
    wav.extend(b"data");
    wav.extend(data_len.to_le_bytes());
    // 32768, not 32767: the inverse of how PCM is decoded. The cast saturates.
    wav.extend(samples.iter().flat_map(|sample| ((sample * 32768.0).round() as i16).to_le_bytes()));
    wav
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_clipping() {
        let wav = write_wav(&Mono16k::new(vec![0.0, 0.5, -1.0, 1.0, 7.0, f32::NAN]));
        assert_eq!(wav.len(), 44 + 12);
        assert_eq!(&wav[4..8], &(36u32 + 12).to_le_bytes());
        assert_eq!(&wav[40..44], &12u32.to_le_bytes());
        let samples: Vec<i16> = wav[44..].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(samples, [0, 16384, -32768, 32767, 32767, 0]);
    }
}
