//! What clustering takes is never more than what was told of it, nor much less.

mod cluster_support;
mod heap_support;

use cluster_support::Vectors;
use heap_support::heap;
use ndarray::{Array2, Axis, Slice};
use speaker_core::cluster::{
    hdbscan_with_prediction_data, memory_of_clustering, memory_of_prediction, predict, HdbscanParams,
};
use speaker_core::never;

/// Heaps of voices and much noise, without copies: these take less.
fn points(n: usize, dim: usize) -> Array2<f32> {
    Vectors { seed: 7, n, dim, clusters: 20, spread: 0.6, noise: 0.5, copies: 0.0 }.make()
}

// One test, for the counters are the process's.
#[test]
fn clustering_takes_what_was_told() {
    for (n, dim, min_samples, threads) in [
        (5000, 256, 5, 1),
        (6000, 16, 5, 1),
        (9000, 2, 5, 2),
        (4000, 64, 40, 1),
        (4000, 64, 129, 3),
        (3000, 8, 1000, 1),
        (1500, 8, 1500, 2),
        (300, 1000, 3, 1),
    ] {
        let points = points(n, dim);
        let params =
            HdbscanParams { min_samples: Some(min_samples), min_cluster_size: 3, threads, ..Default::default() };
        let ours = 4 * (n * dim) as u64;
        let mut data = None;
        let taken = ours + heap(|| data = Some(hdbscan_with_prediction_data(points.view(), &params, &never)));
        // A tile, and the most edges that one may give.
        let spare = threads as u64 * (10 << 20);
        let told = memory_of_clustering(n, dim, min_samples, threads);
        println!("{n} x {dim}, {min_samples} samples, {threads} threads: took {taken}, told {told}");
        assert!(taken <= told, "{n} x {dim}, {min_samples} samples: took {taken}, told {told}");
        assert!(told < 3 * taken / 2 + spare, "{n} x {dim}, {min_samples} samples: took {taken}, told {told}");

        let (_, data) = data.expect("it ran").expect("no error");
        let new = points.slice_axis(Axis(0), Slice::from(..n / 2));
        let facts = (24 * n) as u64;
        let both = ours + ours / 2 + facts;
        let taken = both + heap(|| drop(predict(&data, points.view(), new, threads, &never)));
        let told = memory_of_prediction(n, n / 2, dim, min_samples, threads);
        println!("  placing half as many: took {taken}, told {told}");
        assert!(taken <= told && told < 3 * taken / 2 + spare, "predict: took {taken}, told {told}");
    }
}
