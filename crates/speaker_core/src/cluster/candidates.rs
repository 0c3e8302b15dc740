//! The points that may be among the k nearest of each point of a block, in a bounded buffer per point.

use super::tile::Guard;

pub(super) struct Candidates {
    keep: usize,
    room: usize,
    guard: Guard,
    /// Per point, `room` slots of (dot product, id), of which the first `len` are taken.
    slots: Vec<(f32, u32)>,
    len: Vec<usize>,
    floors: Vec<f32>,
}

impl Candidates {
    pub(super) fn new(points: usize, keep: usize, guard: Guard) -> Self {
        let room = 2 * keep + 16;
        Candidates {
            keep,
            room,
            guard,
            slots: vec![(0.0, 0); points * room],
            len: vec![0; points],
            floors: vec![f32::NEG_INFINITY; points],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.len()
    }

    /// Dot products below a point's floor cannot belong to one of its nearest.
    pub(super) fn floors(&self) -> &[f32] {
        &self.floors
    }

    /// Takes a candidate for `point`. `distance` measures exactly, for the rare case that rounding cannot tell enough
    /// candidates apart.
    pub(super) fn offer(&mut self, point: usize, dot: f32, id: u32, distance: impl Fn(u32) -> f64) {
        if dot < self.floors[point] {
            return;
        }
        let len = self.len[point];
        self.slots[point * self.room + len] = (dot, id);
        self.len[point] = len + 1;
        if len + 1 == self.room {
            self.tighten(point, distance);
        }
    }

    /// Learns that these dot products exist, without their ids: each still has to be offered.
    pub(super) fn raise_floor(&mut self, point: usize, dots: impl Iterator<Item = f32>) {
        let mut dots: Vec<f32> = dots.collect();
        if dots.len() >= self.keep {
            let (_, &mut dot, _) = dots.select_nth_unstable_by(self.keep - 1, |a, b| b.total_cmp(a));
            self.floors[point] = self.floors[point].max(self.guard.floor_of_dot(dot));
        }
    }

    /// What is left of a point's candidates; includes its exact nearest.
    pub(super) fn survivors(&self, point: usize) -> impl Iterator<Item = u32> + '_ {
        let taken = &self.slots[point * self.room..][..self.len[point]];
        let floor = match taken.len() > self.keep {
            false => f32::NEG_INFINITY,
            true => {
                let mut dots: Vec<f32> = taken.iter().map(|&(dot, _)| dot).collect();
                let (_, &mut dot, _) = dots.select_nth_unstable_by(self.keep - 1, |a, b| b.total_cmp(a));
                self.guard.floor_of_dot(dot)
            }
        };
        taken.iter().filter(move |(dot, _)| *dot >= floor).map(|&(_, id)| id)
    }

    fn tighten(&mut self, point: usize, distance: impl Fn(u32) -> f64) {
        let Candidates { keep, guard, .. } = *self;
        let taken = &mut self.slots[point * self.room..][..self.len[point]];
        let (_, &mut (dot, _), _) = taken.select_nth_unstable_by(keep - 1, |a, b| b.0.total_cmp(&a.0));
        let mut floor = guard.floor_of_dot(dot).max(self.floors[point]);
        let mut len = retain(taken, |dot| dot >= floor);
        if len > self.room - self.room / 4 {
            // A crowd within the guard band: near-duplicates. Measure them, or every next one would come back here.
            let mut measured: Vec<(f64, f32, u32)> =
                taken[..len].iter().map(|&(dot, id)| (distance(id), dot, id)).collect();
            measured.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
            len = keep;
            for (slot, &(_, dot, id)) in taken.iter_mut().zip(&measured[..len]) {
                *slot = (dot, id);
            }
            floor = floor.max(guard.floor_of_distance(measured[len - 1].0));
        }
        self.len[point] = len;
        self.floors[point] = floor;
    }
}

/// Moves the entries to keep to the front and returns how many there are.
fn retain(taken: &mut [(f32, u32)], keep: impl Fn(f32) -> bool) -> usize {
    let mut len = 0;
    for at in 0..taken.len() {
        if keep(taken[at].0) {
            taken.swap(len, at);
            len += 1;
        }
    }
    len
}
