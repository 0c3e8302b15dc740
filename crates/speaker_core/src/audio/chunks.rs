//! Headers of files that are a few chunks and then samples: WAV (RIFF, RF64, BW64, RIFX), Wave64, AIFF, AU and CAF.
//!
//! What a file holds is told by the fields of its header, never by the header's length. Sizes are believed as far as
//! there are bytes; what they say is kept for the verdict at the end: truncated or not.
//!
//! Sources: Multimedia Programming Interface and Data Specifications 1.0 (RIFF), mmreg.h and ksmedia.h, ITU-R BS.2088
//! (BW64), EBU Tech 3306 (RF64), Sony Wave64, AIFF 1.3 and AIFF-C draft 08/26/91, Apple Core Audio Format 1.0, audio.h of
//! SunOS (AU).

use std::io;

use super::codec;
use super::length::Layout;
use super::raw::{float, integer, quicktime, width, Raw};
use super::source::Window;

/// A real file has a dozen.
const MOST_CHUNKS: usize = 1_000_000;

/// The smallest size that no WAV file states in earnest: 2 GiB less 64 KiB. Writers to pipes state this and others up
/// to 0xFFFFFFFF, or 0.
const PLACEHOLDER: u64 = 0x7fff_0000;

/// What a header says of the samples.
#[derive(Debug, Clone, PartialEq)]
enum Format {
    /// All but where they lie.
    Raw(Raw),
    /// Blocks that Symphonia reads.
    Blocks,
    /// A codec that nobody here reads.
    Named(String),
}

impl Format {
    fn raw(
        codec: Option<symphonia::core::codecs::audio::AudioCodecId>,
        channels: u16,
        rate: u32,
        name: String,
    ) -> Self {
        match codec {
            Some(codec) => Self::Raw(Raw { codec, width: width(codec), channels, rate, parts: Vec::new() }),
            None => Self::Named(name),
        }
    }

    /// The layout of a file whose samples begin at `body`.
    fn layout(self, declared: Option<u64>, present: u64, body: u64) -> Layout {
        let mut layout = Layout { data: Some((declared, present)), ..Layout::default() };
        match self {
            Self::Raw(mut raw) => {
                let used = declared.unwrap_or(present).min(present);
                raw.parts.push(body..body + used);
                layout.raw = Some(raw);
            }
            Self::Blocks => {}
            Self::Named(name) => layout.unread = Some(name),
        }
        layout
    }
}

/// The chunks of RIFF and its relatives.
pub(super) fn wav(window: &mut Window) -> io::Result<Layout> {
    let big = window.bytes_at(0)? == Some(*b"RIFX");
    let number = |bytes: [u8; 4]| u64::from(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) });
    let (mut format, mut size_of_data) = (None, None);
    let mut at = 12;
    for _ in 0..MOST_CHUNKS {
        let Some(header) = window.bytes_at::<8>(at)? else { break };
        let [i0, i1, i2, i3, size @ ..] = header;
        let size = number(size);
        let body = at + 8;
        match &[i0, i1, i2, i3] {
            b"fmt " if format.is_none() => format = Some(wave_format(window, body, size, big)?),
            b"ds64" => size_of_data = window.bytes_at(body + 8)?.map(u64::from_le_bytes),
            b"data" => {
                let present = window.len().saturating_sub(body);
                // In RF64 and BW64 the size is where 64 bits have room for it.
                let wide = size_of_data.filter(|_| size == 0 || size == u64::from(u32::MAX));
                let declared = wide.unwrap_or(size);
                let is_open = declared == 0 || wide.is_none() && declared >= PLACEHOLDER;
                let declared = (!is_open).then_some(declared);
                let Some(mut format) = format else { break };
                if format == Format::Blocks {
                    show_plain_riff(window, body, declared.unwrap_or(present).min(present));
                }
                if let Format::Raw(raw) = &mut format {
                    settle_container(window, body, raw)?;
                }
                return Ok(format.layout(declared, present, body));
            }
            _ => {}
        }
        at = body + size + size % 2;
    }
    Ok(Layout { damage: Some("a wav file without its fmt or data chunk"), ..Layout::default() })
}

/// Symphonia refuses a chunk that is larger than the file, and drops the last packet of one that ends early.
fn show_plain_riff(window: &mut Window, body: u64, used: u64) {
    // Sizes are 32 bits wide, and all ones mean "unknown".
    let used = used.min(u64::from(u32::MAX - 1).saturating_sub(body));
    window.patch(0, *b"RIFF");
    window.patch(4, ((body + used - 8) as u32).to_le_bytes());
    window.patch(body - 4, (used as u32).to_le_bytes());
}

/// A `fmt ` chunk of any length.
fn wave_format(window: &mut Window, at: u64, size: u64, big: bool) -> io::Result<Format> {
    let mut bytes = [0; 40];
    let there = window.read_at(at, &mut bytes)?.min(usize::try_from(size).unwrap_or(40));
    bytes[there..].fill(0);
    let short = |at: usize| {
        let bytes = [bytes[at], bytes[at + 1]];
        if big {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    };
    let long = |at: usize| {
        u32::from(short(if big { at } else { at + 2 })) << 16 | u32::from(short(if big { at + 2 } else { at }))
    };
    let (tag, channels, rate) = (short(0), short(2), long(4));
    let (frame, bits) = (usize::from(short(12)), usize::from(short(14)));
    // WAVE_FORMAT_EXTENSIBLE: the tag is in front of a GUID.
    let tag = if tag == 0xfffe && there >= 26 { short(24) } else { tag };
    let least = bits.div_ceil(8);
    let stated = frame.checked_div(channels.into()).unwrap_or(0);
    let mut format = match tag {
        0x0002 | 0x0011 => Format::Blocks,
        0x0001 => {
            let bytes = if bits == 0 { stated } else { least };
            Format::raw(integer(bytes, big, bytes != 1), channels, rate, format!("pcm of {bits} bits"))
        }
        0x0003 => Format::raw(float(least, big), channels, rate, format!("floating point of {bits} bits")),
        0x0006 => Format::raw(quicktime(b"alaw", 8, false), channels, rate, String::new()),
        0x0007 => Format::raw(quicktime(b"ulaw", 8, false), channels, rate, String::new()),
        tag => Format::Named(codec::wav_tag_name(tag)),
    };
    if let Format::Raw(raw) = &mut format {
        // 24 bits in 4 bytes. Other frames that do not fit the bits are mistakes of the writer.
        if tag == 1 && least == 3 && stated == 4 && !big {
            raw.width = 4;
        }
    }
    Ok(format)
}

/// Which three bytes of four are the sample: the low ones, the fourth being their sign, or the high ones.
fn settle_container(window: &mut Window, body: u64, raw: &mut Raw) -> io::Result<()> {
    if (raw.width, width(raw.codec)) != (4, 3) {
        return Ok(());
    }
    let mut bytes = vec![0; 64 * 1024];
    let there = window.read_at(body, &mut bytes)?;
    let is_sign = |sample: &[u8]| sample[3] == if sample[2] & 0x80 == 0 { 0 } else { 0xff };
    if !bytes[..there].chunks_exact(4).all(is_sign) {
        raw.codec = integer(4, false, true).unwrap_or(raw.codec);
    }
    Ok(())
}

/// Wave64: GUIDs for names, sizes of 64 bits that count the header, chunks at multiples of 8.
pub(super) fn w64(window: &mut Window) -> io::Result<Layout> {
    let mut format = None;
    let mut at = 40;
    for _ in 0..MOST_CHUNKS {
        let Some(name) = window.bytes_at::<4>(at)? else { break };
        let Some(size) = window.bytes_at(at + 16)?.map(u64::from_le_bytes) else { break };
        let body = at + 24;
        match &name {
            b"fmt " => format = Some(wave_format(window, body, size.saturating_sub(24), false)?),
            b"data" => {
                let Some(mut format) = format else { break };
                let present = window.len().saturating_sub(body);
                let declared = Some(size.saturating_sub(24)).filter(|size| *size > 0 && *size < u64::MAX >> 1);
                match &mut format {
                    Format::Raw(raw) => settle_container(window, body, raw)?,
                    Format::Blocks => format = Format::Named("adpcm in w64".to_owned()),
                    Format::Named(_) => {}
                }
                return Ok(format.layout(declared, present, body));
            }
            _ => {}
        }
        if size < 24 {
            break;
        }
        at = at.saturating_add(size).saturating_add(7) & !7;
    }
    Ok(Layout { damage: Some("a w64 file without its fmt or data chunk"), ..Layout::default() })
}

pub(super) fn aiff(window: &mut Window) -> io::Result<Layout> {
    let compressed = window.bytes_at(8)? == Some(*b"AIFC");
    let mut format = None;
    let mut data = None;
    let mut at = 12;
    for _ in 0..MOST_CHUNKS {
        let Some(header) = window.bytes_at::<8>(at)? else { break };
        let [i0, i1, i2, i3, size @ ..] = header;
        let size = u64::from(u32::from_be_bytes(size));
        let body = at + 8;
        match &[i0, i1, i2, i3] {
            b"COMM" => format = common_chunk(window, body, compressed)?,
            b"SSND" => {
                // The samples follow an offset and a block size of four bytes each.
                let offset = 8 + window.bytes_at(body)?.map_or(0, |bytes| u64::from(u32::from_be_bytes(bytes)));
                let present = window.len().saturating_sub(body.saturating_add(offset));
                let is_open = size == 0 || size >= PLACEHOLDER;
                data = Some(((!is_open).then(|| size.saturating_sub(offset)), present, body + offset));
            }
            _ => {}
        }
        if let (Some(format), Some((declared, present, body))) = (&format, data) {
            return Ok(Format::clone(format).layout(declared, present, body));
        }
        at = body + size + size % 2;
    }
    Ok(Layout { damage: Some("an aiff file without its COMM or SSND chunk"), ..Layout::default() })
}

fn common_chunk(window: &mut Window, at: u64, compressed: bool) -> io::Result<Option<Format>> {
    let Some(bytes) = window.bytes_at::<18>(at)? else { return Ok(None) };
    let short = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let (channels, bits) = (short(0), usize::from(short(6)));
    // An extended float: sign and exponent, then the mantissa with its leading one.
    let exponent = i32::from(short(8) & 0x7fff) - 16_383 - 31;
    let mantissa = u32::from(short(10)) << 16 | u32::from(short(12));
    let rate = (f64::from(mantissa) * f64::from(exponent).exp2()).round() as u32;
    let kind = if compressed { window.bytes_at(at + 18)?.unwrap_or(*b"NONE") } else { *b"NONE" };
    Ok(Some(Format::raw(quicktime(&kind, bits, false), channels, rate, codec::four_letters_name(&kind))))
}

pub(super) fn au(window: &mut Window) -> io::Result<Layout> {
    let Some(header) = window.bytes_at::<24>(0)? else {
        return Ok(Layout { damage: Some("an au file that ends inside its header"), ..Layout::default() });
    };
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (offset, size, encoding) = (u64::from(number(4)), number(8), number(12));
    let codec = match encoding {
        1 => quicktime(b"ulaw", 8, false),
        27 => quicktime(b"alaw", 8, false),
        2..=5 => integer(encoding as usize - 1, true, true),
        6 => float(4, true),
        7 => float(8, true),
        _ => None,
    };
    let name = match encoding {
        23..=26 => "adpcm_g72x".to_owned(),
        _ => format!("of au encoding {encoding}"),
    };
    let channels = u16::try_from(number(20)).unwrap_or(u16::MAX);
    let declared = (size != 0 && size != u32::MAX).then_some(size.into());
    Ok(Format::raw(codec, channels, number(16), name).layout(declared, window.len().saturating_sub(offset), offset))
}

pub(super) fn caf(window: &mut Window) -> io::Result<Layout> {
    let mut format = None;
    let mut at = 8;
    for _ in 0..MOST_CHUNKS {
        let Some(name) = window.bytes_at::<4>(at)? else { break };
        let Some(size) = window.bytes_at(at + 4)?.map(i64::from_be_bytes) else { break };
        let body = at + 12;
        match &name {
            b"desc" => format = description(window, body)?,
            b"data" => {
                let Some(format) = format else { break };
                // Behind a count of edits.
                let present = window.len().saturating_sub(body + 4);
                let declared = u64::try_from(size).ok().map(|size| size.saturating_sub(4));
                return Ok(format.layout(declared, present, body + 4));
            }
            _ => {}
        }
        let Ok(size) = u64::try_from(size) else { break };
        at = body.saturating_add(size);
    }
    Ok(Layout { damage: Some("a caf file without its desc or data chunk"), ..Layout::default() })
}

fn description(window: &mut Window, at: u64) -> io::Result<Option<Format>> {
    let Some(rate) = window.bytes_at(at)?.map(f64::from_be_bytes) else { return Ok(None) };
    let Some(bytes) = window.bytes_at::<24>(at + 8)? else { return Ok(None) };
    let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let kind = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let (flags, packet, channels, bits) = (number(4), number(8), number(16), number(20) as usize);
    let (is_float, little) = (flags & 1 != 0, flags & 2 != 0);
    let channels = u16::try_from(channels).unwrap_or(u16::MAX);
    let width = (packet as usize).checked_div(channels.into()).unwrap_or(0);
    let codec = match &kind {
        b"lpcm" if is_float => float(width, !little),
        // Fewer bits than the bytes have room for are the high ones.
        b"lpcm" if bits <= 8 * width => integer(width, !little, true),
        b"lpcm" => None,
        kind => quicktime(kind, bits, little),
    };
    Ok(Some(Format::raw(codec, channels, rate.round() as u32, codec::four_letters_name(&kind))))
}
