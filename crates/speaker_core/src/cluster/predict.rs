//! New points for old clusters, without clustering again.
//!
//! After `approximate_predict` of the Python package hdbscan: among the new point's 2 m nearest neighbours take the one
//! at the least mutual reachability distance, climb from its cluster to the one that already existed at that density,
//! and answer with the selected cluster that this lies in. m is `min_samples` without the point itself (that package's
//! way of counting). As there, core distances of the old points are those of m points *with* themselves, one
//! neighbour nearer than in the clustering.
//!
//! Where the two differ: if the root is the cluster, new points belong to it from the same density on as the old ones
//! (there, it predicts noise or other clusters than it found), and a new point that coincides with an old one has
//! probability 1 (there: 0 if the cluster has duplicates).
//!
//! Not done: the old clusters never change. Points that would form a cluster of their own are noise until the next
//! `hdbscan`.

use ndarray::ArrayView2;

use super::condense::CondensedTree;
use super::crew::Crew;
use super::knn;
use super::rows::{Points, UnitRows};
use super::select::{membership, Selected};
use super::ClusterError;
use crate::Check;

/// What `predict` needs to know of a clustering, besides its points: plain numbers, made to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionData {
    /// The clustering's `min_samples`, counting the point itself.
    pub min_samples: usize,
    /// One per clustered point.
    pub points: Vec<PointFacts>,
    /// One per cluster of the condensed tree, selected or not; the first is the root.
    pub clusters: Vec<ClusterFacts>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointFacts {
    /// Distance to the point's (`min_samples` - 1)-th nearest, itself included (at least itself).
    pub core_distance: f64,
    /// Index into `clusters` of the last cluster that the point belonged to.
    pub cluster: u32,
    /// The density (1 / distance) at which it left that cluster; infinite for duplicates.
    pub lambda: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterFacts {
    pub parent: Option<u32>,
    /// The density at which it split from its parent.
    pub birth: f64,
    /// The label of the selected cluster that it is or lies in, otherwise -1.
    pub label: i32,
    /// The density at which that selected cluster's last point left it; 0 if there is none.
    pub longest: f64,
    /// The density from which on points here are labelled: 0 unless the root is the cluster.
    pub least: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// -1 is noise.
    pub labels: Vec<i32>,
    pub probabilities: Vec<f64>,
    /// The old point through which each new one was placed.
    pub neighbours: Vec<usize>,
}

impl PredictionData {
    pub(super) fn new(min_samples: usize, core_distances: Vec<f64>, tree: &CondensedTree, selected: &Selected) -> Self {
        let root_from = selected.root_from.unwrap_or(f64::INFINITY);
        let mut clusters: Vec<ClusterFacts> = Vec::with_capacity(tree.nodes.len());
        for (id, node) in tree.nodes.iter().enumerate() {
            let above = node.parent.map(|parent| clusters[parent as usize]);
            let (label, longest, least) = match (selected.labels[id], above) {
                (Some(label), _) => (label, node.death, if id == 0 { root_from } else { 0.0 }),
                (None, Some(above)) => (above.label, above.longest, above.least),
                (None, None) => (-1, 0.0, 0.0),
            };
            clusters.push(ClusterFacts { parent: node.parent, birth: node.birth, label, longest, least });
        }
        PredictionData {
            min_samples,
            points: core_distances
                .into_iter()
                .zip(&tree.departures)
                .map(|(core_distance, departure)| PointFacts {
                    core_distance,
                    cluster: departure.cluster,
                    lambda: departure.lambda,
                })
                .collect(),
            clusters,
        }
    }

    pub(super) fn all_noise(n: usize, min_samples: usize) -> Self {
        let point = PointFacts { core_distance: 0.0, cluster: 0, lambda: 0.0 };
        let root = ClusterFacts { parent: None, birth: 0.0, label: -1, longest: 0.0, least: 0.0 };
        PredictionData { min_samples, points: vec![point; n], clusters: vec![root] }
    }

    /// Refuses what would lead astray or in circles: the data may come back from storage.
    fn validate(&self) -> Result<(), ClusterError> {
        let inconsistent = |what| Err(ClusterError::Inconsistent { what });
        if self.points.iter().any(|point| point.cluster as usize >= self.clusters.len()) {
            return inconsistent("a point names a cluster that does not exist");
        }
        if self.points.iter().any(|point| point.core_distance.is_nan() || point.lambda.is_nan()) {
            return inconsistent("a point's distance or density is not a number");
        }
        if self.clusters.iter().enumerate().any(|(id, cluster)| cluster.parent.is_some_and(|p| p as usize >= id)) {
            return inconsistent("a cluster comes before its parent");
        }
        Ok(())
    }

    fn place(&self, neighbour: usize, distance: f64) -> (i32, f64) {
        let lambda = if distance > 0.0 { 1.0 / distance } else { f64::INFINITY };
        let mut cluster = &self.clusters[self.points[neighbour].cluster as usize];
        if self.points[neighbour].lambda > lambda {
            while let Some(parent) = cluster.parent.filter(|_| cluster.birth >= lambda) {
                cluster = &self.clusters[parent as usize];
            }
        }
        match cluster.label {
            label @ 0.. if lambda >= cluster.least => (label, membership(lambda, cluster.longest)),
            _ => (-1, 0.0),
        }
    }
}

/// Assigns `new` points to the clusters of `old`, the points that `data` describes, in the same order.
pub fn predict(
    data: &PredictionData,
    old: ArrayView2<f32>,
    new: ArrayView2<f32>,
    threads: usize,
    check: Check,
) -> Result<Prediction, ClusterError> {
    data.validate()?;
    if old.nrows() != data.points.len() {
        return Err(ClusterError::OtherPoints { got: old.nrows(), expected: data.points.len() });
    }
    if new.nrows() > 0 && old.nrows() > 0 && new.ncols() != old.ncols() {
        return Err(ClusterError::Dimension { got: new.ncols(), expected: old.ncols() });
    }
    let crew = Crew::new(threads, check);
    let (old, new) = (UnitRows::new(old, &crew)?, UnitRows::new(new, &crew)?);
    let (old_ids, new_ids) = (old.ids(), new.ids());
    let (old, new) = (Points::new(&old, &old_ids), Points::new(&new, &new_ids));

    let mut prediction = Prediction { labels: Vec::new(), probabilities: Vec::new(), neighbours: Vec::new() };
    let samples = data.min_samples.saturating_sub(1).max(1);
    knn::one_way(new, old, 2 * samples, &crew, |_, lists| {
        for query in 0..lists.len() {
            // Fewer old points than asked for: the farthest stands in.
            let own_core = lists.distances(query).get(samples).copied().unwrap_or(lists.radius(query));
            let reach = |(id, distance): (usize, f64)| distance.max(own_core).max(data.points[id].core_distance);
            // The first, nearest, of equals.
            let best = lists.of(query).map(|neighbour| (neighbour.0, reach(neighbour)));
            let best = best.min_by(|a, b| a.1.total_cmp(&b.1));
            let (label, probability) = best.map_or((-1, 0.0), |(id, distance)| data.place(id, distance));
            prediction.labels.push(label);
            prediction.probabilities.push(probability);
            prediction.neighbours.extend(best.map(|(id, _)| id));
        }
    })?;
    Ok(prediction)
}
