//! What a backend keeps: the ONNX Runtime and the models it has opened. Both are made on first use and stay until the
//! session ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use speaker_core::audio::{self, AudioError, Mono16k, Span, SpanError};
use speaker_core::embedding::UnitEmbedding;
use speaker_onnx::{Embedded, Embedder, Model, OnnxError, Runtime};

use crate::error::Report;
use crate::interrupts::Interrupts;
use crate::settings;
use crate::source::Audio;

thread_local! {
    // A backend has one thread that runs SQL. The folder is part of the key: after a change of the setting the next
    // call opens the model that is there.
    static MODELS: RefCell<HashMap<(PathBuf, String), Model>> = RefCell::default();
}

/// The text of an installed manifest.
pub fn read_manifest(model: &str) -> Result<String, OnnxError> {
    speaker_onnx::read_manifest(&settings::model_dir(), model)
}

/// Lends a model, opened if it is not yet. `None` is the default one.
pub fn with_model<T>(name: Option<&str>, work: impl FnOnce(&mut Model) -> Result<T, Report>) -> Result<T, Report> {
    let dir = settings::model_dir();
    let name = name.map_or_else(settings::default_model, str::to_owned);
    MODELS.with_borrow_mut(|models| {
        let key = (dir, name);
        if !models.contains_key(&key) {
            let runtime = Runtime::load(&settings::onnxruntime())?;
            let model = Model::open(runtime, &key.0, &key.1)?;
            models.insert(key.clone(), model);
        }
        work(models.get_mut(&key).expect("it was inserted above if it was not there"))
    })
}

/// What became of one span.
pub type Outcome = Result<Embedded, Report>;

/// An extraction under way: recordings come one by one, each is decoded once, and batches of windows are filled across
/// them.
pub struct Extraction<'m> {
    embedder: Embedder<'m>,
    /// Of all spans so far; `None` has no answer yet.
    outcomes: Vec<Option<Outcome>>,
}

/// Embeds what `recordings` gives to the extraction, and answers the outcome of each span in that order.
pub fn embed_all(
    model: Option<&str>,
    recordings: impl FnOnce(&mut Extraction) -> Result<(), Report>,
) -> Result<Vec<Outcome>, Report> {
    with_model(model, |model| {
        let embedder = Embedder::new(model, settings::min_speech());
        let mut extraction = Extraction { embedder, outcomes: Vec::new() };
        recordings(&mut extraction)?;
        extraction.finish()
    })
}

impl Extraction<'_> {
    /// Takes a recording. An error of the whole of it is the outcome of every span that it hits; an error of the model
    /// or an interrupt ends the extraction.
    pub fn take(&mut self, audio: &Audio, spans: &[Result<Span, SpanError>]) -> Result<(), Report> {
        let first = self.outcomes.len();
        let mut wanted = Vec::new();
        let mut places = Vec::new();
        for (place, span) in (first..).zip(spans) {
            match span {
                Ok(span) => {
                    wanted.push(*span);
                    places.push(place);
                    self.outcomes.push(None);
                }
                Err(error) => self.outcomes.push(Some(Err((*error).into()))),
            }
        }

        let interrupts = Interrupts::default();
        let check = || interrupts.check();
        let Self { embedder, outcomes } = self;
        // Spans that got their samples, or an error instead.
        let mut reached = vec![false; places.len()];
        let mut failed = None;
        let decoded = audio.open(&interrupts).and_then(|source| {
            let mut sink = |index: usize, samples: Result<Mono16k, SpanError>| {
                reached[index] = true;
                let place = places[index];
                let pushed = match samples {
                    Ok(samples) => embedder.push(place, &samples, &check, &mut |place, outcome| {
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
            Ok(audio::decode_spans(source, &wanted, &settings::audio_limits(), &check, &mut sink)?)
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

    /// Runs what waits for a batch.
    fn finish(self) -> Result<Vec<Outcome>, Report> {
        let Self { embedder, mut outcomes } = self;
        let interrupts = Interrupts::default();
        let finished = embedder.finish(&|| interrupts.check(), &mut |place, outcome| {
            outcomes[place] = Some(outcome.map_err(Report::from));
        });
        interrupts.rethrow();
        finished?;
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(AudioError::NoSamples.into()))).collect())
    }
}

/// Embeds one span.
pub fn embed_one(audio: &Audio, span: Span, model: Option<&str>) -> Result<UnitEmbedding, Report> {
    let outcomes = embed_all(model, |extraction| extraction.take(audio, &[Ok(span)]))?;
    let [outcome] = <[Outcome; 1]>::try_from(outcomes).expect("one span has one outcome");
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
