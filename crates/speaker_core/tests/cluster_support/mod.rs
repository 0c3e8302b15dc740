//! The vectors of the golden cases: the same bits as `vectors` in tools/golden/cluster.py.

use ndarray::Array2;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    /// In [0, 1), a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 * f64::from(2.0f32).powi(-53)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.uniform() * limit as f64) as usize
    }

    /// Near normal with variance 1/3.
    pub fn bell(&mut self) -> f64 {
        let (a, b, c, d) = (self.uniform(), self.uniform(), self.uniform(), self.uniform());
        a + b + c + d - 2.0
    }

    fn uniforms(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.uniform()).collect()
    }

    fn bells(&mut self, rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_simple_fn((rows, columns), || self.bell())
    }
}

#[derive(Clone, Copy, serde::Deserialize)]
pub struct Vectors {
    pub seed: u64,
    pub n: usize,
    pub dim: usize,
    pub clusters: usize,
    pub spread: f64,
    pub noise: f64,
    pub copies: f64,
}

impl Vectors {
    /// Clusters of uneven size and width, every third near another; noise; rows copied from others.
    pub fn make(&self) -> Array2<f32> {
        let Vectors { n, dim, clusters, .. } = *self;
        let random = &mut Random(self.seed);
        let mut centres = random.bells(clusters, dim);
        for i in 0..clusters / 3 {
            for at in 0..dim {
                centres[[i, at]] = centres[[i + clusters / 3, at]] + 0.5 * random.bell();
            }
        }
        let widths: Vec<f64> = random.uniforms(clusters).iter().map(|u| self.spread * (0.5 + u)).collect();
        let (first, second) = (random.uniforms(n), random.uniforms(n));
        let offsets = random.bells(n, dim);
        let is_noise = random.uniforms(n);
        let elsewhere = random.bells(n, dim);
        let mut points = Array2::from_shape_fn((n, dim), |(row, at)| {
            if is_noise[row] < self.noise {
                return elsewhere[[row, at]] as f32;
            }
            let cluster = (first[row] * second[row] * clusters as f64) as usize;
            (centres[[cluster, at]] + widths[cluster] * offsets[[row, at]]) as f32
        });
        let is_copy = random.uniforms(n);
        let original = points.clone();
        for (row, is_copy) in is_copy.into_iter().enumerate() {
            let source = random.below(n);
            if is_copy < self.copies {
                points.row_mut(row).assign(&original.row(source));
            }
        }
        points
    }
}
