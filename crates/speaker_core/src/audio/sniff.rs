//! Tells a container by its bytes.
//!
//! Symphonia has a probe of its own. It is not used, because it looks for markers of two bytes anywhere in the first
//! megabyte: in a JPEG or an encrypted file it finds "MP3" sooner or later. Here a container must start where the file
//! starts, behind ID3v2 tags at most. MPEG audio and ADTS have no marker but a sync word, so they must show a chain of
//! frame headers, each where the one before it says; they may start a little later, as recordings of radio streams do.
//!
//! Sources: ISO/IEC 11172-3 and 13818-3 (MPEG audio), 13818-7 (ADTS), id3.org/id3v2.4.0-structure.

use symphonia::core::errors::{unsupported_error, Result as SymphoniaResult};
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, ReadBytes};
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader, WavReader};

use super::source::Window;
use super::AudioError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Wav,
    W64,
    Aiff,
    Au,
    Caf,
    Flac,
    /// MPEG audio frames of any layer, one after the other.
    Mpeg,
    /// AAC in ADTS frames, one after the other.
    Adts,
    Mp4,
    Ogg,
    Matroska,
}

impl Container {
    /// The name that users know.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::W64 => "w64",
            Self::Aiff => "aiff",
            Self::Au => "au",
            Self::Caf => "caf",
            Self::Flac => "flac",
            Self::Mpeg => "mp3",
            Self::Adts => "aac",
            Self::Mp4 => "mp4",
            Self::Ogg => "ogg",
            Self::Matroska => "matroska",
        }
    }

    pub(super) fn open<'s>(self, mut stream: MediaSourceStream<'s>) -> SymphoniaResult<Box<dyn FormatReader + 's>> {
        let options = FormatOptions::default();
        Ok(match self {
            Self::Wav => Box::new(WavReader::try_new(stream, options)?),
            // Their samples are read as they are.
            Self::W64 | Self::Aiff | Self::Au | Self::Caf => return unsupported_error("blocks"),
            Self::Flac => Box::new(FlacReader::try_new(stream, options)?),
            Self::Mpeg => Box::new(MpaReader::try_new(stream, options)?),
            Self::Adts => Box::new(AdtsReader::try_new(stream, options)?),
            Self::Mp4 => {
                // This reader expects to be placed on the type of the first box, behind its size.
                stream.read_quad_bytes()?;
                Box::new(IsoMp4Reader::try_new(stream, options)?)
            }
            Self::Ogg => Box::new(OggReader::try_new(stream, options)?),
            Self::Matroska => Box::new(MkvReader::try_new(stream, options)?),
        })
    }
}

/// Tells the container and cuts what is in front of it off the window.
pub(super) fn sniff(window: &mut Window) -> Result<Container, AudioError> {
    let unknown = AudioError::UnknownFormat { bytes: window.len() };
    skip_id3(window)?;
    let mut head = vec![0; HEAD];
    let n = window.read_at(0, &mut head)?;
    head.truncate(n);
    if let Some(container) = by_magic(&head, window.len()) {
        return Ok(container);
    }
    if let Some(container) = by_name(&head) {
        return Err(AudioError::UnsupportedContainer { container });
    }
    let (container, offset) = by_frames(&head, window.len()).ok_or(unknown)?;
    window.cut_front(offset as u64);
    Ok(container)
}

/// How far to look for the first frame of MPEG audio or ADTS.
const HEAD: usize = 64 * 1024;

/// Skips tags, which may carry megabytes of cover art.
fn skip_id3(window: &mut Window) -> Result<(), AudioError> {
    // Taggers that know no better write a tag in front of a tag.
    for _ in 0..8 {
        let Some(header) = window.bytes_at::<10>(0)? else { break };
        let [b'I', b'D', b'3', _, _, flags, size @ ..] = header else { break };
        if size.iter().any(|&byte| byte > 0x7f) {
            break;
        }
        let size = size.iter().fold(0, |size, &byte| size << 7 | u64::from(byte));
        let footer = if flags & 0x10 == 0 { 0 } else { 10 };
        window.cut_front(10 + size + footer);
    }
    Ok(())
}

fn by_magic(head: &[u8], len: u64) -> Option<Container> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let riff: [&[u8]; 4] = [b"RIFF", b"RIFX", b"RF64", b"BW64"];
    if riff.iter().any(|kind| at(0, kind)) && at(8, b"WAVE") {
        Some(Container::Wav)
    } else if at(0, b"riff\x2e\x91\xcf\x11") && at(24, b"wave\xf3\xac\xd3\x11") {
        Some(Container::W64)
    } else if at(0, b".snd") {
        Some(Container::Au)
    } else if at(0, b"caff\0\x01") {
        Some(Container::Caf)
    } else if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) {
        Some(Container::Aiff)
    } else if at(0, b"fLaC") {
        Some(Container::Flac)
    } else if at(0, b"OggS") {
        Some(Container::Ogg)
    } else if at(0, b"\x1a\x45\xdf\xa3") {
        Some(Container::Matroska)
    } else if at(4, b"ftyp") {
        Some(Container::Mp4)
    } else if [&b"moov"[..], b"mdat", b"free", b"skip", b"wide"].iter().any(|kind| at(4, kind)) {
        // QuickTime of old has no brand in front. "the free" is text, and a size of 1.9 GB.
        let size = head.first_chunk().map_or(0, |size| u64::from(u32::from_be_bytes(*size)));
        (size <= len).then_some(Container::Mp4)
    } else {
        None
    }
}

/// Files of sound or film that are known by their mark, and not read.
fn by_name(head: &[u8]) -> Option<&'static str> {
    const MARKS: &[(usize, &[u8], &str)] = &[
        (0, b"#!AMR-WB", "amr-wb"),
        (0, b"#!AMR", "amr"),
        (0, b"#!SILK_V3", "silk"),
        (1, b"#!SILK_V3", "silk"),
        (0, b"#!iLBC", "ilbc"),
        (0, b"#!EVS", "evs"),
        (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf (wma)"),
        (0, b"\x7f\xfe\x80\x01", "dts"),
        (0, b"\xfe\x7f\x01\x80", "dts"),
        (0, b"\x1f\xff\xe8\x00", "dts"),
        (0, b"\xff\x1f\x00\xe8", "dts"),
        (0, b"DTSHDHDR", "dts"),
        (4, b"\xf8\x72\x6f\xba", "truehd"),
        (4, b"\xf8\x72\x6f\xbb", "mlp"),
        (0, b"\0\0\x01\xba", "mpeg-ps"),
        (0, b"FLV\x01", "flv"),
        (0, b".RMF", "realmedia"),
        (0, b".ra\xfd", "realaudio"),
        (0, b"DSD ", "dsf"),
        (0, b"FRM8", "dsdiff"),
        (0, b"MAC ", "monkey's audio"),
        (0, b"wvpk", "wavpack"),
        (0, b"MP+", "musepack"),
        (0, b"MPCK", "musepack"),
        (0, b"TTA1", "tta"),
        (0, b"TTA2", "tta"),
        (0, b"OFR ", "optimfrog"),
        (0, b"LA02", "lossless audio"),
        (0, b"LA03", "lossless audio"),
        (0, b"LA04", "lossless audio"),
        (0, b"ajkg", "shorten"),
        (0, b"TWIN97012000", "twinvq"),
        (0, b"MThd", "midi"),
        (0, b"XMF_", "xmf"),
        (0, b"Creative Voice File\x1a", "voc"),
        (0, b"NIST_1A", "nist sphere"),
        (0, b"dns.", "little-endian au"),
        (0, b"2BIT", "avr"),
        (0, b"PVF1", "pvf"),
        (0, b"IREZ", "ircam"),
        (0, b"\x64\xa3", "ircam"),
        (0, b"Extended Module:", "module"),
        (0, b"IMPM", "module"),
        (0, b"nut/multimedia container", "nut"),
        (0, b"ADIF", "adif"),
        (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "mxf"),
        (0, b"OMA\x03", "openmg (atrac)"),
        (0, b"EA3\x03", "openmg (atrac)"),
    ];
    let starts = |offset: usize, mark: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(mark));
    if starts(0, b"RIFF") && starts(8, b"AVI ") {
        return Some("avi");
    }
    if starts(0, b"FORM") && (starts(8, b"8SVX") || starts(8, b"16SV")) {
        return Some("8svx");
    }
    // Packets of 188 bytes, of 192 with a time in front, of 204 with a checksum behind.
    let is_stream = |first: usize, size: usize| (0..4).all(|n| head.get(first + n * size) == Some(&0x47));
    if is_stream(0, 188) || is_stream(4, 192) || is_stream(0, 204) {
        return Some("mpeg-ts");
    }
    // LATM in LOAS: frames that tell their length.
    let loas = |at: usize| match head.get(at..at + 3) {
        Some(&[0x56, b1, b2]) if b1 & 0xe0 == 0xe0 => Some(at + 3 + (usize::from(b1 & 0x1f) << 8 | usize::from(b2))),
        _ => None,
    };
    if loas(0).and_then(loas).and_then(loas).is_some() {
        return Some("latm");
    }
    // Sync words of two bytes, which must come again.
    for (sync, name) in [(*b"\x0b\x77", "ac3"), (*b"\x77\x0b", "ac3"), (*b"\xac\x40", "ac4"), (*b"\xac\x41", "ac4")] {
        let rest = head.get(8..head.len().min(8 + 0x4000)).unwrap_or_default();
        if starts(0, &sync) && rest.windows(2).filter(|two| *two == sync).count() >= 2 {
            return Some(name);
        }
    }
    MARKS.iter().find(|(offset, mark, _)| starts(*offset, mark)).map(|(_, _, name)| *name)
}

/// Finds the first chain of frames: three in a row, or fewer if the file ends sooner.
fn by_frames(head: &[u8], len: u64) -> Option<(Container, usize)> {
    (0..head.len()).find_map(|start| {
        if chain_starts(head, start, len, mpeg_frame) {
            Some((Container::Mpeg, start))
        } else if chain_starts(head, start, len, adts_frame) {
            Some((Container::Adts, start))
        } else {
            None
        }
    })
}

fn chain_starts(head: &[u8], start: usize, len: u64, parse: fn(&[u8]) -> Option<Frame>) -> bool {
    let mut at = start;
    let mut kind = None;
    for links in 0..3 {
        let Some(frame) = head.get(at..).and_then(parse) else {
            // The file may end here. A single frame counts only if it is the whole file.
            let ends = at as u64 + SHORTEST_HEADER > len;
            return ends && (links == 2 || links == 1 && start == 0 && at as u64 == len);
        };
        if *kind.get_or_insert(frame.kind) != frame.kind {
            return false;
        }
        at += frame.len;
    }
    true
}

/// An MPEG frame header; what no file has room for any more has ended.
const SHORTEST_HEADER: u64 = 4;

/// What a frame header says about where the next one is, and how it must look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Frame {
    /// Bytes from this header to the next.
    len: usize,
    /// The bits that stay the same within a stream.
    kind: [u8; 3],
    /// Samples per second.
    pub(super) rate: u32,
}

/// Parses the header of an MPEG audio frame, any version and layer but free format.
pub(super) fn mpeg_frame(bytes: &[u8]) -> Option<Frame> {
    // In kbit/s; rows: version 1 layers I, II, III, versions 2 and 2.5 layer I, layers II and III.
    const BIT_RATES: [[u32; 14]; 5] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let &[0xff, b1, b2, _] = bytes.first_chunk()? else { return None };
    if b1 & 0xe0 != 0xe0 {
        return None;
    }
    let (version_1, rate_shift) = match b1 >> 3 & 3 {
        0 => (false, 2), // version 2.5
        2 => (false, 1), // version 2
        3 => (true, 0),
        _ => return None,
    };
    let layer = match b1 >> 1 & 3 {
        1 => 3,
        2 => 2,
        3 => 1,
        _ => return None,
    };
    let row = match (version_1, layer) {
        (true, layer) => layer - 1,
        (false, 1) => 3,
        (false, _) => 4,
    };
    let bit_rate = 1000 * BIT_RATES[row].get(usize::from(b2 >> 4).checked_sub(1)?)?;
    let rate = [44_100, 48_000, 32_000].get(usize::from(b2 >> 2 & 3))? >> rate_shift;
    let padding = u32::from(b2 >> 1 & 1);
    let len = match (layer, version_1) {
        (1, _) => (12 * bit_rate / rate + padding) * 4,
        (3, false) => 72 * bit_rate / rate + padding,
        _ => 144 * bit_rate / rate + padding,
    };
    Some(Frame { len: len as usize, kind: [b1 & 0x1e, b2 & 0x0c, 0], rate })
}

/// Parses the header of an ADTS frame.
fn adts_frame(bytes: &[u8]) -> Option<Frame> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let &[0xff, b1, b2, b3, b4, b5] = bytes.first_chunk()? else { return None };
    if b1 & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from(b2 >> 2 & 0xf))?;
    let len = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
    (len >= 7).then_some(Frame { len, kind: [b1, b2 & 0xfd, b3 & 0xc0], rate })
}

#[cfg(test)]
mod tests {
    use super::super::{from_bytes, Limits};
    use super::*;
    use crate::never;

    fn container(bytes: &[u8]) -> Result<(Container, u64), AudioError> {
        let mut window = Window::new(from_bytes(bytes.to_vec()), &Limits::default(), &never)?;
        let container = sniff(&mut window)?;
        Ok((container, bytes.len() as u64 - window.len()))
    }

    /// Version 1, layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
    fn mp3_frames(count: usize) -> Vec<u8> {
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        frame.repeat(count)
    }

    #[test]
    fn frame_lengths_are_those_of_the_standard() {
        let len = |header: [u8; 4]| mpeg_frame(&header).map(|frame| (frame.len, frame.rate));
        assert_eq!(len([0xff, 0xfb, 0x90, 0]), Some((417, 44_100)));
        assert_eq!(len([0xff, 0xfb, 0x92, 0]), Some((418, 44_100)), "padded");
        assert_eq!(len([0xff, 0xf3, 0x84, 0]), Some((192, 24_000)), "version 2, 64 kbit/s");
        assert_eq!(len([0xff, 0xe3, 0x48, 0]), Some((288, 8_000)), "version 2.5, 32 kbit/s");
        assert_eq!(len([0xff, 0xfd, 0x84, 0]), Some((384, 48_000)), "layer II, 128 kbit/s");
        assert_eq!(len([0xff, 0xff, 0x44, 0]), Some((128, 48_000)), "layer I, 128 kbit/s");
        assert_eq!(len([0xff, 0xfb, 0xf0, 0]), None, "bit rate");
        assert_eq!(len([0xff, 0xfb, 0x00, 0]), None, "free format");
        assert_eq!(len([0xff, 0xfb, 0x9c, 0]), None, "sample rate");
    }

    #[test]
    fn frames_must_form_a_chain() {
        assert_eq!(container(&mp3_frames(3)), Ok((Container::Mpeg, 0)));
        assert_eq!(container(&mp3_frames(1)), Ok((Container::Mpeg, 0)), "a whole file of one frame");
        let junk = [&[0x55; 100][..], &mp3_frames(3)].concat();
        assert_eq!(container(&junk), Ok((Container::Mpeg, 100)), "a recording of a stream");
        assert!(container(&mp3_frames(1)[..416]).is_err(), "a part of one");
        let lone = [&[0x55; 100][..], &mp3_frames(1), &[0x55; 5000]].concat();
        assert_eq!(container(&lone), Err(AudioError::UnknownFormat { bytes: lone.len() as u64 }));
    }

    #[test]
    fn tags_are_cut_off() {
        let tag =
            |size: u8| [&b"ID3\x04\x00\x00\x00\x00\x01"[..], &[size], &[0xff; 128], &vec![0xff; size.into()]].concat();
        let file = [tag(5), tag(0), b"fLaC".to_vec()].concat();
        assert_eq!(container(&file), Ok((Container::Flac, file.len() as u64 - 4)));
    }

    #[test]
    fn text_is_no_audio() {
        for text in ["the free encyclopedia", "FORM of an application", "RIFFs on a WAVE", "ID3 and all that", "f"] {
            let unknown = Err(AudioError::UnknownFormat { bytes: text.len() as u64 });
            assert_eq!(container(text.as_bytes()), unknown, "{text}");
        }
    }
}
