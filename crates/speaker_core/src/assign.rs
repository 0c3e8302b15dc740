//! Nearest speakers: for many embeddings at once, the means with the largest inner product, in one pass over the means.
//!
//! For an embedding of norm 1 its inner product with the mean of a speaker's normalised embeddings is the average cosine
//! similarity to them. The means come one by one, so that their number is not bounded by the memory of the caller.
//! Where a speaker comes often, with one embedding after the other in any order, the best of them counts.
//!
//! Few embeddings are compared with each mean as it comes, in f64. Many are compared with blocks of means by f32 matrix
//! products; a product is off by at most (d + 2) u times both norms, u = 2^-24 (Higham, Accuracy and Stability of
//! Numerical Algorithms, section 3.1), so what comes within that of the kept ones is measured again in f64. Both ways
//! give the same numbers, and equal similarities are told apart by the lowest id.
//!
//! Deliberately not here: thresholds and margins, which are the caller's, and approximation.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::ops::ControlFlow;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, Slice};
use pulp::{Arch, NullaryFnOnce};
use thiserror::Error;

use crate::embedding::UnitEmbedding;
use crate::Check;

/// Up to this many embeddings a mean is compared at once: copying it into a block would cost more than it saves.
const FEW: usize = 4;

/// Sides of a matrix product: a millisecond or two at 256 dimensions, and its result stays in the L2 cache.
const BLOCK: usize = 256;

#[derive(Debug, Clone, PartialEq, Error)]
pub enum AssignError {
    #[error("different vector dimensions {left} and {right}")]
    Dimensions { left: usize, right: usize },

    #[error("the nearest of {embeddings} embeddings, {found} of each so far, need more than the {max_bytes} bytes of memory that are allowed")]
    TooMuchMemory { embeddings: usize, found: u64, max_bytes: u64 },

    #[error("interrupted")]
    Interrupted,
}

/// A speaker, and how similar their embeddings are on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    pub id: i64,
    pub similarity: f64,
}

impl Eq for Match {}

/// The better comes first: more similar, or as similar with the lower id.
impl Ord for Match {
    fn cmp(&self, other: &Self) -> Ordering {
        other.similarity.total_cmp(&self.similarity).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Match {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How often a speaker comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comes {
    /// With a mean.
    Once,
    /// With each embedding.
    Often,
}

/// A search under way.
pub struct Search {
    dim: usize,
    dot: Dot,
    embeddings: Array2<f32>,
    /// The same in f64 where they are few.
    exact: Vec<Vec<f64>>,
    nearest: Vec<Nearest>,
    block: Block,
    comes: Comes,
    /// Means so far, and how many speakers there may be.
    seen: u64,
    room: u64,
    max_memory: u64,
}

/// Means that wait for their matrix product.
#[derive(Default)]
struct Block {
    ids: Vec<i64>,
    means: Vec<f32>,
    largest_norm: f64,
}

impl Search {
    /// Looks for the `k` nearest of each embedding, with no more memory than `max_memory`.
    pub fn new(embeddings: &[UnitEmbedding], k: usize, comes: Comes, max_memory: u64) -> Result<Self, AssignError> {
        let dim = embeddings.first().map_or(0, |embedding| embedding.as_slice().len());
        let room = room(embeddings.len(), dim, k, comes, max_memory)?;
        let mut values = Vec::with_capacity(embeddings.len() * dim);
        for embedding in embeddings {
            same_dim(dim, embedding.as_slice().len())?;
            values.extend_from_slice(embedding.as_slice());
        }
        let exact = if embeddings.len() <= FEW {
            embeddings.iter().map(|e| e.as_slice().iter().copied().map(f64::from).collect()).collect()
        } else {
            Vec::new()
        };
        Ok(Search {
            dim,
            dot: Dot(Arch::new()),
            embeddings: Array2::from_shape_vec((embeddings.len(), dim), values).expect("every row has dim values"),
            exact,
            nearest: embeddings.iter().map(|_| Nearest::new(k, comes)).collect(),
            block: Block::default(),
            comes,
            seen: 0,
            room,
            max_memory,
        })
    }

    /// Compares with one more mean.
    pub fn push(&mut self, id: i64, mean: &[f32], check: Check) -> Result<(), AssignError> {
        if self.nearest.is_empty() {
            return Ok(());
        }
        same_dim(self.dim, mean.len())?;
        let seen = match self.comes {
            Comes::Once => self.seen,
            // Those that wait may be new.
            Comes::Often => (self.nearest[0].len() + self.block.ids.len()) as u64,
        };
        if seen >= self.room {
            return Err(self.too_much_memory());
        }
        self.seen += 1;
        if !self.exact.is_empty() {
            for (embedding, nearest) in self.exact.iter().zip(&mut self.nearest) {
                nearest.offer(id, self.dot.of(mean, embedding));
            }
            return Ok(());
        }
        self.block.ids.push(id);
        self.block.means.extend_from_slice(mean);
        let square: f64 = mean.iter().map(|value| f64::from(*value).powi(2)).sum();
        self.block.largest_norm = self.block.largest_norm.max(square.sqrt());
        if self.block.ids.len() == BLOCK {
            self.multiply(check)?;
        }
        Ok(())
    }

    /// For each embedding, in the order given, its nearest, the best first.
    pub fn nearest(&mut self, check: Check) -> Result<Vec<Vec<Match>>, AssignError> {
        self.multiply(check)?;
        Ok(self.nearest.iter().map(Nearest::sorted).collect())
    }

    #[cold]
    fn too_much_memory(&self) -> AssignError {
        AssignError::TooMuchMemory { embeddings: self.nearest.len(), found: self.room, max_bytes: self.max_memory }
    }

    fn multiply(&mut self, check: Check) -> Result<(), AssignError> {
        let Block { ids, means, largest_norm } = std::mem::take(&mut self.block);
        let means = ArrayView2::from_shape((ids.len(), self.dim), &means).expect("every mean has dim values");
        // 8 instead of 2: room for second order terms and for the rounding of the floor.
        let error = (self.dim as f64 + 8.0) * f64::from(f32::EPSILON) / 2.0 * largest_norm * 1.01;
        let mut dots = Array2::zeros((BLOCK, ids.len()));
        let mut wide = Vec::with_capacity(self.dim);
        for (embeddings, nearest) in
            self.embeddings.axis_chunks_iter(Axis(0), BLOCK).zip(self.nearest.chunks_mut(BLOCK))
        {
            if check() == ControlFlow::Break(()) {
                return Err(AssignError::Interrupted);
            }
            let mut dots = dots.slice_axis_mut(Axis(0), Slice::from(..embeddings.nrows()));
            general_mat_mul(1.0, &embeddings, &means.t(), 0.0, &mut dots);
            for ((embedding, dots), nearest) in embeddings.outer_iter().zip(dots.outer_iter()).zip(nearest) {
                wide.clear();
                for (column, &estimate) in dots.iter().enumerate() {
                    // What overflowed says nothing.
                    if f64::from(estimate) >= nearest.floor() - error || !estimate.is_finite() {
                        if wide.is_empty() {
                            wide.extend(embedding.iter().copied().map(f64::from));
                        }
                        let mean = means.row(column).to_slice().expect("means lie row by row");
                        nearest.offer(ids[column], self.dot.of(mean, &wide));
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many speakers a search may see: as many as there is room to keep of, or any number if there is room for k.
///
/// Asked again here, and by who has yet to copy the embeddings.
pub fn room(embeddings: usize, dim: usize, k: usize, comes: Comes, max_memory: u64) -> Result<u64, AssignError> {
    let too_much = AssignError::TooMuchMemory { embeddings, found: 0, max_bytes: max_memory };
    let left = max_memory.checked_sub(memory_of_search(embeddings, dim, 0, comes)).ok_or(too_much)?;
    match left / (MATCH * embeddings.max(1) as u64) {
        room if room >= places(k, comes) => Ok(u64::MAX),
        room if comes == Comes::Often => Ok(room * 2 / 3),
        room => Ok(room),
    }
}

/// Bytes that a search takes that finds k of each, with the caller's copy of the embeddings.
pub fn memory_of_search(embeddings: usize, dim: usize, k: usize, comes: Comes) -> u64 {
    // In f32 here and there, and in f64 where they are few; a place each in three vectors.
    let values = if embeddings <= FEW { 16 } else { 8 };
    let own = embeddings as u64 * (values * dim as u64 + 192) + block_memory(dim);
    (embeddings as u64).saturating_mul(MATCH).saturating_mul(places(k, comes)).saturating_add(own)
}

/// Matches kept to have k of them. A map keeps some more, and takes half as much again.
fn places(k: usize, comes: Comes) -> u64 {
    match comes {
        Comes::Once => k as u64,
        Comes::Often if k == 0 => 0,
        Comes::Often => (most_kept(k) as u64).saturating_mul(3) / 2,
    }
}

/// Bytes of a match: in a heap that grows, copied out of it, and in the two arrays that are made of the copies.
const MATCH: u64 = 3 * size_of::<Match>() as u64 + 2 * 16;

/// The means that wait, in a vector that grows, and their products.
fn block_memory(dim: usize) -> u64 {
    (BLOCK * (2 * 4 * dim + 16) + BLOCK * BLOCK * 4) as u64
}

/// The best so far of one embedding.
struct Nearest {
    k: usize,
    kept: Kept,
}

enum Kept {
    /// At most `k`, the worst on top.
    Heap(BinaryHeap<Match>),
    /// The best of each speaker. From time to time all but the best `k` are forgotten: whoever is to be found after all comes again,
    /// with a better one. The floor is the worst of those that stayed.
    Map { best: HashMap<i64, f64>, floor: f64 },
}

/// So many matches a map may have before it forgets.
fn most_kept(k: usize) -> usize {
    k.saturating_mul(2).saturating_add(8)
}

impl Nearest {
    fn new(k: usize, comes: Comes) -> Self {
        let kept = match comes {
            Comes::Once => Kept::Heap(BinaryHeap::new()),
            Comes::Often => Kept::Map { best: HashMap::new(), floor: f64::NEG_INFINITY },
        };
        Nearest { k, kept }
    }

    fn len(&self) -> usize {
        match &self.kept {
            Kept::Heap(kept) => kept.len(),
            Kept::Map { best, .. } => best.len(),
        }
    }

    /// What is less similar is not kept.
    fn floor(&self) -> f64 {
        match &self.kept {
            _ if self.k == 0 => f64::INFINITY,
            Kept::Heap(kept) if kept.len() == self.k => kept.peek().map_or(f64::NEG_INFINITY, |worst| worst.similarity),
            Kept::Heap(_) => f64::NEG_INFINITY,
            Kept::Map { floor, .. } => *floor,
        }
    }

    fn offer(&mut self, id: i64, similarity: f64) {
        let offered = Match { id, similarity };
        let floor = self.floor();
        match &mut self.kept {
            Kept::Heap(kept) if kept.len() < self.k => kept.push(offered),
            Kept::Heap(kept) => {
                if let Some(mut worst) = kept.peek_mut() {
                    if offered < *worst {
                        *worst = offered;
                    }
                }
            }
            Kept::Map { best, .. } => {
                if similarity < floor {
                    return;
                }
                let known = best.entry(id).or_insert(similarity);
                *known = known.max(similarity);
                if best.len() > most_kept(self.k) {
                    self.forget();
                }
            }
        }
    }

    /// Keeps the best `k` of a map.
    fn forget(&mut self) {
        let sorted = self.sorted();
        if let (Kept::Map { best, floor }, Some(worst)) = (&mut self.kept, sorted.last()) {
            *floor = worst.similarity;
            *best = sorted.iter().map(|found| (found.id, found.similarity)).collect();
        }
    }

    fn sorted(&self) -> Vec<Match> {
        match &self.kept {
            Kept::Heap(kept) => kept.clone().into_sorted_vec(),
            Kept::Map { best, .. } => {
                let mut all: Vec<Match> = best.iter().map(|(&id, &similarity)| Match { id, similarity }).collect();
                all.sort_unstable();
                all.truncate(self.k);
                all
            }
        }
    }
}

/// The inner product in f64, with the vector instructions that the processor has.
#[derive(Clone, Copy)]
struct Dot(Arch);

impl Dot {
    fn of(self, a: &[f32], b: &[f64]) -> f64 {
        self.0.dispatch(Product { a, b })
    }
}

/// A type of its own, since the compiler need not put the body of a closure where the instructions are chosen, and then
/// it has none but the oldest.
struct Product<'a> {
    a: &'a [f32],
    b: &'a [f64],
}

impl NullaryFnOnce for Product<'_> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        dot(self.a, self.b)
    }
}

/// In several sums: one would be a chain of additions that wait for each other.
#[inline(always)]
fn dot(a: &[f32], b: &[f64]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let (mut chunks_a, mut chunks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut chunks_a).zip(&mut chunks_b) {
        for lane in 0..LANES {
            sums[lane] += f64::from(a[lane]) * b[lane];
        }
    }
    for ((a, b), sum) in chunks_a.remainder().iter().zip(chunks_b.remainder()).zip(&mut sums) {
        *sum += f64::from(*a) * b;
    }
    sums.iter().sum()
}

fn same_dim(left: usize, right: usize) -> Result<(), AssignError> {
    if left == right {
        Ok(())
    } else {
        Err(AssignError::Dimensions { left, right })
    }
}
