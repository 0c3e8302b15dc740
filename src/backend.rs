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

/// Embeds spans of one recording, which is decoded once. `sink` hears of each span once, in any order. An error of the
/// whole recording is the outcome of every span that it hits; an error of the model or an interrupt ends the call.
pub fn embed_all(
    audio: &Audio,
    spans: &[Result<Span, SpanError>],
    model: Option<&str>,
    mut sink: impl FnMut(usize, Outcome),
) -> Result<(), Report> {
    let mut open = vec![true; spans.len()];
    let mut answer = |position: usize, outcome: Outcome| {
        open[position] = false;
        sink(position, outcome);
    };
    let mut positions = Vec::new();
    let mut wanted = Vec::new();
    for (position, span) in spans.iter().enumerate() {
        match span {
            Ok(span) => {
                positions.push(position);
                wanted.push(*span);
            }
            Err(error) => answer(position, Err((*error).into())),
        }
    }

    let interrupts = Interrupts::default();
    let check = || interrupts.check();
    let source = audio.open(&interrupts);
    interrupts.rethrow();
    let source = match source {
        Ok(source) => source,
        Err(error) => {
            positions.into_iter().for_each(|position| sink(position, Err(error.clone())));
            return Ok(());
        }
    };
    let decoded = with_model(model, |model| {
        let mut embedder = Embedder::new(model, settings::min_speech());
        let mut failed = None;
        let decoded = audio::decode_spans(source, &wanted, &settings::audio_limits(), &check, &mut |index, samples| {
            let embedded = match samples {
                Ok(samples) => embedder.push(positions[index], &samples, &check, &mut |position, outcome| {
                    answer(position, outcome.map_err(Report::from));
                }),
                Err(error) => {
                    answer(positions[index], Err(error.into()));
                    Ok(())
                }
            };
            match embedded {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        let finished = match failed {
            Some(error) => Err(error),
            None => embedder.finish(&check, &mut |position, outcome| answer(position, outcome.map_err(Report::from))),
        };
        interrupts.rethrow();
        finished?;
        Ok(decoded)
    })?;
    if let Err(error) = decoded {
        for (position, open) in open.iter().enumerate() {
            if *open {
                sink(position, Err(error.clone().into()));
            }
        }
    }
    Ok(())
}

/// Embeds one span.
pub fn embed_one(audio: &Audio, span: Span, model: Option<&str>) -> Result<UnitEmbedding, Report> {
    let mut answer = None;
    embed_all(audio, &[Ok(span)], model, |_, outcome| answer = Some(outcome))?;
    Ok(answer.unwrap_or(Err(AudioError::NoSamples.into()))?.embedding)
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
