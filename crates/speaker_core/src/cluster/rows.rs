//! The points: rows checked once, normalised on the fly, compared exactly in f64.
//!
//! No normalised copy is kept. A row is scaled by its inverse norm when it is copied into a panel for a matrix product
//! (f32) or when two rows are compared (f64), so the memory stays near that of the caller's matrix.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use super::ClusterError;

pub(super) struct UnitRows<'a> {
    /// Row by row: the caller's memory if it is one run in that order, otherwise a copy.
    values: Cow<'a, [f32]>,
    dim: usize,
    inverse_norm: Vec<f64>,
}

impl<'a> UnitRows<'a> {
    /// Refuses rows without a direction, and so many rows that positions in the neighbour lists would not fit 32 bits.
    pub(super) fn new(points: ArrayView2<'a, f32>) -> Result<Self, ClusterError> {
        let most = 1 << 24;
        if points.nrows() > most {
            return Err(ClusterError::TooMany { got: points.nrows(), most });
        }
        let values = match points.to_slice() {
            Some(values) => Cow::Borrowed(values),
            None => Cow::Owned(points.iter().copied().collect()),
        };
        let mut inverse_norm = Vec::with_capacity(points.nrows());
        for (row, values) in points.outer_iter().enumerate() {
            // f32 squares can neither overflow nor vanish in f64.
            let square: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            if !square.is_finite() {
                return Err(ClusterError::NotFinite { row });
            }
            if square == 0.0 {
                return Err(ClusterError::ZeroNorm { row });
            }
            inverse_norm.push(1.0 / square.sqrt());
        }
        Ok(UnitRows { values, dim: points.ncols(), inverse_norm })
    }

    pub(super) fn len(&self) -> usize {
        self.inverse_norm.len()
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn ids(&self) -> Vec<u32> {
        (0..self.len() as u32).collect()
    }

    fn row(&self, row: usize) -> (&[f32], f64) {
        (&self.values[row * self.dim..(row + 1) * self.dim], self.inverse_norm[row])
    }

    /// The Euclidean distance of two normalised rows. Bitwise symmetric, and zero for rows that are equal.
    fn distance(&self, i: usize, other: &UnitRows, j: usize) -> f64 {
        // Several accumulators, so that the sum is not one long chain of dependent additions.
        const LANES: usize = 8;
        let (a, scale_a) = self.row(i);
        let (b, scale_b) = other.row(j);
        let mut sums = [0.0f64; LANES];
        let mut chunks_a = a.chunks_exact(LANES);
        let mut chunks_b = b.chunks_exact(LANES);
        for (x, y) in (&mut chunks_a).zip(&mut chunks_b) {
            for lane in 0..LANES {
                let difference = f64::from(x[lane]) * scale_a - f64::from(y[lane]) * scale_b;
                sums[lane] += difference * difference;
            }
        }
        for ((x, y), sum) in chunks_a.remainder().iter().zip(chunks_b.remainder()).zip(&mut sums) {
            let difference = f64::from(*x) * scale_a - f64::from(*y) * scale_b;
            *sum += difference * difference;
        }
        sums.iter().sum::<f64>().sqrt()
    }

    /// A total order of the normalised rows in which equal rows, and only those, compare equal.
    pub(super) fn compare(&self, i: usize, j: usize) -> std::cmp::Ordering {
        let (a, scale_a) = self.row(i);
        let (b, scale_b) = self.row(j);
        // Adding 0.0 turns -0.0 into 0.0: both are the same coordinate.
        let pairs =
            a.iter().zip(b).map(|(&x, &y)| (f64::from(x) * scale_a + 0.0).total_cmp(&(f64::from(y) * scale_b + 0.0)));
        pairs.into_iter().find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    }
}

/// Some of the rows, renumbered.
#[derive(Clone, Copy)]
pub(super) struct Points<'a> {
    rows: &'a UnitRows<'a>,
    ids: &'a [u32],
}

impl<'a> Points<'a> {
    pub(super) fn new(rows: &'a UnitRows<'a>, ids: &'a [u32]) -> Self {
        Points { rows, ids }
    }

    /// Other rows, or the same in another order.
    pub(super) fn with_ids<'b>(&self, ids: &'b [u32]) -> Points<'b>
    where
        'a: 'b,
    {
        Points { rows: self.rows, ids }
    }

    pub(super) fn row(&self, point: usize) -> u32 {
        self.ids[point]
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn dim(&self) -> usize {
        self.rows.dim()
    }

    pub(super) fn distance(&self, i: usize, j: usize) -> f64 {
        self.distance_to(i, *self, j)
    }

    pub(super) fn distance_to(&self, i: usize, other: Points, j: usize) -> f64 {
        self.rows.distance(self.ids[i] as usize, other.rows, other.ids[j] as usize)
    }

    /// Copies points, normalised and rounded to f32, into the first rows of `panel`.
    pub(super) fn gather(&self, points: Range<usize>, mut panel: ArrayViewMut2<f32>) {
        for (&id, mut target) in self.ids[points].iter().zip(panel.outer_iter_mut()) {
            let (values, scale) = self.rows.row(id as usize);
            for (t, &x) in target.iter_mut().zip(values) {
                *t = (f64::from(x) * scale) as f32;
            }
        }
    }
}
