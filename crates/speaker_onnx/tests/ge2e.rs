//! The default model against its reference implementation, and what a batch may not change.
//!
//! Needs libonnxruntime at ONNXRUNTIME_LIB, and ge2e.toml with ge2e.onnx in the folder SPEAKER_MODEL_DIR.

#[path = "../../speaker_core/tests/features_support/mod.rs"]
mod features_support;
mod support;

use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;

use features_support::{golden, read, stretches};
use speaker_core::audio::Mono16k;
use speaker_core::embedding::{cosine, UnitEmbedding};
use speaker_core::features::SpeechError;
use speaker_core::never;
use speaker_onnx::{EmbedError, Embedder, Model, OnnxError, BATCH_WINDOWS};
use support::{installed, Installed};

/// Turns of the fixtures in the order of truth.csv.
fn turns() -> Vec<Mono16k> {
    let truth = String::from_utf8(read("fixtures/truth.csv")).unwrap();
    let rows: Vec<(String, (f64, f64))> = truth
        .lines()
        .skip(1)
        .map(|row| {
            let fields: Vec<&str> = row.split(',').collect();
            (fields[0].to_owned(), (fields[1].parse().unwrap(), fields[2].parse().unwrap()))
        })
        .collect();
    // Rows of one recording stand together, so that each is decoded once.
    let of_one_recording = rows.chunk_by(|a, b| a.0 == b.0);
    let turns: Vec<_> = of_one_recording
        .flat_map(|rows| stretches(&rows[0].0, &rows.iter().map(|row| row.1).collect::<Vec<_>>()))
        .collect();
    assert!(!turns.is_empty());
    turns
}

type Answer = (usize, Result<UnitEmbedding, EmbedError>);

fn embed_all(model: &mut Model, audios: &[Mono16k]) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut embedder = Embedder::new(model, None);
    for (index, audio) in audios.iter().enumerate() {
        let take = &mut |index, answer: Result<speaker_onnx::Embedded, _>| {
            answers.push((index, answer.map(|embedded| embedded.embedding)));
        };
        embedder.push(model, index, audio, &never, take).unwrap();
    }
    embedder
        .finish(model, &never, &mut |index, answer| answers.push((index, answer.map(|embedded| embedded.embedding))))
        .unwrap();
    answers.sort_by_key(|(index, _)| *index);
    answers
}

#[test]
fn embeddings_are_the_references() {
    let Some(Installed { runtime, models }) = installed() else { return };
    let mut model = Model::open(runtime, &models, "ge2e").unwrap();
    let answers = embed_all(&mut model, &turns());
    let expected = golden("ge2e_turns.npy");
    assert_eq!(expected.len(), answers.len() * 256);
    for ((index, answer), expected) in answers.into_iter().zip(expected.chunks(256)) {
        let similarity = cosine(answer.unwrap().as_slice(), expected).unwrap();
        // The promise is 0.9999; 1 - 1e-11 was the worst seen on 241 clips of other audio.
        assert!(similarity > 1.0 - 1e-8, "turn {index}: {similarity}");
    }
}

#[test]
fn an_embedding_does_not_depend_on_what_shares_its_batch() {
    let Some(Installed { runtime, models }) = installed() else { return };
    let mut model = Model::open(runtime, &models, "ge2e").unwrap();
    let turns = turns();
    let together = embed_all(&mut model, &turns);
    for (answer, turn) in together.iter().zip(&turns) {
        let alone = embed_all(&mut model, std::slice::from_ref(turn)).remove(0);
        assert_eq!(answer.1, alone.1, "turn {}", answer.0);
    }
}

#[test]
fn one_bad_utterance_fails_alone() {
    let Some(Installed { runtime, models }) = installed() else { return };
    let mut model = Model::open(runtime, &models, "ge2e").unwrap();
    let good = turns();
    let silence = Mono16k::new(vec![0.0; 32_000]);
    let answers = embed_all(&mut model, &[good[0].clone(), silence, good[1].clone()]);
    assert_eq!(answers.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(answers[0].1.is_ok() && answers[2].1.is_ok());
    assert_eq!(answers[1].1, Err(EmbedError::Speech(SpeechError::Silent { audio_s: 2.0 })));
}

#[test]
fn an_interrupt_is_answered_before_the_next_batch() {
    let Some(Installed { runtime, models }) = installed() else { return };
    let mut model = Model::open(runtime, &models, "ge2e").unwrap();
    let long = stretches("meeting", &[(0.0, 60.0)]).remove(0);

    // Asked while the features are made, then once a batch.
    let asked = Cell::new(0_usize);
    let count = || {
        asked.set(asked.get() + 1);
        ControlFlow::Continue(())
    };
    let windows = model.frontend().windows(&long, 0.6, &count).unwrap().len();
    let features = asked.replace(0);
    let mut embedder = Embedder::new(&model, None);
    embedder.push(&mut model, 0, &long, &count, &mut |_, _| {}).unwrap();
    embedder.finish(&mut model, &count, &mut |_, _| {}).unwrap();
    assert_eq!(asked.get() - features, windows.div_ceil(BATCH_WINDOWS));

    let left = Cell::new(features + 1);
    let stop = || match left.get() {
        0 => ControlFlow::Break(()),
        more => {
            left.set(more - 1);
            ControlFlow::Continue(())
        }
    };
    let mut answers = 0;
    let stopped = Embedder::new(&model, None).push(&mut model, 0, &long, &stop, &mut |_, _| answers += 1);
    assert!(matches!(stopped, Err(OnnxError::Interrupted)), "{stopped:?}");
    assert_eq!(answers, 0);

    // Nothing of the interrupted utterance is left behind.
    let turn = turns().remove(0);
    let after = embed_all(&mut model, std::slice::from_ref(&turn)).remove(0).1.unwrap();
    assert!(cosine(after.as_slice(), &golden("ge2e_turns.npy")[..256]).unwrap() > 1.0 - 1e-8);
}

#[test]
fn a_model_that_is_not_what_its_manifest_says_is_refused() {
    let Some(Installed { runtime, models }) = installed() else { return };
    let folder = support::Folder::new("refused");
    let manifest = fs::read_to_string(models.join("ge2e.toml")).unwrap();
    let onnx = fs::read(models.join("ge2e.onnx")).unwrap();
    let refusal = |manifest: &str| {
        fs::write(folder.path.join("ge2e.toml"), manifest).unwrap();
        Model::open(runtime, &folder.path, "ge2e").err().expect("the model is refused")
    };

    assert!(matches!(refusal(&manifest), OnnxError::Missing { path, .. } if path.ends_with("ge2e.onnx")));

    let mut altered = onnx.clone();
    *altered.last_mut().unwrap() ^= 1;
    fs::write(folder.path.join("ge2e.onnx"), altered).unwrap();
    assert!(matches!(refusal(&manifest), OnnxError::Altered { expected, got, .. } if expected != got));

    fs::write(folder.path.join("ge2e.onnx"), onnx).unwrap();
    for (from, to) in [
        ("name = \"mel\"", "name = \"melody\""),
        ("name = \"embedding\"", "name = \"vector\""),
        ("dim = 256", "dim = 192"),
        ("n_mels = 40", "n_mels = 80"),
        ("window_frames = 160", "window_frames = 161"),
    ] {
        assert!(manifest.contains(from), "the manifest has {from}");
        let error = refusal(&manifest.replacen(from, to, 1));
        assert!(matches!(error, OnnxError::Contract { .. }), "{to}: {error}");
    }
    let other = refusal(&manifest.replacen("name = \"ge2e\"", "name = \"other\"", 1));
    assert!(matches!(other, OnnxError::Contract { .. }), "{other}");
}

#[test]
fn names_cannot_leave_the_model_folder() {
    let Some(Installed { runtime, models }) = installed() else { return };
    for name in ["../ge2e", "/etc/passwd", "", "ge2e\0", "ge2e/../ge2e"] {
        let error = Model::open(runtime, &models, name).err();
        assert!(matches!(error, Some(OnnxError::Name { .. })), "{name:?}: {error:?}");
    }
    assert!(matches!(Model::open(runtime, &models, "absent").err(), Some(OnnxError::NotInstalled { .. })));
}
