//! What a backend keeps: the ONNX Runtime and the models it has opened. Both are made on first use and stay until the
//! session ends, or until another version of the model is installed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use speaker_onnx::{parse_manifest, Model, OnnxError, Runtime};

use crate::settings;

/// A model that its users share. Each borrows it for one call of it.
pub type SharedModel = Rc<RefCell<Model>>;

/// A model as its files were when it was opened.
struct Opened {
    /// The text of its manifest, whose sha256 its file had.
    manifest: String,
    model: SharedModel,
}

thread_local! {
    // A backend has one thread that runs SQL. The folder is part of the key: after a change of the setting the next
    // call opens the model that is there. So is, by the manifest beside it, the sha256.
    static OPENED: RefCell<HashMap<(PathBuf, String), Opened>> = RefCell::default();
}

/// The text of an installed manifest.
pub fn read_manifest(model: &str) -> Result<String, OnnxError> {
    speaker_onnx::read_manifest(&settings::model_dir(), model)
}

/// The model that is installed now, opened if it is not yet. `name` None is the default one. With a `sha256` no other
/// version will do: vectors of two versions are not alike, and must never stand under one name.
pub fn model(name: Option<&str>, sha256: Option<&str>) -> Result<SharedModel, OnnxError> {
    let dir = settings::model_dir();
    let name = name.map_or_else(settings::default_model, str::to_owned);
    // Read each time: a session must not go on with a model that was replaced. It is small, a call is long.
    let text = speaker_onnx::read_manifest(&dir, &name)?;
    OPENED.with_borrow_mut(|opened| {
        let key = (dir, name);
        let kept = opened.get(&key).filter(|opened| opened.manifest == text).map(|opened| Rc::clone(&opened.model));
        if let Some(model) = kept {
            wanted(&key.1, sha256, &model.borrow().manifest().sha256)?;
            return Ok(model);
        }
        let manifest = parse_manifest(&key.1, &text)?;
        wanted(&key.1, sha256, &manifest.sha256)?;
        // The old one goes first, not to hold the memory of both. An extraction that uses it keeps it until its end.
        opened.remove(&key);
        let model = Model::of_manifest(Runtime::load(&settings::onnxruntime())?, &key.0, manifest)?;
        let model = Rc::new(RefCell::new(model));
        opened.insert(key, Opened { manifest: text, model: Rc::clone(&model) });
        Ok(model)
    })
}

fn wanted(name: &str, wanted: Option<&str>, installed: &str) -> Result<(), OnnxError> {
    match wanted {
        Some(wanted) if wanted != installed => {
            Err(OnnxError::OtherVersion { name: name.into(), wanted: wanted.into(), installed: installed.into() })
        }
        _ => Ok(()),
    }
}
