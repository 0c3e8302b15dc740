//! Many utterances through one model, in batches of windows that are filled across utterances.

use std::collections::VecDeque;

use ndarray::{Array2, Array3, Axis};
use speaker_core::audio::Mono16k;
use speaker_core::embedding::{self, UnitEmbedding};
use speaker_core::features::{SpeechError, Windows};
use speaker_core::Check;

use crate::{EmbedError, Model, OnnxError};

/// Windows of one run, at most. A run cannot be interrupted, so it must be short: six windows take some 12 ms. And six
/// are what a run does fastest: docs/decisions/010-extraction.md.
pub const BATCH_WINDOWS: usize = 6;

/// Windows of the next run where `waiting` wait. A full batch and a small rest take longer than two halves.
pub fn next_batch(waiting: usize) -> usize {
    match waiting {
        0..=BATCH_WINDOWS => waiting,
        _ if waiting < 2 * BATCH_WINDOWS => waiting.div_ceil(2),
        _ => BATCH_WINDOWS,
    }
}

/// An utterance's embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    pub embedding: UnitEmbedding,
    /// Seconds of speech after voice activity detection.
    pub speech_s: f64,
}

/// An utterance on its way.
struct Pending {
    index: usize,
    windows: Windows,
    /// Embeddings of the windows that have run, in order.
    done: Vec<f32>,
}

/// Takes utterances as decoding delivers them and answers their embeddings, in the same order, as batches fill. It
/// holds the features of two batches and of one utterance at most.
///
/// The model is lent for each call, so that an embedder can live as long as what it is part of; it has to be the same
/// one each time.
pub struct Embedder {
    min_speech_s: f64,
    waiting: VecDeque<Pending>,
    /// Windows that wait.
    unrun: usize,
    batch: Array3<f32>,
}

impl Embedder {
    /// `min_speech_s` None means the model's own.
    pub fn new(model: &Model, min_speech_s: Option<f64>) -> Self {
        let [frames, bands] = model.frontend().window_shape();
        Self {
            min_speech_s: min_speech_s.unwrap_or(model.manifest().min_speech_s),
            waiting: VecDeque::new(),
            unrun: 0,
            batch: Array3::zeros((BATCH_WINDOWS, frames, bands)),
        }
    }

    /// Takes an utterance. `sink` hears of every one that is finished by this.
    pub fn push(
        &mut self,
        model: &mut Model,
        index: usize,
        audio: &Mono16k,
        check: Check,
        sink: &mut dyn FnMut(usize, Result<Embedded, EmbedError>),
    ) -> Result<(), OnnxError> {
        let windows = match model.frontend().windows(audio, self.min_speech_s, check) {
            Ok(windows) => windows,
            Err(SpeechError::Interrupted) => return Err(OnnxError::Interrupted),
            Err(error) => {
                sink(index, Err(error.into()));
                return Ok(());
            }
        };
        self.unrun += windows.len();
        self.waiting.push_back(Pending { index, windows, done: Vec::new() });
        // Enough wait for the size of this batch not to depend on whether more will come.
        while self.unrun >= 2 * BATCH_WINDOWS {
            self.run(model, check, sink)?;
        }
        Ok(())
    }

    /// Runs what waits.
    pub fn finish(
        &mut self,
        model: &mut Model,
        check: Check,
        sink: &mut dyn FnMut(usize, Result<Embedded, EmbedError>),
    ) -> Result<(), OnnxError> {
        while self.unrun > 0 {
            self.run(model, check, sink)?;
        }
        Ok(())
    }

    /// One batch, from the front.
    fn run(
        &mut self,
        model: &mut Model,
        check: Check,
        sink: &mut dyn FnMut(usize, Result<Embedded, EmbedError>),
    ) -> Result<(), OnnxError> {
        if check().is_break() {
            return Err(OnnxError::Interrupted);
        }
        let dim = model.manifest().dim;
        let unrun = self.waiting.iter().enumerate().flat_map(|(position, utterance)| {
            (utterance.done.len() / dim..utterance.windows.len()).map(move |window| (position, window))
        });
        let chosen: Vec<_> = unrun.take(next_batch(self.unrun)).collect();
        for (mut row, (position, window)) in self.batch.outer_iter_mut().zip(&chosen) {
            let row = row.as_slice_mut().expect("rows of a batch are contiguous");
            row.copy_from_slice(self.waiting[*position].windows.window(*window));
        }

        let waiting = &mut self.waiting;
        let batch = self.batch.slice_axis(Axis(0), (0..chosen.len()).into());
        model.run(batch, |answers| {
            for ((position, _), answer) in chosen.iter().zip(answers.outer_iter()) {
                waiting[*position].done.extend(answer.iter());
            }
        })?;
        self.unrun -= chosen.len();

        while self.waiting.front().is_some_and(|first| first.done.len() == first.windows.len() * dim) {
            let Some(first) = self.waiting.pop_front() else { break };
            sink(first.index, pool(first, dim));
        }
        Ok(())
    }
}

fn pool(utterance: Pending, dim: usize) -> Result<Embedded, EmbedError> {
    let rows = utterance.windows.len();
    let windows = Array2::from_shape_vec((rows, dim), utterance.done).expect("every window gave dim values");
    Ok(Embedded { embedding: embedding::pool(windows.view())?, speech_s: utterance.windows.speech_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_shared_by_two_batches() {
        let batches = |mut waiting: usize| {
            let mut sizes = Vec::new();
            while waiting > 0 {
                sizes.push(next_batch(waiting));
                waiting -= sizes[sizes.len() - 1];
            }
            sizes
        };
        assert_eq!(batches(6), [6]);
        assert_eq!(batches(7), [4, 3]);
        assert_eq!(batches(12), [6, 6]);
        assert_eq!(batches(13), [6, 4, 3]);
    }
}
