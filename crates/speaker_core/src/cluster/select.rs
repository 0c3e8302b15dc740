//! Which clusters of the condensed tree are the answer, and what that makes of each point.
//!
//! Follows scikit-learn's `_tree.pyx` (`_get_clusters`, `_do_labelling`, `get_probabilities`) decision by decision, and
//! `outlier_scores` of the Python package hdbscan for GLOSH.

use super::condense::{CondensedTree, Node};
use super::{Clustering, HdbscanParams, Selection};

const ROOT: usize = 0;

/// The selected clusters, numbered.
pub(super) struct Selected {
    /// The label of each cluster that is selected itself.
    pub(super) labels: Vec<Option<i32>>,
    /// If the root is the only one: the density from which on its points belong to it. The root holds everything, so
    /// being in it says nothing; only its dense part is the cluster.
    pub(super) root_from: Option<f64>,
}

impl Selected {
    pub(super) fn new(tree: &CondensedTree, params: &HdbscanParams) -> Self {
        let mut chosen = match params.selection {
            Selection::Eom => excess_of_mass(&tree.nodes, params.allow_single_cluster),
            Selection::Leaf => leaves(&tree.nodes),
        };
        let epsilon = params.cluster_selection_epsilon;
        // A root that stands alone has no parent to merge into.
        if epsilon > 0.0 && !chosen[ROOT] {
            chosen = merge_below(&tree.nodes, &chosen, epsilon, params.allow_single_cluster);
        }
        let mut numbers = 0..;
        let labels = chosen.iter().map(|&chosen| if chosen { numbers.next() } else { None }).collect();
        let alone = params.allow_single_cluster && chosen[ROOT] && chosen.iter().filter(|&&chosen| chosen).count() == 1;
        let root_from = alone.then(|| if epsilon > 0.0 { 1.0 / epsilon } else { tree.nodes[ROOT].death });
        Selected { labels, root_from }
    }
}

/// A cluster is taken if it is at least as stable as the best selection below it.
fn excess_of_mass(nodes: &[Node], allow_root: bool) -> Vec<bool> {
    let mut stability: Vec<f64> = nodes.iter().map(|node| node.stability).collect();
    let mut chosen = vec![true; nodes.len()];
    for (id, node) in nodes.iter().enumerate().rev() {
        let below = node.children.map_or(0.0, |child| stability[child as usize] + stability[child as usize + 1]);
        // Not `<=`: where the comparison is undefined (see `Node::lose`) the cluster stays.
        if below > stability[id] {
            chosen[id] = false;
            stability[id] = below;
        }
    }
    chosen[ROOT] &= allow_root;
    // The topmost on each path.
    let mut covered = vec![false; nodes.len()];
    for id in 0..nodes.len() {
        covered[id] = nodes[id].parent.is_some_and(|parent| covered[parent as usize] || chosen[parent as usize]);
        if covered[id] {
            chosen[id] = false;
        }
    }
    chosen
}

/// The clusters that do not split. A root without any split is not one of them, even where a single cluster is allowed.
fn leaves(nodes: &[Node]) -> Vec<bool> {
    nodes.iter().map(|node| node.children.is_none() && node.parent.is_some()).collect()
}

/// Replaces chosen clusters that split off at a distance below `epsilon` by the ancestor that did so above it
/// (Malzer and Baum 2020).
fn merge_below(nodes: &[Node], chosen: &[bool], epsilon: f64, allow_root: bool) -> Vec<bool> {
    let distance = |id: usize| 1.0 / nodes[id].birth;
    let mut merged = vec![false; nodes.len()];
    let mut covered = vec![false; nodes.len()];
    for id in (0..nodes.len()).filter(|&id| chosen[id]) {
        if distance(id) >= epsilon {
            merged[id] = true;
            continue;
        }
        let ancestors = || std::iter::successors(nodes[id].parent, |&parent| nodes[parent as usize].parent);
        if ancestors().any(|ancestor| covered[ancestor as usize]) {
            continue;
        }
        // The first ancestor that split off above epsilon. If only the root is left: the root where it may be a
        // cluster, otherwise the one below it.
        let mut home = id;
        for ancestor in ancestors() {
            if ancestor as usize != ROOT || allow_root {
                home = ancestor as usize;
            }
            if distance(ancestor as usize) > epsilon {
                break;
            }
        }
        merged[home] = true;
        covered[home] = true;
    }
    merged
}

pub(super) fn label(tree: &CondensedTree, selected: &Selected) -> Clustering {
    let nodes = &tree.nodes;
    // The selected cluster that each cluster is or lies in. Where one selected cluster lies in another (see
    // `merge_below`), the inner one wins.
    let mut home: Vec<Option<usize>> = vec![None; nodes.len()];
    for id in 0..nodes.len() {
        home[id] = match selected.labels[id] {
            Some(_) => Some(id),
            None => nodes[id].parent.and_then(|parent| home[parent as usize]),
        };
    }
    // The largest lambda in each cluster's whole subtree.
    let mut deepest: Vec<f64> = nodes.iter().map(|node| node.death).collect();
    for id in (1..nodes.len()).rev() {
        if let Some(parent) = nodes[id].parent {
            deepest[parent as usize] = deepest[parent as usize].max(deepest[id]);
        }
    }
    let n = tree.departures.len();
    let mut clustering = Clustering { labels: vec![-1; n], probabilities: vec![0.0; n], outlier_scores: vec![0.0; n] };
    for (point, departure) in tree.departures.iter().enumerate() {
        let cluster = home[departure.cluster as usize]
            .filter(|&cluster| cluster != ROOT || selected.root_from.is_some_and(|from| departure.lambda >= from));
        if let Some((cluster, label)) = cluster.and_then(|cluster| Some((cluster, selected.labels[cluster]?))) {
            clustering.labels[point] = label;
            clustering.probabilities[point] = membership(departure.lambda, nodes[cluster].death);
        }
        clustering.outlier_scores[point] = outlier_score(departure.lambda, deepest[departure.cluster as usize]);
    }
    clustering
}

/// How long the point stayed, as a part of how long the longest did.
pub(super) fn membership(lambda: f64, longest: f64) -> f64 {
    if longest == 0.0 || lambda.is_infinite() {
        1.0
    } else {
        lambda.min(longest) / longest
    }
}

/// GLOSH (Campello et al. 2015): how early the point left, compared with the densest part of its cluster.
fn outlier_score(lambda: f64, deepest: f64) -> f64 {
    if deepest == 0.0 || lambda.is_infinite() {
        0.0
    } else if deepest.is_infinite() {
        // Beside coinciding points: the limit. The Python package returns NaN here.
        1.0
    } else {
        (deepest - lambda) / deepest
    }
}
