//! Exact nearest neighbours by blocked matrix products.
//!
//! A pass of f32 products keeps, for each point, every pair that could be among its k nearest given the rounding error
//! (`tile::Guard`), in a buffer of bounded size. The survivors, hardly more than k, are then measured in f64.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::candidates::Candidates;
use super::crew::Crew;
use super::horizon::{Cells, Horizon};
use super::rows::Points;
use super::scan;
use super::tile::{self, Guard, Panels, Tile};
use super::ClusterError;

/// The `k` nearest of each point in order of (distance, id), without the point itself.
pub(super) struct Neighbours {
    len: usize,
    k: usize,
    ids: Vec<u32>,
    distances: Vec<f64>,
}

impl Neighbours {
    /// How many lists there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn k(&self) -> usize {
        self.k
    }

    pub(super) fn ids(&self, point: usize) -> &[u32] {
        &self.ids[point * self.k..(point + 1) * self.k]
    }

    pub(super) fn distances(&self, point: usize) -> &[f64] {
        &self.distances[point * self.k..(point + 1) * self.k]
    }

    pub(super) fn of(&self, point: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.ids(point).iter().map(|&id| id as usize).zip(self.distances(point).iter().copied())
    }

    /// Points that are not in the list are at least this far.
    pub(super) fn radius(&self, point: usize) -> f64 {
        self.distances(point).last().copied().unwrap_or(f64::INFINITY)
    }
}

/// What one pass over all pairs tells.
pub(super) struct Survey {
    pub(super) neighbours: Neighbours,
    pub(super) horizon: Horizon,
}

/// What a block's points have learned so far.
struct Learned {
    candidates: Candidates,
    horizon: Horizon,
}

/// The `k` nearest other points of each point (fewer if there are fewer). Each pair is computed once; the buffers of
/// all points exist at once.
pub(super) fn survey(points: Points, k: usize, crew: &Crew) -> Result<Survey, ClusterError> {
    let n = points.len();
    let k = k.min(n.saturating_sub(1));
    let guard = Guard::for_dim(points.dim());
    let cells = Cells::new(n, points.dim());
    let panels = Panels::new(points, crew)?;
    let blocks: Vec<Mutex<Learned>> = (0..panels.len())
        .map(|block| {
            let points = panels.points(block).len();
            let (candidates, horizon) = (Candidates::new(points, k, guard), Horizon::new(points, cells));
            Mutex::new(Learned { candidates, horizon })
        })
        .collect();
    let distance = |i: usize, j: u32| points.distance(i, j as usize);

    let pairs = if k == 0 { 0 } else { panels.len() * (panels.len() + 1) / 2 };
    crew.run(
        pairs,
        || Scanner::new(panels.side, cells),
        |scanner, task| {
            // Each block with itself first: its points' floors are high before the others come.
            let (left, right) = match task.checked_sub(panels.len()) {
                None => (task, task),
                Some(task) => (tile::pair(task).0, tile::pair(task).1 + 1),
            };
            scanner.tile.multiply(&panels.panel(left), &panels.panel(right));
            let (rows, columns) = (panels.points(left), panels.points(right));
            // Locks are always taken in the order of the blocks.
            let mut ours = lock(&blocks[left]);
            if left == right {
                scanner.scan_within(&mut ours, rows, distance);
            } else {
                scanner.scan_between(&mut ours, &mut lock(&blocks[right]), rows, columns, distance);
            }
        },
    )?;
    let (mut candidates, mut horizon) = (Vec::with_capacity(blocks.len()), Horizon::default());
    for block in blocks {
        let learned = block.into_inner().unwrap_or_else(PoisonError::into_inner);
        candidates.push(learned.candidates);
        horizon.extend(learned.horizon);
    }
    let side = panels.side;
    drop(panels);
    Ok(Survey { neighbours: measure(candidates, side, k, crew, distance)?, horizon })
}

/// One thread's workspace in the survey.
struct Scanner {
    tile: Tile,
    cells: Cells,
    column_floors: Vec<f32>,
    column_maxima: Vec<f32>,
}

impl Scanner {
    fn new(side: usize, cells: Cells) -> Self {
        Scanner { tile: Tile::new(side), cells, column_floors: Vec::new(), column_maxima: Vec::new() }
    }

    /// The pairs of a block with itself; the tile holds each twice.
    fn scan_within(&mut self, ours: &mut Learned, points: Range<usize>, distance: impl Fn(usize, u32) -> f64) {
        self.tile.clear_diagonal();
        for (row, i) in points.clone().enumerate() {
            let dots = &self.tile.dots(row)[..points.len()];
            // Before the first candidates come: what the k-th largest of some maxima reaches, the k-th largest of all
            // reaches too.
            ours.candidates.raise_floor(row, scan::chunk_maxima(dots));
            scan::row_hits(dots, ours.candidates.floors()[row], |column, dot| {
                ours.candidates.offer(row, dot, (points.start + column) as u32, |id| distance(i, id));
            });
            for (dots, first) in dots.chunks(self.cells.size).zip(points.clone().step_by(self.cells.size)) {
                let maximum = scan::maximum(dots);
                ours.horizon.raise(row, self.cells.of(first), maximum);
            }
        }
    }

    /// The pairs of two blocks.
    fn scan_between(
        &mut self,
        ours: &mut Learned,
        theirs: &mut Learned,
        rows: Range<usize>,
        columns: Range<usize>,
        distance: impl Fn(usize, u32) -> f64,
    ) {
        let Scanner { tile, cells, column_floors, column_maxima } = self;
        for first_row in rows.clone().step_by(cells.size) {
            // Floors rise while the tile is read; older ones only let more pass, and `offer` looks again.
            column_floors.clear();
            column_floors.extend_from_slice(theirs.candidates.floors());
            column_maxima.clear();
            column_maxima.resize(columns.len(), -1.0);
            for i in first_row..rows.end.min(first_row + cells.size) {
                let row = i - rows.start;
                let dots = tile.dots(row)[..columns.len()].chunks(cells.size);
                let pieces = dots.zip(column_floors.chunks(cells.size)).zip(column_maxima.chunks_mut(cells.size));
                for (((dots, floors), maxima), first_column) in pieces.zip(columns.clone().step_by(cells.size)) {
                    let row_floor = ours.candidates.floors()[row];
                    let maximum = scan::hits_and_maxima(dots, row_floor, floors, maxima, |offset, dot| {
                        let j = first_column + offset;
                        ours.candidates.offer(row, dot, j as u32, |id| distance(i, id));
                        theirs.candidates.offer(j - columns.start, dot, i as u32, |id| distance(j, id));
                    });
                    ours.horizon.raise(row, cells.of(first_column), maximum);
                }
            }
            for (column, &maximum) in column_maxima.iter().enumerate() {
                theirs.horizon.raise(column, cells.of(first_row), maximum);
            }
        }
    }
}

/// The `k` nearest of `among` (fewer if there are fewer) for each of `queries`, block by block of queries: `found` gets
/// the first query of the block and its lists. Only one block's buffers exist at a time, so k may be large.
pub(super) fn one_way(
    queries: Points,
    among: Points,
    k: usize,
    crew: &Crew,
    mut found: impl FnMut(usize, Neighbours),
) -> Result<(), ClusterError> {
    let k = k.min(among.len());
    let (side, guard) = (tile::side(queries.dim()), Guard::for_dim(queries.dim()));
    for first in (0..queries.len()).step_by(side) {
        let rows = first..queries.len().min(first + side);
        let left = queries.panel(rows.clone());
        let block = Mutex::new(Candidates::new(rows.len(), k, guard));
        let distance = |row: usize, j: u32| queries.distance_to(first + row, among, j as usize);
        let tasks = if k == 0 { 0 } else { among.len().div_ceil(side) };
        crew.run(
            tasks,
            || Tile::new(side),
            |tile, task| {
                let columns = task * side..among.len().min((task + 1) * side);
                tile.multiply(&left.view(), &among.panel(columns.clone()).view());
                let mut ours = lock(&block);
                for row in 0..rows.len() {
                    let floor = ours.floors()[row];
                    scan::row_hits(&tile.dots(row)[..columns.len()], floor, |column, dot| {
                        ours.offer(row, dot, (columns.start + column) as u32, |id| distance(row, id));
                    });
                }
            },
        )?;
        let block = block.into_inner().unwrap_or_else(PoisonError::into_inner);
        found(first, measure(vec![block], side, k, crew, distance)?);
    }
    Ok(())
}

fn lock<T>(block: &Mutex<T>) -> MutexGuard<'_, T> {
    block.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Measures the survivors exactly and keeps the nearest `k` of each point. All blocks but the last have `side` points.
fn measure(
    blocks: Vec<Candidates>,
    side: usize,
    k: usize,
    crew: &Crew,
    distance: impl Fn(usize, u32) -> f64 + Sync,
) -> Result<Neighbours, ClusterError> {
    // Points per task.
    const STEP: usize = 32;
    let n = blocks.iter().map(Candidates::len).sum::<usize>();
    let mut all = Neighbours { len: n, k, ids: vec![0; n * k], distances: vec![0.0; n * k] };
    if k == 0 {
        return Ok(all);
    }
    let slices: Vec<_> = all.ids.chunks_mut(STEP * k).zip(all.distances.chunks_mut(STEP * k)).map(Mutex::new).collect();
    crew.run(slices.len(), Vec::new, |measured: &mut Vec<(f64, u32)>, task| {
        let mut slice = slices[task].lock().unwrap_or_else(PoisonError::into_inner);
        let (ids, distances) = &mut *slice;
        let lists = ids.chunks_mut(k).zip(distances.chunks_mut(k));
        for (point, (ids, distances)) in (task * STEP..).zip(lists) {
            measured.clear();
            measured.extend(blocks[point / side].survivors(point % side).map(|id| (distance(point, id), id)));
            measured.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for ((id, distance), &(d, i)) in ids.iter_mut().zip(distances).zip(&*measured) {
                (*id, *distance) = (i, d);
            }
        }
    })?;
    drop(slices);
    Ok(all)
}
