//! One audio track of a source, packet by packet, as blocks of frames at the track's own rate.
//!
//! Everything that is known about what Symphonia 0.6.1 does with odd files is here and in [`super::length`]:
//! - MPEG audio: a length estimated from the bit rate is used to cut off "padding", which in a file of variable bit rate
//!   without a Xing header is the end of the audio ([`Stream::settle_trims`]).
//! - FLAC: damaged frames are left out without a word. Frame numbers tell how much is missing.
//! - MP4: edit lists are not applied. They are here ([`super::edits`]).
//! - ADTS could not tell that the first 1024 or 2112 frames are the encoder's, so they stay: 23 ms to 48 ms at 44.1 kHz.
//! - Matroska: what the encoder added in front are the packets before time 0 ([`Stream::first_edit`]). What it added
//!   behind, less than a packet, stays.
//! - Ogg: a damaged page is left out, and what follows moves up by about a second. A damaged first page is the end.
//! - Packet durations in MP4 and Matroska are what the file says, in the others what the packets hold.

use std::io::ErrorKind;
use std::ops::ControlFlow;

use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, CODEC_ID_NULL_AUDIO};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::{Error as SymphoniaError, Result as SymphoniaResult};
use symphonia::core::formats::{FormatReader, Track};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

use super::codec;
use super::edits::edits;
use super::guard::guarded;
use super::health::Health;
use super::length::{survey, Declared, Layout};
use super::opus;
use super::resample::check_rate;
use super::sniff::{mpeg_frame, sniff, Container};
use super::source::{MediaSource, Window};
use super::trim::{Edit, Trim};
use super::{AudioError, Limits, TOLERANCE_S};
use crate::Check;

pub(super) struct Stream<'s> {
    container: Container,
    layout: Layout,
    /// Bytes of the source behind its tags.
    bytes: u64,
    reader: Box<dyn FormatReader + 's>,
    track: Track,
    parameters: AudioCodecParameters,
    decoder: Box<dyn AudioDecoder>,
    /// Rate, channels and frames of the last packet that was decoded; at first the rate that the header states.
    rate: u32,
    channels: usize,
    frames: u64,
    /// FLAC: where the next frame should start.
    next_frame: i64,
    /// Packet durations in MP4 that the decoder has confirmed.
    confirmed: Vec<u64>,
    health: Health,
    /// The reader ran out of bytes, rather than out of packets.
    ran_dry: bool,
    /// MP4: the edits of its tracks.
    edits: Vec<(u32, Edit)>,
    /// None until the first packet.
    trim: Option<Trim>,
    /// The time that was decoded: what limits and headers are held against.
    elapsed: Elapsed,
    /// The part of it that is to be heard.
    heard: Elapsed,
    max_seconds: f64,
    interleaved: Vec<f32>,
}

/// What one packet gave.
pub(super) struct Piece<'a> {
    pub(super) rate: u32,
    /// Frames that were lost before the samples, or in their place. They count as silence: a shift in time would
    /// spoil every later span.
    pub(super) lost: u64,
    pub(super) channels: usize,
    interleaved: &'a [f32],
}

impl Piece<'_> {
    /// One channel of it, from 0, or the mean of all. A channel that is not there is silent, as is what is not finite:
    /// one NaN would spread through the resampler.
    pub(super) fn mono(&self, channel: Option<usize>, out: &mut Vec<f32>) {
        out.clear();
        let frames = self.interleaved.chunks_exact(self.channels.max(1));
        let finite = |sample: f32| if sample.is_finite() { sample } else { 0.0 };
        match channel {
            Some(channel) => out.extend(frames.map(|frame| finite(frame.get(channel).copied().unwrap_or(0.0)))),
            None => {
                let share = 1.0 / self.channels.max(1) as f32;
                out.extend(frames.map(|frame| finite(frame.iter().sum::<f32>() * share)));
            }
        }
    }
}

/// A gap in a FLAC stream longer than this is no damage, but a stream joined from others.
const MOST_LOST_S: u32 = 10;

/// No codec packs more frames into a packet; a header may say so.
const MOST_FRAMES: u64 = 65_536;

impl<'s> Stream<'s> {
    pub(super) fn open(source: Box<dyn MediaSource + 's>, limits: &Limits, check: Check) -> Result<Self, AudioError> {
        let mut window = Window::new(source, limits, check)?;
        let container = sniff(&mut window)?;
        let layout = survey(&mut window, container)?;
        let edits = if container == Container::Mp4 { edits(&mut window)? } else { Vec::new() };
        let bytes = window.len();
        if let Some((Some(declared), 0)) = layout.data {
            return Err(AudioError::Incomplete { declared_bytes: bytes + declared, got_bytes: bytes });
        }
        // A sample takes a byte at least.
        if layout.run_samples > bytes {
            return Err(AudioError::Corrupt { detail: format!("more samples stated than its {bytes} bytes can hold") });
        }
        let input = MediaSourceStream::new(Box::new(window), Default::default());
        let reader =
            guarded(|| container.open(input))?.map_err(|error| open_error(error, container, &layout, bytes))?;
        let (track, parameters, decoder) = choose_track(reader.as_ref(), container)?;
        let rate = parameters.sample_rate.unwrap_or(0);
        Ok(Self {
            container,
            layout,
            bytes,
            reader,
            track,
            parameters,
            decoder,
            rate,
            channels: 0,
            frames: 0,
            next_frame: 0,
            confirmed: Vec::new(),
            health: Health::default(),
            ran_dry: false,
            edits,
            trim: None,
            elapsed: Elapsed::default(),
            heard: Elapsed::default(),
            max_seconds: limits.max_seconds,
            interleaved: Vec::new(),
        })
    }

    pub(super) fn container(&self) -> Container {
        self.container
    }

    pub(super) fn codec(&self) -> String {
        codec::name(self.parameters.codec)
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// The length of what is to be heard.
    pub(super) fn seconds(&self) -> f64 {
        self.heard.seconds()
    }

    /// The next packet of the track, or none at the end.
    pub(super) fn next_packet(&mut self, check: Check) -> Result<Option<Packet>, AudioError> {
        loop {
            if let ControlFlow::Break(()) = check() {
                return Err(AudioError::Interrupted);
            }
            match guarded(|| self.reader.next_packet())? {
                Ok(Some(packet)) if packet.track_id == self.track.id => return Ok(Some(self.settle_trims(packet))),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(SymphoniaError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.ran_dry = true;
                    return Ok(None);
                }
                Err(SymphoniaError::IoError(error)) => return Err(error.into()),
                // Readers go on behind the damage where they can; where they cannot, this comes again and again.
                Err(SymphoniaError::DecodeError(detail)) => self.health.damaged(detail.to_owned())?,
                // Ogg: a new stream follows the one that ended.
                Err(SymphoniaError::ResetRequired) => {
                    (self.track, self.parameters, self.decoder) = choose_track(self.reader.as_ref(), self.container)?;
                    self.trim = None;
                    // The reader keeps the tags of every stream that it has seen.
                    self.reader.metadata().skip_to_latest();
                }
                Err(error) => return Err(AudioError::Corrupt { detail: error.to_string() }),
            }
        }
    }

    /// Makes `dur` the frames that remain of a packet once what the encoder added is trimmed.
    fn settle_trims(&self, mut packet: Packet) -> Packet {
        if self.container != Container::Mpeg {
            return packet;
        }
        // In packets of this reader `dur` is the length with what is to be trimmed, against its documentation.
        let block = packet.dur.get();
        let start = packet.trim_start.get().min(block);
        // Only a LAME tag knows of padding, and only as much of it as it says. Otherwise the end of the track is an
        // estimate, or the end of the first of several files joined to one.
        let padding_ends =
            self.track.num_frames.zip(self.track.padding).map(|(n, padding)| n.saturating_add(padding.into()));
        let packet_ends = packet.pts.get().saturating_add_unsigned(block);
        let in_padding = padding_ends.is_some_and(|end| i64::try_from(end).is_ok_and(|end| packet_ends <= end));
        let end = if in_padding { packet.trim_end.get().min(block - start) } else { 0 };
        packet.trim_start = Duration::new(start);
        packet.trim_end = Duration::new(end);
        packet.dur = Duration::new(block - start - end);
        packet
    }

    /// Decodes a packet. A damaged one gives silence of its length, as players do.
    pub(super) fn decode(&mut self, packet: &Packet) -> Result<Piece<'_>, AudioError> {
        let mut lost = self.lost_before(packet);
        let mut outcome = self.attempt(packet)?;
        // The MPEG decoder rejects every frame after a change of rate or channels, in files joined from several. A
        // fresh decoder takes them. (For other codecs one may be dear to make, and damage common.)
        let stuck = self.container == Container::Mpeg && outcome.is_err() && self.health.damaged_in_a_row > 0;
        if stuck || matches!(outcome, Err(SymphoniaError::ResetRequired)) {
            self.decoder = codec::make_decoder(&self.parameters)?;
            outcome = self.attempt(packet)?;
        }
        match outcome {
            Ok((rate, channels)) => {
                check_rate(rate)?;
                (self.rate, self.channels) = (rate, channels);
                match self.decoded_frames() {
                    0 => {
                        self.health.nothing()?;
                        lost += self.stated_frames(packet).unwrap_or(0);
                    }
                    frames => {
                        self.frames = frames;
                        self.health.well();
                    }
                }
            }
            Err(error) => {
                self.health.damaged(error.to_string())?;
                self.interleaved.clear();
                lost += self.stated_frames(packet).unwrap_or(self.frames).min(MOST_FRAMES);
            }
        }
        let frames = self.decoded_frames();
        let (_, lost) = self.count(packet, lost, self.rate)?;
        let (dropped, kept) = self.count(packet, frames, self.rate)?;
        let at = |frame: u64| frame as usize * self.channels;
        let interleaved = &self.interleaved[at(dropped)..at(dropped + kept)];
        Ok(Piece { rate: self.rate, lost, channels: self.channels, interleaved })
    }

    /// Counts a packet without decoding it, where its length can be believed.
    pub(super) fn measure(&mut self, packet: &Packet) -> Result<(), AudioError> {
        let tabled = matches!(self.container, Container::Mp4 | Container::Matroska);
        let trusted = !tabled || self.is_opus();
        let believed = |frames: &u64| self.health.good > 0 && (trusted || self.confirmed.contains(frames));
        if let Some(frames) = self.stated_frames(packet).filter(believed) {
            let rate = match self.container {
                // The frames of files joined to one may differ.
                Container::Mpeg => mpeg_frame(&packet.data).map_or(self.rate, |frame| frame.rate),
                _ => self.rate,
            };
            let lost = self.lost_before(packet);
            self.health.well();
            self.count(packet, lost + frames, rate)?;
            return Ok(());
        }
        self.decode(packet)?;
        let frames = self.decoded_frames();
        if self.stated_frames(packet) == Some(frames) && self.confirmed.len() < 16 {
            self.confirmed.push(frames);
        }
        Ok(())
    }

    /// The verdict at the end of the stream.
    pub(super) fn finish(&self) -> Result<(), AudioError> {
        if self.health.good == 0 {
            if let Some(declared_bytes) = self.layout.cut_at {
                return Err(AudioError::Incomplete { declared_bytes, got_bytes: self.bytes });
            }
        }
        self.health.verdict()?;
        let declared = self.declared();
        if self.health.good == 0 {
            declared.check(self.elapsed.seconds())?;
            return Err(AudioError::NoSamples);
        }
        if self.seconds() == 0.0 {
            return Err(AudioError::NoSamples);
        }
        match self.container {
            // Samples of its tables are missing.
            Container::Mp4 if self.ran_dry => self.finish_cut(),
            Container::Matroska if self.layout.cut_at.is_some() => self.finish_cut(),
            _ => declared.check(self.elapsed.seconds()),
        }
    }

    /// The file ends early. It may have lost no more than an index, or padding.
    fn finish_cut(&self) -> Result<(), AudioError> {
        let media = self.reader.media_info();
        let length = match self.container {
            Container::Matroska => media.duration.zip(media.time_base),
            _ => self.track.duration.zip(self.track.time_base),
        };
        let declared_s = length.map_or(0.0, |(ticks, base)| {
            ticks.get() as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get())
        });
        let got_s = self.elapsed.seconds();
        if declared_s > got_s + TOLERANCE_S {
            return Err(AudioError::Truncated { declared_s, got_s });
        }
        match self.layout.cut_at {
            // A recording in fragments does not know its length in advance.
            Some(declared_bytes) if declared_s < got_s - TOLERANCE_S => {
                Err(AudioError::Incomplete { declared_bytes, got_bytes: self.bytes })
            }
            _ => Ok(()),
        }
    }

    fn declared(&self) -> Declared {
        let seconds = || {
            let (frames, rate) = self.track.num_frames.zip(self.parameters.sample_rate)?;
            (rate > 0).then(|| Declared::Seconds(frames as f64 / f64::from(rate)))
        };
        let declared = match (self.container, self.layout.data) {
            (Container::Wav | Container::Aiff, Some((Some(declared), present))) => {
                Some(Declared::Bytes { declared, present })
            }
            (Container::Flac, _) => seconds(),
            // With a LAME tag the length is counted; without one it may be an estimate.
            (Container::Mpeg, _) if self.track.delay.is_some() => seconds(),
            _ => None,
        };
        declared.unwrap_or(Declared::Nothing)
    }

    /// Frames of the last packet.
    fn decoded_frames(&self) -> u64 {
        (self.interleaved.len() / self.channels.max(1)) as u64
    }

    /// Decodes into `interleaved`; returns rate and channels.
    fn attempt(&mut self, packet: &Packet) -> Result<SymphoniaResult<(u32, usize)>, AudioError> {
        let is_opus = self.is_opus();
        let Self { decoder, interleaved, .. } = self;
        guarded(|| {
            if is_opus && opus::frames(&packet.data).is_none() {
                return Err(SymphoniaError::DecodeError("opus: a packet without frames"));
            }
            let decoded = decoder.decode(packet)?;
            let channels = decoded.spec().channels().count();
            decoded.copy_to_vec_interleaved(interleaved);
            Ok((decoded.spec().rate(), channels))
        })
    }

    /// How many frames a packet says it has, if it counts in frames.
    fn stated_frames(&self, packet: &Packet) -> Option<u64> {
        if self.is_opus() {
            return Some(opus::frames(&packet.data)?.saturating_sub(packet.trim_end.get()));
        }
        let base = self.track.time_base?;
        let in_frames = base.numer.get() == 1 && base.denom.get() == self.rate;
        let frames = packet.dur.get();
        (in_frames && frames > 0 && frames <= MOST_FRAMES).then_some(frames)
    }

    /// FLAC: frames missing between the last packet and this one.
    fn lost_before(&mut self, packet: &Packet) -> u64 {
        if self.container != Container::Flac {
            return 0;
        }
        let starts = packet.pts.get();
        let lost = u64::try_from(starts.saturating_sub(self.next_frame)).unwrap_or(0);
        self.next_frame = starts.saturating_add_unsigned(packet.dur.get());
        let rate = self.parameters.sample_rate.unwrap_or(0);
        if lost > u64::from(rate) * u64::from(MOST_LOST_S) {
            return 0;
        }
        lost
    }

    /// Counts frames of a packet; returns how many of them to drop in front, and how many to keep behind those.
    fn count(&mut self, packet: &Packet, frames: u64, rate: u32) -> Result<(u64, u64), AudioError> {
        self.elapsed.add(frames, rate);
        if self.elapsed.seconds() > self.max_seconds {
            return Err(AudioError::TooLong { max_s: self.max_seconds });
        }
        if frames == 0 {
            return Ok((0, 0));
        }
        let edit = if self.trim.is_none() { self.first_edit(packet) } else { Edit::default() };
        let (dropped, kept) = self.trim.get_or_insert_with(|| Trim::new(edit)).pass(frames, rate);
        self.heard.add(kept, rate);
        Ok((dropped, kept))
    }

    /// What is to be heard of a stream that begins with this packet.
    fn first_edit(&self, packet: &Packet) -> Edit {
        if let Some((_, edit)) = self.edits.iter().find(|(track, _)| *track == self.track.id) {
            return *edit;
        }
        let early = |base: TimeBase| {
            packet.pts.get().min(0).unsigned_abs() as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get())
        };
        let skip_s = match (self.container, self.parameters.codec) {
            (container, CODEC_ID_OPUS) => opus::pre_skip(container, &self.parameters) as f64 / f64::from(opus::RATE),
            // Its decoder gives nothing for the first packet, which is all that is early.
            (Container::Matroska, CODEC_ID_VORBIS) => 0.0,
            (Container::Matroska, _) => self.track.time_base.map_or(0.0, early),
            _ => 0.0,
        };
        Edit { skip_s, keep_s: None }
    }

    fn is_opus(&self) -> bool {
        self.parameters.codec == CODEC_ID_OPUS
    }
}

/// Time in frames, so that a million packets do not add up a million roundings.
#[derive(Debug, Default)]
struct Elapsed {
    /// Seconds until the rate last changed.
    before: f64,
    frames: u64,
    rate: u32,
}

impl Elapsed {
    fn add(&mut self, frames: u64, rate: u32) {
        if rate != self.rate {
            *self = Self { before: self.seconds(), frames: 0, rate };
        }
        self.frames += frames;
    }

    fn seconds(&self) -> f64 {
        self.before + self.frames as f64 / f64::from(self.rate.max(1))
    }
}

fn open_error(error: SymphoniaError, container: Container, layout: &Layout, bytes: u64) -> AudioError {
    match (error, layout.cut_at, layout.wav_tag) {
        (SymphoniaError::IoError(error), ..) if error.kind() != ErrorKind::UnexpectedEof => error.into(),
        (_, Some(declared_bytes), _) => AudioError::Incomplete { declared_bytes, got_bytes: bytes },
        (SymphoniaError::IoError(_), ..) => {
            AudioError::Corrupt { detail: format!("{} file ends inside its header", container.name()) }
        }
        (SymphoniaError::Unsupported(_), _, Some(tag)) => {
            AudioError::UnsupportedCodec { codec: codec::wav_tag_name(tag) }
        }
        (error, ..) => AudioError::Corrupt { detail: error.to_string() },
    }
}

type Chosen = (Track, AudioCodecParameters, Box<dyn AudioDecoder>);

/// The first audio track that there is a decoder for.
fn choose_track(reader: &dyn FormatReader, container: Container) -> Result<Chosen, AudioError> {
    let mut refusal = None;
    for track in reader.tracks() {
        let Some(CodecParameters::Audio(parameters)) = &track.codec_params else { continue };
        let decoder = match parameters.codec {
            CODEC_ID_NULL_AUDIO => Err(AudioError::UnsupportedCodec { codec: "of unknown name".to_owned() }),
            _ => codec::make_decoder(parameters),
        };
        match decoder {
            Ok(decoder) => return Ok((track.clone(), parameters.clone(), decoder)),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    Err(refusal.unwrap_or(AudioError::NoAudioTrack { container: container.name() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_averaged_or_taken() {
        let mono = |interleaved: &[f32], channels, channel| {
            let mut out = vec![9.0];
            Piece { rate: 16_000, lost: 0, channels, interleaved }.mono(channel, &mut out);
            out
        };
        let stereo = [1.0, 0.0, 0.5, -0.5, f32::NAN, 1.0];
        assert_eq!(mono(&stereo, 2, None), [0.5, 0.0, 0.0]);
        assert_eq!(mono(&stereo, 2, Some(0)), [1.0, 0.5, 0.0]);
        assert_eq!(mono(&stereo, 2, Some(1)), [0.0, -0.5, 1.0]);
        assert_eq!(mono(&stereo, 2, Some(2)), [0.0, 0.0, 0.0]);
        assert_eq!(mono(&[0.25, f32::INFINITY], 1, None), [0.25, 0.0]);
    }
}
