//! What holds for every clustering, and what happens at the edges.

mod cluster_support;

use std::cell::Cell;
use std::ops::ControlFlow;

use cluster_support::{Random, Vectors};
use hdbscan::{Hdbscan, HdbscanHyperParams};
use ndarray::{array, Array2, Axis};
use speaker_core::cluster::{
    hdbscan as cluster, hdbscan_with_prediction_data, predict, ClusterError, Clustering, HdbscanParams, Selection,
};
use speaker_core::never;

fn vectors(seed: u64, n: usize, dim: usize, clusters: usize) -> Vectors {
    Vectors { seed, n, dim, clusters, spread: 0.6, noise: 0.1, copies: 0.05 }
}

fn params(min_cluster_size: usize) -> HdbscanParams {
    HdbscanParams { min_cluster_size, ..HdbscanParams::default() }
}

fn clusters(points: &Array2<f32>, params: &HdbscanParams) -> Clustering {
    cluster(points.view(), params, &never).unwrap()
}

/// For each point the first point with its label: equal for clusterings that differ in numbers only.
fn partition(labels: &[i32]) -> Vec<Option<usize>> {
    let first = |&label: &i32| (label >= 0).then(|| labels.iter().position(|&other| other == label)).flatten();
    labels.iter().map(first).collect()
}

#[test]
fn threads_do_not_change_anything() {
    for seed in 0..6 {
        let points = vectors(seed, 1500, 12, 14).make();
        let one = clusters(&points, &params(5));
        for threads in [0, 2, 5] {
            assert_eq!(one, clusters(&points, &HdbscanParams { threads, ..params(5) }), "seed {seed}");
        }
    }
}

#[test]
fn values_are_in_their_ranges() {
    for seed in 0..20 {
        let random = &mut Random(seed);
        let shape = Vectors { copies: random.uniform(), ..vectors(seed, 50 + random.below(300), 6, 5) };
        let params = HdbscanParams {
            selection: if seed % 2 == 0 { Selection::Eom } else { Selection::Leaf },
            allow_single_cluster: seed % 3 == 0,
            cluster_selection_epsilon: random.uniform() * 0.5,
            ..params(2 + random.below(12))
        };
        let found = clusters(&shape.make(), &params);
        let most = found.labels.iter().copied().max().unwrap();
        for label in 0..=most {
            let size = found.labels.iter().filter(|&&other| other == label).count();
            assert!(size > 0, "seed {seed}: labels are not consecutive");
            if !params.allow_single_cluster {
                assert!(size >= params.min_cluster_size, "seed {seed}: cluster {label} has {size} points");
            }
        }
        for (point, &label) in found.labels.iter().enumerate() {
            let (probability, score) = (found.probabilities[point], found.outlier_scores[point]);
            assert!((0.0..=1.0).contains(&probability) && (0.0..=1.0).contains(&score), "{probability} {score}");
            assert!(label >= 0 || probability == 0.0);
        }
    }
}

#[test]
fn length_and_memory_layout_of_rows_do_not_matter() {
    let points = vectors(3, 400, 10, 6).make();
    let expected = clusters(&points, &params(5));
    let scaled = Array2::from_shape_fn(points.dim(), |(row, at)| points[[row, at]] * [0.25, 1.0, 1024.0][row % 3]);
    assert_eq!(clusters(&scaled, &params(5)), expected);
    let transposed = points.t();
    let by_columns = transposed.as_standard_layout().reversed_axes();
    assert!(!by_columns.is_standard_layout());
    assert_eq!(cluster(by_columns.view(), &params(5), &never).unwrap(), expected);
}

#[test]
fn tiny_and_huge_values_are_directions_too() {
    let points = vectors(4, 300, 10, 4).make();
    let expected = clusters(&points, &params(5)).labels;
    for factor in [1e-30, 1e30] {
        assert_eq!(partition(&clusters(&(&points * factor), &params(5)).labels), partition(&expected), "{factor}");
    }
}

#[test]
fn the_order_of_rows_only_renumbers() {
    // Without copies and noise no split is a tie between equally near clusters.
    let points = Vectors { noise: 0.0, copies: 0.0, ..vectors(8, 300, 24, 5) }.make();
    let order: Vec<usize> = (0..300).rev().collect();
    let found = clusters(&points, &params(5)).labels;
    let reversed = clusters(&points.select(Axis(0), &order), &params(5)).labels;
    let back: Vec<i32> = order.iter().map(|&row| reversed[row]).collect();
    assert_eq!(partition(&found), partition(&back));
}

/// An independent implementation. It numbers clusters and breaks ties in its own way.
#[test]
fn the_crate_hdbscan_finds_the_same_clusters() {
    let (mut points_in_all, mut differing) = (0, 0);
    for seed in 0..8 {
        let points = Vectors { copies: 0.0, ..vectors(seed, 250, 8, 6) }.make();
        let units: Vec<Vec<f64>> = points
            .outer_iter()
            .map(|row| {
                let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                row.iter().map(|&x| f64::from(x) / norm).collect()
            })
            .collect();
        let theirs = HdbscanHyperParams::builder().min_cluster_size(6).min_samples(6).build();
        let theirs = partition(&Hdbscan::new(&units, theirs).cluster().unwrap());
        let ours = partition(&clusters(&points, &params(6)).labels);
        points_in_all += ours.len();
        differing += ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
    }
    // Bridging points, one per split at most.
    assert!(differing * 100 <= points_in_all, "{differing} of {points_in_all} points differ");
}

#[test]
fn too_few_points_are_noise() {
    for n in 0..5 {
        let found = clusters(&Array2::from_elem((n, 3), 1.0), &params(5));
        assert_eq!(
            found,
            Clustering { labels: vec![-1; n], probabilities: vec![0.0; n], outlier_scores: vec![0.0; n] }
        );
    }
}

#[test]
fn equal_points_are_one_cluster_if_one_is_allowed() {
    let points = Array2::from_elem((20, 4), 0.5);
    let single = HdbscanParams { allow_single_cluster: true, ..params(5) };
    assert_eq!(clusters(&points, &single).labels, [0; 20]);
    assert_eq!(clusters(&points, &single).probabilities, [1.0; 20]);
    assert_eq!(clusters(&points, &params(5)).labels, [-1; 20]);
}

#[test]
fn two_heaps_of_equal_points_are_two_clusters() {
    let points = Array2::from_shape_fn((20, 2), |(row, at)| if row % 2 == at { 1.0 } else { 0.0 });
    let found = clusters(&points, &params(5));
    assert!((0..20).all(|row| found.labels[row] == found.labels[row % 2]));
    assert_ne!(found.labels[0], found.labels[1]);
    assert_eq!(found.probabilities, [1.0; 20]);
}

#[test]
fn many_near_duplicates_are_told_apart_exactly() {
    // 600 points within the error of a dot product in f32 of each other, in two heaps.
    let random = &mut Random(5);
    let points = Array2::from_shape_fn((600, 32), |(row, at)| {
        let heap = if row % 2 == at % 2 { 1.0 } else { 0.5 };
        heap + 1e-5 * random.bell() as f32
    });
    let found = clusters(&points, &HdbscanParams { threads: 2, ..params(300) });
    assert!((0..600).all(|row| found.labels[row] == found.labels[row % 2]));
    assert_ne!(found.labels[0], found.labels[1]);
}

#[test]
fn more_samples_than_any_list_holds() {
    let points = Vectors { copies: 0.0, noise: 0.0, spread: 0.3, ..vectors(2, 1500, 16, 2) }.make();
    let found = clusters(&points, &HdbscanParams { min_samples: Some(150), ..params(100) });
    assert_eq!(found.labels.iter().max(), Some(&1));
    // As many as there are: every point sees all others, so there is but one density.
    clusters(&points, &HdbscanParams { min_samples: Some(1500), ..params(100) });
}

#[test]
fn bad_rows_are_named() {
    let good = vectors(1, 40, 4, 2).make();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut points = good.clone();
        points[[17, 2]] = bad;
        assert_eq!(cluster(points.view(), &params(5), &never), Err(ClusterError::NotFinite { row: 17 }));
    }
    let mut points = good;
    points.row_mut(31).fill(0.0);
    let error = cluster(points.view(), &params(5), &never).unwrap_err();
    assert_eq!(error, ClusterError::ZeroNorm { row: 31 });
    assert_eq!(error.to_string(), "vector 32 has no direction: its norm is zero");
    let no_columns = Array2::<f32>::zeros((6, 0));
    assert_eq!(cluster(no_columns.view(), &params(5), &never), Err(ClusterError::ZeroNorm { row: 0 }));
}

#[test]
fn bad_parameters_are_refused() {
    let points = vectors(1, 40, 4, 2).make();
    let refused = |params: HdbscanParams| cluster(points.view(), &params, &never).unwrap_err();
    assert_eq!(refused(params(1)), ClusterError::MinClusterSize { got: 1 });
    assert_eq!(refused(HdbscanParams { min_samples: Some(0), ..params(5) }), ClusterError::MinSamples { got: 0 });
    assert_eq!(
        refused(HdbscanParams { min_samples: Some(41), ..params(5) }),
        ClusterError::TooFewPoints { min_samples: 41, points: 40 }
    );
    for epsilon in [-0.1, f64::INFINITY] {
        let got = refused(HdbscanParams { cluster_selection_epsilon: epsilon, ..params(5) });
        assert_eq!(got, ClusterError::Epsilon { got: epsilon });
    }
}

#[test]
fn interruption_is_noticed_at_every_check() {
    let points = vectors(1, 1200, 8, 40).make();
    let caller = std::thread::current().id();
    let checks = Cell::new(0);
    let interrupted_at = |at: usize| {
        checks.set(0);
        let check = || {
            assert_eq!(std::thread::current().id(), caller, "a worker asked");
            checks.set(checks.get() + 1);
            if checks.get() > at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        cluster(points.view(), &HdbscanParams { threads: 2, ..params(5) }, &check)
    };
    assert!(interrupted_at(usize::MAX).is_ok());
    let all = checks.get();
    assert!(all > 20, "only {all} checks");
    // Which thread gets a task varies, so the last few checks may not come again.
    for at in (0..all / 2).step_by(all / 20) {
        assert_eq!(interrupted_at(at), Err(ClusterError::Interrupted), "check {at}");
        assert_eq!(checks.get(), at + 1, "worked on after check {at}");
    }
}

#[test]
fn old_points_are_predicted_where_they_are() {
    let points = Vectors { noise: 0.0, spread: 0.3, ..vectors(6, 400, 16, 5) }.make();
    let (found, data) = hdbscan_with_prediction_data(points.view(), &params(5), &never).unwrap();
    let predicted = predict(&data, points.view(), points.view(), 1, &never).unwrap();
    let moved = (0..400).filter(|&i| found.labels[i] >= 0 && predicted.labels[i] != found.labels[i]).count();
    assert_eq!(moved, 0);
}

#[test]
fn predictions_without_anything_to_go_by_are_noise() {
    let points = vectors(6, 4, 16, 1).make();
    let (_, data) = hdbscan_with_prediction_data(points.view(), &params(5), &never).unwrap();
    assert_eq!(predict(&data, points.view(), points.view(), 1, &never).unwrap().labels, [-1; 4]);
    let none = Array2::zeros((0, 16));
    assert_eq!(predict(&data, points.view(), none.view(), 1, &never).unwrap().labels, [0i32; 0]);
    let (_, data) = hdbscan_with_prediction_data(none.view(), &params(5), &never).unwrap();
    assert_eq!(predict(&data, none.view(), points.view(), 1, &never).unwrap().labels, [-1; 4]);
}

#[test]
fn prediction_data_of_something_else_is_refused() {
    let points = vectors(6, 100, 16, 3).make();
    let (_, data) = hdbscan_with_prediction_data(points.view(), &params(5), &never).unwrap();
    let refused =
        |data: &_, old: &Array2<f32>, new: &Array2<f32>| predict(data, old.view(), new.view(), 1, &never).unwrap_err();
    let fewer = points.select(Axis(0), &[0, 1, 2]);
    assert_eq!(refused(&data, &fewer, &points), ClusterError::OtherPoints { got: 3, expected: 100 });
    assert_eq!(refused(&data, &points, &array![[1.0, 2.0]]), ClusterError::Dimension { got: 2, expected: 16 });
    let mut circular = data.clone();
    circular.clusters[0].parent = Some(0);
    assert!(matches!(refused(&circular, &points, &points), ClusterError::Inconsistent { .. }));
    let mut dangling = data.clone();
    dangling.points[5].cluster = u32::MAX;
    assert!(matches!(refused(&dangling, &points, &points), ClusterError::Inconsistent { .. }));
    let mut undefined = data;
    undefined.points[5].lambda = f64::NAN;
    assert!(matches!(refused(&undefined, &points, &points), ClusterError::Inconsistent { .. }));
}
