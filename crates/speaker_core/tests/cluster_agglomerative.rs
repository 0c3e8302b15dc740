//! Average linkage beside its definition.

use std::ops::ControlFlow;

use ndarray::Array2;
use speaker_core::cluster::{agglomerative, ClusterError};
use speaker_core::never;

struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 24) as f32 - 0.5
    }
}

/// Voices around directions of their own.
fn voices(random: &mut Random, n: usize, dim: usize, voices: usize, spread: f32) -> Array2<f32> {
    let centres: Vec<f32> = (0..voices * dim).map(|_| random.next()).collect();
    Array2::from_shape_fn((n, dim), |(row, at)| centres[row % voices * dim + at] + spread * random.next())
}

/// The two most similar groups are joined until none are similar enough: in f64, from the pairs themselves.
fn naive(points: &Array2<f32>, threshold: f64, min_cluster_size: usize) -> Vec<i32> {
    let units: Vec<Vec<f64>> = points
        .rows()
        .into_iter()
        .map(|row| {
            let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|x| f64::from(*x) / norm).collect()
        })
        .collect();
    let similar = |a: usize, b: usize| units[a].iter().zip(&units[b]).map(|(x, y)| x * y).sum::<f64>();
    let mut groups: Vec<Vec<usize>> = (0..units.len()).map(|row| vec![row]).collect();
    loop {
        let mut best = (threshold, None);
        for a in 0..groups.len() {
            for b in 0..a {
                let pairs = groups[a].iter().flat_map(|x| groups[b].iter().map(move |y| (*x, *y)));
                let mean = pairs.map(|(x, y)| similar(x, y)).sum::<f64>() / (groups[a].len() * groups[b].len()) as f64;
                if mean >= best.0 {
                    best = (mean, Some((b, a)));
                }
            }
        }
        let Some((into, from)) = best.1 else { break };
        let moved = groups.remove(from);
        groups[into].extend(moved);
    }
    groups.retain(|group| group.len() >= min_cluster_size);
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort();
    let mut labels = vec![-1; units.len()];
    groups.iter().zip(0..).for_each(|(group, label)| group.iter().for_each(|&row| labels[row] = label));
    labels
}

#[test]
fn groups_are_those_of_the_definition() {
    let mut random = Random(11);
    for round in 0..60 {
        let (n, dim) = (1 + round % 40, 3 + round % 7);
        let points = voices(&mut random, n, dim, 1 + round % 5, 0.2 + 0.1 * (round % 8) as f32);
        for threshold in [-1.0, 0.3, 0.7, 0.9, 1.1] {
            let least = 1 + round % 3;
            let got = agglomerative(points.view(), threshold, least, &never).unwrap();
            assert_eq!(got, naive(&points, threshold, least), "round {round}, threshold {threshold}");
        }
    }
}

#[test]
fn a_lone_voice_is_one_cluster_and_few_words_of_a_guest_are_none() {
    let mut random = Random(3);
    let host = voices(&mut random, 20, 64, 1, 0.3);
    assert_eq!(agglomerative(host.view(), 0.7, 3, &never).unwrap(), [0; 20]);
    let guest = voices(&mut random, 2, 64, 1, 0.3);
    let both = ndarray::concatenate![ndarray::Axis(0), guest, host];
    let labels = agglomerative(both.view(), 0.7, 3, &never).unwrap();
    assert_eq!(labels, [&[-1; 2][..], &[0; 20]].concat());
}

#[test]
fn copies_and_nothing_at_all() {
    let copies = Array2::from_elem((50, 4), 2.0);
    assert_eq!(agglomerative(copies.view(), 0.99, 3, &never).unwrap(), [0; 50]);
    assert!(agglomerative(Array2::zeros((0, 4)).view(), 0.5, 3, &never).unwrap().is_empty());
}

#[test]
fn odd_vectors_and_interrupts_are_errors() {
    let mut points = Array2::from_elem((3, 2), 1.0);
    points[[1, 0]] = f32::NAN;
    assert_eq!(agglomerative(points.view(), 0.5, 2, &never), Err(ClusterError::NotFinite { row: 1 }));
    points[[1, 0]] = 0.0;
    points[[1, 1]] = 0.0;
    assert_eq!(agglomerative(points.view(), 0.5, 2, &never), Err(ClusterError::ZeroNorm { row: 1 }));
    let stop = || ControlFlow::Break(());
    assert_eq!(agglomerative(Array2::from_elem((3, 2), 1.0).view(), 0.5, 2, &stop), Err(ClusterError::Interrupted));
}
