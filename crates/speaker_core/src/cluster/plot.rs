//! The reachability plot of a spanning tree: its nodes in the order in which Prim's algorithm visits them, each with the
//! weight of the edge that reached it.
//!
//! Its use here: the largest weight on the tree's path between two nodes is the maximum of the plot between their
//! positions. (Known from OPTICS: the clusters at any level are runs of the plot.)

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::adjacency::Adjacency;

pub(super) struct ReachabilityPlot {
    /// Nodes in the order of visit.
    pub(super) order: Vec<u32>,
    /// `jumps[p]` is the weight at which the node at position p was reached; 0 for the first.
    pub(super) jumps: Vec<f64>,
}

impl ReachabilityPlot {
    /// Of a tree over `nodes` nodes given as (weight, end, end).
    pub(super) fn of_tree(nodes: usize, edges: impl Iterator<Item = (f64, usize, usize)> + Clone) -> Self {
        let ends = edges.flat_map(|(weight, a, b)| [(a as u32, (weight, b as u32)), (b as u32, (weight, a as u32))]);
        let adjacent = Adjacency::new(nodes, ends);
        let mut plot = ReachabilityPlot { order: Vec::with_capacity(nodes), jumps: Vec::with_capacity(nodes) };
        let mut seen = vec![false; nodes];
        // Weights are not negative, so their bits are in their order.
        let mut heap = BinaryHeap::from([Reverse((0u64, 0u32))]);
        while let Some(Reverse((weight, node))) = heap.pop() {
            if std::mem::replace(&mut seen[node as usize], true) {
                continue;
            }
            plot.order.push(node);
            plot.jumps.push(f64::from_bits(weight));
            heap.extend(adjacent.of(node as usize).iter().map(|&(weight, to)| Reverse((f64::to_bits(weight), to))));
        }
        plot
    }

    /// For each pair of nodes, the largest weight on the path between them.
    pub(super) fn bottlenecks(&self, pairs: impl Iterator<Item = (usize, usize)>) -> Vec<f64> {
        let mut position = vec![0u32; self.order.len()];
        for (p, &node) in self.order.iter().enumerate() {
            position[node as usize] = p as u32;
        }
        // tables[l][p] is the maximum of the 2^l jumps from p on.
        let mut tables = vec![self.jumps.clone()];
        while let Some(last) = tables.last().filter(|last| last.len() > 1 << (tables.len() - 1)) {
            let half = 1 << (tables.len() - 1);
            let next = last.iter().zip(&last[half..]).map(|(a, b)| a.max(*b)).collect();
            tables.push(next);
        }
        pairs
            .map(|(a, b)| {
                let (a, b) = (position[a].min(position[b]) as usize, position[a].max(position[b]) as usize);
                match (b - a).checked_ilog2() {
                    None => 0.0,
                    Some(level) => {
                        let table = &tables[level as usize];
                        table[a + 1].max(table[b + 1 - (1 << level)])
                    }
                }
            })
            .collect()
    }
}
