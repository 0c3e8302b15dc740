//! Audio to embeddings: recordings come one by one, each is decoded once, and batches of windows are filled across them.

use std::ops::ControlFlow;

use speaker_core::audio::{self, AudioError, Mono16k, Span, SpanError, Stretch};
use speaker_core::embedding::UnitEmbedding;
use speaker_core::manifest::Manifest;
use speaker_onnx::{Embedded, Embedder};

use crate::error::Report;
use crate::interrupts::Interrupts;
use crate::memory;
use crate::model_cache::{self, SharedModel};
use crate::settings;
use crate::source::Audio;

/// What became of one stretch.
pub type Outcome = Result<Embedded, Report>;

/// An extraction under way.
pub struct Extraction {
    /// Its own handle: what is begun under one version of a model ends under it.
    model: SharedModel,
    embedder: Embedder,
    /// Of all stretches so far; `None` has no answer yet.
    outcomes: Vec<Option<Outcome>>,
}

impl Extraction {
    /// `model` None is the default one, `sha256` None whatever version is installed.
    pub fn new(model: Option<&str>, sha256: Option<&str>) -> Result<Self, Report> {
        let model = model_cache::model(model, sha256)?;
        let embedder = Embedder::new(&model.borrow(), settings::min_speech());
        Ok(Self { model, embedder, outcomes: Vec::new() })
    }

    /// Takes a recording. An error of the whole of it is the outcome of every stretch that it hits; an error of the
    /// model or an interrupt ends the extraction.
    pub fn take(
        &mut self,
        audio: &Audio,
        stretches: impl Iterator<Item = Result<Stretch, SpanError>>,
    ) -> Result<(), Report> {
        let first = self.outcomes.len();
        let mut wanted = Vec::new();
        let mut places = Vec::new();
        for (place, stretch) in (first..).zip(stretches) {
            match stretch {
                Ok(stretch) => {
                    wanted.push(stretch);
                    places.push(place);
                    self.outcomes.push(None);
                }
                Err(error) => self.outcomes.push(Some(Err(error.into()))),
            }
        }

        let interrupts = Interrupts::default();
        let check = || interrupts.check();
        let Self { model, embedder, outcomes } = self;
        let model = &mut *model.borrow_mut();
        // Stretches that got their samples, or an error instead.
        let mut reached = vec![false; places.len()];
        let mut failed = None;
        let decoded = audio.open(&interrupts).and_then(|source| {
            let mut sink = |index: usize, samples: Result<Mono16k, SpanError>| {
                reached[index] = true;
                let place = places[index];
                let pushed = match samples {
                    Ok(samples) => embedder.push(model, place, &samples, &check, &mut |place, outcome| {
                        outcomes[place] = Some(outcome.map_err(Report::from));
                    }),
                    Err(error) => {
                        outcomes[place] = Some(Err(error.into()));
                        Ok(())
                    }
                };
                match pushed {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            };
            Ok(audio::decode_stretches(source, &wanted, &settings::audio_limits(), &check, &mut sink)?)
        });
        interrupts.rethrow();
        if let Some(error) = failed {
            return Err(error.into());
        }
        if let Err(error) = decoded {
            for (place, _) in places.iter().zip(reached).filter(|(_, reached)| !reached) {
                outcomes[*place] = Some(Err(error.clone()));
            }
        }
        Ok(())
    }

    /// Takes stretches that have no audio: `error` is the outcome of each.
    pub fn refuse(&mut self, error: &Report, stretches: usize) {
        self.outcomes.extend(std::iter::repeat_n(Some(Err(error.clone())), stretches));
    }

    /// The manifest of its model.
    pub fn manifest<T>(&self, read: impl FnOnce(&Manifest) -> T) -> T {
        read(self.model.borrow().manifest())
    }

    /// Runs what waits for a batch, and answers the outcome of each stretch in the order that they came in.
    pub fn finish(&mut self) -> Result<Vec<Outcome>, Report> {
        let Self { model, embedder, outcomes } = self;
        let interrupts = Interrupts::default();
        let finished = embedder.finish(&mut model.borrow_mut(), &|| interrupts.check(), &mut |place, outcome| {
            outcomes[place] = Some(outcome.map_err(Report::from));
        });
        interrupts.rethrow();
        finished?;
        let outcomes = std::mem::take(outcomes);
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(AudioError::NoSamples.into()))).collect())
    }

    /// Refuses as many more spans where they would take too much memory. Their number is the caller's to choose, and
    /// memory that Rust does not get ends the server: to be asked before anything is made for them.
    pub fn check_room(&self, spans: usize) -> Result<(), Report> {
        let dim = self.manifest(|manifest| manifest.dim);
        // The span in its lists, its outcome, and the embedding twice: here, and in the answer.
        let each = 4 * size_of::<Option<Outcome>>() + 2 * dim * size_of::<f32>();
        let need = (self.outcomes.len() + spans) as u64 * each as u64;
        memory::within_limit(need, || "embedding that many segments in one call".to_owned())
    }
}

/// Embeds one span.
pub fn embed_one(audio: &Audio, span: Span, model: Option<&str>) -> Result<UnitEmbedding, Report> {
    let mut extraction = Extraction::new(model, None)?;
    extraction.take(audio, std::iter::once(Ok(vec![span])))?;
    let [outcome] = <[Outcome; 1]>::try_from(extraction.finish()?).expect("one stretch has one outcome");
    Ok(outcome?.embedding)
}

/// Decodes one span.
pub fn decode_one(audio: &Audio, span: Span) -> Result<Mono16k, Report> {
    let interrupts = Interrupts::default();
    let source = audio.open(&interrupts);
    interrupts.rethrow();
    let source = source?;
    let mut answer = None;
    let decoded =
        audio::decode_spans(source, &[span], &settings::audio_limits(), &|| interrupts.check(), &mut |_, samples| {
            answer = Some(samples);
            ControlFlow::Continue(())
        });
    interrupts.rethrow();
    match answer {
        Some(samples) => Ok(samples?),
        None => Err(decoded.err().unwrap_or(AudioError::NoSamples).into()),
    }
}
