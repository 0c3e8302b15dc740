//! Where a speaker is alone: the parts of a turn in which nobody else has one.
//!
//! A segment in which two people talk has an embedding of neither. Diarizers that allow overlap (pyannote.audio, EEND)
//! give both of them a turn there, so what a label has for itself can be cut out.
//!
//! Turns of one label never cut each other, nor do those of other channels: there the other party cannot be heard. A
//! turn without a label cuts nothing and is not cut, since nobody knows whose it is.

use std::collections::HashMap;

/// A stretch that a diarizer gave to somebody, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    pub start_s: f64,
    pub end_s: f64,
    pub label: Option<&'a str>,
    /// `None`: the mix of all channels.
    pub channel: Option<i32>,
}

/// A part of a turn, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    pub start_s: f64,
    pub end_s: f64,
}

/// The most pieces of one turn: what follows would not change its embedding. It bounds what one run can take.
pub const MOST_PIECES: usize = 1000;

/// The stretches in which each label of a channel is the only one, in order.
#[derive(Debug, Default)]
pub struct Alone<'a>(HashMap<(Option<i32>, &'a str), Vec<Piece>>);

impl<'a> Alone<'a> {
    /// Of all turns of one diarization. Empty and reversed ones do not count.
    pub fn new(turns: &[Turn<'a>]) -> Self {
        let mut edges: HashMap<Option<i32>, Vec<(f64, bool, &'a str)>> = HashMap::new();
        for turn in turns.iter().filter(|turn| turn.start_s < turn.end_s) {
            let Some(label) = turn.label else { continue };
            edges.entry(turn.channel).or_default().extend([(turn.start_s, true, label), (turn.end_s, false, label)]);
        }
        let mut alone: HashMap<_, Vec<Piece>> = HashMap::new();
        for (channel, mut edges) in edges {
            edges.sort_by(|a, b| a.0.total_cmp(&b.0));
            // How many turns each label has open at this time.
            let mut open: HashMap<&str, usize> = HashMap::new();
            let mut from = f64::NEG_INFINITY;
            for (at, opens, label) in edges {
                if at > from && open.len() == 1 {
                    for speaker in open.keys() {
                        let pieces = alone.entry((channel, *speaker)).or_default();
                        match pieces.last_mut() {
                            Some(last) if last.end_s == from => last.end_s = at,
                            _ => pieces.push(Piece { start_s: from, end_s: at }),
                        }
                    }
                }
                from = at;
                if opens {
                    *open.entry(label).or_default() += 1;
                } else if let Some(count) = open.get_mut(label) {
                    *count -= 1;
                    if *count == 0 {
                        open.remove(label);
                    }
                }
            }
        }
        Self(alone)
    }

    /// What is left of a turn of that diarization, at most [`MOST_PIECES`].
    pub fn pieces(&self, turn: &Turn) -> Vec<Piece> {
        let Some(label) = turn.label else { return vec![Piece { start_s: turn.start_s, end_s: turn.end_s }] };
        let alone = self.0.get(&(turn.channel, label)).map_or(&[][..], Vec::as_slice);
        let first = alone.partition_point(|piece| piece.end_s <= turn.start_s);
        alone[first..]
            .iter()
            .take_while(|piece| piece.start_s < turn.end_s)
            .take(MOST_PIECES)
            .map(|piece| Piece { start_s: piece.start_s.max(turn.start_s), end_s: piece.end_s.min(turn.end_s) })
            .collect()
    }
}
