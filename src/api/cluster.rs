//! HDBSCAN over vectors.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use ndarray::Array2;
use pgrx::prelude::*;
use speaker_core::cluster::{self, ClusterError, ClusterFacts, HdbscanParams, PointFacts, PredictionData, Selection};
use speaker_core::Check;
use speaker_onnx::without_signals;

use crate::datum::Vector;
use crate::error::{raise, Report, SqlError};
use crate::interrupts::Interrupts;
use crate::settings;

#[pg_extern(stable, parallel_safe, cost = 100000)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
#[allow(clippy::too_many_arguments, reason = "the parameters of HDBSCAN, by name in SQL")]
fn hdbscan(
    embeddings: Option<Array<Vector>>,
    min_cluster_size: default!(Option<i32>, 5),
    min_samples: default!(Option<i32>, "NULL"),
    cluster_selection_epsilon: default!(f64, 0.0),
    cluster_selection_method: default!(&str, "'eom'"),
    allow_single_cluster: default!(bool, false),
) -> TableIterator<
    'static,
    (name!(ordinal, i32), name!(cluster, Option<i32>), name!(probability, f64), name!(outlier_score, f64)),
> {
    raise(|| {
        let points = matrix("embeddings", embeddings)?;
        let min_cluster_size = min_cluster_size.ok_or(SqlError::Null { argument: "min_cluster_size" })?;
        let params = HdbscanParams {
            cluster_selection_epsilon,
            selection: match cluster_selection_method {
                "eom" => Selection::Eom,
                "leaf" => Selection::Leaf,
                other => {
                    return Err(SqlError::Choice {
                        argument: "cluster_selection_method",
                        got: other.into(),
                        choices: "eom or leaf",
                    }
                    .into())
                }
            },
            allow_single_cluster,
            ..params(min_cluster_size, min_samples)?
        };
        let found = interruptible(|check| cluster::hdbscan(points.view(), &params, check))?;
        let rows = found.labels.into_iter().zip(found.probabilities).zip(found.outlier_scores).enumerate();
        Ok(TableIterator::new(rows.map(|(row, ((label, probability), outlier_score))| {
            (row as i32 + 1, (label >= 0).then_some(label), probability, outlier_score)
        })))
    })
}

/// HDBSCAN, and what `predict_clusters` needs of it: arrays with an element per vector, then arrays with one per
/// node of the condensed tree.
#[pg_extern(stable, parallel_safe, cost = 100000)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
pub fn speaker_cluster_vectors(
    embeddings: Option<Array<Vector>>,
    min_cluster_size: i32,
    min_samples: Option<i32>,
) -> TableIterator<
    'static,
    (
        name!(clusters, Vec<i32>),
        name!(probabilities, Vec<f64>),
        name!(outlier_scores, Vec<f64>),
        name!(core_distances, Vec<f64>),
        name!(nodes, Vec<i32>),
        name!(densities, Vec<f64>),
        name!(tree, Vec<f64>),
    ),
> {
    raise(|| {
        let points = matrix("embeddings", embeddings)?;
        let params = params(min_cluster_size, min_samples)?;
        let (found, data) =
            interruptible(|check| cluster::hdbscan_with_prediction_data(points.view(), &params, check))?;
        Ok(TableIterator::once((
            found.labels,
            found.probabilities,
            found.outlier_scores,
            data.points.iter().map(|point| point.core_distance).collect(),
            data.points.iter().map(|point| point.cluster as i32).collect(),
            data.points.iter().map(|point| point.lambda).collect(),
            data.clusters.iter().flat_map(pack).collect(),
        )))
    })
}

/// Places new vectors into the clusters of old ones; cluster -1 is noise.
#[pg_extern(stable, parallel_safe, cost = 100000)]
#[allow(clippy::too_many_arguments, reason = "the columns of a stored clustering")]
pub fn speaker_predict_clusters(
    embeddings: Option<Array<Vector>>,
    core_distances: Vec<f64>,
    nodes: Vec<i32>,
    densities: Vec<f64>,
    tree: Vec<f64>,
    min_samples: i32,
    new_embeddings: Option<Array<Vector>>,
) -> TableIterator<'static, (name!(ordinal, i32), name!(cluster, i32), name!(probability, f64))> {
    raise(|| {
        let (old, new) = (matrix("embeddings", embeddings)?, matrix("new_embeddings", new_embeddings)?);
        let facts = core_distances.into_iter().zip(nodes).zip(densities);
        let data = PredictionData {
            min_samples: at_least(1, "min_samples", min_samples)?,
            points: facts
                .map(|((core_distance, node), lambda)| PointFacts { core_distance, cluster: node as u32, lambda })
                .collect(),
            clusters: tree.chunks_exact(NODE).map(unpack).collect(),
        };
        let threads = settings::cluster_threads();
        let found = interruptible(|check| cluster::predict(&data, old.view(), new.view(), threads, check))?;
        let rows = found.labels.into_iter().zip(found.probabilities).enumerate();
        Ok(TableIterator::new(rows.map(|(row, (label, probability))| (row as i32 + 1, label, probability))))
    })
}

/// Numbers of one node in a stored tree.
const NODE: usize = 5;

fn pack(node: &ClusterFacts) -> [f64; NODE] {
    [node.parent.map_or(-1.0, f64::from), node.birth, f64::from(node.label), node.longest, node.least]
}

fn unpack(node: &[f64]) -> ClusterFacts {
    ClusterFacts {
        parent: (node[0] >= 0.0).then_some(node[0] as u32),
        birth: node[1],
        label: node[2] as i32,
        longest: node[3],
        least: node[4],
    }
}

fn params(min_cluster_size: i32, min_samples: Option<i32>) -> Result<HdbscanParams, Report> {
    Ok(HdbscanParams {
        min_cluster_size: at_least(2, "min_cluster_size", min_cluster_size)?,
        min_samples: min_samples.map(|n| at_least(1, "min_samples", n)).transpose()?,
        cluster_selection_epsilon: 0.0,
        selection: Selection::Eom,
        allow_single_cluster: false,
        threads: settings::cluster_threads(),
    })
}

/// How soon the backend's thread hears that it shall stop, while others work for it.
const LISTEN: Duration = Duration::from_millis(5);

/// Lets core cluster. Threads have to be started with signals blocked, as PostgreSQL's handlers know of one thread only;
/// core's inherit the mask of the one that calls it. So where there are several, that is one of their own, and the
/// backend's listens.
fn interruptible<T: Send>(work: impl FnOnce(Check) -> Result<T, ClusterError> + Send) -> Result<T, ClusterError> {
    let interrupts = Interrupts::default();
    let found = match settings::cluster_threads() {
        1 => work(&|| interrupts.check()),
        _ => {
            let (backend, stop) = (thread::current(), AtomicBool::new(false));
            let check = || if stop.load(Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let work = || {
                let found = work(&check);
                backend.unpark();
                found
            };
            thread::scope(|scope| {
                let worker = without_signals(|| scope.spawn(work));
                while !worker.is_finished() {
                    stop.fetch_or(interrupts.check().is_break(), Relaxed);
                    thread::park_timeout(LISTEN);
                }
                worker.join().unwrap_or_else(|panic| resume_unwind(panic))
            })
        }
    };
    interrupts.rethrow();
    found
}

/// One row per vector.
fn matrix(argument: &'static str, embeddings: Option<Array<Vector>>) -> Result<Array2<f32>, Report> {
    let embeddings = embeddings.ok_or(SqlError::Null { argument })?;
    let rows = embeddings.len();
    let mut values = Vec::new();
    let mut dim = 0;
    for (row, vector) in embeddings.iter().enumerate() {
        let vector = vector.ok_or(SqlError::NullElement { argument, position: row + 1 })?;
        let got = vector.as_slice().len();
        if row == 0 {
            dim = got;
            values.reserve_exact(rows * dim);
        } else if got != dim {
            return Err(SqlError::Dimensions { left: dim, right: got }.into());
        }
        values.extend_from_slice(vector.as_slice());
    }
    Ok(Array2::from_shape_vec((rows, dim), values).expect("every row has dim values"))
}

fn at_least(least: i32, argument: &'static str, got: i32) -> Result<usize, Report> {
    let value = usize::try_from(got).ok().filter(|_| got >= least);
    value.ok_or_else(|| SqlError::TooSmall { argument, got, least }.into())
}

extension_sql!(
    r#"
ALTER FUNCTION hdbscan(vector[], int, int, float8, text, bool) ROWS 1000;
COMMENT ON FUNCTION hdbscan(vector[], int, int, float8, text, bool) IS
    'HDBSCAN by the Euclidean distance of the L2-normalised vectors: a row per vector in the order given, ordinal from 1. cluster is numbered from 0 and NULL for noise. A higher min_cluster_size drops small clusters; a higher min_samples calls more of the vectors noise.';
"#,
    name = "cluster_comments",
    requires = [hdbscan],
);
