//! The reachability plot of a spanning tree: its nodes in the order in which Prim's algorithm visits them, each with the
//! weight of the edge that reached it.
//!
//! Its use here: the heaviest edge on the tree's path between two nodes is the maximum of the plot between their
//! positions. (Known from OPTICS: the clusters at any level are runs of the plot.)

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::adjacency::Adjacency;

pub(super) struct ReachabilityPlot {
    /// Where each node is in the order.
    position: Vec<u32>,
    /// `maxima[l][p]` is the largest of the 2^l weights that reached the nodes from position p on.
    maxima: Vec<Vec<f64>>,
}

impl ReachabilityPlot {
    /// Of a tree over `nodes` nodes given as (weight, end, end).
    pub(super) fn of_tree(nodes: usize, edges: impl Iterator<Item = (f64, u32, u32)> + Clone) -> Self {
        let adjacent = Adjacency::new(nodes, edges.flat_map(|(weight, a, b)| [(a, (weight, b)), (b, (weight, a))]));
        let mut weights = Vec::with_capacity(nodes);
        let mut position = vec![u32::MAX; nodes];
        // Weights are not negative, so their bits are in their order.
        let mut heap = BinaryHeap::from([Reverse((0u64, 0u32))]);
        while let Some(Reverse((weight, node))) = heap.pop() {
            if position[node as usize] != u32::MAX {
                continue;
            }
            position[node as usize] = weights.len() as u32;
            weights.push(f64::from_bits(weight));
            heap.extend(adjacent.of(node as usize).iter().map(|&(weight, to)| Reverse((f64::to_bits(weight), to))));
        }
        let mut maxima = vec![weights];
        while let Some(last) = maxima.last().filter(|last| last.len() > 1 << (maxima.len() - 1)) {
            let half = 1 << (maxima.len() - 1);
            let next = last.iter().zip(&last[half..]).map(|(a, b)| a.max(*b)).collect();
            maxima.push(next);
        }
        ReachabilityPlot { position, maxima }
    }

    /// The heaviest edge on the path between two nodes; 0 from a node to itself.
    pub(super) fn bottleneck(&self, a: u32, b: u32) -> f64 {
        let [a, b] = [a, b].map(|node| self.position[node as usize] as usize);
        self.largest(a.min(b)..a.max(b))
    }

    /// The positions that some nodes span.
    pub(super) fn span(&self, nodes: impl Iterator<Item = u32>) -> Range<usize> {
        let positions = nodes.map(|node| self.position[node as usize] as usize);
        let (first, last) = positions.fold((usize::MAX, 0), |(first, last), at| (first.min(at), last.max(at)));
        first..last
    }

    /// The heaviest edge on the paths from a node to any of the nodes that span `span`.
    pub(super) fn worst_bottleneck(&self, node: u32, span: &Range<usize>) -> f64 {
        let position = self.position[node as usize] as usize;
        self.largest(span.start.min(position)..span.end.max(position))
    }

    /// The largest weight after the first position up to and with the last.
    fn largest(&self, steps: Range<usize>) -> f64 {
        match steps.end.saturating_sub(steps.start).checked_ilog2() {
            None => 0.0,
            Some(level) => {
                let maxima = &self.maxima[level as usize];
                maxima[steps.start + 1].max(maxima[steps.end + 1 - (1 << level)])
            }
        }
    }
}
