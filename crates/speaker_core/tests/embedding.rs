//! Embeddings: what is refused at the door, and what holds behind it.

use ndarray::{array, Array2};
use speaker_core::embedding::{cosine, pool, EmbeddingError, UnitEmbedding};

/// Numbers in [-1, 1) that are the same on every machine.
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn a_normalised_vector_has_norm_one_and_keeps_its_direction() {
    let unit = UnitEmbedding::normalise(vec![3.0, 0.0, -4.0]).unwrap();
    assert_eq!(unit.as_slice(), [0.6, 0.0, -0.8]);

    for dim in [1, 3, 255, 256, 16_000] {
        let vector: Vec<f32> = noise(dim as u64).take(dim).collect();
        let unit = UnitEmbedding::normalise(vector.clone()).unwrap();
        assert!((norm(unit.as_slice()) - 1.0).abs() < 1e-6, "dim {dim}");
        assert!(cosine(&vector, unit.as_slice()).unwrap() > 1.0 - 1e-9, "dim {dim}");
    }
}

#[test]
fn the_smallest_and_the_largest_floats_can_be_normalised() {
    // Their squares leave the range of f32 on either side.
    let subnormal = f32::from_bits(1);
    assert_eq!(UnitEmbedding::normalise(vec![subnormal, 0.0]).unwrap().into_vec(), [1.0, 0.0]);
    assert_eq!(UnitEmbedding::normalise(vec![0.0, -f32::MAX]).unwrap().into_vec(), [0.0, -1.0]);
}

#[test]
fn what_has_no_direction_is_refused() {
    assert_eq!(UnitEmbedding::normalise(vec![]), Err(EmbeddingError::Empty));
    assert_eq!(UnitEmbedding::normalise(vec![0.0, -0.0]), Err(EmbeddingError::ZeroNorm));
    assert_eq!(UnitEmbedding::normalise(vec![1.0, f32::NAN]), Err(EmbeddingError::NotFinite { position: 1 }));
    assert_eq!(UnitEmbedding::normalise(vec![f32::INFINITY]), Err(EmbeddingError::NotFinite { position: 0 }));

    let one = [1.0_f32, 0.0];
    assert_eq!(cosine(&one, &[1.0, 0.0, 0.0]), Err(EmbeddingError::Dimensions { left: 2, right: 3 }));
    assert_eq!(cosine(&one, &[0.0, 0.0]), Err(EmbeddingError::ZeroNorm));
    assert_eq!(cosine(&one, &[0.0, f32::NEG_INFINITY]), Err(EmbeddingError::NotFinite { position: 1 }));
    assert_eq!(cosine(&[], &[]), Err(EmbeddingError::Empty));
}

#[test]
fn cosine_is_the_textbook_value_and_never_leaves_its_interval() {
    assert_eq!(cosine(&[1.0, 0.0], &[0.0, 5.0]), Ok(0.0));
    assert_eq!(cosine(&[1.0, 2.0, 3.0, 4.0, 5.0], &[-2.0, -4.0, -6.0, -8.0, -10.0]), Ok(-1.0));
    assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]).unwrap() - 0.5_f64.sqrt()).abs() < 1e-15);

    for seed in 0..1000 {
        let vector: Vec<f32> = noise(seed).take(256).collect();
        let itself = cosine(&vector, &vector).unwrap();
        assert!((1.0 - 1e-15..=1.0).contains(&itself), "seed {seed}: {itself}");
    }
}

#[test]
fn pooling_is_the_mean_and_then_the_direction() {
    // Rows are averaged as they are: a longer row weighs more. Windows come normalised, so there it makes no odds.
    let pooled = pool(array![[2.0_f32, 0.0], [0.0, 1.0]].view()).unwrap();
    assert!((cosine(pooled.as_slice(), &[2.0, 1.0]).unwrap() - 1.0).abs() < 1e-12);
    assert!((norm(pooled.as_slice()) - 1.0).abs() < 1e-7);

    // One row in a column-major array: rows need not be contiguous.
    let transposed = array![[3.0_f32], [4.0]];
    assert_eq!(pool(transposed.t()).unwrap().as_slice(), [0.6, 0.8]);
}

#[test]
fn pooling_refuses_what_cancels_out_or_is_broken() {
    assert!(pool(Array2::zeros((0, 4)).view()).is_err());
    assert_eq!(pool(Array2::zeros((3, 0)).view()), Err(EmbeddingError::Empty));
    assert_eq!(pool(array![[1.0_f32, 0.0], [-1.0, 0.0]].view()), Err(EmbeddingError::ZeroNorm));
    assert_eq!(pool(array![[1.0_f32, 0.0], [0.0, f32::NAN]].view()), Err(EmbeddingError::NotFinite { position: 1 }));
}
