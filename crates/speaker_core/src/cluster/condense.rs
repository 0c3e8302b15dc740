//! From the spanning tree to the condensed tree (Campello et al. 2013; McInnes et al. 2017, section 2.3).
//!
//! The single-linkage tree merges the two ends of each edge, lightest first. Read from the top, a split counts only if
//! both sides have `min_cluster_size` points; otherwise the smaller side's points just leave the cluster. lambda is
//! 1 / distance, infinite for points that coincide.
//!
//! scikit-learn sorts the edges with numpy's default sort, which is not stable and differs between processors; edges of
//! equal weight stay in Prim's order here.

use super::prim::Step;

/// A point's departure from the last cluster that it belonged to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Departure {
    pub(super) cluster: u32,
    pub(super) lambda: f64,
}

/// A cluster of the condensed tree; cluster 0 is the root. Parents come before their children.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) parent: Option<u32>,
    /// The two clusters that it splits into have this id and the next.
    pub(super) children: Option<u32>,
    /// The lambda at which it split from its parent; 0 for the root.
    pub(super) birth: f64,
    /// The largest lambda at which anything left it, a point or its two children.
    pub(super) death: f64,
    /// The sum over its points of the lambda range for which they belonged to it.
    pub(super) stability: f64,
}

pub(super) struct CondensedTree {
    pub(super) nodes: Vec<Node>,
    /// Per point.
    pub(super) departures: Vec<Departure>,
}

/// Two nodes joined: ids below n are points, n + i is the i-th merge.
#[derive(Clone, Copy)]
struct Merge {
    left: u32,
    right: u32,
    distance: f64,
    size: u32,
}

/// The condensed tree of the n points that the n - 1 steps connect.
pub(super) fn condense(steps: Vec<Step>, min_cluster_size: usize) -> CondensedTree {
    let n = steps.len() + 1;
    let merges = single_linkage(steps);
    let size = |node: u32| (node as usize).checked_sub(n).map_or(1, |merge| merges[merge].size) as usize;

    let mut nodes = vec![Node::born(None, 0.0)];
    let mut departures = vec![Departure { cluster: 0, lambda: 0.0 }; n];
    // (single-linkage node, cluster that it is in), breadth first: clusters are numbered in this order.
    let mut queue = std::collections::VecDeque::from([((2 * n - 2) as u32, 0u32)]);
    let mut stack = Vec::new();
    while let Some((node, cluster)) = queue.pop_front() {
        let Some(merge) = (node as usize).checked_sub(n).map(|merge| merges[merge]) else { continue };
        let lambda = if merge.distance > 0.0 { 1.0 / merge.distance } else { f64::INFINITY };
        let big = [merge.left, merge.right].map(|side| size(side) >= min_cluster_size);
        if big == [true, true] {
            let children = nodes.len() as u32;
            nodes[cluster as usize].split(children, lambda);
            for side in [merge.left, merge.right] {
                queue.push_back((side, nodes.len() as u32));
                nodes[cluster as usize].lose(size(side), lambda);
                nodes.push(Node::born(Some(cluster), lambda));
            }
            continue;
        }
        for (side, big) in [merge.left, merge.right].into_iter().zip(big) {
            if big {
                queue.push_back((side, cluster));
                continue;
            }
            stack.push(side);
            while let Some(node) = stack.pop() {
                match (node as usize).checked_sub(n) {
                    Some(merge) => stack.extend([merges[merge].right, merges[merge].left]),
                    None => {
                        departures[node as usize] = Departure { cluster, lambda };
                        nodes[cluster as usize].lose(1, lambda);
                    }
                }
            }
        }
    }
    CondensedTree { nodes, departures }
}

impl Node {
    fn born(parent: Option<u32>, birth: f64) -> Self {
        Node { parent, children: None, birth, death: 0.0, stability: 0.0 }
    }

    fn split(&mut self, children: u32, lambda: f64) {
        self.children = Some(children);
        self.death = self.death.max(lambda);
    }

    fn lose(&mut self, points: usize, lambda: f64) {
        self.death = self.death.max(lambda);
        // A cluster born at infinity has an undefined stability (inf - inf), as in scikit-learn, whose comparisons
        // with it then keep the cluster.
        self.stability += (lambda - self.birth) * points as f64;
    }
}

fn single_linkage(mut steps: Vec<Step>) -> Vec<Merge> {
    let n = steps.len() + 1;
    steps.sort_by(|a, b| a.weight.total_cmp(&b.weight));
    // The highest node above each node so far.
    let mut top: Vec<u32> = (0..2 * n as u32 - 1).collect();
    let mut merges: Vec<Merge> = Vec::with_capacity(n - 1);
    for (step, node) in steps.iter().zip(n as u32..) {
        let [left, right] = [step.from, step.to].map(|point| find(&mut top, point));
        (top[left as usize], top[right as usize]) = (node, node);
        let size = |node: u32| (node as usize).checked_sub(n).map_or(1, |merge| merges[merge].size);
        merges.push(Merge { left, right, distance: step.weight, size: size(left) + size(right) });
    }
    merges
}

fn find(top: &mut [u32], node: u32) -> u32 {
    let mut node = node;
    while top[node as usize] != node {
        top[node as usize] = top[top[node as usize] as usize];
        node = top[node as usize];
    }
    node
}
