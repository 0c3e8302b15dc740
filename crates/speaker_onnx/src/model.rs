//! One model: its manifest, its frontend and its session.

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ndarray::{ArrayView3, ArrayViewD, Axis};
use ort::ep::CPU;
use ort::session::builder::SessionBuilder;
use ort::session::Session;
use ort::value::{TensorElementType, TensorRef, ValueType};
use sha2::{Digest, Sha256};
use speaker_core::features::Frontend;
use speaker_core::manifest::{is_model_name, Manifest};

use crate::runtime::without_signals;
use crate::{OnnxError, Runtime};

/// A model that is ready to run.
pub struct Model {
    manifest: Manifest,
    frontend: Frontend,
    session: Session,
}

/// The text of the manifest NAME.toml in `dir`.
pub fn read_manifest(dir: &Path, name: &str) -> Result<String, OnnxError> {
    if !is_model_name(name) {
        return Err(OnnxError::Name { name: name.into() });
    }
    let path = dir.join(name).with_extension("toml");
    fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => OnnxError::NotInstalled { name: name.into() },
        _ => OnnxError::Missing { path, detail: error.to_string() },
    })
}

/// The manifest of model `name` from the text of NAME.toml.
pub fn parse_manifest(name: &str, text: &str) -> Result<Manifest, OnnxError> {
    let manifest = Manifest::parse(text)?;
    if manifest.name != name {
        let detail = format!("manifest {name}.toml is of model \"{}\"", manifest.name);
        return Err(OnnxError::Contract { name: name.into(), detail });
    }
    Ok(manifest)
}

impl Model {
    /// Opens the model of the manifest NAME.toml in `dir`.
    pub fn open(runtime: &'static Runtime, dir: &Path, name: &str) -> Result<Self, OnnxError> {
        Self::of_manifest(runtime, dir, parse_manifest(name, &read_manifest(dir, name)?)?)
    }

    /// Opens the model of this manifest. The ONNX file in `dir` must have the manifest's sha256, and its graph the
    /// manifest's tensors.
    pub fn of_manifest(runtime: &'static Runtime, dir: &Path, manifest: Manifest) -> Result<Self, OnnxError> {
        let path = dir.join(&manifest.file);
        let bytes =
            fs::read(&path).map_err(|error| OnnxError::Missing { path: path.clone(), detail: error.to_string() })?;
        let got = hex(&Sha256::digest(&bytes));
        if got != manifest.sha256 {
            return Err(OnnxError::Altered { path, expected: manifest.sha256, got });
        }

        let contract = {
            let name = manifest.name.clone();
            move |error: &dyn Display| OnnxError::Contract { name: name.clone(), detail: error.to_string() }
        };
        // From the bytes that were checked, not from the file, which may be another by now.
        let session = without_signals(|| session(runtime, &bytes)).map_err(|error| contract(&error))?;
        let frontend = Frontend::new(&manifest);
        let model = Self { manifest, frontend, session };
        model.check_graph().map_err(|detail| contract(&detail))?;
        Ok(model)
    }

    /// The contract.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Samples to windows.
    pub fn frontend(&self) -> &Frontend {
        &self.frontend
    }

    /// Runs windows [batch, frames, bands] through the graph and hands its answer [batch, dim] to `read`.
    pub fn run<T>(
        &mut self,
        windows: ArrayView3<f32>,
        read: impl FnOnce(ArrayViewD<f32>) -> T,
    ) -> Result<T, OnnxError> {
        let rows = windows.len_of(Axis(0));
        let failed = |error: ort::Error| OnnxError::Inference { detail: error.to_string() };
        let input = TensorRef::from_array_view(windows).map_err(failed)?;
        let outputs = self.session.run(ort::inputs![self.manifest.input.name.as_str() => input]).map_err(failed)?;
        let output = outputs[self.manifest.output.name.as_str()].try_extract_array::<f32>().map_err(failed)?;
        if output.shape() != [rows, self.manifest.dim] {
            let detail = format!("output is {:?}, not {:?}", output.shape(), [rows, self.manifest.dim]);
            return Err(OnnxError::Inference { detail });
        }
        Ok(read(output))
    }

    /// Names, types and shapes of the graph's tensors against the manifest.
    fn check_graph(&self) -> Result<(), String> {
        let [frames, bands] = self.frontend.window_shape().map(|size| size as i64);
        let dim = self.manifest.dim as i64;
        let tensors = [
            ("input", &self.manifest.input.name, self.session.inputs(), vec![frames, bands]),
            ("output", &self.manifest.output.name, self.session.outputs(), vec![dim]),
        ];
        for (side, name, outlets, row) in tensors {
            let outlet = outlets.iter().find(|outlet| outlet.name() == name);
            match outlet.map(|outlet| outlet.dtype()) {
                None => return Err(format!("the graph has no {side} \"{name}\"")),
                Some(ValueType::Tensor { ty: TensorElementType::Float32, shape, .. })
                    if shape.first() == Some(&-1) && shape[1..] == row[..] => {}
                Some(other) => return Err(format!("{side} \"{name}\" is {other}, not f32 of a batch of {row:?}")),
            }
        }
        Ok(())
    }
}

/// A session for a backend: one thread, the caller's. The arena keeps the memory of the largest batch, which is small,
/// and spares what giving it back each time costs: 25,000 page faults in 166 batches.
fn session(runtime: &'static Runtime, bytes: &[u8]) -> ort::Result<Session> {
    let plain = |error: ort::Error<SessionBuilder>| ort::Error::new(error.to_string());
    Session::builder(&runtime.environment)?
        .with_execution_providers([CPU::default().with_arena_allocator(true).build()])
        .map_err(plain)?
        .with_intra_threads(1)
        .map_err(plain)?
        .with_inter_threads(1)
        .map_err(plain)?
        .with_intra_op_spinning(false)
        .map_err(plain)?
        .commit_from_memory(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
