//! Decodes a source once and delivers the spans that are wanted of it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::cut::{Cutter, Sink};
use super::resample::Resampler;
use super::source::MediaSource;
use super::stream::{Piece, Stream};
use super::{AudioError, Limits, Mono16k, Span, SpanError};
use crate::Check;

/// Decodes `source` from its start, and gives each span to `sink` as soon as it is complete: its index in `spans`, and
/// its audio. Spans may come in any order and overlap, and be of any channels. Memory holds only the samples of spans in
/// flight; decoding stops when the last span is complete, or the sink says `Break`.
///
/// A span has the same samples, bit for bit, whatever other spans are asked for with it. A span that is not in the
/// audio is an error of that span alone, known at the end of the audio; a channel that is not there, at its start.
///
/// Audio that ends before its header says is [`AudioError::Truncated`] once decoding reaches that end. Spans that are
/// complete by then have been delivered; the others have not.
pub fn decode_spans(
    source: Box<dyn MediaSource + '_>,
    spans: &[Span],
    limits: &Limits,
    check: Check,
    sink: Sink,
) -> Result<(), AudioError> {
    let mut stream = Stream::open(source, limits, check)?;
    let mut lanes = None;
    if spans.is_empty() {
        return Ok(());
    }
    while lanes.as_ref().is_none_or(|lanes: &Vec<Lane>| !lanes.iter().all(Lane::is_done)) {
        let Some(packet) = stream.next_packet(check)? else {
            let mut lanes = lanes.unwrap_or_default();
            for lane in &mut lanes {
                if lane.end(sink)?.is_break() {
                    return Ok(());
                }
            }
            stream.finish()?;
            for lane in lanes {
                if lane.finish(sink).is_break() {
                    break;
                }
            }
            return Ok(());
        };
        let piece = stream.decode(&packet)?;
        if piece.channels == 0 {
            continue; // nothing has been decoded yet
        }
        let lanes = match &mut lanes {
            Some(lanes) => lanes,
            none => match lanes_of(spans, piece.channels, limits.max_memory, sink) {
                ControlFlow::Continue(made) => none.insert(made),
                ControlFlow::Break(()) => return Ok(()),
            },
        };
        for lane in lanes {
            if lane.push(&piece, sink)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The spans of one channel, or of the mix, and what is between the decoder and them.
struct Lane {
    channel: Option<usize>,
    /// Their places in the list that was asked for.
    places: Vec<usize>,
    cutter: Cutter,
    resampler: Option<Resampler>,
    mono: Vec<f32>,
    ready: Vec<f32>,
}

/// A lane for each channel that is wanted and there; the spans of others are errors.
fn lanes_of(spans: &[Span], channels: usize, max_memory: u64, sink: Sink) -> ControlFlow<(), Vec<Lane>> {
    let mut wanted: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
    for (place, span) in spans.iter().enumerate() {
        match span.channel {
            Some(channel) if channel as usize > channels => {
                sink(place, Err(SpanError::ChannelMissing { channel, channels }))?;
            }
            channel => wanted.entry(channel).or_default().push(place),
        }
    }
    let share = max_memory / wanted.len().max(1) as u64;
    let lane = |(channel, places): (Option<u32>, Vec<usize>)| Lane {
        channel: channel.map(|number| number as usize - 1),
        cutter: Cutter::new(places.iter().map(|place| spans[*place]).collect(), share),
        places,
        resampler: None,
        mono: Vec::new(),
        ready: Vec::new(),
    };
    ControlFlow::Continue(wanted.into_iter().map(lane).collect())
}

impl Lane {
    fn is_done(&self) -> bool {
        self.cutter.is_done()
    }

    fn push(&mut self, piece: &Piece, sink: Sink) -> Result<ControlFlow<()>, AudioError> {
        if self.is_done() {
            return Ok(ControlFlow::Continue(()));
        }
        let filter = at_rate(&mut self.resampler, piece.rate, &mut self.ready)?;
        feed_silence(filter, piece.lost, &mut self.ready)?;
        piece.mono(self.channel, &mut self.mono);
        filter.feed(&self.mono, &mut self.ready)?;
        Ok(self.deliver(sink))
    }

    /// What the filter still has.
    fn end(&mut self, sink: Sink) -> Result<ControlFlow<()>, AudioError> {
        if let Some(last) = self.resampler.take() {
            last.finish(&mut self.ready)?;
        }
        Ok(self.deliver(sink))
    }

    fn deliver(&mut self, sink: Sink) -> ControlFlow<()> {
        let Self { cutter, places, ready, .. } = self;
        let passed = cutter.push(ready, &mut |index, samples| sink(places[index], samples));
        ready.clear();
        passed
    }

    /// The spans that the end of the audio completes, or that it does not reach.
    fn finish(self, sink: Sink) -> ControlFlow<()> {
        let Self { cutter, places, .. } = self;
        cutter.finish(&mut |index, samples: Result<Mono16k, SpanError>| sink(places[index], samples))
    }
}

/// The resampler for a rate. A stream that changes its rate ends one filter and begins another.
fn at_rate<'r>(
    resampler: &'r mut Option<Resampler>,
    rate: u32,
    ready: &mut Vec<f32>,
) -> Result<&'r mut Resampler, AudioError> {
    let current = match resampler.take() {
        Some(current) if current.rate() == rate => current,
        other => {
            if let Some(last) = other {
                last.finish(ready)?;
            }
            Resampler::new(rate)?
        }
    };
    Ok(resampler.insert(current))
}

fn feed_silence(resampler: &mut Resampler, frames: u64, ready: &mut Vec<f32>) -> Result<(), AudioError> {
    let silence = [0.0; 1024];
    let mut left = frames;
    while left > 0 {
        let now = left.min(silence.len() as u64);
        resampler.feed(&silence[..now as usize], ready)?;
        left -= now;
    }
    Ok(())
}
