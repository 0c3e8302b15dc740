//! Tests: what f32 products find is what f64 would have found pair by pair, also where f32 cannot tell pairs apart.

use ndarray::Array2;

use super::core_distance::CoreDistances;
use super::crew::Crew;
use super::groups::Groups;
use super::knn::{self, Survey};
use super::mst::{self, Reachability};
use super::rows::{Points, UnitRows};

const MIN_SAMPLES: usize = 5;
const LISTED: usize = 15;

/// Heaps of points that are `spread` wide, around directions of their own.
fn heaps(n: usize, dim: usize, heaps: usize, spread: f64) -> Array2<f32> {
    let mut state = 20261121u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 30) as f64 - 1.0
    };
    let centres = Array2::from_shape_simple_fn((heaps, dim), &mut random);
    Array2::from_shape_fn((n, dim), |(row, at)| (centres[[row % heaps, at]] + spread * random()) as f32)
}

/// Prim over all pairs; the weights in order.
fn weights_of_the_minimum_tree(graph: Reachability) -> Vec<f64> {
    let mut reach = vec![f64::INFINITY; graph.points.len()];
    let mut outside: Vec<usize> = (1..graph.points.len()).collect();
    let (mut last, mut weights) = (0, Vec::new());
    while !outside.is_empty() {
        for &point in &outside {
            reach[point] = reach[point].min(graph.between(last, point));
        }
        let nearest = (0..outside.len()).min_by(|&a, &b| reach[outside[a]].total_cmp(&reach[outside[b]])).unwrap();
        last = outside.swap_remove(nearest);
        weights.push(reach[last]);
    }
    weights.sort_unstable_by(f64::total_cmp);
    weights
}

fn assert_exact(vectors: &Array2<f32>) {
    let crew = Crew::new(2, &crate::never);
    let rows = UnitRows::new(vectors.view(), &crew).unwrap();
    let groups = Groups::of_equal_rows(&rows, &crew).unwrap();
    let points = Points::new(&rows, groups.firsts());
    let Survey { neighbours, horizon } = knn::survey(points, LISTED, &crew).unwrap();
    for point in 0..points.len() {
        let mut all: Vec<(f64, u32)> = (0..points.len())
            .filter(|&other| other != point)
            .map(|other| (points.distance(point, other), other as u32))
            .collect();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let nearest: Vec<u32> = all[..LISTED].iter().map(|&(_, id)| id).collect();
        assert_eq!(neighbours.ids(point), nearest, "neighbours of point {point}");
    }
    let core = CoreDistances::new(points, &groups, &neighbours, MIN_SAMPLES, &crew).unwrap();
    let graph = Reachability { points, core: &core.clustering, neighbours: &neighbours };
    let tree = mst::minimum_spanning_tree(graph, &horizon, &crew).unwrap();
    let mut weights: Vec<f64> = tree.iter().map(|edge| edge.weight).collect();
    weights.sort_unstable_by(f64::total_cmp);
    assert_eq!(weights, weights_of_the_minimum_tree(graph));
}

#[test]
fn overlapping_heaps() {
    assert_exact(&heaps(900, 24, 12, 0.7));
}

#[test]
fn heaps_far_apart() {
    for dim in [8, 12, 24, 48] {
        for spread in [0.05, 0.2, 0.4] {
            assert_exact(&heaps(700, dim, 25, spread));
        }
    }
}

#[test]
fn points_that_products_in_f32_cannot_tell_apart() {
    for spread in [1e-3, 1e-4, 1e-5] {
        assert_exact(&heaps(700, 64, 3, spread));
    }
}

#[test]
fn more_points_than_a_panel_holds() {
    assert_exact(&heaps(1300, 256, 9, 0.9));
}
