//! HDBSCAN*: hierarchical density-based clustering of directions.
//!
//! Points are embeddings; each is scaled to norm 1 and compared by Euclidean distance, which orders pairs as cosine
//! similarity does. Labels and probabilities are those of scikit-learn's `HDBSCAN` (tree algorithm, metric euclidean)
//! on the normalised vectors; outlier scores are those of the Python package hdbscan.
//!
//! Sources: Campello, Moulavi, Sander 2013 (the method); Campello et al. 2015 (GLOSH); McInnes, Healy 2017 (condensed
//! tree and its selection); Malzer, Baum 2020 (selection epsilon).
//!
//! How it stays exact at the speed of f32 matrix products, in linear memory (decision 003):
//!
//! | step | file |
//! | --- | --- |
//! | rows checked, equal rows collapsed | `rows`, `groups` |
//! | nearest neighbours: f32 products with a proven error bound, survivors measured in f64 | `tile`, `candidates`, `knn` |
//! | core distances | `core_distance` |
//! | minimum spanning tree: Boruvka over the lists, then one bounded search between components | `mst`, `bridges`, `plot` |
//! | the same tree in the order of scikit-learn's Prim, duplicates returned | `prim` |
//! | condensed tree, selection, labels | `condense`, `select` |
//! | new points for old clusters | `predict` |
//! | the point to listen to in each cluster | `representatives` |
//! | what all this takes | `memory` |
//!
//! Beside it, for few voices and few segments: average linkage, in `agglomerative`.
//!
//! Deliberately not here: other metrics, `max_cluster_size`, `alpha`, approximate trees. Rows that are not finite or
//! have no direction are refused, not labelled as scikit-learn does.

mod adjacency;
mod agglomerative;
mod arrange;
mod bridges;
mod candidates;
mod condense;
mod core_distance;
mod crew;
mod error;
#[cfg(test)]
mod exactness;
mod groups;
mod horizon;
mod knn;
mod memory;
mod mst;
mod plot;
mod predict;
mod prim;
mod representatives;
mod rows;
mod scan;
mod select;
mod tile;
mod union_find;

use ndarray::ArrayView2;

use crate::Check;
use core_distance::CoreDistances;
use crew::Crew;
use groups::Groups;
use knn::Survey;
use mst::Reachability;
use rows::{Points, UnitRows};
use select::Selected;

pub use agglomerative::{agglomerative, memory_of_agglomerative};
pub use error::ClusterError;
pub use memory::{memory_of_clustering, memory_of_prediction};
pub use predict::{predict, ClusterFacts, PointFacts, Prediction, PredictionData};
pub use representatives::representatives;

#[derive(Debug, Clone, PartialEq)]
pub struct HdbscanParams {
    /// Groups smaller than this are not clusters. At least 2. A higher value finds fewer, larger clusters.
    pub min_cluster_size: usize,
    /// How many points, counting the point itself, must be near for a place to be dense. A higher value makes more
    /// points noise. `None` means `min_cluster_size`.
    pub min_samples: Option<usize>,
    /// Clusters that separate only below this distance stay one. 0 turns it off.
    pub cluster_selection_epsilon: f64,
    pub selection: Selection,
    /// Whether all points may be one cluster; otherwise there are at least two, or none.
    pub allow_single_cluster: bool,
    /// Threads to use, the calling one included; 0 counts as 1. The result does not depend on it.
    pub threads: usize,
}

impl Default for HdbscanParams {
    fn default() -> Self {
        HdbscanParams {
            min_cluster_size: 5,
            min_samples: None,
            cluster_selection_epsilon: 0.0,
            selection: Selection::Eom,
            allow_single_cluster: false,
            threads: 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Excess of mass: the clusters that persist over the widest range of densities.
    Eom,
    /// The leaves of the cluster tree: many small clusters of even size.
    Leaf,
}

/// One entry per point.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering {
    /// Clusters are 0, 1, ...; -1 is noise.
    pub labels: Vec<i32>,
    /// How firmly the point belongs to its cluster, in [0, 1]; 0 for noise.
    pub probabilities: Vec<f64>,
    /// GLOSH, in [0, 1]: how much less dense the point's surroundings are than the densest part of its cluster.
    pub outlier_scores: Vec<f64>,
}

/// Clusters the rows of `points`. Time grows with the square of their number, memory linearly.
///
/// Fewer points than `min_cluster_size` are all noise with outlier score 0, whatever the other parameters.
pub fn hdbscan(points: ArrayView2<f32>, params: &HdbscanParams, check: Check) -> Result<Clustering, ClusterError> {
    hdbscan_with_prediction_data(points, params, check).map(|(clustering, _)| clustering)
}

/// As [`hdbscan`], and what [`predict`] needs to place new points into the clusters found.
pub fn hdbscan_with_prediction_data(
    points: ArrayView2<f32>,
    params: &HdbscanParams,
    check: Check,
) -> Result<(Clustering, PredictionData), ClusterError> {
    let n = points.nrows();
    let min_samples = params.validate()?;
    let crew = Crew::new(params.threads, check);
    let rows = UnitRows::new(points, &crew)?;
    if n < params.min_cluster_size {
        return Ok((Clustering::all_noise(n), PredictionData::all_noise(n, min_samples)));
    }
    if min_samples > n {
        return Err(ClusterError::TooFewPoints { min_samples, points: n });
    }

    let mut groups = Groups::of_equal_rows(&rows, &crew)?;
    let order = arrange::by_nearest_centre(Points::new(&rows, groups.firsts()), &crew)?;
    groups.arrange(&order);
    let points = Points::new(&rows, groups.firsts());
    let Survey { neighbours, horizon } = knn::survey(points, list_length(min_samples), &crew)?;
    let core = CoreDistances::new(points, &groups, &neighbours, min_samples, &crew)?;
    let graph = Reachability { points, core: &core.clustering, neighbours: &neighbours };
    let tree = mst::minimum_spanning_tree(graph, &horizon, &crew)?;
    let steps = prim::in_order_of_prim(graph, &groups, &tree, &crew)?;
    drop((neighbours, horizon, tree));
    crew.check()?;
    let tree = condense::condense(steps, params.min_cluster_size);
    let selected = Selected::new(&tree, params);
    let clustering = select::label(&tree, &selected);
    let prediction_data = PredictionData::new(min_samples, groups.spread(&core.prediction), &tree, &selected);
    Ok((clustering, prediction_data))
}

/// How many neighbours of each point to keep. Core distances need `min_samples` - 1; more let the spanning tree grow
/// further before it must search. Beyond the upper limit memory would no longer be linear in the number of points
/// alone, and core distances are found otherwise.
fn list_length(min_samples: usize) -> usize {
    min_samples.saturating_sub(1).clamp(15, 128)
}

impl HdbscanParams {
    /// Returns the effective `min_samples`.
    fn validate(&self) -> Result<usize, ClusterError> {
        let (size, epsilon) = (self.min_cluster_size, self.cluster_selection_epsilon);
        if size < 2 {
            return Err(ClusterError::MinClusterSize { got: size });
        }
        if !epsilon.is_finite() || epsilon < 0.0 {
            return Err(ClusterError::Epsilon { got: epsilon });
        }
        match self.min_samples {
            Some(0) => Err(ClusterError::MinSamples { got: 0 }),
            samples => Ok(samples.unwrap_or(size)),
        }
    }
}

impl Clustering {
    fn all_noise(n: usize) -> Self {
        Clustering { labels: vec![-1; n], probabilities: vec![0.0; n], outlier_scores: vec![0.0; n] }
    }
}
