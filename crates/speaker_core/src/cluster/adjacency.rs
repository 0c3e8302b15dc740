//! What belongs to each node of a graph, in compressed rows.

pub(super) struct Adjacency<T> {
    start: Vec<u32>,
    entries: Vec<T>,
}

impl<T: Copy + Default> Adjacency<T> {
    pub(super) fn new(nodes: usize, entries: impl Iterator<Item = (u32, T)> + Clone) -> Self {
        let mut start = vec![0u32; nodes + 1];
        for (node, _) in entries.clone() {
            start[node as usize + 1] += 1;
        }
        for node in 0..nodes {
            start[node + 1] += start[node];
        }
        let mut next = start.clone();
        let mut placed = vec![T::default(); start[nodes] as usize];
        for (node, entry) in entries {
            placed[next[node as usize] as usize] = entry;
            next[node as usize] += 1;
        }
        Adjacency { start, entries: placed }
    }

    pub(super) fn of(&self, node: usize) -> &[T] {
        &self.entries[self.start[node] as usize..self.start[node + 1] as usize]
    }
}
