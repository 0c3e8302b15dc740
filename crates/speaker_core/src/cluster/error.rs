//! What can be wrong with the points or the parameters of a clustering.

/// Errors carry positions and sizes, never the vectors. `row` counts from 0, messages from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClusterError {
    #[error("vector {} has a component that is not finite", .row + 1)]
    NotFinite { row: usize },
    #[error("vector {} has no direction: its norm is zero", .row + 1)]
    ZeroNorm { row: usize },
    #[error("min_cluster_size is {got}, but at least 2 is required")]
    MinClusterSize { got: usize },
    #[error("min_samples is {got}, but at least 1 is required")]
    MinSamples { got: usize },
    #[error("min_samples is {min_samples}, but there are only {points} vectors")]
    TooFewPoints { min_samples: usize, points: usize },
    #[error("cluster_selection_epsilon is {got}, but it must be a finite number of at least 0")]
    Epsilon { got: f64 },
    #[error("{got} vectors are too many, the most is {most}")]
    TooMany { got: usize, most: usize },
    #[error("different vector dimensions {got} and {expected}")]
    Dimension { got: usize, expected: usize },
    #[error("the prediction data describes {expected} vectors, but {got} were given")]
    OtherPoints { got: usize, expected: usize },
    #[error("the prediction data contradicts itself: {what}")]
    Inconsistent { what: &'static str },
    #[error("interrupted")]
    Interrupted,
}
