//! Comparing two voices.

use pgrx::prelude::*;
use speaker_core::audio::Span;
use speaker_core::embedding::{self, UnitEmbedding};

use crate::datum::Vector;
use crate::error::{raise, Report};
use crate::extraction::Extraction;
use crate::source::{Audio, Bytea};

#[pg_extern(immutable, strict, parallel_safe)]
fn speaker_similarity(a: Vector, b: Vector) -> f64 {
    raise(|| Ok(embedding::cosine(a.as_slice(), b.as_slice())?))
}

#[pg_extern(stable, parallel_safe, cost = 200000)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
fn verify_speakers(
    a: Option<Bytea>,
    b: Option<Bytea>,
    model: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(same_speaker, bool), name!(similarity, f64), name!(threshold, f64))> {
    raise(|| {
        let (Some(a), Some(b)) = (a, b) else { return Ok(TableIterator::empty()) };
        let whole = Span::new(None, None)?;
        // Both in one extraction, so under one version of the model, which is also whose threshold is taken.
        let mut extraction = Extraction::new(model, None)?;
        for clip in [a, b] {
            extraction.take(&Audio::Bytea(clip), std::iter::once(Ok(vec![whole])))?;
        }
        let mut embeddings = extraction.finish()?.into_iter().map(|outcome| Ok(outcome?.embedding));
        let mut next = || embeddings.next().expect("each clip has an outcome");
        let (first, second): (Result<UnitEmbedding, Report>, _) = (next(), next());
        let threshold = extraction.manifest(|manifest| manifest.thresholds.utterance);
        let similarity = embedding::cosine(first?.as_slice(), second?.as_slice())?;
        Ok(TableIterator::once((similarity >= threshold, similarity, threshold)))
    })
}

extension_sql!(
    r#"
COMMENT ON FUNCTION speaker_similarity(vector, vector) IS
    'Raw cosine similarity of two embeddings, in [-1, 1]. Both must come from the same model.';
COMMENT ON FUNCTION verify_speakers(bytea, bytea, text) IS
    'Whether two clips are of the same speaker: their cosine similarity, and the model''s threshold for two utterances.';
"#,
    name = "similarity_comments",
    requires = [speaker_similarity, verify_speakers],
);
