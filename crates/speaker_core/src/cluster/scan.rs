//! Reading a tile of dot products: which reach a floor, and how large they get.
//!
//! Hits are rare, so dot products are digested a chunk at a time in loops over arrays of fixed size, which compile to
//! vector instructions, and looked at one by one only where a chunk has a hit.

const CHUNK: usize = 32;

/// Calls `hit(column, dot)` where the dot product reaches the row's floor.
pub(super) fn row_hits(dots: &[f32], floor: f32, mut hit: impl FnMut(usize, f32)) {
    let (chunks, rest) = dots.as_chunks::<CHUNK>();
    let mut look = |from: usize, dots: &[f32]| {
        for (column, &dot) in (from..).zip(dots) {
            if dot >= floor {
                hit(column, dot);
            }
        }
    };
    for (chunk, from) in chunks.iter().zip((0..).step_by(CHUNK)) {
        if largest(chunk) >= floor {
            look(from, chunk);
        }
    }
    look(dots.len() - rest.len(), rest);
}

/// Calls `hit(column, dot)` where the dot product reaches the row's floor or the column's, raises each column's
/// maximum and returns the row's. The slices are of equal length.
pub(super) fn hits_and_maxima(
    dots: &[f32],
    row_floor: f32,
    column_floors: &[f32],
    column_maxima: &mut [f32],
    mut hit: impl FnMut(usize, f32),
) -> f32 {
    let (chunks, rest) = dots.as_chunks::<CHUNK>();
    let (floor_chunks, rest_floors) = column_floors.as_chunks::<CHUNK>();
    let (maximum_chunks, rest_maxima) = column_maxima.as_chunks_mut::<CHUNK>();
    let mut look = |from: usize, dots: &[f32], floors: &[f32]| {
        for (column, (&dot, &floor)) in (from..).zip(dots.iter().zip(floors)) {
            if dot >= row_floor || dot >= floor {
                hit(column, dot);
            }
        }
    };
    let mut row_maximum = -1.0;
    for (((dots, floors), maxima), from) in
        chunks.iter().zip(floor_chunks).zip(maximum_chunks).zip((0..).step_by(CHUNK))
    {
        let mut reached = [false; CHUNK];
        for at in 0..CHUNK {
            maxima[at] = larger(maxima[at], dots[at]);
            reached[at] = dots[at] >= floors[at];
        }
        let maximum = largest(dots);
        row_maximum = larger(row_maximum, maximum);
        if maximum >= row_floor || reached.iter().fold(false, |any, &reached| any | reached) {
            look(from, dots, floors);
        }
    }
    look(dots.len() - rest.len(), rest, rest_floors);
    for (maximum, &dot) in rest_maxima.iter_mut().zip(rest) {
        *maximum = larger(*maximum, dot);
        row_maximum = larger(row_maximum, dot);
    }
    row_maximum
}

/// The largest of any number of dot products.
pub(super) fn maximum(dots: &[f32]) -> f32 {
    let (chunks, rest) = dots.as_chunks::<CHUNK>();
    let maxima = chunks.iter().map(largest);
    maxima.chain(rest.iter().copied()).fold(-1.0, larger)
}

/// The largest of each run of a few dot products.
pub(super) fn chunk_maxima(dots: &[f32]) -> impl Iterator<Item = f32> + '_ {
    const RUN: usize = 8;
    dots.chunks(RUN).map(|run| run.iter().copied().fold(-1.0, larger))
}

fn largest(dots: &[f32; CHUNK]) -> f32 {
    // By halves: a chain of comparisons would wait for each other.
    let mut maxima = *dots;
    let mut width = CHUNK / 2;
    while width > 0 {
        for at in 0..width {
            maxima[at] = larger(maxima[at], maxima[at + width]);
        }
        width /= 2;
    }
    maxima[0]
}

/// `f32::max` without its care for NaN, which costs several instructions.
fn larger(a: f32, b: f32) -> f32 {
    if a > b {
        a
    } else {
        b
    }
}
