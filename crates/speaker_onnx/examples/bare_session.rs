//! What no extraction can be faster than: the model alone, on tensors that are ready. One side of `make bench-extract`.
//!
//! `bare_session LIBRARY MODEL_DIR each|together FILE...` makes the batches that extraction makes, file by file or
//! across files, then says "ready" and their numbers. For each line that it reads, it runs them all once and answers
//! seconds of time and of processor time.

use std::error::Error;
use std::io::stdin;
use std::path::Path;
use std::time::Instant;
use std::{env, fs};

use ndarray::{Array3, Axis};
use nix::time::{clock_gettime, ClockId};
use speaker_core::audio::{decode_spans, from_bytes, Limits, Span};
use speaker_core::never;
use speaker_onnx::{next_batch, Model, Runtime};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [library, models, order, files @ ..] = &arguments[..] else {
        return Err("bare_session LIBRARY MODEL_DIR each|together FILE...".into());
    };
    let mut model = Model::open(Runtime::load(Path::new(library))?, Path::new(models), "ge2e")?;
    let mut calls = files.iter().map(|file| windows(&model, file)).collect::<Result<Vec<_>, _>>()?;
    if order == "together" {
        calls = vec![calls.concat()];
    }
    let [frames, bands] = model.frontend().window_shape();
    let mut batches = Vec::new();
    for mut rest in calls.iter().map(Vec::as_slice) {
        while !rest.is_empty() {
            let size = next_batch(rest.len() / (frames * bands));
            let (batch, after) = rest.split_at(size * frames * bands);
            batches.push(Array3::from_shape_vec((size, frames, bands), batch.to_vec())?);
            rest = after;
        }
    }

    println!("ready {} {}", batches.iter().map(|batch| batch.len_of(Axis(0))).sum::<usize>(), batches.len());
    for line in stdin().lines() {
        line?;
        let (started, busy) = (Instant::now(), processor_time()?);
        for batch in &batches {
            model.run(batch.view(), |_| ())?;
        }
        println!("{} {}", started.elapsed().as_secs_f64(), processor_time()? - busy);
    }
    Ok(())
}

/// All windows of a file, one after another.
fn windows(model: &Model, file: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut answer = Err("no samples".into());
    let limits = Limits::default();
    decode_spans(from_bytes(fs::read(file)?), &[Span::new(None, None)?], &limits, &never, &mut |_, samples| {
        answer = samples.map_err(Box::from).and_then(|samples| {
            let windows = model.frontend().windows(&samples, model.manifest().min_speech_s, &never)?;
            Ok((0..windows.len()).flat_map(|index| windows.window(index).to_vec()).collect())
        });
        std::ops::ControlFlow::Continue(())
    })?;
    answer
}

fn processor_time() -> nix::Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}
