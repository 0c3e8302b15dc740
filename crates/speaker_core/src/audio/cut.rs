//! Cuts spans out of a stream of samples as it passes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::{Mono16k, Span, SpanError, SAMPLE_RATE};

/// Where complete spans go: the span's index in the list that was asked for, and its audio.
pub(super) type Sink<'a> = &'a mut dyn FnMut(usize, Result<Mono16k, SpanError>) -> ControlFlow<()>;

/// Holds one copy of the samples from the earliest start of any span in flight, however many spans share them.
pub(super) struct Cutter {
    spans: Vec<Span>,
    /// (first sample, index) of every span not yet delivered.
    by_start: BTreeSet<(u64, usize)>,
    /// (one past the last sample, index) of the same spans; `u64::MAX` for those that run to the end.
    by_end: BTreeSet<(u64, usize)>,
    /// Samples that have passed.
    passed: u64,
    /// The last samples that passed: those from `passed - held.len()` on.
    held: Vec<f32>,
    /// The most samples to hold.
    most: usize,
    max_bytes: u64,
}

impl Cutter {
    pub(super) fn new(spans: Vec<Span>, max_bytes: u64) -> Self {
        let by_start = spans.iter().enumerate().map(|(index, span)| (sample_at(span.start_s), index)).collect();
        let by_end =
            spans.iter().enumerate().map(|(index, span)| (span.end_s.map_or(u64::MAX, sample_at), index)).collect();
        let most = usize::try_from(max_bytes / size_of::<f32>() as u64).unwrap_or(usize::MAX);
        Self { spans, by_start, by_end, passed: 0, held: Vec::new(), most, max_bytes }
    }

    /// Whether every span has been delivered.
    pub(super) fn is_done(&self) -> bool {
        self.by_end.is_empty()
    }

    /// Lets samples pass, and delivers the spans that they complete in the order of their ends.
    pub(super) fn push(&mut self, samples: &[f32], sink: Sink) -> ControlFlow<()> {
        let first_wanted = self.by_start.first().map_or(u64::MAX, |&(start, _)| start);
        // Nothing is held before the first wanted sample, so what is held always ends at `passed`.
        let skip = if self.held.is_empty() { first_wanted.saturating_sub(self.passed) } else { 0 };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(samples.len());
        self.held.extend_from_slice(&samples[skip..]);
        self.passed += samples.len() as u64;

        while let Some(&(end, index)) = self.by_end.first() {
            if end > self.passed {
                break;
            }
            let start = self.forget(end, index);
            sink(index, Ok(self.audio(start, end)))?;
        }
        self.release();
        while self.held.len() > self.most {
            self.give_up_first(sink)?;
        }
        ControlFlow::Continue(())
    }

    /// Gives up the span that holds the most: the one that began first.
    fn give_up_first(&mut self, sink: Sink) -> ControlFlow<()> {
        let Some(&(_, index)) = self.by_start.first() else { return ControlFlow::Continue(()) };
        let Span { start_s, end_s, .. } = self.spans[index];
        self.forget(end_s.map_or(u64::MAX, sample_at), index);
        self.release();
        sink(index, Err(SpanError::TooMuchMemory { start_s, end_s, max_bytes: self.max_bytes }))
    }

    /// The stream has ended: delivers what is left, in the order that was asked for.
    pub(super) fn finish(mut self, sink: Sink) -> ControlFlow<()> {
        // Diarizers run past the end of the file, a little: a second, or a hundredth of it. More is another unit.
        let tolerance = u64::from(SAMPLE_RATE).max(self.passed / 100);
        let mut open: Vec<_> = self.by_end.iter().map(|&(end, index)| (index, end)).collect();
        open.sort_unstable();
        for (index, end) in open {
            let start = self.forget(end, index);
            let runs_over = end != u64::MAX && end > self.passed.saturating_add(tolerance);
            let audio = if start >= self.passed || runs_over {
                let Span { start_s, end_s, .. } = self.spans[index];
                Err(SpanError::BeyondEnd { start_s, end_s, audio_s: self.passed as f64 / f64::from(SAMPLE_RATE) })
            } else {
                Ok(self.audio(start, self.passed))
            };
            sink(index, audio)?;
        }
        ControlFlow::Continue(())
    }

    /// Takes a span off the lists; returns its first sample.
    fn forget(&mut self, end: u64, index: usize) -> u64 {
        let start = sample_at(self.spans[index].start_s);
        self.by_end.remove(&(end, index));
        self.by_start.remove(&(start, index));
        start
    }

    fn audio(&mut self, start: u64, end: u64) -> Mono16k {
        let held_from = self.passed - self.held.len() as u64;
        let at = |sample: u64| usize::try_from(sample.saturating_sub(held_from)).unwrap_or(usize::MAX);
        if self.is_done() && start == held_from {
            // The last span, often the whole file: hand over the samples instead of copying them.
            let mut samples = std::mem::take(&mut self.held);
            samples.truncate(at(end));
            return Mono16k::new(samples);
        }
        Mono16k::new(self.held.get(at(start)..at(end)).unwrap_or_default().to_vec())
    }

    /// Lets go of samples before the first that is still wanted. Moves what remains only when that is the smaller
    /// half, so that all moves together cost no more than the samples.
    fn release(&mut self) {
        let first_wanted = self.by_start.first().map_or(u64::MAX, |&(start, _)| start);
        let held_from = self.passed - self.held.len() as u64;
        let unwanted = usize::try_from(first_wanted.saturating_sub(held_from)).unwrap_or(usize::MAX);
        if unwanted >= self.held.len() {
            self.held.clear();
        } else if unwanted > self.held.len() / 2 {
            self.held.drain(..unwanted);
        }
    }
}

/// The sample nearest to a time. Saturates: no stream is that long.
fn sample_at(seconds: f64) -> u64 {
    (seconds * f64::from(SAMPLE_RATE)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: f64, end: impl Into<Option<f64>>) -> Span {
        Span::new(Some(start), end.into()).unwrap()
    }

    /// A ramp: the value of a sample is its number in the stream.
    fn ramp(samples: u64) -> Vec<f32> {
        (0..samples).map(|n| n as f32).collect()
    }

    type Delivery = (usize, Result<(f32, usize), SpanError>);

    /// Pushes `seconds` of ramp in blocks; returns what came out as (index, (first value, length)), and the most
    /// samples ever held.
    fn cut(spans: &[Span], seconds: f64, block: usize) -> (Vec<Delivery>, usize) {
        let mut out = Vec::new();
        let mut sink = |index: usize, audio: Result<Mono16k, SpanError>| {
            let audio = audio.map(|mono| {
                let samples = mono.samples();
                assert!(samples.windows(2).all(|pair| pair[1] - pair[0] == 1.0), "span {index} has a seam");
                (samples[0], samples.len())
            });
            out.push((index, audio));
            ControlFlow::Continue(())
        };
        let mut cutter = Cutter::new(spans.to_vec(), u64::MAX);
        let mut most = 0;
        for samples in ramp(sample_at(seconds)).chunks(block) {
            assert!(cutter.push(samples, &mut sink).is_continue());
            most = most.max(cutter.held.len());
        }
        assert!(cutter.finish(&mut sink).is_continue());
        (out, most)
    }

    #[test]
    fn any_order_overlap_nesting_and_duplicates() {
        let spans = [span(1.0, 2.0), span(0.5, 1.5), span(1.0, 2.0), span(0.0, None), span(1.2, 1.3), span(0.0, 0.25)];
        for block in [1, 7, 160, 1000, 40_000] {
            let (mut out, _) = cut(&spans, 2.5, block);
            out.sort_by_key(|(index, _)| *index);
            let wanted = [
                (0, Ok((16_000.0, 16_000))),
                (1, Ok((8_000.0, 16_000))),
                (2, Ok((16_000.0, 16_000))),
                (3, Ok((0.0, 40_000))),
                (4, Ok((19_200.0, 1_600))),
                (5, Ok((0.0, 4_000))),
            ];
            assert_eq!(out, wanted, "in blocks of {block}");
        }
    }

    #[test]
    fn spans_come_as_soon_as_they_are_complete() {
        let spans = [span(0.5, 2.0), span(0.5, 1.0)];
        let mut order = Vec::new();
        let mut cutter = Cutter::new(spans.to_vec(), u64::MAX);
        let mut sink = |index: usize, _| {
            order.push(index);
            ControlFlow::Continue(())
        };
        assert!(cutter.push(&ramp(16_000), &mut sink).is_continue());
        assert!(!cutter.is_done());
        assert!(cutter.push(&ramp(16_000), &mut sink).is_continue());
        assert!(cutter.is_done());
        assert_eq!(order, [1, 0]);
    }

    #[test]
    fn holds_only_spans_in_flight() {
        let spans: Vec<Span> = (0..100).map(|n| span(f64::from(n), f64::from(n) + 0.5)).collect();
        let (out, most) = cut(&spans, 100.0, 160);
        assert_eq!(out.len(), 100);
        assert!(most <= 8_000 + 160, "held {most} samples");
        // Many spans that share samples share them in memory, too.
        let (_, most) = cut(&vec![span(0.0, None); 50], 2.0, 160);
        assert_eq!(most, 32_000);
    }

    #[test]
    fn a_second_or_a_hundredth_beyond_the_end_is_cut_off() {
        let spans = [span(1.0, 3.0), span(1.0, 3.01), span(2.0, 2.05), span(3.0, None), span(1.9, None)];
        let (out, _) = cut(&spans, 2.0, 1000);
        let beyond = |start_s, end_s| Err(SpanError::BeyondEnd { start_s, end_s, audio_s: 2.0 });
        let wanted = [
            (0, Ok((16_000.0, 16_000))),
            (1, beyond(1.0, Some(3.01))),
            (2, beyond(2.0, Some(2.05))),
            (3, beyond(3.0, None)),
            (4, Ok((30_400.0, 1_600))),
        ];
        assert_eq!(out, wanted);
        let (out, _) = cut(&[span(190.0, 202.0), span(190.0, 202.01)], 200.0, 1000);
        assert!(matches!(out[..], [(0, Ok((_, 160_000))), (1, Err(_))]), "{out:?}");
    }

    #[test]
    fn times_beyond_all_numbers_are_beyond_the_end() {
        let (out, most) = cut(&[span(1e300, 1e301)], 1.0, 160);
        assert!(matches!(out[..], [(0, Err(SpanError::BeyondEnd { .. }))]));
        assert_eq!(most, 0);
    }

    #[test]
    fn the_sink_can_stop() {
        let spans = [span(0.0, 0.1), span(0.0, 0.1)];
        let mut calls = 0;
        let mut sink = |_, _| {
            calls += 1;
            ControlFlow::Break(())
        };
        assert!(Cutter::new(spans.to_vec(), u64::MAX).push(&ramp(16_000), &mut sink).is_break());
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_span_over_the_budget_is_given_up_and_the_others_are_not() {
        let spans = [span(0.0, 1.0), span(0.5, None), span(1.2, 1.4), span(4.0, 4.5)];
        let mut out = Vec::new();
        let mut sink = |index: usize, audio: Result<Mono16k, SpanError>| {
            out.push((index, audio.map(|mono| mono.samples().len())));
            ControlFlow::Continue(())
        };
        // Room for a second and a half.
        let mut cutter = Cutter::new(spans.to_vec(), 24_000 * 4);
        for samples in ramp(80_000).chunks(1000) {
            assert!(cutter.push(samples, &mut sink).is_continue());
            assert!(cutter.held.len() <= 24_000);
        }
        assert!(cutter.is_done());
        let gone = SpanError::TooMuchMemory { start_s: 0.5, end_s: None, max_bytes: 96_000 };
        assert_eq!(out, [(0, Ok(16_000)), (2, Ok(3200)), (1, Err(gone)), (3, Ok(8000))]);
    }
}
