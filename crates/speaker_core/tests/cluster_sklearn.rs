//! HDBSCAN against scikit-learn and the Python package hdbscan; what the golden values are: golden/cluster/README.md.

mod cluster_support;

use cluster_support::Vectors;
use ndarray::Array2;
use serde::Deserialize;
use speaker_core::cluster::{hdbscan_with_prediction_data, predict, HdbscanParams, Selection};
use speaker_core::never;

/// See the certificate in the golden file.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    vectors: Vectors,
    parameters: Parameters,
    labels: Vec<i32>,
    /// Every so many-th point's values are kept.
    kept: usize,
    probabilities: Vec<f64>,
    /// `None` where the package says NaN.
    outlier_scores: Vec<Option<f64>>,
    /// `None` where the package clusters otherwise.
    predicted_labels: Option<Vec<i32>>,
    predicted_probabilities: Option<Vec<f64>>,
}

#[derive(Deserialize)]
struct Parameters {
    min_cluster_size: usize,
    min_samples: Option<usize>,
    epsilon: f64,
    selection: String,
    single: bool,
}

impl Parameters {
    fn with_threads(&self, threads: usize) -> HdbscanParams {
        HdbscanParams {
            min_cluster_size: self.min_cluster_size,
            min_samples: self.min_samples,
            cluster_selection_epsilon: self.epsilon,
            selection: if self.selection == "leaf" { Selection::Leaf } else { Selection::Eom },
            allow_single_cluster: self.single,
            threads,
        }
    }
}

fn cases() -> Vec<Case> {
    let text = include_str!("golden/cluster/sklearn.json");
    serde_json::from_str::<Golden>(text).expect("the golden file is valid").cases
}

/// Points halfway between two clustered ones, as the generator makes them.
fn new_points(points: &Array2<f32>) -> Array2<f32> {
    let count = 50.min(points.nrows() / 2);
    Array2::from_shape_fn((count, points.ncols()), |(row, at)| {
        (points[[2 * row, at]] + points[[2 * row + 1, at]]) * 0.5
    })
}

fn assert_near(case: &Case, what: &str, got: impl Iterator<Item = f64>, expected: impl Iterator<Item = f64>) {
    for (at, (got, expected)) in got.zip(expected).enumerate() {
        assert!((got - expected).abs() <= TOLERANCE, "{} {what} {at}: {got}, but {expected} expected", case.name);
    }
}

#[test]
fn clusters_are_those_of_scikit_learn() {
    for case in cases() {
        let points = case.vectors.make();
        for threads in [1, 3] {
            let (found, _) =
                hdbscan_with_prediction_data(points.view(), &case.parameters.with_threads(threads), &never).unwrap();
            let differing = found.labels.iter().zip(&case.labels).filter(|(got, expected)| got != expected).count();
            assert_eq!(differing, 0, "{}: labels of {differing} points differ", case.name);
            let every = |values: &[f64]| values.iter().copied().step_by(case.kept).collect::<Vec<_>>();
            let probabilities = every(&found.probabilities);
            assert_eq!(probabilities.len(), case.probabilities.len());
            assert_near(&case, "probability", probabilities.into_iter(), case.probabilities.iter().copied());
            // NaN is beside duplicates, where the score's limit is 1.
            let expected = case.outlier_scores.iter().map(|score| score.unwrap_or(1.0));
            assert_near(&case, "outlier score", every(&found.outlier_scores).into_iter(), expected);
        }
    }
}

#[test]
fn predictions_are_those_of_approximate_predict() {
    let mut compared = 0;
    for case in cases() {
        let (Some(labels), Some(probabilities)) = (&case.predicted_labels, &case.predicted_probabilities) else {
            continue;
        };
        let points = case.vectors.make();
        let (_, data) = hdbscan_with_prediction_data(points.view(), &case.parameters.with_threads(1), &never).unwrap();
        let got = predict(&data, points.view(), new_points(&points).view(), 2, &never).unwrap();
        assert_eq!(&got.labels, labels, "{}", case.name);
        assert_near(&case, "prediction", got.probabilities.into_iter(), probabilities.iter().copied());
        compared += labels.len();
    }
    assert!(compared >= 500, "only {compared} predictions were compared");
}
