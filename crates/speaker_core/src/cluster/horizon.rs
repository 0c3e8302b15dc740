//! For each point and each cell of points, an upper bound on their dot products.
//!
//! The pass that finds neighbours computes every dot product anyway; its maxima, one byte per point and cell, let the
//! search between components leave out almost all pairs. Cells are runs of points in their arranged order, at most
//! 256 of them, so that memory stays linear.

use super::tile;

/// How the points are cut into cells.
#[derive(Clone, Copy)]
pub(super) struct Cells {
    pub(super) size: usize,
    pub(super) count: usize,
}

impl Cells {
    const MOST: usize = 256;

    /// Cells and panels nest, whichever is larger: both are powers of two.
    pub(super) fn new(points: usize, dim: usize) -> Self {
        let size = points.div_ceil(Self::MOST).next_power_of_two().max(tile::side(dim).min(64));
        Cells { size, count: points.div_ceil(size) }
    }

    pub(super) fn of(&self, point: usize) -> usize {
        point / self.size
    }

    pub(super) fn points(&self, cell: usize, all: usize) -> std::ops::Range<usize> {
        cell * self.size..all.min((cell + 1) * self.size)
    }
}

/// The bounds of some of the points.
#[derive(Default)]
pub(super) struct Horizon {
    cells: usize,
    /// Per point and cell, see `code`.
    codes: Vec<u8>,
}

impl Horizon {
    pub(super) fn new(points: usize, cells: Cells) -> Self {
        Horizon { cells: cells.count, codes: vec![0; points * cells.count] }
    }

    pub(super) fn raise(&mut self, point: usize, cell: usize, dot: f32) {
        let known = &mut self.codes[point * self.cells + cell];
        *known = (*known).max(code(dot));
    }

    /// Whether any computed dot product of the point with the cell could be at least `floor`.
    pub(super) fn reaches(&self, point: usize, cell: usize, floor: f32) -> bool {
        // Encoding is monotone.
        self.codes[point * self.cells + cell] >= code(floor)
    }

    pub(super) fn extend(&mut self, other: Horizon) {
        self.cells = other.cells;
        self.codes.extend(other.codes);
    }
}

/// [-1, 1] to a byte, rounded up; casts saturate.
fn code(dot: f32) -> u8 {
    ((dot + 1.0) * 127.5).ceil() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_horizon_reaches_what_raised_it_and_hardly_more() {
        for step in -99..99 {
            let dot = step as f32 / 99.5;
            let mut horizon = Horizon::new(1, Cells { size: 1, count: 2 });
            horizon.raise(0, 1, dot);
            assert!(horizon.reaches(0, 1, dot) && !horizon.reaches(0, 1, dot + 0.01), "{dot}");
            assert!(!horizon.reaches(0, 0, dot), "{dot}");
        }
    }
}
