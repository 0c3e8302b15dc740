//! The edges of the minimum spanning tree between components.
//!
//! Boruvka's own way, the lightest edge of each component, then again, needs several passes over all pairs: dense
//! speakers far apart exhaust their neighbour lists all at once. Instead:
//!
//! 1. Any spanning tree of the components bounds the answer: a pair of points that belongs to the minimum tree is no
//!    heavier than the heaviest edge on the path between them (their bottleneck) in any other tree.
//! 2. So a point and a cell of points need comparing only if the largest dot product between them (`Horizon`) reaches
//!    the worst bottleneck between them, and if the point's own list does not say that everything else is too far.
//! 3. The pairs left are computed again in f32, and where they may be below their bottleneck measured in f64. Those
//!    that are improve the tree, and with it the bounds.
//!
//! In the end the minimum spanning tree of everything found is the minimum spanning tree of all.

use super::crew::Crew;
use super::horizon::{Cells, Horizon};
use super::mst::{kruskal, Edge, Reachability};
use super::plot::ReachabilityPlot;
use super::scan;
use super::tile::{self, Guard, Tile};
use super::union_find::UnionFind;
use super::ClusterError;

/// The minimum spanning tree's edges between the sets of `joined`, which it must already span inside.
pub(super) fn between_components(
    graph: Reachability,
    horizon: &Horizon,
    mut joined: UnionFind,
    crew: &Crew,
) -> Result<Vec<Edge>, ClusterError> {
    let component = joined.numbering();
    let components = joined.sets();
    let mut tree = some_spanning_tree(graph, joined, &component, crew)?;
    let cells = Cells::new(graph.points.len(), graph.points.dim());
    let pairs = cells.count * (cells.count + 1) / 2;
    // Bounds improve between the legs of the search: early legs are short, when there is most to learn.
    let mut done = 0;
    while done < pairs {
        let search = Search {
            graph,
            horizon,
            component: &component,
            components,
            cells,
            plot: ReachabilityPlot::of_tree(components, tree.iter().map(|edge| edge.between(&component))),
            guard: Guard::for_dim(graph.points.dim()),
        };
        let leg = (pairs - done).min(cells.count.max(done));
        let state = || Searcher { tile: Tile::new(tile::side(graph.points.dim())), found: Vec::new() };
        let searchers = crew.run(leg, state, |searcher, task| search.cells(searcher, tile::pair(done + task)))?;
        done += leg;
        tree.extend(searchers.into_iter().flat_map(|searcher| searcher.found));
        tree = search.minimum(tree);
    }
    Ok(tree)
}

/// So many edges between components are collected before those that no tree needs are dropped: memory stays linear, and
/// most of what is sorted is new each time.
fn enough(components: usize) -> usize {
    4 * components + 4096
}

/// The lightest forest that the edges make of the components. That of all edges is that of what is left of some and the
/// others, as no two edges are equally light.
fn minimum(edges: Vec<Edge>, component: &[u32], components: usize) -> Vec<Edge> {
    kruskal(edges, &mut UnionFind::new(components), |point| component[point as usize] as usize)
}

/// What is known while a leg of the search runs.
struct Search<'a> {
    graph: Reachability<'a>,
    horizon: &'a Horizon,
    /// The component of each point.
    component: &'a [u32],
    components: usize,
    cells: Cells,
    /// Of the best spanning tree of the components so far.
    plot: ReachabilityPlot,
    guard: Guard,
}

/// One thread's part.
struct Searcher {
    tile: Tile,
    found: Vec<Edge>,
}

impl Search<'_> {
    fn minimum(&self, edges: Vec<Edge>) -> Vec<Edge> {
        minimum(edges, self.component, self.components)
    }

    /// Finds the pairs of two cells that are lighter than their bottleneck.
    fn cells(&self, searcher: &mut Searcher, (left, right): (usize, usize)) {
        let rows = self.live(left, right);
        let columns = if left == right { rows.clone() } else { self.live(right, left) };
        let side = tile::side(self.graph.points.dim());
        for rows in rows.chunks(side) {
            for columns in columns.chunks(side) {
                self.compare(searcher, rows, columns);
                // Many in vain: keep what a tree could use.
                if searcher.found.len() > enough(self.components) {
                    searcher.found = self.minimum(std::mem::take(&mut searcher.found));
                }
            }
        }
    }

    /// The points of a cell that may have an edge to a point of another that belongs to the tree.
    fn live(&self, cell: usize, other: usize) -> Vec<u32> {
        let n = self.graph.points.len();
        let span = self.plot.span(self.cells.points(other, n).map(|point| self.component[point]));
        self.cells
            .points(cell, n)
            .filter(|&point| {
                let bound = self.plot.worst_bottleneck(self.component[point], &span);
                self.graph.unlisted(point) < bound
                    && self.horizon.reaches(point, other, self.guard.floor_of_distance(bound))
            })
            .map(|point| point as u32)
            .collect()
    }

    fn compare(&self, searcher: &mut Searcher, rows: &[u32], columns: &[u32]) {
        let Searcher { tile, found } = searcher;
        let points = self.graph.points;
        tile.multiply(&points.select(rows).view(), &points.select(columns).view());
        let span = self.plot.span(columns.iter().map(|&point| self.component[point as usize]));
        for (row, &i) in rows.iter().enumerate() {
            let bound = self.plot.worst_bottleneck(self.component[i as usize], &span);
            let floor = self.guard.floor_of_distance(bound);
            scan::row_hits(&tile.dots(row)[..columns.len()], floor, |column, dot| {
                found.extend(self.lighter_edge(i, columns[column], dot));
            });
        }
    }

    /// The edge between two points if it is lighter than their bottleneck.
    fn lighter_edge(&self, i: u32, j: u32, dot: f32) -> Option<Edge> {
        let bound = self.plot.bottleneck(self.component[i as usize], self.component[j as usize]);
        let (i, j) = (i as usize, j as usize);
        // What is at hand is asked first.
        if dot < self.guard.floor_of_distance(bound) || self.graph.core[i] >= bound || self.graph.core[j] >= bound {
            return None;
        }
        let weight = self.graph.between(i, j);
        (weight < bound).then(|| Edge::new(weight, i, j))
    }
}

/// A light, not necessarily minimum, spanning tree of the components: the neighbour lists' own edges, and where these
/// do not connect, edges between the densest points of the pieces, improved by descent.
fn some_spanning_tree(
    graph: Reachability,
    mut joined: UnionFind,
    component: &[u32],
    crew: &Crew,
) -> Result<Vec<Edge>, ClusterError> {
    let components = joined.sets();
    let mut crossing = Vec::new();
    for i in 0..graph.points.len() {
        crew.check_at(i)?;
        crossing.extend(graph.listed(i).filter(|edge| component[edge.a as usize] != component[edge.b as usize]));
        if crossing.len() > enough(components) {
            crossing = minimum(crossing, component, components);
        }
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
