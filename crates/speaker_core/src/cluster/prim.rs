//! The minimum spanning tree once more, in the order in which scikit-learn's Prim builds it.
//!
//! Mutual reachability is full of ties even when all distances differ: every edge from a point to its k nearest
//! neighbours that are denser than itself weighs exactly its core distance. Which of the equally light trees is taken
//! decides which side of a split a bridging point falls on, and the order of the tree decides how clusters are
//! numbered. So we follow `mst_from_data_matrix`: start at row 0; always take the lightest reachable row, of equals the
//! one with the lowest index; a row keeps the first source that offered it its weight.
//!
//! Prim only ever takes edges that belong to some minimum spanning tree. Those are the edges of the one we have, plus
//! the tied ones, which run from a point to its nearest neighbours. So the sparse graph of both gives the same
//! order as the complete one, unless distances themselves are tied (points on a lattice): then there can be equally
//! light edges that no list holds, and no implementation's order is more right than another's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::adjacency::Adjacency;
use super::crew::Crew;
use super::groups::Groups;
use super::mst::{Edge, Reachability};
use super::ClusterError;

/// An edge between rows, from the one already in the tree to the new one.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) weight: f64,
}

/// The tree over all rows; `tree` is a minimum spanning tree over the groups.
pub(super) fn in_order_of_prim(
    graph: Reachability,
    groups: &Groups,
    tree: &[Edge],
    crew: &Crew,
) -> Result<Vec<Step>, ClusterError> {
    let rows = (0..groups.len()).map(|group| groups.size(group)).sum::<usize>();
    let mut steps = Vec::with_capacity(rows.saturating_sub(1));
    let edges = SparseGraph::new(graph, tree);
    // All members of a group are offered the same weights by the same sources, and only the first one taken offers
    // anything new. So one weight and one source per group will do.
    let mut reach = vec![f64::INFINITY; groups.len()];
    let mut source = vec![0u32; groups.len()];
    let mut taken = vec![0usize; groups.len()];
    // (weight, row, group); weights are not negative, so their bits are in their order.
    let Some(start) = groups.firsts().iter().position(|&row| row == 0) else { return Ok(steps) };
    let mut heap = BinaryHeap::from([Reverse((f64::INFINITY.to_bits(), 0, start as u32))]);
    // Whether an offer is not superseded by a lighter one.
    let stands = |reach: &[f64], taken: &[usize], weight, row, group: usize| {
        f64::from_bits(weight) == reach[group] && groups.members(group).get(taken[group]) == Some(&row)
    };
    while let Some(Reverse((weight, row, group))) = heap.pop() {
        crew.check_at(steps.len())?;
        let group = group as usize;
        if !stands(&reach, &taken, weight, row, group) {
            continue;
        }
        let (weight, members) = (f64::from_bits(weight), groups.members(group));
        // The first row is where we start: no step leads to it.
        if row != 0 {
            steps.push(Step { from: source[group], to: row, weight });
        }
        taken[group] += 1;
        if taken[group] == 1 {
            if graph.core[group] < weight {
                (reach[group], source[group]) = (graph.core[group], row);
            }
            edges.around(group, |other, weight| {
                if taken[other] == 0 && weight < reach[other] {
                    (reach[other], source[other]) = (weight, row);
                    heap.push(Reverse((weight.to_bits(), groups.firsts()[other], other as u32)));
                }
            });
        }
        if let Some(&next) = members.get(taken[group]) {
            heap.push(Reverse((reach[group].to_bits(), next, group as u32)));
        }
        // At most one offer per group stands; the others would pile up, one per edge.
        if heap.len() > 2 * groups.len() + 1024 {
            heap.retain(|&Reverse((weight, row, group))| stands(&reach, &taken, weight, row, group as usize));
        }
    }
    Ok(steps)
}

/// The neighbour lists, both ways, and the tree.
struct SparseGraph<'a> {
    graph: Reachability<'a>,
    /// Per group, the positions in the concatenated lists at which it is listed.
    listed_by: Adjacency<u32>,
    tree: Adjacency<(u32, f64)>,
}

impl<'a> SparseGraph<'a> {
    fn new(graph: Reachability<'a>, tree: &[Edge]) -> Self {
        let n = graph.points.len();
        let listings = (0..n).flat_map(|i| graph.neighbours.ids(i)).enumerate();
        let listed_by = Adjacency::new(n, listings.map(|(at, &id)| (id, at as u32)));
        let ends = tree.iter().flat_map(|edge| [(edge.a, (edge.b, edge.weight)), (edge.b, (edge.a, edge.weight))]);
        SparseGraph { graph, listed_by, tree: Adjacency::new(n, ends) }
    }

    fn around(&self, group: usize, mut visit: impl FnMut(usize, f64)) {
        let Reachability { neighbours, .. } = self.graph;
        for (other, distance) in neighbours.of(group) {
            visit(other, self.graph.with_distance(group, other, distance));
        }
        for &at in self.listed_by.of(group) {
            let (other, rank) = (at as usize / neighbours.k(), at as usize % neighbours.k());
            visit(other, self.graph.with_distance(group, other, neighbours.distances(other)[rank]));
        }
        for &(other, weight) in self.tree.of(group) {
            visit(other as usize, weight);
        }
    }
}
