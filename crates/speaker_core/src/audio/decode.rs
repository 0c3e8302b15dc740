//! Decodes a source once and delivers the spans that are wanted of it.

use super::cut::{Cutter, Sink};
use super::resample::Resampler;
use super::source::MediaSource;
use super::stream::Stream;
use super::{AudioError, Limits, Span};
use crate::Check;

/// Decodes `source` from its start, and gives each span to `sink` as soon as it is complete: its index in `spans`, and
/// its audio. Spans may come in any order and overlap. Memory holds only the samples of spans in flight; decoding stops
/// when the last span is complete, or the sink says `Break`.
///
/// A span has the same samples, bit for bit, whatever other spans are asked for with it. A span that is not in the
/// audio is an error of that span alone, known at the end of the audio.
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
    let mut resampler = None;
    let mut ready = Vec::new();
    let mut cutter = Cutter::new(spans, limits.max_memory);
    while !cutter.is_done() {
        let Some(packet) = stream.next_packet(check)? else {
            if let Some(last) = resampler.take() {
                Resampler::finish(last, &mut ready)?;
            }
            if cutter.push(&ready, sink).is_continue() {
                stream.finish()?;
                let _ = cutter.finish(sink);
            }
            return Ok(());
        };
        let piece = stream.decode(&packet)?;
        if piece.rate == 0 {
            continue; // nothing has been decoded yet
        }
        let filter = at_rate(&mut resampler, piece.rate, &mut ready)?;
        feed_silence(filter, piece.lost, &mut ready)?;
        filter.feed(piece.samples, &mut ready)?;
        if cutter.push(&ready, sink).is_break() {
            return Ok(());
        }
        ready.clear();
    }
    Ok(())
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
