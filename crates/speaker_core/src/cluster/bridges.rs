//! The edges of the minimum spanning tree between components, found in one pass over the pairs of points.
//!
//! Boruvka's own way, the lightest edge of each component per pass, needs several passes: dense speakers far apart
//! exhaust their neighbour lists all at once. Instead:
//!
//! 1. Any spanning tree of the components bounds the answer: a pair of points can only belong to the minimum tree if it
//!    is lighter than every... the heaviest edge on the path that the spanning tree already has between them.
//! 2. With components laid out in the order of that tree's reachability plot, the heaviest edge on the path between two
//!    points is the maximum of the plot between them. For a point i of one block and j of a later one that maximum is
//!    max(u_i, v_j), where u_i looks from i to the start of j's block and v_j from there to j. So the test of a whole
//!    tile is "dot product >= min(floor_i, floor_j)": the same scan that finds neighbours.
//! 3. Pairs that pass are measured in f64; those lighter than the bound improve the tree, and with it the bounds.
//!
//! In the end the minimum spanning tree of everything that passed is the minimum spanning tree of all.

use super::crew::Crew;
use super::mst::{kruskal, Edge, Reachability};
use super::plot::ReachabilityPlot;
use super::tile::{self, Guard, Tile};
use super::union_find::UnionFind;
use super::ClusterError;

/// The minimum spanning tree's edges between the sets of `joined`, which it must already span inside.
pub(super) fn between_components(
    graph: Reachability,
    mut joined: UnionFind,
    crew: &Crew,
) -> Result<Vec<Edge>, ClusterError> {
    let component = joined.numbering();
    let components = joined.sets();
    let mut tree = some_spanning_tree(graph, joined, crew)?;
    let layout = Layout::new(graph, &component, components, &tree);
    let mut bounds = layout.bounds(&layout.jumps_of(&tree));

    // The bounds improve between the legs of the pass: early legs are short, when there is most to learn.
    let pairs = layout.blocks() * (layout.blocks() + 1) / 2;
    let mut done = 0;
    while done < pairs {
        let leg = (pairs - done).min(layout.blocks().max(done / 2));
        let state = || Searcher::new(graph, &layout);
        let searchers =
            crew.run(leg, state, |searcher, task| searcher.search(&layout, &bounds, tile::block_pair(done + task)))?;
        done += leg;
        let found: Vec<Edge> = searchers.into_iter().flat_map(|searcher| searcher.found).collect();
        if !found.is_empty() {
            tree.extend(found);
            tree = layout.minimum(tree);
            bounds = layout.bounds(&layout.jumps_of(&tree));
        }
    }
    Ok(tree)
}

/// The points in the order of the reachability plot of their components, cut into blocks.
struct Layout<'a> {
    component: &'a [u32],
    components: usize,
    /// Components in order.
    order: Vec<u32>,
    /// Points in order, and for each the position of its component.
    points: Vec<u32>,
    place: Vec<u32>,
    /// The rows of these points.
    rows: Vec<u32>,
    side: usize,
}

/// What a pair must undercut, kept so that it can be looked up for pairs of blocks.
struct Bounds {
    /// Per point in order: the largest jump from the point before it on ...
    jumps: Vec<f64>,
    /// ... to the first point of the next block (excluding the jump to the point itself),
    to_next_block: Vec<f64>,
    /// ... from the first point of its own block (excluding the jump to that one).
    from_block: Vec<f64>,
    /// Per block, from its first point to the first of the next.
    across: Vec<f64>,
}

impl<'a> Layout<'a> {
    fn new(graph: Reachability, component: &'a [u32], components: usize, tree: &[Edge]) -> Self {
        let order = ReachabilityPlot::of_tree(components, tree_edges(component, tree)).order;
        let mut position = vec![0u32; components];
        for (p, &c) in order.iter().enumerate() {
            position[c as usize] = p as u32;
        }
        let mut points: Vec<u32> = (0..component.len() as u32).collect();
        points.sort_by_key(|&point| position[component[point as usize] as usize]);
        let place = points.iter().map(|&point| position[component[point as usize] as usize]).collect();
        let rows = points.iter().map(|&point| graph.points.row(point as usize)).collect();
        Layout { component, components, order, points, place, rows, side: tile::side(graph.points.dim()) }
    }

    fn blocks(&self) -> usize {
        self.points.len().div_ceil(self.side)
    }

    fn block(&self, block: usize) -> std::ops::Range<usize> {
        block * self.side..self.points.len().min((block + 1) * self.side)
    }

    fn minimum(&self, edges: Vec<Edge>) -> Vec<Edge> {
        kruskal(edges, &mut UnionFind::new(self.components), |point| self.component[point as usize] as usize)
    }

    /// For each component in order, the heaviest edge on the tree's path from the one before.
    ///
    /// In the first tree's own plot these are the jumps. For a later tree they still bound the path between any two
    /// components by the maximum between their positions, because the path is no heavier than the way through all
    /// components between.
    fn jumps_of(&self, tree: &[Edge]) -> Vec<f64> {
        let plot = ReachabilityPlot::of_tree(self.components, tree_edges(self.component, tree));
        let steps = self.order.windows(2).map(|pair| (pair[0] as usize, pair[1] as usize));
        std::iter::once(0.0).chain(plot.bottlenecks(steps)).collect()
    }

    fn bounds(&self, component_jumps: &[f64]) -> Bounds {
        let n = self.points.len();
        let jumps: Vec<f64> = (0..n)
            .map(|p| match p > 0 && self.place[p] != self.place[p - 1] {
                true => component_jumps[self.place[p] as usize],
                false => 0.0,
            })
            .collect();
        let mut from_block = vec![0.0; n];
        let mut to_next_block = vec![0.0; n];
        let mut across = Vec::with_capacity(self.blocks());
        for block in 0..self.blocks() {
            let range = self.block(block);
            let mut largest = 0.0f64;
            for p in range.clone() {
                largest = if p == range.start { 0.0 } else { largest.max(jumps[p]) };
                from_block[p] = largest;
            }
            let mut largest = 0.0f64;
            for p in range.clone().rev() {
                largest = largest.max(jumps.get(p + 1).copied().unwrap_or(0.0));
                to_next_block[p] = largest;
            }
            across.push(largest);
        }
        Bounds { jumps, to_next_block, from_block, across }
    }
}

fn tree_edges<'a>(component: &'a [u32], tree: &'a [Edge]) -> impl Iterator<Item = (f64, usize, usize)> + Clone + 'a {
    tree.iter().map(|edge| (edge.weight, component[edge.a as usize] as usize, component[edge.b as usize] as usize))
}

/// One thread's part in the pass.
struct Searcher<'a> {
    graph: Reachability<'a>,
    guard: Guard,
    tile: Tile,
    floors: Vec<f32>,
    found: Vec<Edge>,
    /// When `found` is this long it is reduced to a forest.
    limit: usize,
}

impl<'a> Searcher<'a> {
    fn new(graph: Reachability<'a>, layout: &Layout) -> Self {
        let (n, dim) = (graph.points.len(), graph.points.dim());
        Searcher {
            graph,
            guard: Guard::for_dim(dim),
            tile: Tile::new(layout.side.min(n), dim),
            floors: Vec::new(),
            found: Vec::new(),
            limit: 4 * layout.components + 4096,
        }
    }

    /// Finds the pairs of two blocks that are lighter than their bound.
    fn search(&mut self, layout: &Layout, bounds: &Bounds, (left, right): (usize, usize)) {
        let (rows, columns) = (layout.block(left), layout.block(right));
        let points = self.graph.points.with_ids(&layout.rows);
        if left == right {
            if bounds.from_block[rows.end - 1] == 0.0 {
                return; // One component: the tree spans it already.
            }
            self.tile.multiply(points, rows.clone(), points, columns.clone(), right);
            for (row, i) in rows.clone().enumerate() {
                let mut bound = 0.0f64;
                self.floors.clear();
                self.floors.extend((i + 1..rows.end).map(|j| {
                    bound = bound.max(bounds.jumps[j]);
                    self.guard.floor_of_distance(bound)
                }));
                let Searcher { graph, tile, floors, found, .. } = self;
                tile::scan(&tile.dots(row)[row + 1..rows.len()], f32::INFINITY, floors, |column, _| {
                    let j = i + 1 + column;
                    let bound = bounds.jumps[i + 1..=j].iter().copied().fold(0.0, f64::max);
                    found.extend(lighter_edge(graph, layout, i, j, bound));
                });
            }
        } else {
            // From the first point after the left block to the first of the right one.
            let between = bounds.across[left + 1..right].iter().copied().fold(0.0, f64::max);
            let from_block = &bounds.from_block[columns.clone()];
            if bounds.across[left].max(between).max(from_block[columns.len() - 1]) == 0.0 {
                return;
            }
            self.tile.multiply(points, rows.clone(), points, columns.clone(), right);
            self.floors.clear();
            self.floors.extend(from_block.iter().map(|&bound| self.guard.floor_of_distance(bound)));
            for (row, i) in rows.clone().enumerate() {
                let bound = bounds.to_next_block[i].max(between);
                let row_floor = self.guard.floor_of_distance(bound);
                let Searcher { graph, tile, floors, found, .. } = self;
                tile::scan(&tile.dots(row)[..columns.len()], row_floor, floors, |column, _| {
                    found.extend(lighter_edge(graph, layout, i, columns.start + column, bound.max(from_block[column])));
                });
            }
        }
        if self.found.len() > self.limit {
            self.found = layout.minimum(std::mem::take(&mut self.found));
        }
    }
}

/// The edge between the points at positions i and j if it is lighter than `bound`.
fn lighter_edge(graph: &Reachability, layout: &Layout, i: usize, j: usize, bound: f64) -> Option<Edge> {
    let (i, j) = (layout.points[i] as usize, layout.points[j] as usize);
    // Core distances are at hand, so they are asked first.
    if graph.core[i] >= bound || graph.core[j] >= bound {
        return None;
    }
    let weight = graph.between(i, j);
    (weight < bound).then(|| Edge::new(weight, i, j))
}

/// A light, not necessarily minimum, spanning tree of the components: the neighbour lists' own edges, and where these
/// do not connect, edges between the densest points of the pieces, improved by descent.
fn some_spanning_tree(graph: Reachability, mut joined: UnionFind, crew: &Crew) -> Result<Vec<Edge>, ClusterError> {
    let mut crossing = Vec::new();
    for i in 0..graph.points.len() {
        crossing.extend(graph.listed(i).filter(|edge| joined.find(edge.a as usize) != joined.find(edge.b as usize)));
    }
    let mut tree = kruskal(crossing, &mut joined, |point| point as usize);
    let pieces = joined.sets();
    if pieces == 1 {
        return Ok(tree);
    }
    let piece = joined.numbering();
    let mut densest = vec![usize::MAX; pieces];
    for (i, &piece) in piece.iter().enumerate() {
        let best = &mut densest[piece as usize];
        if *best == usize::MAX || graph.core[i] < graph.core[*best] {
            *best = i;
        }
    }
    // Prim over the representatives.
    let mut nearest = vec![(f64::INFINITY, 0usize); pieces];
    let mut outside: Vec<usize> = (1..pieces).collect();
    let mut last = 0;
    while !outside.is_empty() {
        crew.check()?;
        for &p in &outside {
            let weight = graph.between(densest[last], densest[p]);
            if weight < nearest[p].0 {
                nearest[p] = (weight, last);
            }
        }
        let Some(at) = (0..outside.len()).min_by(|&x, &y| nearest[outside[x]].0.total_cmp(&nearest[outside[y]].0))
        else {
            break;
        };
        last = outside.swap_remove(at);
        tree.push(descend(graph, &piece, densest[last], densest[nearest[last].1]));
    }
    Ok(tree)
}

/// Moves the ends of an edge between two pieces to neighbours in the same piece as long as that makes it lighter.
fn descend(graph: Reachability, piece: &[u32], i: usize, j: usize) -> Edge {
    let mut ends = [i, j];
    let mut weight = graph.between(i, j);
    loop {
        let before = weight;
        for end in 0..2 {
            let (moving, fixed) = (ends[end], ends[1 - end]);
            for (candidate, _) in graph.neighbours.of(moving).filter(|&(c, _)| piece[c] == piece[moving]) {
                let lighter = graph.between(candidate, fixed);
                if lighter < weight {
                    weight = lighter;
                    ends[end] = candidate;
                }
            }
        }
        if weight == before {
            return Edge::new(weight, ends[0], ends[1]);
        }
    }
}
