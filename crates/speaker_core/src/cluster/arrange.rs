//! An order of the points in which neighbours tend to be near each other.
//!
//! Nothing depends on its quality but speed: thresholds tighten sooner, and `Horizon` can tell where far points are far
//! in bulk. So it is cheap: points are dealt to a few hundred centres, as k-means would in its first rounds.

use ndarray::{Array2, ArrayView2};

use super::crew::Crew;
use super::rows::Points;
use super::tile::{Panels, Tile};
use super::ClusterError;

/// The points' ids, reordered.
pub(super) fn by_nearest_centre(points: Points, crew: &Crew) -> Result<Vec<u32>, ClusterError> {
    let n = points.len();
    let panels = Panels::new(points, crew)?;
    let count = n.isqrt().min(panels.side);
    let every = n / count.max(1);
    let first: Vec<u32> = (0..count).map(|centre| points.row(centre * every)).collect();
    let mut centres = points.with_ids(&first).panel(0..count);
    let mut nearest = deal(&panels, &centres.view(), n, crew)?;
    // One round of k-means: the first centres are arbitrary points, and many of them may come from one cluster.
    move_to_means(&panels, &nearest, &mut centres, crew)?;
    nearest = deal(&panels, &centres.view(), n, crew)?;
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_by_key(|&point| nearest[point as usize]);
    Ok(order)
}

/// The nearest centre of each point.
fn deal(panels: &Panels, centres: &ArrayView2<f32>, n: usize, crew: &Crew) -> Result<Vec<u32>, ClusterError> {
    let state = || (Tile::new(panels.side), Vec::new());
    let dealt = crew.run(panels.len(), state, |(tile, dealt): &mut (Tile, Vec<(usize, u32)>), block| {
        tile.multiply(&panels.panel(block), centres);
        for (row, point) in panels.points(block).enumerate() {
            let dots = &tile.dots(row)[..centres.ncols()];
            let best = (0..dots.len()).max_by(|&a, &b| dots[a].total_cmp(&dots[b])).unwrap_or(0);
            dealt.push((point, best as u32));
        }
    })?;
    let mut nearest = vec![0; n];
    for (point, centre) in dealt.into_iter().flat_map(|(_, dealt)| dealt) {
        nearest[point] = centre;
    }
    Ok(nearest)
}

/// Moves each centre to the direction of the mean of its points; one without points becomes zero, near nothing.
fn move_to_means(panels: &Panels, nearest: &[u32], centres: &mut Array2<f32>, crew: &Crew) -> Result<(), ClusterError> {
    centres.fill(0.0);
    for block in 0..panels.len() {
        crew.check()?;
        let points = panels.points(block);
        for (coordinates, mut means) in panels.panel(block).outer_iter().zip(centres.outer_iter_mut()) {
            for (x, &centre) in coordinates.iter().zip(&nearest[points.clone()]) {
                means[centre as usize] += x;
            }
        }
    }
    for mut centre in centres.columns_mut() {
        let norm = centre.dot(&centre).sqrt();
        if norm > 0.0 {
            centre /= norm;
        }
    }
    Ok(())
}
