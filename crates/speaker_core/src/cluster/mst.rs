//! The minimum spanning tree of the mutual reachability graph.
//!
//! The weight of a pair is max(core_i, core_j, distance). Boruvka's rule, that the lightest edge leaving a component
//! belongs to a minimum spanning tree, is applied as long as the neighbour lists can prove an edge the lightest; what
//! they cannot prove is left to one search over all pairs of different components (`bridges`).

use super::bridges;
use super::crew::Crew;
use super::horizon::Horizon;
use super::knn::Neighbours;
use super::rows::Points;
use super::union_find::UnionFind;
use super::ClusterError;

/// What the distances say before any tree: the points, their core distances and nearest neighbours.
#[derive(Clone, Copy)]
pub(super) struct Reachability<'a> {
    pub(super) points: Points<'a>,
    pub(super) core: &'a [f64],
    pub(super) neighbours: &'a Neighbours,
}

impl<'a> Reachability<'a> {
    pub(super) fn with_distance(&self, i: usize, j: usize, distance: f64) -> f64 {
        distance.max(self.core[i]).max(self.core[j])
    }

    pub(super) fn between(&self, i: usize, j: usize) -> f64 {
        self.with_distance(i, j, self.points.distance(i, j))
    }

    /// The edges from a point to its listed neighbours.
    pub(super) fn listed(self, i: usize) -> impl Iterator<Item = Edge> + 'a {
        self.neighbours.of(i).map(move |(j, distance)| Edge::new(self.with_distance(i, j, distance), i, j))
    }

    /// Edges from a point to points not listed weigh at least this.
    pub(super) fn unlisted(&self, i: usize) -> f64 {
        self.neighbours.radius(i).max(self.core[i])
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) weight: f64,
    pub(super) a: u32,
    pub(super) b: u32,
}

impl Edge {
    pub(super) fn new(weight: f64, i: usize, j: usize) -> Self {
        Edge { weight, a: i.min(j) as u32, b: i.max(j) as u32 }
    }

    /// By weight; ties by the ids of the ends, so that the outcome does not depend on how work was shared out.
    pub(super) fn order(&self, other: &Edge) -> std::cmp::Ordering {
        self.weight.total_cmp(&other.weight).then((self.a, self.b).cmp(&(other.a, other.b)))
    }

    /// The edge as one between groups of points.
    pub(super) fn between(&self, group: &[u32]) -> (f64, u32, u32) {
        (self.weight, group[self.a as usize], group[self.b as usize])
    }

    pub(super) fn ends(&self) -> (usize, usize) {
        (self.a as usize, self.b as usize)
    }
}

pub(super) fn minimum_spanning_tree(
    graph: Reachability,
    horizon: &Horizon,
    crew: &Crew,
) -> Result<Vec<Edge>, ClusterError> {
    let mut joined = UnionFind::new(graph.points.len());
    let mut tree = provable_edges(graph, &mut joined, crew)?;
    if joined.sets() > 1 {
        tree.extend(bridges::between_components(graph, horizon, joined, crew)?);
    }
    Ok(tree)
}

/// Boruvka's rounds over the neighbour lists, until no component's lightest edge can be proven.
fn provable_edges(graph: Reachability, joined: &mut UnionFind, crew: &Crew) -> Result<Vec<Edge>, ClusterError> {
    let n = graph.points.len();
    let mut tree = Vec::with_capacity(n.saturating_sub(1));
    loop {
        // Per component (at its root): the lightest listed edge that leaves it, and a bound on what is not listed.
        let mut lightest: Vec<Option<Edge>> = vec![None; n];
        let mut bound = vec![f64::INFINITY; n];
        for i in 0..n {
            crew.check_at(i)?;
            let root = joined.find(i);
            for (j, distance) in graph.neighbours.of(i) {
                // Lists ascend by distance, and no edge weighs less than its distance.
                if lightest[root].is_some_and(|best| best.weight < distance) {
                    break;
                }
                let edge = Edge::new(graph.with_distance(i, j, distance), i, j);
                if lightest[root].is_none_or(|best| edge.order(&best).is_lt()) && joined.find(j) != root {
                    lightest[root] = Some(edge);
                }
            }
            bound[root] = bound[root].min(graph.unlisted(i));
        }
        let before = tree.len();
        for (edge, bound) in lightest.into_iter().zip(bound) {
            // Equality is proof enough: of equal edges any will do, and `unite` refuses to close a cycle.
            if let Some(edge) = edge.filter(|edge| edge.weight <= bound) {
                let (a, b) = edge.ends();
                if joined.unite(a, b) {
                    tree.push(edge);
                }
            }
        }
        if tree.len() == before || joined.sets() == 1 {
            return Ok(tree);
        }
    }
}

/// Kruskal: of `edges` those that join what is not joined yet, lightest first. `node` tells which node of `joined` a
/// point belongs to.
pub(super) fn kruskal(mut edges: Vec<Edge>, joined: &mut UnionFind, node: impl Fn(u32) -> usize) -> Vec<Edge> {
    edges.sort_unstable_by(Edge::order);
    edges.retain(|edge| joined.unite(node(edge.a), node(edge.b)));
    edges
}
