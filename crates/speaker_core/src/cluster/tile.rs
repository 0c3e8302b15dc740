//! Blocked matrix products: the dot products of a block of points with another block, and the search for large ones.
//!
//! A dot product in f32 is only an estimate. For unit vectors of dimension d, summed in any order, it is off by at most
//! (d + 2) u where u = 2^-24: d u from the summation, 2 u from rounding the two rows to f32 (Higham, Accuracy and
//! Stability of Numerical Algorithms, section 3.1). `Guard` widens every comparison by that bound, so that no pair
//! is lost by rounding; survivors are compared in f64.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, Slice};

use super::rows::Points;

/// The most by which a computed dot product can differ from the exact one.
#[derive(Clone, Copy)]
pub(super) struct Guard(f32);

impl Guard {
    pub(super) fn for_dim(dim: usize) -> Self {
        // 8 instead of 2: room for second order terms and for rounding the floors themselves.
        Guard((dim as f64 + 8.0) as f32 * (f32::EPSILON / 2.0) * 1.01)
    }

    /// Computed dot products of pairs at most `distance` apart are not below this. None are wanted at distance 0: the
    /// points are distinct.
    pub(super) fn floor_of_distance(self, distance: f64) -> f32 {
        if distance > 0.0 {
            (1.0 - distance * distance / 2.0) as f32 - self.0
        } else {
            f32::INFINITY
        }
    }

    /// If k computed dot products are at least `dot`, those of the exact k nearest are not below this.
    pub(super) fn floor_of_dot(self, dot: f32) -> f32 {
        dot - 2.0 * self.0
    }
}

/// Points per side of a tile: a product of a few milliseconds, whatever the dimension, whose result fits the L2 cache.
pub(super) fn side(dim: usize) -> usize {
    const MULTIPLY_ADDS: usize = 1 << 26;
    ((MULTIPLY_ADDS / dim.max(1)).isqrt() / 16 * 16).clamp(16, 512)
}

/// One thread's workspace.
pub(super) struct Tile {
    left: Array2<f32>,
    right: Array2<f32>,
    dots: Array2<f32>,
    /// Which block `right` holds: tasks come in an order that lets it be reused.
    held: Option<usize>,
}

impl Tile {
    pub(super) fn new(side: usize, dim: usize) -> Self {
        Tile {
            left: Array2::zeros((side, dim)),
            right: Array2::zeros((side, dim)),
            dots: Array2::zeros((side, side)),
            held: None,
        }
    }

    /// Computes the dot products of one range of points of `a` with block `block` of `b`, which is the range `right`.
    pub(super) fn multiply(&mut self, a: Points, left: Range<usize>, b: Points, right: Range<usize>, block: usize) {
        let (m, n) = (left.len(), right.len());
        a.gather(left, self.left.view_mut());
        if self.held.replace(block) != Some(block) {
            b.gather(right, self.right.view_mut());
        }
        let first = |count: usize| Slice::from(..count);
        let left = self.left.slice_axis(Axis(0), first(m));
        let right = self.right.slice_axis(Axis(0), first(n));
        let mut dots = self.dots.slice_axis_mut(Axis(0), first(m));
        general_mat_mul(1.0, &left, &right.t(), 0.0, &mut dots.slice_axis_mut(Axis(1), first(n)));
    }

    pub(super) fn dots(&self, row: usize) -> &[f32] {
        self.dots.row(row).to_slice().unwrap_or_default()
    }
}

/// Calls `hit(column, dot)` where the dot product reaches the row's floor or the column's.
///
/// Hits are rare, so columns are first tested many at a time, in a form that compiles to vector instructions.
pub(super) fn scan(dots: &[f32], row_floor: f32, column_floors: &[f32], mut hit: impl FnMut(usize, f32)) {
    const WIDTH: usize = 32;
    let mut column = 0;
    for (dots, floors) in dots.chunks(WIDTH).zip(column_floors.chunks(WIDTH)) {
        let any = dots.iter().zip(floors).fold(false, |any, (&dot, &floor)| any | (dot >= row_floor) | (dot >= floor));
        if any {
            for (offset, (&dot, &floor)) in dots.iter().zip(floors).enumerate() {
                if dot >= row_floor || dot >= floor {
                    hit(column + offset, dot);
                }
            }
        }
        column += WIDTH;
    }
}

/// The `task`-th pair (i, j), i <= j, of blocks, with j held while i runs.
pub(super) fn block_pair(task: usize) -> (usize, usize) {
    let mut j = ((8 * task + 1).isqrt() - 1) / 2;
    // isqrt is exact, but let the invariant j (j + 1) / 2 <= task not depend on it.
    while j * (j + 1) / 2 > task {
        j -= 1;
    }
    (task - j * (j + 1) / 2, j)
}
