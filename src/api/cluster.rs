//! HDBSCAN over vectors: of an array as a function, and of rows as aggregates.
//!
//! The aggregates take each vector from the executor into one block of memory. An array of vectors ends at a gigabyte, and
//! is copied on its way.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use ndarray::Array2;
use pgrx::fcinfo::pg_getarg;
use pgrx::prelude::*;
use pgrx::Internal;
use speaker_core::cluster::{self, ClusterError, ClusterFacts, HdbscanParams, PointFacts, PredictionData, Selection};
use speaker_core::Check;
use speaker_onnx::without_signals;

use crate::aggregate::with_state;
use crate::composite::Composite;
use crate::datum::{same_dim, Vector, VectorRef};
use crate::error::{raise, Report, SqlError};
use crate::interrupts::Interrupts;
use crate::{memory, settings};

#[pg_extern(stable, parallel_safe, cost = 100000)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
#[allow(clippy::too_many_arguments, reason = "the parameters of HDBSCAN, by name in SQL")]
fn hdbscan(
    embeddings: Option<Array<Vector>>,
    min_cluster_size: default!(Option<i32>, 5),
    min_samples: default!(Option<i32>, "NULL"),
    cluster_selection_epsilon: default!(f64, 0.0),
    cluster_selection_method: default!(&str, "'eom'"),
    allow_single_cluster: default!(bool, false),
) -> TableIterator<
    'static,
    (name!(ordinal, i32), name!(cluster, Option<i32>), name!(probability, f64), name!(outlier_score, f64)),
> {
    raise(|| {
        let embeddings = embeddings.ok_or(SqlError::Null { argument: "embeddings" })?;
        let params = HdbscanParams {
            cluster_selection_epsilon,
            selection: match cluster_selection_method {
                "eom" => Selection::Eom,
                "leaf" => Selection::Leaf,
                other => {
                    return Err(SqlError::Choice {
                        argument: "cluster_selection_method",
                        got: other.into(),
                        choices: "eom or leaf",
                    }
                    .into())
                }
            },
            allow_single_cluster,
            ..params(min_cluster_size, min_samples)?
        };
        let points = matrix("embeddings", embeddings, &params)?;
        let found = interruptible(|check| cluster::hdbscan(points.view(), &params, check))?;
        let rows = found.labels.into_iter().zip(found.probabilities).zip(found.outlier_scores).enumerate();
        Ok(TableIterator::new(rows.map(|(row, ((label, probability), outlier_score))| {
            (row as i32 + 1, (label >= 0).then_some(label), probability, outlier_score)
        })))
    })
}

/// What `speaker_hdbscan` has taken so far.
#[derive(Default)]
struct ToCluster {
    ids: Vec<i64>,
    vectors: Vectors,
    params: HdbscanParams,
}

#[pg_extern(stable, parallel_safe)]
pub fn speaker_hdbscan_state(
    state: Internal,
    segment_id: Option<i64>,
    embedding: Option<VectorRef>,
    min_cluster_size: Option<i32>,
    min_samples: Option<i32>,
    allow_single_cluster: Option<bool>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Internal {
    let (Some(id), Some(embedding)) = (segment_id, embedding) else { return state };
    let make = || {
        raise(|| {
            let allow_single_cluster = allow_single_cluster.unwrap_or(false);
            let params = HdbscanParams { allow_single_cluster, ..params(min_cluster_size, min_samples)? };
            Ok(ToCluster { params, ..ToCluster::default() })
        })
    };
    let take = |input: &mut ToCluster| {
        raise(|| {
            input.vectors.same_dim(embedding.as_slice())?;
            let (rows, dim) = (input.ids.len() + 1, embedding.as_slice().len());
            within_limit(&input.params, rows, dim)?;
            input.vectors.push(embedding.as_slice())?;
            push(&mut input.ids, id)
        })
    };
    // SAFETY: the aggregate below uses this state for a ToCluster, here and in its final function.
    unsafe { with_state(state, fcinfo, make, take) }
}

#[pg_extern(requires = ["cluster_types"], sql = r#"
    CREATE FUNCTION speaker_hdbscan_final(state internal) RETURNS speaker_hdbscan_result
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
pub fn speaker_hdbscan_final(mut state: Internal, fcinfo: pg_sys::FunctionCallInfo) -> Option<Composite> {
    // SAFETY: the state that speaker_hdbscan_state made.
    let input = unsafe { state.get_mut::<ToCluster>() }?;
    // Nobody asks twice: the aggregate says READ_WRITE.
    let ToCluster { ids, vectors, params } = std::mem::take(input);
    let (found, data, representatives) = raise(|| {
        let points = vectors.matrix();
        memory::available(memory_of(&params, points.nrows(), points.ncols()))?;
        Ok(interruptible(|check| {
            let (found, data) = cluster::hdbscan_with_prediction_data(points.view(), &params, check)?;
            let representatives = cluster::representatives(points.view(), &found.labels, check)?;
            Ok((found, data, representatives))
        })?)
    });
    let representatives: Vec<i64> = representatives.into_iter().map(|row| ids[row]).collect();
    let core_distances: Vec<f64> = data.points.iter().map(|point| point.core_distance).collect();
    let nodes: Vec<i32> = data.points.iter().map(|point| point.cluster as i32).collect();
    let densities: Vec<f64> = data.points.iter().map(|point| point.lambda).collect();
    let tree: Vec<f64> = data.clusters.iter().flat_map(pack).collect();
    // SAFETY: the columns of speaker_hdbscan_result.
    Some(unsafe {
        Composite::of_result(fcinfo, |row| {
            row.push(ids);
            row.push(found.labels);
            row.push(found.probabilities);
            row.push(found.outlier_scores);
            row.push(core_distances);
            row.push(nodes);
            row.push(densities);
            row.push(tree);
            row.push(representatives);
        })
    })
}

/// What `speaker_agglomerate` has taken so far.
#[derive(Default)]
struct ToJoin {
    ids: Vec<i64>,
    vectors: Vectors,
    threshold: f64,
    min_cluster_size: usize,
}

#[pg_extern(stable, parallel_safe)]
pub fn speaker_agglomerate_state(
    state: Internal,
    segment_id: Option<i64>,
    embedding: Option<VectorRef>,
    min_cluster_size: Option<i32>,
    threshold: Option<f64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Internal {
    let (Some(id), Some(embedding)) = (segment_id, embedding) else { return state };
    let make = || {
        raise(|| {
            let min_cluster_size = min_cluster_size.ok_or(SqlError::Null { argument: "min_cluster_size" })?;
            Ok(ToJoin {
                threshold: threshold.ok_or(SqlError::Null { argument: "threshold" })?,
                min_cluster_size: at_least(1, "min_cluster_size", min_cluster_size)?,
                ..ToJoin::default()
            })
        })
    };
    let take = |input: &mut ToJoin| {
        raise(|| {
            input.vectors.same_dim(embedding.as_slice())?;
            let (rows, dim) = (input.ids.len() + 1, embedding.as_slice().len());
            let need = cluster::memory_of_agglomerative(rows, dim) + ID * rows as u64;
            memory::within_limit(need, || format!("clustering {rows} vectors of {dim} dimensions"))?;
            input.vectors.push(embedding.as_slice())?;
            push(&mut input.ids, id)
        })
    };
    // SAFETY: the aggregate below uses this state for a ToJoin, here and in its final function.
    unsafe { with_state(state, fcinfo, make, take) }
}

#[pg_extern(requires = ["cluster_types"], sql = r#"
    CREATE FUNCTION speaker_agglomerate_final(state internal) RETURNS speaker_agglomerated
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
pub fn speaker_agglomerate_final(mut state: Internal, fcinfo: pg_sys::FunctionCallInfo) -> Option<Composite> {
    // SAFETY: the state that speaker_agglomerate_state made.
    let input = unsafe { state.get_mut::<ToJoin>() }?;
    // Nobody asks twice: the aggregate says READ_WRITE.
    let ToJoin { ids, vectors, threshold, min_cluster_size } = std::mem::take(input);
    let (labels, representatives) = raise(|| {
        let points = vectors.matrix();
        memory::available(cluster::memory_of_agglomerative(points.nrows(), points.ncols()))?;
        Ok(interruptible(|check| {
            let labels = cluster::agglomerative(points.view(), threshold, min_cluster_size, check)?;
            let representatives = cluster::representatives(points.view(), &labels, check)?;
            Ok((labels, representatives))
        })?)
    });
    let representatives: Vec<i64> = representatives.into_iter().map(|row| ids[row]).collect();
    // SAFETY: the columns of speaker_agglomerated.
    Some(unsafe {
        Composite::of_result(fcinfo, |row| {
            row.push(ids);
            row.push(labels);
            row.push(representatives);
        })
    })
}

/// What `speaker_hdbscan_predict` has taken so far.
struct ToPlace {
    data: PredictionData,
    old: Vectors,
    new: Vectors,
    new_ids: Vec<i64>,
}

// A tree may be large: only the first row's is looked at, so the arguments are taken by hand.
#[pg_extern(sql = r#"
    CREATE FUNCTION speaker_hdbscan_predict_state(
        state internal, segment_id bigint, embedding vector, core_distance float8, node int, density float8,
        tree float8[], min_samples int)
    RETURNS internal LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
pub fn speaker_hdbscan_predict_state(fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    // SAFETY: the types are those of the SQL signature.
    let (state, id, embedding) =
        unsafe { (pg_getarg::<Internal>(fcinfo, 0), pg_getarg::<i64>(fcinfo, 1), pg_getarg::<VectorRef>(fcinfo, 2)) };
    let state = state.unwrap_or_default();
    let (Some(id), Some(embedding)) = (id, embedding) else { return state };
    // SAFETY: as above.
    let (core_distance, node, density) =
        unsafe { (pg_getarg::<f64>(fcinfo, 3), pg_getarg::<i32>(fcinfo, 4), pg_getarg::<f64>(fcinfo, 5)) };
    let make = || {
        // SAFETY: as above.
        let (tree, min_samples) = unsafe { (pg_getarg(fcinfo, 6), pg_getarg(fcinfo, 7)) };
        raise(|| {
            let data = clustering(tree, min_samples)?;
            Ok(ToPlace { data, old: Vectors::default(), new: Vectors::default(), new_ids: Vec::new() })
        })
    };
    let take = |input: &mut ToPlace| {
        raise(|| {
            let vector = embedding.as_slice();
            input.old.same_dim(vector)?;
            input.new.same_dim(vector)?;
            input.within_limit(vector.len())?;
            let Some(node) = node else {
                input.new.push(vector)?;
                return push(&mut input.new_ids, id);
            };
            let facts = PointFacts {
                core_distance: core_distance.ok_or(SqlError::Null { argument: "core_distance" })?,
                cluster: node as u32,
                lambda: density.ok_or(SqlError::Null { argument: "density" })?,
            };
            input.old.push(vector)?;
            push(&mut input.data.points, facts)
        })
    };
    // SAFETY: the aggregate below uses this state for a ToPlace, here and in its final function.
    unsafe { with_state(state, fcinfo, make, take) }
}

#[pg_extern(requires = ["cluster_types"], sql = r#"
    CREATE FUNCTION speaker_hdbscan_predict_final(state internal) RETURNS speaker_predicted
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
pub fn speaker_hdbscan_predict_final(mut state: Internal, fcinfo: pg_sys::FunctionCallInfo) -> Option<Composite> {
    // SAFETY: the state that speaker_hdbscan_predict_state made.
    let input = unsafe { state.get_mut::<ToPlace>() }?;
    let found = raise(|| {
        memory::available(input.memory(input.old.dim.max(input.new.dim)))?;
        let (old, new) = (std::mem::take(&mut input.old).matrix(), std::mem::take(&mut input.new).matrix());
        let threads = settings::cluster_threads();
        Ok(interruptible(|check| cluster::predict(&input.data, old.view(), new.view(), threads, check))?)
    });
    let ids = std::mem::take(&mut input.new_ids);
    // SAFETY: the columns of speaker_predicted.
    Some(unsafe {
        Composite::of_result(fcinfo, |row| {
            row.push(ids);
            row.push(found.labels);
            row.push(found.probabilities);
        })
    })
}

/// The clustering that rows are of, without its points.
fn clustering(tree: Option<Array<f64>>, min_samples: Option<i32>) -> Result<PredictionData, Report> {
    let tree = tree.ok_or(SqlError::Null { argument: "tree" })?;
    let min_samples = min_samples.ok_or(SqlError::Null { argument: "min_samples" })?;
    if tree.len() % NODE != 0 {
        return Err(ClusterError::Inconsistent { what: "its tree ends within a node" }.into());
    }
    let nodes = tree.len() / NODE;
    memory::within_limit(tree_memory(nodes), || format!("a tree of {nodes} nodes"))?;
    let mut clusters = Vec::new();
    memory::reserve(&mut clusters, nodes)?;
    let mut node = [0.0; NODE];
    for (at, value) in tree.iter().enumerate() {
        node[at % NODE] = value.ok_or(SqlError::NullElement { argument: "tree", position: at + 1 })?;
        if at % NODE == NODE - 1 {
            clusters.push(unpack(node));
        }
    }
    Ok(PredictionData { min_samples: at_least(1, "min_samples", min_samples)?, points: Vec::new(), clusters })
}

fn tree_memory(nodes: usize) -> u64 {
    (size_of::<ClusterFacts>() * nodes) as u64
}

impl ToPlace {
    /// Refuses one more row if that is too many.
    fn within_limit(&self, dim: usize) -> Result<(), Report> {
        memory::within_limit(self.memory(dim), || {
            format!("placing {} vectors among {} of {dim} dimensions", self.new_ids.len() + 1, self.data.points.len())
        })
    }

    /// With one more row of either kind.
    fn memory(&self, dim: usize) -> u64 {
        let (old, new) = (self.data.points.len() + 1, self.new_ids.len() + 1);
        let threads = settings::cluster_threads();
        let own = tree_memory(self.data.clusters.len()) + ID * new as u64;
        cluster::memory_of_prediction(old, new, dim, self.data.min_samples, threads) + own
    }
}

/// Bytes of a row's id, in a vector and in an array that is made of it.
const ID: u64 = 40;

/// Numbers of one node in a stored tree.
const NODE: usize = 5;

fn pack(node: &ClusterFacts) -> [f64; NODE] {
    [node.parent.map_or(-1.0, f64::from), node.birth, f64::from(node.label), node.longest, node.least]
}

fn unpack(node: [f64; NODE]) -> ClusterFacts {
    ClusterFacts {
        parent: (node[0] >= 0.0).then_some(node[0] as u32),
        birth: node[1],
        label: node[2] as i32,
        longest: node[3],
        least: node[4],
    }
}

fn params(min_cluster_size: Option<i32>, min_samples: Option<i32>) -> Result<HdbscanParams, Report> {
    let min_cluster_size = min_cluster_size.ok_or(SqlError::Null { argument: "min_cluster_size" })?;
    Ok(HdbscanParams {
        min_cluster_size: at_least(2, "min_cluster_size", min_cluster_size)?,
        min_samples: min_samples.map(|n| at_least(1, "min_samples", n)).transpose()?,
        cluster_selection_epsilon: 0.0,
        selection: Selection::Eom,
        allow_single_cluster: false,
        threads: settings::cluster_threads(),
    })
}

/// How soon the backend's thread hears that it shall stop, while others work for it.
const LISTEN: Duration = Duration::from_millis(5);

/// Lets core cluster. Threads have to be started with signals blocked, as PostgreSQL's handlers know of one thread only;
/// core's inherit the mask of the one that calls it. So where there are several, that is one of their own, and the
/// backend's listens.
fn interruptible<T: Send>(work: impl FnOnce(Check) -> Result<T, ClusterError> + Send) -> Result<T, ClusterError> {
    let interrupts = Interrupts::default();
    let found = match settings::cluster_threads() {
        1 => work(&|| interrupts.check()),
        _ => {
            let (backend, stop) = (thread::current(), AtomicBool::new(false));
            let check = || if stop.load(Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let work = || {
                let found = work(&check);
                backend.unpark();
                found
            };
            thread::scope(|scope| {
                let worker = without_signals(|| scope.spawn(work));
                while !worker.is_finished() {
                    stop.fetch_or(interrupts.check().is_break(), Relaxed);
                    thread::park_timeout(LISTEN);
                }
                worker.join().unwrap_or_else(|panic| resume_unwind(panic))
            })
        }
    };
    interrupts.rethrow();
    found
}

/// Refuses to cluster so many vectors if that takes too much memory.
fn within_limit(params: &HdbscanParams, rows: usize, dim: usize) -> Result<(), Report> {
    memory::within_limit(memory_of(params, rows, dim), || format!("clustering {rows} vectors of {dim} dimensions"))
}

fn memory_of(params: &HdbscanParams, rows: usize, dim: usize) -> u64 {
    let min_samples = params.min_samples.unwrap_or(params.min_cluster_size);
    cluster::memory_of_clustering(rows, dim, min_samples, params.threads) + ID * rows as u64
}

/// The rows of a matrix, one after the other.
#[derive(Default)]
struct Vectors {
    /// Of the first; 0 where there is none.
    dim: usize,
    values: Vec<f32>,
}

impl Vectors {
    fn same_dim(&self, vector: &[f32]) -> Result<(), Report> {
        Ok(same_dim(if self.values.is_empty() { vector.len() } else { self.dim }, vector.len())?)
    }

    fn push(&mut self, vector: &[f32]) -> Result<(), Report> {
        self.dim = vector.len();
        memory::reserve(&mut self.values, vector.len())?;
        self.values.extend_from_slice(vector);
        Ok(())
    }

    fn matrix(mut self) -> Array2<f32> {
        self.values.shrink_to_fit();
        let rows = self.values.len().checked_div(self.dim).unwrap_or(0);
        Array2::from_shape_vec((rows, self.dim), self.values).expect("every row has dim values")
    }
}

fn push<T>(values: &mut Vec<T>, value: T) -> Result<(), Report> {
    memory::reserve(values, 1)?;
    values.push(value);
    Ok(())
}

/// One row per vector.
fn matrix(argument: &'static str, embeddings: Array<Vector>, params: &HdbscanParams) -> Result<Array2<f32>, Report> {
    let rows = embeddings.len();
    let mut vectors = Vectors::default();
    for (row, vector) in embeddings.iter().enumerate() {
        let vector = vector.ok_or(SqlError::NullElement { argument, position: row + 1 })?;
        let vector = vector.as_slice();
        if row == 0 {
            within_limit(params, rows, vector.len())?;
            memory::available(memory_of(params, rows, vector.len()))?;
            memory::reserve(&mut vectors.values, rows * vector.len())?;
        }
        vectors.same_dim(vector)?;
        vectors.push(vector)?;
    }
    Ok(vectors.matrix())
}

fn at_least(least: i32, argument: &'static str, got: i32) -> Result<usize, Report> {
    let value = usize::try_from(got).ok().filter(|_| got >= least);
    value.ok_or_else(|| SqlError::TooSmall { argument, got, least }.into())
}

extension_sql!(
    r#"
ALTER FUNCTION hdbscan(vector[], int, int, float8, text, bool) ROWS 1000;
COMMENT ON FUNCTION hdbscan(vector[], int, int, float8, text, bool) IS
    'HDBSCAN by the Euclidean distance of the L2-normalised vectors: a row per vector in the order given, ordinal from 1. cluster is numbered from 0 and NULL for noise. A higher min_cluster_size drops small clusters; a higher min_samples calls more of the vectors noise.';
"#,
    name = "cluster_comments",
    requires = [hdbscan],
);

extension_sql!(
    r#"
CREATE TYPE speaker_hdbscan_result AS (
    segment_ids bigint[], clusters int[], probabilities float8[], outlier_scores float8[], core_distances float8[],
    nodes int[], densities float8[], tree float8[], representatives bigint[]
);
COMMENT ON TYPE speaker_hdbscan_result IS
    'A clustering by speaker_hdbscan(). An element per vector: segment_ids, clusters (-1 is noise), probabilities, outlier_scores, and for speaker_hdbscan_predict() core_distances, nodes and densities; five per node of the condensed tree: tree; one per cluster: representatives, the segment whose embedding is nearest (cosine) to the mean of the normalised members, the first of equals.';
CREATE TYPE speaker_agglomerated AS (segment_ids bigint[], clusters int[], representatives bigint[]);
COMMENT ON TYPE speaker_agglomerated IS
    'A clustering by speaker_agglomerate(): an element per vector in segment_ids and clusters (-1: in none), one per cluster in representatives, as in speaker_hdbscan_result.';
CREATE TYPE speaker_predicted AS (segment_ids bigint[], clusters int[], probabilities float8[]);
COMMENT ON TYPE speaker_predicted IS
    'The new rows of speaker_hdbscan_predict(), in the order in which they came; cluster -1 is noise.';
"#,
    name = "cluster_types",
);

extension_sql!(
    r#"
CREATE AGGREGATE speaker_hdbscan(
    segment_id bigint, embedding vector, min_cluster_size int, min_samples int, allow_single_cluster bool) (
    SFUNC = speaker_hdbscan_state, STYPE = internal,
    FINALFUNC = speaker_hdbscan_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE speaker_hdbscan(bigint, vector, int, int, bool) IS
    'hdbscan() of vectors that come row by row, with what is needed to place more of them later; use ORDER BY segment_id. min_cluster_size and min_samples are those of the first row; min_samples NULL means min_cluster_size. Rows without id or embedding are left out.';
CREATE AGGREGATE speaker_agglomerate(segment_id bigint, embedding vector, min_cluster_size int, threshold float8) (
    SFUNC = speaker_agglomerate_state, STYPE = internal,
    FINALFUNC = speaker_agglomerate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE speaker_agglomerate(bigint, vector, int, float8) IS
    'Average linkage over the cosine similarity, cut at threshold, of vectors that come row by row; use ORDER BY segment_id. Groups smaller than min_cluster_size are no clusters. Time grows with the square of the rows. Rows without id or embedding are left out.';
CREATE AGGREGATE speaker_hdbscan_predict(
    segment_id bigint, embedding vector, core_distance float8, node int, density float8, tree float8[], min_samples int) (
    SFUNC = speaker_hdbscan_predict_state, STYPE = internal,
    FINALFUNC = speaker_hdbscan_predict_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE speaker_hdbscan_predict(bigint, vector, float8, int, float8, float8[], int) IS
    'Places new vectors, whose node is NULL, into the clusters of old ones, which come with their core_distance, node and density as speaker_hdbscan() gave them. tree and min_samples are those of the first row. Rows without id or embedding are left out.';
"#,
    name = "cluster_aggregates",
    requires = [
        "cluster_types",
        speaker_hdbscan_state,
        speaker_hdbscan_final,
        speaker_agglomerate_state,
        speaker_agglomerate_final,
        speaker_hdbscan_predict_state,
        speaker_hdbscan_predict_final
    ],
);
