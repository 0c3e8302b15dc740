//! Core distances: how far a point must look to see a number of points, itself included.

use super::crew::Crew;
use super::groups::Groups;
use super::knn::{self, Neighbours};
use super::rows::Points;
use super::ClusterError;

/// One value per group of equal points.
pub(super) struct CoreDistances {
    /// To see `min_samples` points.
    pub(super) clustering: Vec<f64>,
    /// To see one fewer (at least the point itself): see `predict`.
    pub(super) prediction: Vec<f64>,
}

impl CoreDistances {
    pub(super) fn new(
        points: Points,
        groups: &Groups,
        neighbours: &Neighbours,
        min_samples: usize,
        crew: &Crew,
    ) -> Result<Self, ClusterError> {
        let mut core = CoreDistances {
            clustering: Vec::with_capacity(points.len()),
            prediction: Vec::with_capacity(points.len()),
        };
        if neighbours.k() + 1 >= min_samples.min(points.len()) {
            for group in 0..points.len() {
                core.push(groups, std::iter::once((group, 0.0)).chain(neighbours.of(group)), min_samples);
            }
        } else {
            // The lists are too short for so many samples, and longer ones for all points at once would not fit.
            // (Here a group is among its own nearest.)
            knn::one_way(points, points, min_samples, crew, |_, lists| {
                for query in 0..lists.len() {
                    core.push(groups, lists.of(query), min_samples);
                }
            })?;
        }
        Ok(core)
    }

    fn push(&mut self, groups: &Groups, nearest: impl Iterator<Item = (usize, f64)>, min_samples: usize) {
        let fewer = min_samples.saturating_sub(1).max(1);
        let (mut seen, mut prediction) = (0, None);
        for (group, distance) in nearest {
            seen += groups.size(group);
            if seen >= fewer {
                prediction.get_or_insert(distance);
            }
            if seen >= min_samples {
                self.clustering.push(distance);
                self.prediction.push(prediction.unwrap_or(distance));
                return;
            }
        }
        // Not reached: the lists hold at least `min_samples` points, copies counted.
        self.clustering.push(f64::INFINITY);
        self.prediction.push(f64::INFINITY);
    }
}
