//! Stretches of speech that are made of several spans.

use std::ops::ControlFlow;

use super::cut::Sink;
use super::source::MediaSource;
use super::{decode_spans, AudioError, Limits, Mono16k, Span, SpanError};
use crate::Check;

/// Spans that are heard one after the other, as if nothing had been between them.
pub type Stretch = Vec<Span>;

/// Decodes a source once, as [`decode_spans`] does, and gives each stretch to `sink` as soon as its last span is
/// complete. What a span cannot have, its stretch cannot.
pub fn decode_stretches(
    source: Box<dyn MediaSource + '_>,
    stretches: &[Stretch],
    limits: &Limits,
    check: Check,
    sink: Sink,
) -> Result<(), AudioError> {
    let spans: Vec<Span> = stretches.concat();
    let owners: Vec<(usize, usize)> =
        (0..).zip(stretches).flat_map(|(stretch, spans)| (0..spans.len()).map(move |place| (stretch, place))).collect();
    let mut waiting = Waiting { parts: vec![Some(Vec::new()); stretches.len()], held_bytes: 0 };
    decode_spans(source, &spans, limits, check, &mut |index, samples| {
        let (stretch, place) = owners[index];
        match waiting.take(stretch, place, &stretches[stretch], samples, limits.max_memory) {
            Some(answer) => sink(stretch, answer),
            None => ControlFlow::Continue(()),
        }
    })
}

/// Spans of stretches that wait for others.
struct Waiting {
    /// The parts of each stretch so far; `None` once it was answered.
    parts: Vec<Option<Vec<Option<Mono16k>>>>,
    held_bytes: u64,
}

impl Waiting {
    /// Takes a part of the stretch `of`; the answer is the whole, or why there is none.
    fn take(
        &mut self,
        stretch: usize,
        place: usize,
        of: &[Span],
        part: Result<Mono16k, SpanError>,
        max_bytes: u64,
    ) -> Option<Result<Mono16k, SpanError>> {
        if let [_] = of {
            return Some(part);
        }
        let bytes = |part: &Mono16k| size_of_val(part.samples()) as u64;
        let parts = self.parts[stretch].as_mut()?;
        parts.resize(of.len(), None);
        let taken = part.map(|part| {
            self.held_bytes += bytes(&part);
            parts[place] = Some(part);
        });
        let waits = parts.iter().any(Option::is_none);
        let taken = taken.and_then(|()| match waits && self.held_bytes > max_bytes {
            true => Err(SpanError::TooMuchMemory { start_s: of[0].start_s, end_s: of[of.len() - 1].end_s, max_bytes }),
            false => Ok(()),
        });
        if taken.is_ok() && waits {
            return None;
        }
        let parts: Vec<Mono16k> = self.parts[stretch].take()?.into_iter().flatten().collect();
        self.held_bytes -= parts.iter().map(bytes).sum::<u64>();
        Some(taken.map(|()| Mono16k(parts.into_iter().flat_map(|part| part.0).collect())))
    }
}
