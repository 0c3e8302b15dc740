//! HDBSCAN over vectors.

use ndarray::Array2;
use pgrx::prelude::*;
use speaker_core::cluster::{self, HdbscanParams, Selection};

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
        let points = matrix(embeddings.ok_or(SqlError::Null { argument: "embeddings" })?)?;
        let min_cluster_size = min_cluster_size.ok_or(SqlError::Null { argument: "min_cluster_size" })?;
        let params = HdbscanParams {
            min_cluster_size: positive("min_cluster_size", min_cluster_size)?,
            min_samples: min_samples.map(|n| positive("min_samples", n)).transpose()?,
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
            threads: settings::cluster_threads(),
        };
        let interrupts = Interrupts::default();
        let found = cluster::hdbscan(points.view(), &params, &|| interrupts.check());
        interrupts.rethrow();
        let found = found?;
        let rows = found.labels.into_iter().zip(found.probabilities).zip(found.outlier_scores).enumerate();
        Ok(TableIterator::new(rows.map(|(row, ((label, probability), outlier_score))| {
            (row as i32 + 1, (label >= 0).then_some(label), probability, outlier_score)
        })))
    })
}

/// One row per vector.
fn matrix(embeddings: Array<Vector>) -> Result<Array2<f32>, Report> {
    let rows = embeddings.len();
    let mut values = Vec::new();
    let mut dim = 0;
    for (row, vector) in embeddings.iter().enumerate() {
        let vector = vector.ok_or(SqlError::NullElement { argument: "embeddings", position: row + 1 })?;
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

fn positive(argument: &'static str, value: i32) -> Result<usize, Report> {
    usize::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .ok_or_else(|| SqlError::NotPositive { argument, got: value }.into())
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
