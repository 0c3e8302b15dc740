//! Disjoint sets with path halving and union by size.

#[derive(Clone)]
pub(super) struct UnionFind {
    parent: Vec<u32>,
    size: Vec<u32>,
    sets: usize,
}

impl UnionFind {
    pub(super) fn new(n: usize) -> Self {
        UnionFind { parent: (0..n as u32).collect(), size: vec![1; n], sets: n }
    }

    pub(super) fn find(&mut self, x: usize) -> usize {
        let mut x = x;
        while self.parent[x] as usize != x {
            self.parent[x] = self.parent[self.parent[x] as usize];
            x = self.parent[x] as usize;
        }
        x
    }

    /// False if they were together already.
    pub(super) fn unite(&mut self, x: usize, y: usize) -> bool {
        let (x, y) = (self.find(x), self.find(y));
        if x == y {
            return false;
        }
        let (large, small) = if self.size[x] >= self.size[y] { (x, y) } else { (y, x) };
        self.parent[small] = large as u32;
        self.size[large] += self.size[small];
        self.sets -= 1;
        true
    }

    pub(super) fn sets(&self) -> usize {
        self.sets
    }

    /// The set of each element, numbered 0, 1, ... in order of first appearance.
    pub(super) fn numbering(&mut self) -> Vec<u32> {
        let mut number = vec![u32::MAX; self.parent.len()];
        let mut next = 0;
        (0..self.parent.len())
            .map(|x| {
                let root = self.find(x);
                if number[root] == u32::MAX {
                    number[root] = next;
                    next += 1;
                }
                number[root]
            })
            .collect()
    }
}
