//! Blocked matrix products: the dot products of one panel of points with another.
//!
//! A dot product in f32 is only an estimate. For unit vectors of dimension d, summed in any order, it is off by at most
//! (d + 2) u where u = 2^-24: d u from the summation, 2 u from rounding the two rows to f32 (Higham, Accuracy and
//! Stability of Numerical Algorithms, section 3.1). `Guard` widens every comparison by that bound, so that no pair
//! is lost by rounding; survivors are compared in f64.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, Slice};

use super::crew::Crew;
use super::rows::Points;
use super::ClusterError;

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

/// The most points of a panel: the product of two takes a few milliseconds whatever the dimension, and fits the L2
/// cache.
pub(super) fn side(dim: usize) -> usize {
    const MULTIPLY_ADDS: usize = 1 << 26;
    1 << (MULTIPLY_ADDS / dim.max(1)).isqrt().clamp(16, 512).ilog2()
}

/// All points as panels of `side` columns: a point's coordinates run down a column, which is how the matrix product
/// wants to read both of its operands.
pub(super) struct Panels {
    pub(super) side: usize,
    panels: Vec<Array2<f32>>,
}

impl Panels {
    pub(super) fn new(points: Points, crew: &Crew) -> Result<Self, ClusterError> {
        let side = side(points.dim());
        let blocks = points.len().div_ceil(side);
        let built = crew.run(blocks, Vec::new, |built, block| {
            let range = block * side..points.len().min((block + 1) * side);
            built.push((block, points.panel(range)));
        })?;
        let mut built: Vec<_> = built.into_iter().flatten().collect();
        built.sort_unstable_by_key(|(block, _)| *block);
        Ok(Panels { side, panels: built.into_iter().map(|(_, panel)| panel).collect() })
    }

    pub(super) fn len(&self) -> usize {
        self.panels.len()
    }

    pub(super) fn panel(&self, block: usize) -> ArrayView2<'_, f32> {
        self.panels[block].view()
    }

    /// The points of a block.
    pub(super) fn points(&self, block: usize) -> Range<usize> {
        let first = block * self.side;
        first..first + self.panels[block].ncols()
    }
}

/// One thread's products.
pub(super) struct Tile {
    dots: Array2<f32>,
}

impl Tile {
    pub(super) fn new(side: usize) -> Self {
        Tile { dots: Array2::zeros((side, side)) }
    }

    pub(super) fn multiply(&mut self, left: &ArrayView2<f32>, right: &ArrayView2<f32>) {
        let mut dots = self.dots.slice_axis_mut(Axis(0), Slice::from(..left.ncols()));
        let mut dots = dots.slice_axis_mut(Axis(1), Slice::from(..right.ncols()));
        general_mat_mul(1.0, &left.t(), right, 0.0, &mut dots);
    }

    /// A row is a point of the left panel, its entries are the points of the right one (and what is left of earlier,
    /// larger products).
    pub(super) fn dots(&self, row: usize) -> &[f32] {
        self.dots.row(row).to_slice().unwrap_or_default()
    }

    /// For a product of a panel with itself: makes no point near itself.
    pub(super) fn clear_diagonal(&mut self) {
        self.dots.diag_mut().fill(-1.0);
    }
}

/// The `task`-th pair (i, j), i <= j.
pub(super) fn pair(task: usize) -> (usize, usize) {
    let mut j = ((8 * task + 1).isqrt() - 1) / 2;
    // isqrt is exact, but let the invariant j (j + 1) / 2 <= task not depend on it.
    while j * (j + 1) / 2 > task {
        j -= 1;
    }
    (task - j * (j + 1) / 2, j)
}
