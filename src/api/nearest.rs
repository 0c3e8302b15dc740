//! The nearest speakers as aggregates over their means: the executor scans, with the caller's rights and snapshot, and
//! the search in `speaker_core::assign` sees each mean once, whatever the number of embeddings. So it is with all embeddings of
//! each speaker, where the best of them counts.
//!
//! Two aggregates share one state: where both are asked for with the same arguments, PostgreSQL runs one search.

use pgrx::fcinfo::{pg_arg_is_null, pg_getarg};
use pgrx::prelude::*;
use pgrx::{Array, Internal};
use speaker_core::assign::{self, Comes, Match, Search};
use speaker_core::embedding::UnitEmbedding;

use crate::aggregate::with_state;
use crate::datum::{same_dim, Vector, VectorRef};
use crate::error::{raise, Report, SqlError};
use crate::interrupts::Interrupts;
use crate::{memory, settings};

// Called for each row, so it takes from its arguments what it needs: to have pgrx unpack all of them costs 2
// to 9 % of the search.
#[pg_extern(sql = r#"
    CREATE FUNCTION speaker_nearest_state(state internal, speaker_id bigint, mean vector, embeddings vector[], k int)
    RETURNS internal LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
pub fn speaker_nearest_state(fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    seen(fcinfo, Comes::Once)
}

#[pg_extern(sql = r#"
    CREATE FUNCTION speaker_best_state(state internal, speaker_id bigint, embedding vector, embeddings vector[], k int)
    RETURNS internal LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
pub fn speaker_best_state(fcinfo: pg_sys::FunctionCallInfo) -> Internal {
    seen(fcinfo, Comes::Often)
}

#[inline(always)]
fn seen(fcinfo: pg_sys::FunctionCallInfo, comes: Comes) -> Internal {
    // SAFETY: the types are those of the SQL signature.
    let (state, speaker_id, mean, no_embeddings) = unsafe {
        (pg_getarg(fcinfo, 0), pg_getarg(fcinfo, 1), pg_getarg::<VectorRef>(fcinfo, 2), pg_arg_is_null(fcinfo, 3))
    };
    let state = state.unwrap_or_default();
    let (Some(speaker_id), Some(mean), false) = (speaker_id, mean, no_embeddings) else { return state };
    mean.prefetch_next_rows();
    let make = || {
        // SAFETY: as above.
        let (embeddings, k) = unsafe { (pg_getarg(fcinfo, 3), pg_getarg(fcinfo, 4)) };
        raise(|| start(embeddings.expect("not null, as seen above"), k, comes))
    };
    let compare = |search: &mut Search| {
        raise(|| {
            let interrupts = Interrupts::default();
            let outcome = search.push(speaker_id, mean.as_slice(), &|| interrupts.check());
            interrupts.rethrow();
            Ok(outcome?)
        })
    };
    // SAFETY: the aggregates below use this state for a search, here and in their final functions.
    unsafe { with_state(state, fcinfo, make, compare) }
}

#[pg_extern(immutable, parallel_safe)]
pub fn speaker_nearest_ids_final(state: Internal) -> Option<Vec<i64>> {
    answers(state, |found| found.id)
}

#[pg_extern(immutable, parallel_safe)]
pub fn speaker_nearest_similarities_final(state: Internal) -> Option<Vec<f64>> {
    answers(state, |found| found.similarity)
}

fn start(embeddings: Array<Vector>, k: Option<i32>, comes: Comes) -> Result<Search, Report> {
    // NULL is no limit, as with LIMIT.
    let k = match k {
        None => usize::MAX,
        Some(k) => usize::try_from(k).map_err(|_| SqlError::TooSmall { argument: "k", got: k, least: 1 })?,
    };
    let max_memory = settings::max_memory();
    let dim = embeddings.iter().next().flatten().map_or(0, |first| first.as_slice().len());
    assign::room(embeddings.len(), dim, k, comes, max_memory)?;
    memory::available(assign::memory_of_search(embeddings.len(), dim, k, comes).min(max_memory))?;
    let units = embeddings
        .iter()
        .enumerate()
        .map(|(row, vector)| {
            let vector = vector.ok_or(SqlError::NullElement { argument: "embeddings", position: row + 1 })?;
            // Room is for vectors as long as the first.
            same_dim(dim, vector.as_slice().len())?;
            Ok(UnitEmbedding::normalise(vector.into_vec())?)
        })
        .collect::<Result<Vec<_>, Report>>()?;
    Ok(Search::new(&units, k, comes, max_memory)?)
}

/// What was found for the first embedding, then for the second, and so on: the same number for each.
fn answers<T>(mut state: Internal, of: impl Fn(&Match) -> T) -> Option<Vec<T>> {
    // SAFETY: the state that speaker_nearest_state made.
    let search = unsafe { state.get_mut::<Search>() }?;
    raise(|| {
        let interrupts = Interrupts::default();
        let found = search.nearest(&|| interrupts.check());
        interrupts.rethrow();
        Ok(Some(found?.iter().flatten().map(of).collect()))
    })
}

extension_sql!(
    r#"
CREATE AGGREGATE speaker_nearest_ids(speaker_id bigint, mean vector, embeddings vector[], k int) (
    SFUNC = speaker_nearest_state, STYPE = internal,
    FINALFUNC = speaker_nearest_ids_final, FINALFUNC_MODIFY = SHAREABLE
);
COMMENT ON AGGREGATE speaker_nearest_ids(bigint, vector, vector[], int) IS
    'For each embedding in turn the ids of the k speakers with the largest inner product of embedding and mean, the best first; of equals the lowest id. embeddings and k are those of the first row.';
CREATE AGGREGATE speaker_nearest_similarities(speaker_id bigint, mean vector, embeddings vector[], k int) (
    SFUNC = speaker_nearest_state, STYPE = internal,
    FINALFUNC = speaker_nearest_similarities_final, FINALFUNC_MODIFY = SHAREABLE
);
COMMENT ON AGGREGATE speaker_nearest_similarities(bigint, vector, vector[], int) IS
    'The inner products that go with speaker_nearest_ids.';
CREATE AGGREGATE speaker_best_ids(speaker_id bigint, embedding vector, embeddings vector[], k int) (
    SFUNC = speaker_best_state, STYPE = internal,
    FINALFUNC = speaker_nearest_ids_final, FINALFUNC_MODIFY = SHAREABLE
);
COMMENT ON AGGREGATE speaker_best_ids(bigint, vector, vector[], int) IS
    'As speaker_nearest_ids, where a speaker comes with many normalised embeddings and the best of them counts.';
CREATE AGGREGATE speaker_best_similarities(speaker_id bigint, embedding vector, embeddings vector[], k int) (
    SFUNC = speaker_best_state, STYPE = internal,
    FINALFUNC = speaker_nearest_similarities_final, FINALFUNC_MODIFY = SHAREABLE
);
COMMENT ON AGGREGATE speaker_best_similarities(bigint, vector, vector[], int) IS
    'The inner products that go with speaker_best_ids.';
"#,
    name = "nearest_aggregates",
    requires =
        [speaker_nearest_state, speaker_best_state, speaker_nearest_ids_final, speaker_nearest_similarities_final],
);
