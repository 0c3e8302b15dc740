//! The points: rows checked once, normalised on the fly, compared exactly in f64.
//!
//! No normalised copy is kept. A row is scaled by its inverse norm when it is copied into a panel for a matrix product
//! (f32) or when two rows are compared (f64), so the memory stays near that of the caller's matrix.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, Slice};

use super::crew::Crew;
use super::ClusterError;

pub(super) struct UnitRows<'a> {
    /// Row by row: the caller's memory if it is one run in that order, otherwise a copy.
    values: Cow<'a, [f32]>,
    dim: usize,
    inverse_norm: Vec<f64>,
}

impl<'a> UnitRows<'a> {
    /// Refuses rows without a direction, and so many rows that positions in the neighbour lists would not fit 32 bits.
    pub(super) fn new(points: ArrayView2<'a, f32>, crew: &Crew) -> Result<Self, ClusterError> {
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
            crew.check_at(row)?;
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

    /// A row, normalised.
    pub(super) fn coordinates(&self, row: usize) -> impl Iterator<Item = f64> + '_ {
        let (values, scale) = self.row(row);
        values.iter().map(move |&x| coordinate(x, scale))
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

    /// Equal for equal rows, and hardly ever for others.
    pub(super) fn fingerprint(&self, row: usize) -> u64 {
        // Enough coordinates to tell embeddings apart.
        const COORDINATES: usize = 32;
        let (values, scale) = self.row(row);
        let mut hasher = DefaultHasher::new();
        for &x in values.iter().take(COORDINATES) {
            hasher.write_u64(coordinate(x, scale).to_bits());
        }
        hasher.finish()
    }

    /// A total order of the normalised rows in which equal rows, and only those, compare equal.
    pub(super) fn compare(&self, i: usize, j: usize) -> Ordering {
        let (a, scale_a) = self.row(i);
        let (b, scale_b) = self.row(j);
        let mut pairs = a.iter().zip(b).map(|(&x, &y)| coordinate(x, scale_a).total_cmp(&coordinate(y, scale_b)));
        pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

fn coordinate(x: f32, scale: f64) -> f64 {
    // Adding 0.0 turns -0.0 into 0.0: both are the same coordinate.
    f64::from(x) * scale + 0.0
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

    /// Points as columns, normalised and rounded to f32.
    pub(super) fn panel(&self, points: Range<usize>) -> Array2<f32> {
        self.columns(self.ids[points].iter().copied())
    }

    /// As `panel`, of points here and there.
    pub(super) fn select(&self, points: &[u32]) -> Array2<f32> {
        self.columns(points.iter().map(|&point| self.ids[point as usize]))
    }

    fn columns(&self, ids: impl ExactSizeIterator<Item = u32>) -> Array2<f32> {
        // By way of a strip that is one cache line wide: writing down the columns of the panel itself would miss the
        // cache at every step.
        const STRIP: usize = 16;
        let mut panel = Array2::zeros((self.dim(), ids.len()));
        let mut strip = Array2::zeros((self.dim(), STRIP));
        let mut ids = ids;
        for mut columns in panel.axis_chunks_iter_mut(Axis(1), STRIP) {
            let width = columns.ncols();
            for (mut column, id) in strip.columns_mut().into_iter().zip(ids.by_ref().take(width)) {
                let (row, scale) = self.rows.row(id as usize);
                for (to, &x) in column.iter_mut().zip(row) {
                    *to = (f64::from(x) * scale) as f32;
                }
            }
            columns.assign(&strip.slice_axis(Axis(1), Slice::from(..width)));
        }
        panel
    }
}
