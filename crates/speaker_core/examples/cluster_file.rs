//! Clusters the vectors of a file and says what it cost: one side of bench/cluster.
//!
//!     cluster_file ours|crate VECTORS DIM THREADS OUTPUT
//!
//! VECTORS holds the components as little-endian float32, vector after vector, nothing else. OUTPUT gets a line for
//! each: label and probability. `crate` is the crate hdbscan, which knows no probabilities, and takes its threads from
//! RAYON_NUM_THREADS.

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use hdbscan::{Hdbscan, HdbscanHyperParams};
use ndarray::Array2;
use speaker_core::cluster::{hdbscan, HdbscanParams};

const MIN_CLUSTER_SIZE: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [who, vectors, dim, threads, output] = arguments.as_slice() else {
        return Err("usage: cluster_file ours|crate VECTORS DIM THREADS OUTPUT".into());
    };
    let vectors = read(vectors, dim.parse()?)?;
    let (labels, probabilities) = match who.as_str() {
        "ours" => ours(&vectors, threads.parse()?)?,
        "crate" => the_crate(&vectors)?,
        other => return Err(format!("{other} is neither ours nor crate").into()),
    };
    println!("peak_mb={:.1}", peak_mb()?);
    let mut lines = String::new();
    for (label, probability) in labels.into_iter().zip(probabilities) {
        writeln!(lines, "{label} {probability}")?;
    }
    Ok(std::fs::write(output, lines)?)
}

fn read(file: &str, dim: usize) -> Result<Array2<f32>, Box<dyn Error>> {
    let bytes = std::fs::read(file)?;
    let (values, _) = bytes.as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Array2::from_shape_vec((values.len() / dim, dim), values)?)
}

fn ours(vectors: &Array2<f32>, threads: usize) -> Result<(Vec<i32>, Vec<f64>), Box<dyn Error>> {
    let watch = Watch::start();
    let gaps = RefCell::new((watch.start, Vec::new()));
    let check = || {
        let (last, gaps) = &mut *gaps.borrow_mut();
        gaps.push(last.elapsed());
        *last = Instant::now();
        ControlFlow::Continue(())
    };
    let params = HdbscanParams { min_cluster_size: MIN_CLUSTER_SIZE, threads, ..HdbscanParams::default() };
    let found = hdbscan(vectors.view(), &params, &check)?;
    watch.print();
    let (last, mut gaps) = gaps.into_inner();
    gaps.push(last.elapsed());
    println!("cancel_p99_ms={:.1}", cancel_percentile(&mut gaps, 0.99).as_secs_f64() * 1e3);
    println!("cancel_worst_ms={:.1}", gaps.into_iter().max().unwrap_or_default().as_secs_f64() * 1e3);
    Ok((found.labels, found.probabilities))
}

struct Watch {
    start: Instant,
    cpu: f64,
}

impl Watch {
    fn start() -> Self {
        Watch { start: Instant::now(), cpu: cpu_seconds() }
    }

    fn print(&self) {
        println!("seconds={:.3}", self.start.elapsed().as_secs_f64());
        println!("cpu_seconds={:.2}", cpu_seconds() - self.cpu);
    }
}

/// Of this process, all threads.
fn cpu_seconds() -> f64 {
    // proc(5): after the name in parentheses the fields from the third on; utime and stime, in ticks of 10 ms.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Of a cancel request that comes at any moment with the same probability: how long it takes until it is heard.
fn cancel_percentile(gaps: &mut [Duration], share: f64) -> Duration {
    gaps.sort_unstable();
    // A request in a gap g waits for w or less with probability min(w, g) / g; so of the whole run, the time in which
    // it waits longer than w is the sum of what gaps exceed w by.
    let late = (1.0 - share) * gaps.iter().sum::<Duration>().as_secs_f64();
    let (mut excess, mut wait) = (0.0, Duration::ZERO);
    for (longer, pair) in gaps.windows(2).rev().enumerate() {
        let step = (pair[1] - pair[0]).as_secs_f64() * (longer + 1) as f64;
        if excess + step >= late {
            wait = pair[1].saturating_sub(Duration::from_secs_f64((late - excess) / (longer + 1) as f64));
            break;
        }
        excess += step;
    }
    wait
}

fn the_crate(vectors: &Array2<f32>) -> Result<(Vec<i32>, Vec<f64>), Box<dyn Error>> {
    let units: Vec<Vec<f32>> = vectors
        .outer_iter()
        .map(|vector| {
            let norm = vector.dot(&vector).sqrt();
            vector.iter().map(|x| x / norm).collect()
        })
        .collect();
    let params = HdbscanHyperParams::builder().min_cluster_size(MIN_CLUSTER_SIZE).min_samples(MIN_CLUSTER_SIZE).build();
    let watch = Watch::start();
    let labels = Hdbscan::new(&units, params).cluster_par().map_err(|error| format!("{error:?}"))?;
    watch.print();
    let unknown = vec![f64::NAN; labels.len()];
    Ok((labels, unknown))
}

/// The most memory that this process ever held, the vectors included.
fn peak_mb() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse::<f64>().ok());
    Ok(kib.ok_or("the system does not say VmHWM")? * 1024.0 / 1e6)
}
