//! Takes away what the encoder put in front of the audio, and what an editor cut off without removing it.

/// What is to be heard of a stream: from `skip_s` on, for `keep_s` seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Edit {
    pub(super) skip_s: f64,
    pub(super) keep_s: Option<f64>,
}

/// An [`Edit`] as the stream passes.
#[derive(Debug, Default)]
pub(super) struct Trim {
    edit: Edit,
    /// Frames still to be dropped and to be kept, known with the rate of the first packet.
    left: Option<(u64, u64)>,
}

impl Trim {
    pub(super) fn new(edit: Edit) -> Self {
        Self { edit, left: None }
    }

    /// Of so many frames, the number to drop in front, and the number to keep behind those.
    pub(super) fn pass(&mut self, frames: u64, rate: u32) -> (u64, u64) {
        let Edit { skip_s, keep_s } = self.edit;
        let frames_in = |seconds: f64| (seconds * f64::from(rate)).round() as u64;
        let (skip, keep) = self.left.get_or_insert_with(|| (frames_in(skip_s), keep_s.map_or(u64::MAX, frames_in)));
        let dropped = frames.min(*skip);
        let kept = (frames - dropped).min(*keep);
        *skip -= dropped;
        *keep -= kept;
        (dropped, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_and_keeps_across_packets() {
        let mut trim = Trim::new(Edit { skip_s: 0.03, keep_s: Some(0.05) });
        let passed: Vec<_> = [20, 0, 20, 20, 30, 20].map(|frames| trim.pass(frames, 1000)).into();
        assert_eq!(passed, [(20, 0), (0, 0), (10, 10), (0, 20), (0, 20), (0, 0)]);
    }

    #[test]
    fn everything_passes_without_an_edit() {
        let mut trim = Trim::default();
        assert_eq!(trim.pass(u64::MAX - 1, 48_000), (0, u64::MAX - 1));
        assert_eq!(trim.pass(1, 48_000), (0, 1));
    }
}
