//! One audio track of a source, packet by packet, as blocks of frames at the track's own rate.
//!
//! Everything that is known about what Symphonia 0.6.1 does with odd files is here and in [`super::length`]:
//! - MPEG audio: a length estimated from the bit rate is used to cut off "padding", which in a file of variable bit rate
//!   without a Xing header is the end of the audio ([`Stream::settle_trims`]).
//! - FLAC: damaged frames are left out without a word. Frame numbers tell how much is missing.
//! - MP4: edit lists are not applied. They are here ([`super::mp4`]), and so are raw samples ([`super::raw`]).
//! - ADTS could not tell that the first 1024 or 2112 frames are the encoder's, so they stay: 23 ms to 48 ms at 44.1 kHz.
//! - Matroska: what the encoder added in front are the packets before time 0 ([`Stream::first_edit`]). What it added
//!   behind, less than a packet, stays.
//! - Ogg: a damaged page is left out, and what follows moves up by about a second. A damaged first page is the end. What
//!   granule positions would cut off is decided here ([`super::ogg`]).
//! - Packet durations in MP4 and Matroska are what the file says, in the others what the packets hold.

use std::io::ErrorKind;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, CODEC_ID_NULL_AUDIO};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::{Error as SymphoniaError, Result as SymphoniaResult};
use symphonia::core::formats::{FormatReader, Track};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

use super::codec;
use super::guard::guarded;
use super::health::Health;
use super::length::{matroska_tracks, survey, Declared, Layout};
use super::mp4::{movie, Entry, Movie, Sound};
use super::ogg::{self, Link, Passed};
use super::opus;
use super::raw::RawReader;
use super::resample::check_rate;
use super::sniff::{sniff, Container};
use super::source::{MediaSource, Window};
use super::trim::{Edit, Trim};
use super::{AudioError, Limits, SAMPLE_RATE, TOLERANCE_S};
use crate::Check;

/// A source, of whose tracks readers can be made.
struct Origin<'s> {
    window: Window<'s>,
    container: Container,
    layout: Layout,
    /// MP4: its audio tracks.
    movie: Movie,
    /// Ogg: its streams.
    links: Vec<Link>,
    /// Ogg and Matroska: ids and codecs of the audio tracks.
    named: Vec<(u32, String)>,
    /// Bytes of the source behind its tags.
    bytes: u64,
}

pub(super) struct Stream<'s> {
    origin: Arc<Origin<'s>>,
    reader: Box<dyn FormatReader + 's>,
    /// The audio tracks that there are, and which of them this is, from 0.
    tracks: usize,
    number: usize,
    track: Track,
    parameters: AudioCodecParameters,
    decoder: Box<dyn AudioDecoder>,
    /// Rate, channels and frames of the last packet that was decoded; at first the rate that the header states.
    rate: u32,
    channels: usize,
    frames: u64,
    /// Seconds lost before the first packet that could be decoded.
    lost_s: f64,
    /// FLAC: where the next frame should start.
    next_frame: i64,
    health: Health,
    /// The reader ran out of bytes, rather than out of packets.
    ran_dry: bool,
    /// Ogg: the packet that was read ahead, what has passed of this stream, and what the last packet of it is.
    ahead: Option<Packet>,
    passed: Passed,
    /// Ogg: which of its streams this is.
    link: Option<usize>,
    turn: Turn,
    /// None until the first packet.
    trim: Option<Trim>,
    /// The time that was decoded: what limits and headers are held against.
    elapsed: Elapsed,
    /// The part of it that is to be heard.
    heard: Elapsed,
    max_seconds: f64,
    interleaved: Vec<f32>,
}

/// Where in an Ogg stream a packet is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    Within,
    /// The last packet; another stream may follow.
    Last,
    /// Another stream follows.
    Over,
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

/// More tracks than any film has languages. Each may cost a decoding.
const MOST_TRACKS: usize = 32;

/// The peak of what counts as silent: -60 dB of full scale.
const SILENCE: f32 = 0.001;

impl<'s> Origin<'s> {
    fn new(source: Box<dyn MediaSource + 's>, limits: &Limits, check: Check) -> Result<Self, AudioError> {
        let mut window = Window::new(source, limits, check)?;
        let container = sniff(&mut window)?;
        let layout = survey(&mut window, container)?;
        let bytes = window.len();
        if let Some(detail) = layout.damage {
            return Err(AudioError::Corrupt { detail: detail.to_owned() });
        }
        if let Some(codec) = layout.unread.clone() {
            return Err(AudioError::UnsupportedCodec { codec });
        }
        if let Some((Some(declared), 0)) = layout.data {
            return Err(AudioError::Incomplete { declared_bytes: bytes + declared, got_bytes: bytes });
        }
        // A sample takes a byte at least.
        if layout.run_samples > bytes {
            return Err(AudioError::Corrupt { detail: format!("more samples stated than its {bytes} bytes can hold") });
        }
        let movie = if container == Container::Mp4 { movie(&mut window)? } else { Movie::default() };
        let links = if container == Container::Ogg { ogg::links(&mut window, check)? } else { Vec::new() };
        let named = match container {
            Container::Matroska => matroska_tracks(&mut window)?,
            _ => Vec::new(),
        };
        Ok(Self { window, container, layout, movie, links, named, bytes })
    }

    /// A reader that gives the packets of a track at least.
    fn reader(&self, number: usize) -> Result<Box<dyn FormatReader + 's>, AudioError> {
        let mut window = self.window.clone();
        let raw = match &self.layout.raw {
            Some(raw) => Some((0, raw)),
            None => self.movie.raw(number),
        };
        if let Some((id, raw)) = raw {
            let input = MediaSourceStream::new(Box::new(window), Default::default());
            return Ok(Box::new(RawReader::new(input, self.bytes, id, raw.clone())?));
        }
        if !self.links.is_empty() && !self.links.iter().any(|link| link.is_readable) {
            // Symphonia would look for a stream that it knows to the end of the file.
            let codec = self.links.iter().find_map(|link| link.codec.clone());
            return Err(codec.map_or(self.without_track(), |codec| AudioError::UnsupportedCodec { codec }));
        }
        self.movie.show(&mut window, number);
        let input = MediaSourceStream::new(Box::new(window), Default::default());
        guarded(|| self.container.open(input))?.map_err(|error| open_error(error, self))
    }

    /// The ids of the audio tracks, in their order, and the names of their codecs where they are known.
    fn tracks(&self, reader: &dyn FormatReader) -> Vec<(u32, String)> {
        if !self.movie.sounds.is_empty() {
            return self.movie.sounds.iter().map(|sound| (sound.id, sound.name())).collect();
        }
        if !self.named.is_empty() {
            return self.named.clone();
        }
        let readable =
            reader.tracks().iter().filter(|track| matches!(track.codec_params, Some(CodecParameters::Audio(_))));
        let ids: Vec<u32> = readable.map(|track| track.id).collect();
        if self.container != Container::Ogg {
            return ids.into_iter().map(|id| (id, String::new())).collect();
        }
        // The streams that begin together, which those are that the reader knows, and those that it does not.
        let mut tracks: Vec<(u32, String)> = Vec::new();
        for link in &self.links {
            if let Some(codec) = link.codec.clone().filter(|_| !link.is_readable || ids.contains(&link.serial)) {
                if !tracks.iter().any(|(id, _)| *id == link.serial) {
                    tracks.push((link.serial, codec));
                }
            }
        }
        tracks
    }

    /// A track and its decoder.
    fn choose(&self, reader: &dyn FormatReader, number: usize, id: u32, name: &str) -> Result<Chosen, AudioError> {
        let sound = self.movie.sounds.get(number);
        if let Some(Sound { entry: Entry::Named(codec), .. }) = sound {
            return Err(AudioError::UnsupportedCodec { codec: codec.clone() });
        }
        let unnamed = || AudioError::UnsupportedCodec { codec: name.to_owned() };
        let track = reader.tracks().iter().find(|track| track.id == id).ok_or_else(unnamed)?;
        let mut parameters = match &track.codec_params {
            Some(CodecParameters::Audio(parameters)) => parameters.clone(),
            _ => AudioCodecParameters::new(),
        };
        if let Some(sound) = sound {
            sound.entry.settle(&mut parameters);
        }
        if parameters.codec == CODEC_ID_NULL_AUDIO {
            return Err(unnamed());
        }
        let decoder = codec::make_decoder(&parameters)?;
        Ok((track.clone(), parameters, decoder))
    }

    fn without_track(&self) -> AudioError {
        AudioError::NoAudioTrack { container: self.container.name() }
    }
}

impl<'s> Stream<'s> {
    pub(super) fn open(source: Box<dyn MediaSource + 's>, limits: &Limits, check: Check) -> Result<Self, AudioError> {
        let origin = Arc::new(Origin::new(source, limits, check)?);
        let first = origin.reader(0)?;
        let tracks = origin.tracks(first.as_ref());
        let mut first = Some(first);
        let (mut silent, mut refusal) = (None, None);
        for number in 0..tracks.len().min(MOST_TRACKS) {
            let stream = match first.take() {
                Some(reader) if number == 0 => Self::new(&origin, reader, &tracks, number, limits),
                _ => Self::of(&origin, &tracks, number, limits),
            };
            match stream {
                Ok(stream) if tracks.len() == 1 => return Ok(stream),
                Ok(mut stream) => {
                    if stream.has_sound(check)? {
                        return Self::of(&origin, &tracks, number, limits);
                    }
                    silent.get_or_insert(number);
                }
                Err(error) => _ = refusal.get_or_insert(error),
            }
        }
        match silent {
            Some(number) => Self::of(&origin, &tracks, number, limits),
            None => Err(refusal.unwrap_or_else(|| origin.without_track())),
        }
    }

    fn of(
        origin: &Arc<Origin<'s>>,
        tracks: &[(u32, String)],
        number: usize,
        limits: &Limits,
    ) -> Result<Self, AudioError> {
        Self::new(origin, origin.reader(number)?, tracks, number, limits)
    }

    fn new(
        origin: &Arc<Origin<'s>>,
        reader: Box<dyn FormatReader + 's>,
        tracks: &[(u32, String)],
        number: usize,
        limits: &Limits,
    ) -> Result<Self, AudioError> {
        let (id, name) = &tracks[number];
        let (track, parameters, decoder) = origin.choose(reader.as_ref(), number, *id, name)?;
        if let Some(Sound { edits: Err(detail), .. }) = origin.movie.sounds.get(number) {
            return Err(AudioError::UnsupportedEdits { detail: detail.clone() });
        }
        let mut stream = Self {
            origin: origin.clone(),
            reader,
            tracks: tracks.len(),
            number,
            rate: parameters.sample_rate.unwrap_or(0),
            track,
            parameters,
            decoder,
            channels: 0,
            frames: 0,
            lost_s: 0.0,
            next_frame: 0,
            health: Health::default(),
            ran_dry: false,
            ahead: None,
            passed: Passed::default(),
            link: None,
            turn: Turn::Within,
            trim: None,
            elapsed: Elapsed::default(),
            heard: Elapsed::default(),
            max_seconds: limits.max_seconds,
            interleaved: Vec::new(),
        };
        stream.next_link();
        Ok(stream)
    }

    /// Whether anything of the track is louder than silence. A track that cannot be decoded has no sound.
    fn has_sound(&mut self, check: Check) -> Result<bool, AudioError> {
        let mut loud = || -> Result<bool, AudioError> {
            while let Some(packet) = self.next_packet(check)? {
                let piece = self.decode(&packet)?;
                if piece.interleaved.iter().any(|sample| sample.is_finite() && sample.abs() > SILENCE) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match loud() {
            Err(error @ (AudioError::Interrupted | AudioError::Io { .. } | AudioError::TooLong { .. })) => Err(error),
            outcome => Ok(outcome.unwrap_or(false)),
        }
    }

    /// The audio tracks of the source, and the number of this one, from 1.
    pub(super) fn tracks(&self) -> (usize, usize) {
        (self.tracks, self.number + 1)
    }

    pub(super) fn container(&self) -> Container {
        self.origin.container
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
        if self.container() != Container::Ogg {
            return self.read_packet(check);
        }
        // A packet ahead, to know which is the last.
        loop {
            if self.turn == Turn::Over {
                self.begin_stream()?;
            }
            let next = self.read_packet(check)?;
            if next.is_none() && self.turn == Turn::Within {
                self.turn = Turn::Last;
            }
            match (std::mem::replace(&mut self.ahead, next), self.turn) {
                (Some(packet), _) => return Ok(Some(packet)),
                (None, Turn::Over) => {}
                (None, Turn::Last) => return Ok(None),
                (None, Turn::Within) => {}
            }
        }
    }

    /// The next packet as the reader has it, or none at the end of the stream: `turn` tells whether another follows.
    fn read_packet(&mut self, check: Check) -> Result<Option<Packet>, AudioError> {
        if self.turn == Turn::Last {
            return Ok(None);
        }
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
                    self.turn = Turn::Over;
                    return Ok(None);
                }
                Err(error) => return Err(AudioError::Corrupt { detail: error.to_string() }),
            }
        }
    }

    /// Ogg: goes on with the stream that follows.
    fn begin_stream(&mut self) -> Result<(), AudioError> {
        let tracks = self.origin.tracks(self.reader.as_ref());
        let known = |(id, _): &&(u32, String)| self.reader.tracks().iter().any(|track| track.id == *id);
        let mut refusal = None;
        let chosen = tracks.iter().filter(known).find_map(|(id, name)| {
            self.origin.choose(self.reader.as_ref(), self.number, *id, name).map_err(|error| refusal = Some(error)).ok()
        });
        let refused = || refusal.unwrap_or_else(|| self.origin.without_track());
        (self.track, self.parameters, self.decoder) = chosen.ok_or_else(refused)?;
        self.trim = None;
        self.passed = Passed::default();
        self.turn = Turn::Within;
        self.next_link();
        // The reader keeps the tags of every stream that it has seen.
        self.reader.metadata().skip_to_latest();
        Ok(())
    }

    /// Ogg: finds what the pages say of the stream that begins.
    fn next_link(&mut self) {
        let from = self.link.map_or(0, |link| link + 1);
        let links = self.origin.links.iter().enumerate().skip(from);
        self.link = links.filter(|(_, link)| link.serial == self.track.id).map(|(index, _)| index).next().or(self.link);
    }

    /// Makes `dur` the frames that remain of a packet once what the encoder added is trimmed.
    fn settle_trims(&self, mut packet: Packet) -> Packet {
        if self.container() == Container::Ogg {
            // What granule positions would cut off.
            packet.dur = packet.dur.saturating_add(packet.trim_end);
            (packet.trim_start, packet.trim_end) = (Duration::ZERO, Duration::ZERO);
        }
        if self.container() != Container::Mpeg {
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
        let stuck = self.container() == Container::Mpeg && outcome.is_err() && self.health.damaged_in_a_row > 0;
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
                match error {
                    SymphoniaError::Unsupported(detail) => {
                        self.health.unsupported(format!("{} ({detail})", self.codec()))?;
                    }
                    error => self.health.damaged(error.to_string())?,
                }
                self.interleaved.clear();
                lost += self.stated_frames(packet).unwrap_or(self.frames).min(MOST_FRAMES);
            }
        }
        if self.channels == 0 {
            // At the rate of the header, which need not be that of the sound.
            self.lost_s += lost as f64 / f64::from(self.rate.max(1));
            return Ok(Piece { rate: self.rate, lost: 0, channels: 0, interleaved: &[] });
        }
        lost += (std::mem::take(&mut self.lost_s) * f64::from(self.rate)).round() as u64;
        let mut frames = self.decoded_frames();
        if self.container() == Container::Ogg {
            self.passed.packet(frames);
            if let (Turn::Last | Turn::Over, None, Some(link)) = (self.turn, &self.ahead, self.link) {
                frames -= self.passed.padding(&self.origin.links[link]);
            }
        }
        let (rate, channels) = (self.rate, self.channels);
        let mut kept = 0;
        let lost = self.count(packet, lost, rate, |_, _| {})?;
        self.count(packet, frames, rate, |interleaved, heard| {
            let range = heard.start as usize * channels..heard.end as usize * channels;
            let len = range.len();
            if range.start != kept {
                interleaved.copy_within(range, kept);
            }
            kept += len;
        })?;
        Ok(Piece { rate, lost, channels, interleaved: &self.interleaved[..kept] })
    }

    /// The verdict at the end of the stream.
    pub(super) fn finish(&self) -> Result<(), AudioError> {
        if self.health.good == 0 {
            if let Some(declared_bytes) = self.origin.layout.cut_at {
                return Err(AudioError::Incomplete { declared_bytes, got_bytes: self.origin.bytes });
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
        match self.container() {
            // Samples of its tables are missing.
            Container::Mp4 if self.ran_dry => self.finish_cut(),
            Container::Matroska if self.origin.layout.cut_at.is_some() => self.finish_cut(),
            _ => declared.check(self.elapsed.seconds()),
        }
    }

    /// The file ends early. It may have lost no more than an index, or padding.
    fn finish_cut(&self) -> Result<(), AudioError> {
        let media = self.reader.media_info();
        let length = match self.container() {
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
        match self.origin.layout.cut_at {
            // A recording in fragments does not know its length in advance.
            Some(declared_bytes) if declared_s < got_s - TOLERANCE_S => {
                Err(AudioError::Incomplete { declared_bytes, got_bytes: self.origin.bytes })
            }
            _ => Ok(()),
        }
    }

    fn declared(&self) -> Declared {
        let seconds = || {
            let (frames, rate) = self.track.num_frames.zip(self.parameters.sample_rate)?;
            (rate > 0).then(|| Declared::Seconds(frames as f64 / f64::from(rate)))
        };
        let declared = match (self.container(), self.origin.layout.data) {
            (_, Some((Some(declared), present))) => Some(Declared::Bytes { declared, present }),
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
        if self.container() != Container::Flac {
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

    /// Counts frames of a packet; tells which of them are to be heard, and returns how many those are.
    fn count(
        &mut self,
        packet: &Packet,
        frames: u64,
        rate: u32,
        mut heard: impl FnMut(&mut [f32], Range<u64>),
    ) -> Result<u64, AudioError> {
        self.elapsed.add(frames, rate);
        if self.elapsed.seconds() > self.max_seconds {
            return Err(AudioError::TooLong { max_s: self.max_seconds });
        }
        if frames == 0 {
            return Ok(0);
        }
        let mut trim = self.trim.take().unwrap_or_else(|| Trim::new(self.edits(packet)));
        let mut kept = 0;
        trim.pass(frames, rate, |range| {
            kept += range.end - range.start;
            heard(&mut self.interleaved, range);
        });
        self.trim = Some(trim);
        self.heard.add(kept, rate);
        Ok(kept)
    }

    /// What is to be heard of a stream that begins with this packet.
    fn edits(&self, packet: &Packet) -> Vec<Edit> {
        if let Some(Sound { edits: Ok(edits), .. }) = self.origin.movie.sounds.get(self.number) {
            if !edits.is_empty() {
                return edits.clone();
            }
        }
        let early = |base: TimeBase| {
            packet.pts.get().min(0).unsigned_abs() as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get())
        };
        let start_s = match (self.container(), self.parameters.codec) {
            (container, CODEC_ID_OPUS) => opus::pre_skip(container, &self.parameters) as f64 / f64::from(opus::RATE),
            // Its decoder gives nothing for the first packet, which is all that is early.
            (Container::Matroska, CODEC_ID_VORBIS) => 0.0,
            (Container::Matroska, _) => self.track.time_base.map_or(0.0, early),
            _ => 0.0,
        };
        if start_s > 0.0 {
            vec![Edit { start_s, end_s: None }]
        } else {
            Vec::new()
        }
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
            // The filter of a rate ends with a whole sample.
            let samples = (self.frames * u64::from(SAMPLE_RATE)).div_ceil(u64::from(self.rate.max(1)));
            *self = Self { before: self.before + samples as f64 / f64::from(SAMPLE_RATE), frames: 0, rate };
        }
        self.frames += frames;
    }

    fn seconds(&self) -> f64 {
        self.before + self.frames as f64 / f64::from(self.rate.max(1))
    }
}

fn open_error(error: SymphoniaError, origin: &Origin) -> AudioError {
    let name = origin.container.name();
    match (error, origin.layout.cut_at) {
        (SymphoniaError::IoError(error), _) if error.kind() != ErrorKind::UnexpectedEof => error.into(),
        (_, Some(declared_bytes)) => AudioError::Incomplete { declared_bytes, got_bytes: origin.bytes },
        (SymphoniaError::IoError(_), _) => {
            AudioError::Corrupt { detail: format!("{name} file ends inside its header") }
        }
        (SymphoniaError::Unsupported(detail), _) => {
            AudioError::UnsupportedCodec { codec: format!("of this {name} file ({detail})") }
        }
        (error, _) => AudioError::Corrupt { detail: error.to_string() },
    }
}

type Chosen = (Track, AudioCodecParameters, Box<dyn AudioDecoder>);

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
