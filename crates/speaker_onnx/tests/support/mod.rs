//! The library and the model that these tests need.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use speaker_onnx::Runtime;

pub struct Installed {
    pub runtime: &'static Runtime,
    pub models: PathBuf,
}

/// None, and why, where either is not told.
pub fn installed() -> Option<Installed> {
    let told = |name: &str| {
        let path = env::var_os(name).filter(|path| !path.is_empty());
        if path.is_none() {
            eprintln!("skipped: {name} is not set");
        }
        path
    };
    let (library, models) = (told("ONNXRUNTIME_LIB")?, told("SPEAKER_MODEL_DIR")?);
    let runtime = Runtime::load(Path::new(&library)).expect("ONNXRUNTIME_LIB is ONNX Runtime");
    Some(Installed { runtime, models: models.into() })
}

/// A new folder, removed in the end.
pub struct Folder {
    pub path: PathBuf,
}

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("speaker_onnx-{name}-{}", process::id()));
        fs::create_dir(&path).expect("the folder is new");
        Self { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
