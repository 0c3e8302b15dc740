//! The nearest speakers, compared with a sort of all of them in f64.

use std::cell::Cell;
use std::ops::ControlFlow;

use speaker_core::assign::{AssignError, Comes, Match, Search};
use speaker_core::embedding::UnitEmbedding;
use speaker_core::never;

const MAX_MEMORY: u64 = 1 << 30;

/// A xorshift generator: the tests need spread, not randomness.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.next()).collect()
    }

    fn embeddings(&mut self, count: usize, dim: usize) -> Vec<UnitEmbedding> {
        (0..count).map(|_| UnitEmbedding::normalise(self.vector(dim)).unwrap()).collect()
    }
}

fn search(embeddings: &[UnitEmbedding], means: &[(i64, Vec<f32>)], k: usize) -> Vec<Vec<Match>> {
    nearest(embeddings, means, k, Comes::Once)
}

fn nearest(embeddings: &[UnitEmbedding], means: &[(i64, Vec<f32>)], k: usize, comes: Comes) -> Vec<Vec<Match>> {
    let mut search = Search::new(embeddings, k, comes, MAX_MEMORY).unwrap();
    for (id, mean) in means {
        search.push(*id, mean, &never).unwrap();
    }
    search.nearest(&never).unwrap()
}

fn sorted(embedding: &UnitEmbedding, means: &[(i64, Vec<f32>)], k: usize) -> Vec<Match> {
    let dot = |mean: &[f32]| mean.iter().zip(embedding.as_slice()).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let mut all: Vec<Match> = means.iter().map(|(id, mean)| Match { id: *id, similarity: dot(mean) }).collect();
    all.sort();
    all.truncate(k);
    all
}

fn assert_same(found: &[Match], expected: &[Match]) {
    assert_eq!(found.iter().map(|m| m.id).collect::<Vec<_>>(), expected.iter().map(|m| m.id).collect::<Vec<_>>());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found.similarity - expected.similarity).abs() < 1e-12 * expected.similarity.abs().max(1.0));
    }
}

#[test]
fn one_and_many_embeddings_find_what_a_sort_finds() {
    let mut numbers = Numbers(1);
    for (count, dim, speakers, k) in [(1, 256, 700, 5), (4, 3, 10, 20), (5, 256, 700, 2), (300, 17, 513, 3)] {
        let embeddings = numbers.embeddings(count, dim);
        let means: Vec<_> = (0..speakers).map(|id| (id, numbers.vector(dim))).collect();
        let found = search(&embeddings, &means, k);
        assert_eq!(found.len(), count);
        for (embedding, found) in embeddings.iter().zip(&found) {
            assert_same(found, &sorted(embedding, &means, k));
        }
    }
}

#[test]
fn of_a_speaker_who_comes_often_the_best_counts() {
    let mut numbers = Numbers(9);
    for (count, dim, speakers, often, k) in
        [(1, 256, 300, 5, 5), (4, 3, 10, 40, 20), (40, 64, 500, 4, 2), (6, 8, 900, 3, 1)]
    {
        let embeddings = numbers.embeddings(count, dim);
        let vectors: Vec<_> = (0..speakers * often).map(|n| (n % speakers, numbers.vector(dim))).collect();
        for (embedding, found) in embeddings.iter().zip(nearest(&embeddings, &vectors, k, Comes::Often)) {
            let mut best: Vec<Match> = Vec::new();
            for one in sorted(embedding, &vectors, usize::MAX) {
                if best.iter().all(|known| known.id != one.id) {
                    best.push(one);
                }
            }
            best.truncate(k);
            assert_same(&found, &best);
        }
    }
}

#[test]
fn who_was_forgotten_may_come_again() {
    let one = [UnitEmbedding::normalise(vec![1.0, 0.0]).unwrap()];
    // Speaker 1 is the worst of many, and the best at the end.
    let mut vectors: Vec<_> = (1..1000).map(|id| (id, vec![id as f32 / 2000.0, 0.0])).collect();
    vectors.push((1, vec![0.75, 0.0]));
    let found = nearest(&one, &vectors, 2, Comes::Often);
    assert_eq!(found, [[Match { id: 1, similarity: 0.75 }, Match { id: 999, similarity: f64::from(999f32 / 2000.0) }]]);
}

#[test]
fn means_closer_than_single_precision_are_told_apart() {
    let mut numbers = Numbers(2);
    let dim = 256;
    let embeddings = numbers.embeddings(10, dim);
    let base = numbers.vector(dim);
    // Each differs from the last in one value, by one step of its precision.
    let means: Vec<(i64, Vec<f32>)> = (0..600)
        .map(|id| {
            let mut mean = base.clone();
            mean[id % dim] = f32::from_bits(mean[id % dim].to_bits() + 1 + (id / dim) as u32);
            (id as i64, mean)
        })
        .collect();
    for (embedding, found) in embeddings.iter().zip(search(&embeddings, &means, 4)) {
        assert_same(&found, &sorted(embedding, &means, 4));
    }
}

#[test]
fn equal_speakers_come_in_the_order_of_their_ids() {
    let mut numbers = Numbers(3);
    let mean = numbers.vector(8);
    let means: Vec<_> = [9, 2, 7, 4].into_iter().map(|id| (id, mean.clone())).collect();
    for count in [1, 9] {
        for found in search(&numbers.embeddings(count, 8), &means, 3) {
            assert_eq!(found.iter().map(|m| m.id).collect::<Vec<_>>(), [2, 4, 7]);
        }
    }
}

#[test]
fn means_of_any_length_are_ordered() {
    let mut numbers = Numbers(4);
    let embeddings = numbers.embeddings(6, 16);
    let means: Vec<_> =
        (0..300).map(|id| (id, numbers.vector(16).iter().map(|v| v * 10f32.powi(id as i32 % 39)).collect())).collect();
    for (embedding, found) in embeddings.iter().zip(search(&embeddings, &means, 5)) {
        assert_same(&found, &sorted(embedding, &means, 5));
    }
}

#[test]
fn nothing_to_find_is_no_error() {
    let mut numbers = Numbers(5);
    let embeddings = numbers.embeddings(6, 4);
    assert_eq!(search(&embeddings, &[], 2), vec![vec![]; 6]);
    assert_eq!(search(&embeddings, &[(1, numbers.vector(4))], 0), vec![vec![]; 6]);
    assert_eq!(search(&embeddings[..1], &[(1, numbers.vector(4))], 0), vec![vec![]]);
    assert_eq!(search(&[], &[(1, numbers.vector(4))], 2), Vec::<Vec<Match>>::new());
}

#[test]
fn other_dimensions_are_refused() {
    let mut numbers = Numbers(6);
    let mut one = Search::new(&numbers.embeddings(1, 4), 1, Comes::Once, MAX_MEMORY).unwrap();
    assert_eq!(one.push(1, &numbers.vector(5), &never), Err(AssignError::Dimensions { left: 4, right: 5 }));
    let mixed = [numbers.embeddings(1, 4), numbers.embeddings(1, 3)].concat();
    assert_eq!(
        Search::new(&mixed, 1, Comes::Once, MAX_MEMORY).err(),
        Some(AssignError::Dimensions { left: 4, right: 3 })
    );
}

#[test]
fn a_long_search_can_be_interrupted() {
    let mut numbers = Numbers(7);
    let asked = Cell::new(0);
    let check = || {
        asked.set(asked.get() + 1);
        if asked.get() == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let mut search = Search::new(&numbers.embeddings(1000, 8), 1, Comes::Once, MAX_MEMORY).unwrap();
    let outcome = (0..256).try_for_each(|id| search.push(id, &numbers.vector(8), &check));
    assert_eq!(outcome, Err(AssignError::Interrupted));
    assert_eq!(asked.get(), 3);
}

#[test]
fn a_search_that_would_keep_too_much_stops() {
    let mut numbers = Numbers(8);
    let allowed = 4 << 20;
    for (count, comes) in [(2, Comes::Once), (600, Comes::Once), (2, Comes::Often), (600, Comes::Often)] {
        let embeddings = numbers.embeddings(count, 8);
        let pushes = |k| {
            let mut search = Search::new(&embeddings, k, comes, allowed).unwrap();
            (0..30_000).try_for_each(|id| search.push(id, embeddings[0].as_slice(), &never))
        };
        assert_eq!(pushes(3), Ok(()), "what is not kept takes no memory");
        let Err(AssignError::TooMuchMemory { embeddings, found, max_bytes }) = pushes(usize::MAX) else {
            panic!("{count} embeddings keep 30,000 matches each in {allowed} bytes");
        };
        assert_eq!((embeddings, max_bytes), (count, allowed));
        assert!(found * 16 * count as u64 > allowed / 10, "{found} of each");
    }
    let refused = Search::new(&numbers.embeddings(30_000, 16), 1, Comes::Once, allowed).err();
    assert_eq!(refused, Some(AssignError::TooMuchMemory { embeddings: 30_000, found: 0, max_bytes: allowed }));
}
