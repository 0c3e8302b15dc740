//! How much memory clustering takes at most, told before it is asked for.
//!
//! Sums of what lives at the same time in the steps of `hdbscan_with_prediction_data` and `predict`, with the vectors;
//! tests/cluster_memory.rs holds them against the heap. Vectors that grow are counted at twice their length. They are
//! bounds: where points are copies of each other, or lie in few components, less is taken.
//!
//! Not counted: what the allocator keeps of memory that was given back. (Measured on Linux: at most 4 % at 20,000 vectors
//! of 256 dimensions, 60,000 of 16 and of 2.)

use super::horizon::Cells;
use super::{list_length, tile};

/// Bytes that clustering so many points takes at most, and those of the points.
pub fn memory_of_clustering(points: usize, dim: usize, min_samples: usize, threads: usize) -> u64 {
    // More samples than points are refused, so they take nothing.
    let min_samples = min_samples.min(points);
    let k = list_length(min_samples).min(points.saturating_sub(1));
    let per_point = |bytes: usize| bytes as u64 * points as u64;
    let threads = threads.max(1) as u64;
    let horizon = Cells::new(points.max(1), dim).count;

    // The vectors with their inverse norms; groups and order.
    let throughout = per_point(4 * dim + 8) + per_point(24);
    // Panels beside what the blocks learn, then that beside the horizon in one piece and the lists.
    let survey = per_point(candidates(k) + 2 * horizon) + per_point(4 * dim).max(per_point(LISTED * k));
    let lists = per_point(LISTED * k + horizon + 2 * CORE);
    let many_samples = if k + 1 < min_samples { one_block(dim, min_samples, threads) } else { 0 };
    // The tree, the edges of each thread, and the plot of the components, of which there are at most half as many as
    // points.
    let levels = points.max(2).ilog2() as usize + 1;
    let tree = per_point(56 + 64 + 4 * levels) + threads * (per_point(64) + edges_of_a_tile(points, dim));
    // The lists both ways, and the heap.
    let order = per_point(4 * k + 192);

    let steps = survey.max(lists + many_samples.max(tree).max(order));
    throughout + steps + threads * workspace(dim)
}

/// Bytes that placing `new` points among `old` ones takes at most, and those of both.
pub fn memory_of_prediction(old: usize, new: usize, dim: usize, min_samples: usize, threads: usize) -> u64 {
    let k = min_samples.saturating_sub(1).max(1).saturating_mul(2).min(old);
    let vectors = (old as u64 + new as u64) * (4 * dim as u64 + 12);
    let threads = threads.max(1) as u64;
    vectors + 24 * old as u64 + 40 * new as u64 + one_block(dim, k, threads) + threads * workspace(dim)
}

/// An id and a distance.
const LISTED: usize = 12;
const CORE: usize = 8;

/// Of one point, see `Candidates`.
fn candidates(keep: usize) -> usize {
    8 * (2 * keep + 16) + 12
}

/// One block's candidates and lists, and what each thread measures of them.
fn one_block(dim: usize, keep: usize, threads: u64) -> u64 {
    let (side, keep) = (tile::side(dim) as u64, keep as u64);
    side * (8 * (2 * keep + 16) + 12 + LISTED as u64 * keep) + threads * 40 * (2 * keep + 16)
}

/// What one product of tiles may add to the edges before they are sorted out, in a vector that grows.
fn edges_of_a_tile(points: usize, dim: usize) -> u64 {
    let side = tile::side(dim).min(points) as u64;
    32 * (side * side + 4096)
}

/// A thread's tile, the panels it makes for it, and room for what is small.
fn workspace(dim: usize) -> u64 {
    let side = tile::side(dim) as u64;
    4 * side * side + 3 * 4 * side * dim as u64 + (256 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_of_anything_is_never_less_and_nothing_overflows() {
        let mut last = 0;
        for n in (0..3000).chain([1 << 20, 1 << 24, i32::MAX as usize]) {
            let told = memory_of_clustering(n, 256, 5, 1);
            assert!(told >= last, "{n}");
            last = told;
        }
        let huge = i32::MAX as usize;
        assert!(memory_of_clustering(huge, 16_000, huge, 64) > 1 << 45);
        assert!(memory_of_prediction(huge, huge, 16_000, huge, 64) > 1 << 45);
    }
}
