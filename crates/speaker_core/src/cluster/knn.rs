//! Exact nearest neighbours by blocked matrix products.
//!
//! A pass of f32 products keeps, for each point, every pair that could be among its k nearest given the rounding error
//! (`tile::Guard`), in a buffer of bounded size. The survivors, hardly more than k, are then measured in f64.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::candidates::Candidates;
use super::crew::Crew;
use super::rows::Points;
use super::tile::{self, Guard, Tile};
use super::ClusterError;

/// The `k` nearest of each point in order of (distance, id), without the point itself.
pub(super) struct Neighbours {
    k: usize,
    ids: Vec<u32>,
    distances: Vec<f64>,
}

impl Neighbours {
    /// How many lists there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len().checked_div(self.k).unwrap_or(0)
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

/// The `k` nearest other points of each point (fewer if there are fewer). Each pair is computed once; the buffers of
/// all points exist at once.
pub(super) fn mutual(points: Points, k: usize, crew: &Crew) -> Result<Neighbours, ClusterError> {
    let n = points.len();
    let k = k.min(n.saturating_sub(1));
    let (side, guard) = (tile::side(points.dim()), Guard::for_dim(points.dim()));
    let range = |block: usize| block * side..n.min((block + 1) * side);
    let blocks: Vec<Mutex<Candidates>> =
        (0..n.div_ceil(side)).map(|block| Mutex::new(Candidates::new(range(block).len(), k, guard))).collect();
    let distance = |i: usize, j: u32| points.distance(i, j as usize);

    let pairs = if k == 0 { 0 } else { blocks.len() * (blocks.len() + 1) / 2 };
    let state = || (Tile::new(side.min(n), points.dim()), Vec::new());
    crew.run(pairs, state, |(tile, floors): &mut (Tile, Vec<f32>), task| {
        let (left, right) = tile::block_pair(task);
        tile.multiply(points, range(left), points, range(right), right);
        // Locks are always taken in the order of the blocks.
        let mut ours = lock(&blocks[left]);
        if left == right {
            for (row, i) in range(left).enumerate() {
                floors.clear();
                floors.extend_from_slice(&ours.floors()[..row]);
                let row_floor = ours.floors()[row];
                tile::scan(&tile.dots(row)[..row], row_floor, floors, |column, dot| {
                    let j = right * side + column;
                    ours.offer(row, dot, j as u32, |id| distance(i, id));
                    ours.offer(column, dot, i as u32, |id| distance(j, id));
                });
            }
            return;
        }
        let mut theirs = lock(&blocks[right]);
        for (row, i) in range(left).enumerate() {
            floors.clear();
            floors.extend_from_slice(theirs.floors());
            let row_floor = ours.floors()[row];
            tile::scan(&tile.dots(row)[..floors.len()], row_floor, floors, |column, dot| {
                let j = right * side + column;
                ours.offer(row, dot, j as u32, |id| distance(i, id));
                theirs.offer(column, dot, i as u32, |id| distance(j, id));
            });
        }
    })?;
    measure(blocks, side, k, crew, distance)
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
    let never = vec![f32::INFINITY; side];
    for first in (0..queries.len()).step_by(side) {
        let rows = first..queries.len().min(first + side);
        let block = Mutex::new(Candidates::new(rows.len(), k, guard));
        let distance = |row: usize, j: u32| queries.distance_to(first + row, among, j as usize);
        let tasks = if k == 0 { 0 } else { among.len().div_ceil(side) };
        crew.run(
            tasks,
            || Tile::new(side, queries.dim()),
            |tile, task| {
                let columns = task * side..among.len().min((task + 1) * side);
                tile.multiply(queries, rows.clone(), among, columns.clone(), task);
                let mut ours = lock(&block);
                for row in 0..rows.len() {
                    let row_floor = ours.floors()[row];
                    let dots = &tile.dots(row)[..columns.len()];
                    tile::scan(dots, row_floor, &never, |column, dot| {
                        ours.offer(row, dot, (columns.start + column) as u32, |id| distance(row, id));
                    });
                }
            },
        )?;
        found(first, measure(vec![block], side, k, crew, distance)?);
    }
    Ok(())
}

fn lock(block: &Mutex<Candidates>) -> MutexGuard<'_, Candidates> {
    block.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Measures the survivors exactly and keeps the nearest `k` of each point. All blocks but the last have `side` points.
fn measure(
    blocks: Vec<Mutex<Candidates>>,
    side: usize,
    k: usize,
    crew: &Crew,
    distance: impl Fn(usize, u32) -> f64 + Sync,
) -> Result<Neighbours, ClusterError> {
    // Points per task.
    const STEP: usize = 32;
    let blocks: Vec<Candidates> =
        blocks.into_iter().map(|block| block.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
    let n = blocks.iter().map(Candidates::len).sum::<usize>();
    let mut all = Neighbours { k, ids: vec![0; n * k], distances: vec![0.0; n * k] };
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
