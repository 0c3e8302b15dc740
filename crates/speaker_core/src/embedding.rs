//! Embeddings as unit vectors, their similarity, and pooling.
//!
//! Scores are raw cosine similarity in [-1, 1] everywhere. Sums run in f64: an f32 sum over 256 products is off by up to
//! 1e-6, which is the exactness that searches promise.

use ndarray::ArrayView2;
use thiserror::Error;

/// Why numbers are no embedding, or two embeddings cannot be compared.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EmbeddingError {
    #[error("embedding has no values")]
    Empty,

    #[error("embedding value {position} is not finite")]
    NotFinite { position: usize },

    #[error("embedding is all zeros")]
    ZeroNorm,

    #[error("different vector dimensions {left} and {right}")]
    Dimensions { left: usize, right: usize },
}

/// A finite vector of L2 norm 1.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitEmbedding(Vec<f32>);

impl UnitEmbedding {
    /// Scales to norm 1.
    pub fn normalise(mut values: Vec<f32>) -> Result<Self, EmbeddingError> {
        let norm = norm(&values)?;
        for value in &mut values {
            *value = (f64::from(*value) / norm) as f32;
        }
        Ok(Self(values))
    }

    /// The values.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The values, owned.
    pub fn into_vec(self) -> Vec<f32> {
        self.0
    }
}

/// Raw cosine similarity, in [-1, 1], of vectors of any norm but zero.
pub fn cosine(a: &[f32], b: &[f32]) -> Result<f64, EmbeddingError> {
    if a.len() != b.len() {
        return Err(EmbeddingError::Dimensions { left: a.len(), right: b.len() });
    }
    let norms = norm(a)? * norm(b)?;
    let dot: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    // Rounding may leave the interval by an ulp.
    Ok((dot / norms).clamp(-1.0, 1.0))
}

/// The embedding of several windows, one a row: their mean, scaled to norm 1.
pub fn pool(windows: ArrayView2<f32>) -> Result<UnitEmbedding, EmbeddingError> {
    let mut sum = vec![0.0_f64; windows.ncols()];
    for window in windows.rows() {
        for (total, value) in sum.iter_mut().zip(window) {
            *total += f64::from(*value);
        }
    }
    let rows = windows.nrows().max(1) as f64;
    UnitEmbedding::normalise(sum.into_iter().map(|total| (total / rows) as f32).collect())
}

fn norm(values: &[f32]) -> Result<f64, EmbeddingError> {
    if values.is_empty() {
        return Err(EmbeddingError::Empty);
    }
    if let Some(position) = values.iter().position(|value| !value.is_finite()) {
        return Err(EmbeddingError::NotFinite { position });
    }
    let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        Ok(norm)
    } else {
        Err(EmbeddingError::ZeroNorm)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn normalised_vectors_have_norm_one() {
        let unit = UnitEmbedding::normalise(vec![3.0, 0.0, -4.0]).unwrap();
        assert_eq!(unit.as_slice(), [0.6, 0.0, -0.8]);
    }

    #[test]
    fn vectors_without_direction_are_refused() {
        assert_eq!(UnitEmbedding::normalise(vec![]), Err(EmbeddingError::Empty));
        assert_eq!(UnitEmbedding::normalise(vec![0.0, -0.0]), Err(EmbeddingError::ZeroNorm));
        assert_eq!(UnitEmbedding::normalise(vec![1.0, f32::NAN]), Err(EmbeddingError::NotFinite { position: 1 }));
    }

    #[test]
    fn a_tiny_vector_still_has_a_direction() {
        let unit = UnitEmbedding::normalise(vec![1e-30, 0.0]).unwrap();
        assert_eq!(unit.as_slice(), [1.0, 0.0]);
    }

    #[test]
    fn cosine_ignores_length_and_keeps_sign() {
        assert_eq!(cosine(&[2.0, 0.0], &[5.0, 0.0]), Ok(1.0));
        assert_eq!(cosine(&[2.0, 0.0], &[-5.0, 0.0]), Ok(-1.0));
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 1.0]), Ok(0.0));
        assert_eq!(cosine(&[1.0], &[1.0, 2.0]), Err(EmbeddingError::Dimensions { left: 1, right: 2 }));
    }

    #[test]
    fn pooling_takes_the_mean_before_the_norm() {
        let pooled = pool(array![[1.0, 0.0], [0.0, 1.0]].view()).unwrap();
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert_eq!(pooled.as_slice(), [half, half]);
    }
}
