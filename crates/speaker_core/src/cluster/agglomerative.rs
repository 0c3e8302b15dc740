//! Agglomerative clustering with average linkage, cut at a similarity: for few voices and few segments, where density says
//! little.
//!
//! Two groups are as similar as their members are on average, which for vectors of norm 1 is one inner product of the
//! groups' sums. So the chain of nearest neighbours (Murtagh 1983; Müllner 2011, for linkages that are reducible, as the
//! average is) needs no matrix of distances: memory grows linearly, time with the square of the points.

use ndarray::ArrayView2;

use super::union_find::UnionFind;
use super::ClusterError;
use crate::embedding::UnitEmbedding;
use crate::Check;

/// Bytes that [`agglomerative`] takes for so many points, these included.
pub fn memory_of_agglomerative(points: usize, dim: usize) -> u64 {
    (points * (2 * dim * size_of::<f32>() + 64)) as u64
}

/// Labels of the rows of `points`: groups whose members are at least `threshold` similar (cosine) on average, numbered in
/// the order of their first rows. Groups of fewer than `min_cluster_size` are -1.
pub fn agglomerative(
    points: ArrayView2<f32>,
    threshold: f64,
    min_cluster_size: usize,
    check: Check,
) -> Result<Vec<i32>, ClusterError> {
    let dim = points.ncols();
    let mut sums = Vec::with_capacity(points.len());
    for (row, point) in points.rows().into_iter().enumerate() {
        if point.iter().any(|value| !value.is_finite()) {
            return Err(ClusterError::NotFinite { row });
        }
        let unit = UnitEmbedding::normalise(point.to_vec()).map_err(|_| ClusterError::ZeroNorm { row })?;
        sums.extend_from_slice(unit.as_slice());
    }
    let n = points.nrows();
    let mut groups = Groups { dim, sums, sizes: vec![1.0; n] };
    let mut joined = UnionFind::new(n);
    let mut alive: Vec<usize> = (0..n).collect();
    let mut chain: Vec<usize> = Vec::new();
    while alive.len() > 1 {
        let Some(&tip) = chain.last() else {
            chain.push(alive[0]);
            continue;
        };
        if check().is_break() {
            return Err(ClusterError::Interrupted);
        }
        let before = chain.len().checked_sub(2).map(|place| chain[place]);
        let (nearest, similarity) = groups.nearest(tip, &alive, before);
        if Some(nearest) != before {
            chain.push(nearest);
            continue;
        }
        // Each is the other's nearest.
        chain.truncate(chain.len() - 2);
        if similarity >= threshold {
            joined.unite(tip, nearest);
            groups.join(tip, nearest);
        } else {
            // Nothing that follows is nearer to either.
            alive.retain(|&group| group != tip);
        }
        alive.retain(|&group| group != nearest);
    }
    let numbers = joined.numbering();
    let mut sizes = vec![0; n];
    numbers.iter().for_each(|&number| sizes[number as usize] += 1);
    let mut labels = vec![-1; n];
    let large = (0..n).filter(|&number| sizes[number] > 0 && sizes[number] >= min_cluster_size);
    large.zip(0..).for_each(|(number, label)| labels[number] = label);
    Ok(numbers.into_iter().map(|number| labels[number as usize]).collect())
}

/// Sums of members, at the place of one of them.
struct Groups {
    dim: usize,
    sums: Vec<f32>,
    sizes: Vec<f32>,
}

impl Groups {
    fn sum(&self, group: usize) -> &[f32] {
        &self.sums[group * self.dim..(group + 1) * self.dim]
    }

    /// The most similar other group; of equals the one that is `preferred`, or else the first.
    fn nearest(&self, group: usize, among: &[usize], preferred: Option<usize>) -> (usize, f64) {
        let own = self.sum(group);
        let similarity = |other: usize| f64::from(dot(own, self.sum(other)) / (self.sizes[group] * self.sizes[other]));
        let mut best = preferred.map_or((usize::MAX, f64::NEG_INFINITY), |other| (other, similarity(other)));
        for &other in among.iter().filter(|other| **other != group) {
            let found = similarity(other);
            if found > best.1 {
                best = (other, found);
            }
        }
        best
    }

    fn join(&mut self, group: usize, other: usize) {
        let (dim, from) = (self.dim, other * self.dim);
        for at in 0..dim {
            self.sums[group * dim + at] += self.sums[from + at];
        }
        self.sizes[group] += self.sizes[other];
    }
}

/// In lanes, which the compiler makes vector instructions of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a.zip(b) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}
