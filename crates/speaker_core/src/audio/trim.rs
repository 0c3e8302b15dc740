//! Takes away what the encoder put in front of the audio, and what an editor cut out without removing it.

use std::ops::Range;

/// A stretch that is to be heard, in seconds of the stream. No end means: to the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edit {
    pub(super) start_s: f64,
    pub(super) end_s: Option<f64>,
}

/// Keeps to edits as the stream passes.
#[derive(Debug, Default)]
pub(super) struct Trim {
    /// In order. None at all: everything is heard.
    edits: Vec<Edit>,
    /// The one that is next or under way.
    next: usize,
    /// Frames that have passed.
    passed: u64,
}

impl Trim {
    pub(super) fn new(edits: Vec<Edit>) -> Self {
        Self { edits, ..Self::default() }
    }

    /// Tells which of so many frames are to be heard.
    pub(super) fn pass(&mut self, frames: u64, rate: u32, mut heard: impl FnMut(Range<u64>)) {
        let begins = self.passed;
        let ends = begins.saturating_add(frames);
        self.passed = ends;
        if self.edits.is_empty() {
            heard(0..frames);
            return;
        }
        let frame_at = |seconds: f64| (seconds * f64::from(rate)).round() as u64;
        while let Some(edit) = self.edits.get(self.next) {
            let start = frame_at(edit.start_s).max(begins);
            let end = edit.end_s.map_or(u64::MAX, frame_at);
            if start < end.min(ends) {
                heard(start - begins..end.min(ends) - begins);
            }
            if end > ends {
                return;
            }
            self.next += 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "what is heard of a packet is ranges")]
mod tests {
    use super::*;

    fn edit(start_s: f64, end_s: impl Into<Option<f64>>) -> Edit {
        Edit { start_s, end_s: end_s.into() }
    }

    /// What is heard of packets of these lengths, 1000 frames a second.
    fn heard(edits: Vec<Edit>, packets: &[u64]) -> Vec<Vec<(u64, u64)>> {
        let mut trim = Trim::new(edits);
        let heard_of = |frames: &u64| {
            let mut heard = Vec::new();
            trim.pass(*frames, 1000, |range| heard.push((range.start, range.end)));
            heard
        };
        packets.iter().map(heard_of).collect()
    }

    #[test]
    fn skips_and_keeps_across_packets() {
        let passed = heard(vec![edit(0.03, 0.08)], &[20, 0, 20, 20, 30, 20]);
        assert_eq!(passed, [vec![], vec![], vec![(10, 20)], vec![(0, 20)], vec![(0, 20)], vec![]]);
    }

    #[test]
    fn several_stretches_may_share_a_packet() {
        let edits = vec![edit(0.005, 0.01), edit(0.015, 0.02), edit(0.02, 0.025), edit(0.04, None)];
        let passed = heard(edits, &[22, 10, 18]);
        assert_eq!(passed, [vec![(5, 10), (15, 20), (20, 22)], vec![(0, 3)], vec![(8, 18)]]);
    }

    #[test]
    fn everything_passes_without_an_edit() {
        assert_eq!(heard(vec![], &[u64::MAX - 1, 1]), [vec![(0, u64::MAX - 1)], vec![(0, 1)]]);
        assert_eq!(heard(vec![edit(0.0, 0.0)], &[100]), [vec![]]);
    }
}
