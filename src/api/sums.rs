//! Sums of L2-normalised embeddings in float8: what centroids are made of.
//!
//! float8 because a running mean in float4 drifts by more than 1e-6 in 100,000 updates.
//!
//! Anybody may call these functions, with sums of their own making: their lengths are checked before they are copied.

use pgrx::prelude::*;
use speaker_core::embedding::{EmbeddingError, UnitEmbedding};

use crate::datum::{same_dim, Vector, MAX_DIM};
use crate::error::{raise, Report, SqlError};

/// Adds `weight` times the L2-normalised vector.
fn add(sum: &mut [f64], vector: Vector, weight: f64) -> Result<(), Report> {
    same_dim(sum.len(), vector.as_slice().len())?;
    let unit = UnitEmbedding::normalise(vector.into_vec())?;
    for (total, value) in sum.iter_mut().zip(unit.as_slice()) {
        *total += weight * f64::from(*value);
    }
    Ok(())
}

#[pg_extern(immutable, parallel_safe)]
pub fn speaker_weighted_sum_state(
    state: Option<Array<f64>>,
    embedding: Option<Vector>,
    weight: Option<f64>,
) -> Option<Vec<f64>> {
    raise(|| {
        let sum = state.map(|state| values("state", state)).transpose()?;
        let Some(embedding) = embedding else { return Ok(sum) };
        let weight = weight.ok_or(SqlError::Null { argument: "weight" })?;
        let mut sum = sum.unwrap_or_else(|| vec![0.0; embedding.as_slice().len()]);
        add(&mut sum, embedding, weight)?;
        Ok(Some(sum))
    })
}

/// The state is the sum with the count behind it.
#[pg_extern(immutable, parallel_safe)]
pub fn speaker_centroid_state(state: Option<Array<f64>>, embedding: Option<Vector>) -> Option<Vec<f64>> {
    raise(|| {
        let state = state.map(|state| values("state", state)).transpose()?;
        let Some(embedding) = embedding else { return Ok(state) };
        let mut state = state.unwrap_or_else(|| vec![0.0; embedding.as_slice().len() + 1]);
        let Some((count, sum)) = state.split_last_mut() else {
            return Err(SqlError::Dimensions { left: 0, right: embedding.as_slice().len() }.into());
        };
        add(sum, embedding, 1.0)?;
        *count += 1.0;
        Ok(Some(state))
    })
}

#[pg_extern(immutable, strict, parallel_safe)]
pub fn speaker_centroid_final(state: Array<f64>) -> Option<Vector> {
    raise(|| {
        let state = values("state", state)?;
        state.split_last().map_or(Ok(None), |(count, sum)| mean(sum, *count))
    })
}

#[pg_extern(immutable, strict, parallel_safe)]
pub fn speaker_add_sums(a: Array<f64>, b: Array<f64>) -> Vec<f64> {
    raise(|| {
        same_dim(a.len(), b.len())?;
        Ok(values("a", a)?.into_iter().zip(values("b", b)?).map(|(a, b)| a + b).collect())
    })
}

#[pg_extern(immutable, strict, parallel_safe)]
pub fn speaker_mean(sum: Array<f64>, n: i64) -> Option<Vector> {
    raise(|| mean(&values("sum", sum)?, n as f64))
}

/// `None` where there is nothing to take the mean of. What is no `vector` is refused: sums may be made by hand.
fn mean(sum: &[f64], n: f64) -> Result<Option<Vector>, Report> {
    at_most(MAX_DIM, sum.len())?;
    if sum.is_empty() || n.is_nan() || n <= 0.0 {
        return Ok(None);
    }
    let mean: Vec<f32> = sum.iter().map(|total| (total / n) as f32).collect();
    match mean.iter().position(|value| !value.is_finite()) {
        Some(position) => Err(EmbeddingError::NotFinite { position }.into()),
        None => Ok(Some(Vector::new(mean))),
    }
}

/// A sum, perhaps with a count behind it.
fn values(argument: &'static str, array: Array<f64>) -> Result<Vec<f64>, Report> {
    at_most(MAX_DIM + 1, array.len())?;
    let element = |(row, value): (usize, Option<f64>)| {
        value.ok_or_else(|| SqlError::NullElement { argument, position: row + 1 }.into())
    };
    array.iter().enumerate().map(element).collect()
}

fn at_most(most: usize, got: usize) -> Result<(), Report> {
    if got <= most {
        Ok(())
    } else {
        Err(SqlError::TooManyValues { got, most: MAX_DIM }.into())
    }
}

extension_sql!(
    r#"
CREATE AGGREGATE speaker_weighted_sum(embedding vector, weight float8) (
    SFUNC = speaker_weighted_sum_state, STYPE = float8[], COMBINEFUNC = speaker_add_sums, PARALLEL = SAFE
);
COMMENT ON AGGREGATE speaker_weighted_sum(vector, float8) IS 'Sum of weight times the L2-normalised embedding.';
CREATE AGGREGATE speaker_centroid(embedding vector) (
    SFUNC = speaker_centroid_state, STYPE = float8[], FINALFUNC = speaker_centroid_final,
    COMBINEFUNC = speaker_add_sums, PARALLEL = SAFE
);
COMMENT ON AGGREGATE speaker_centroid(vector) IS
    'Mean of the L2-normalised embeddings. Its inner product with an embedding is the average similarity to all of them.';
COMMENT ON FUNCTION speaker_add_sums(float8[], float8[]) IS 'Element by element; both are of one length.';
COMMENT ON FUNCTION speaker_mean(float8[], bigint) IS
    'The mean of n embeddings of which this is the sum; NULL where n is not positive.';
"#,
    name = "centroid_aggregates",
    requires =
        [speaker_weighted_sum_state, speaker_centroid_state, speaker_centroid_final, speaker_add_sums, speaker_mean],
);
