//! What a backend may not find after inference: threads, files, another signal mask.
//!
//! One test, for the process is its subject. Needs ONNXRUNTIME_LIB and SPEAKER_MODEL_DIR.

#[path = "../../speaker_core/tests/features_support/mod.rs"]
mod features_support;
mod support;

use std::path::Path;
use std::{env, fs};

use features_support::{golden, stretches};
use nix::sys::signal::{SigSet, Signal};
use speaker_core::embedding::cosine;
use speaker_core::never;
use speaker_onnx::{Embedder, Model, OnnxError, Runtime};
use support::{installed, Folder, Installed};

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux lists the threads of a process").count()
}

#[test]
fn loading_and_inference_leave_no_thread_no_file_and_the_signal_mask() {
    let home = Folder::new("home");
    env::set_var("HOME", &home.path);
    env::remove_var("XDG_CACHE_HOME");
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR2);
    mask.thread_set_mask().unwrap();
    let before = threads();

    // A wrong path is an error, and the right one works after it.
    let wrong = Runtime::load(Path::new("/nonexistent/libonnxruntime.so")).err();
    assert!(matches!(wrong, Some(OnnxError::Library { .. })), "{wrong:?}");

    let Some(Installed { runtime, models }) = installed() else { return };
    let mut model = Model::open(runtime, &models, "ge2e").unwrap();
    let mut embedding = None;
    let audio = stretches("meeting", &[(14.486, 17.773)]).remove(0);
    let mut embedder = Embedder::new(&model, None);
    embedder.push(&mut model, 0, &audio, &never, &mut |_, _| {}).unwrap();
    embedder.finish(&mut model, &never, &mut |_, answer| embedding = answer.ok()).unwrap();
    let similarity = cosine(embedding.unwrap().embedding.as_slice(), &golden("ge2e_clips.npy")[..256]).unwrap();
    assert!(similarity > 1.0 - 1e-8, "{similarity}");

    assert_eq!(threads(), before, "threads");
    assert_eq!(fs::read_dir(&home.path).unwrap().count(), 0, "files under HOME");
    assert_eq!(SigSet::thread_get_mask().unwrap(), mask, "signal mask");
}
