//! The member of each cluster to show for all of it: the one nearest, by cosine, to the mean of the normalised members.

use ndarray::ArrayView2;

use super::crew::Crew;
use super::rows::UnitRows;
use super::ClusterError;
use crate::Check;

/// The row of each cluster, by label from 0 on; the first row of equally near ones. `labels` are those of
/// [`hdbscan`](super::hdbscan).
pub fn representatives(points: ArrayView2<f32>, labels: &[i32], check: Check) -> Result<Vec<usize>, ClusterError> {
    if labels.len() != points.nrows() {
        return Err(ClusterError::OtherPoints { got: points.nrows(), expected: labels.len() });
    }
    let crew = Crew::new(1, check);
    let rows = UnitRows::new(points, &crew)?;
    let mut members: Vec<u32> = rows.ids().into_iter().filter(|&row| labels[row as usize] >= 0).collect();
    // One cluster at a time: means of all at once could take as much memory as the points.
    members.sort_by_key(|&row| labels[row as usize]);
    let mut found = Vec::new();
    for cluster in members.chunk_by(|&a, &b| labels[a as usize] == labels[b as usize]) {
        let mut sum = vec![0.0; rows.dim()];
        for (step, &row) in cluster.iter().enumerate() {
            crew.check_at(step)?;
            rows.coordinates(row as usize).zip(&mut sum).for_each(|(x, total)| *total += x);
        }
        // The length of the mean is the same for all.
        let mut nearest = (f64::NEG_INFINITY, cluster[0]);
        for (step, &row) in cluster.iter().enumerate() {
            crew.check_at(step)?;
            let dot = rows.coordinates(row as usize).zip(&sum).map(|(x, total)| x * total).sum();
            if dot > nearest.0 {
                nearest = (dot, row);
            }
        }
        found.push(nearest.1 as usize);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_member_nearest_to_the_mean_whatever_its_length() {
        let points = array![[3.0, 0.1], [1.0, 1.0], [0.0, 5.0], [-1.0, 0.0], [-9.0, -0.1], [-1.0, -0.2], [7.0, 7.0]];
        let labels = [1, 1, 1, 0, 0, 0, -1];
        assert_eq!(representatives(points.view(), &labels, &crate::never), Ok(vec![4, 1]));
    }

    #[test]
    fn the_first_of_equals_and_none_of_noise() {
        let points = array![[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]];
        assert_eq!(representatives(points.view(), &[0, 0, -1], &crate::never), Ok(vec![0]));
        assert_eq!(representatives(points.view(), &[-1; 3], &crate::never), Ok(vec![]));
    }

    #[test]
    fn labels_of_other_points_are_refused() {
        let expected = Err(ClusterError::OtherPoints { got: 2, expected: 3 });
        assert_eq!(representatives(array![[1.0], [2.0]].view(), &[0; 3], &crate::never), expected);
    }
}
