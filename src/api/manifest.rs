//! What the installed models say of themselves.

use pgrx::prelude::*;
use speaker_core::manifest::Manifest;

use crate::backend;
use crate::error::raise;

/// Manifests that come with the extension, under the ids that they keep for ever.
const BUILTIN: [(i32, &str); 1] = [(1, include_str!("../../models/ge2e.toml"))];

#[pg_schema]
pub mod speaker {
    use super::*;

    #[pg_extern(immutable, parallel_safe)]
    pub fn builtin_manifests() -> TableIterator<'static, (name!(id, i32), name!(manifest, &'static str))> {
        TableIterator::new(BUILTIN)
    }

    #[pg_extern(stable, strict, parallel_safe)]
    pub fn installed_manifest(model: &str) -> String {
        raise(|| Ok(backend::read_manifest(model)?))
    }

    #[pg_extern(immutable, strict, parallel_safe)]
    #[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
    pub fn manifest_facts(
        manifest: &str,
    ) -> TableIterator<
        'static,
        (
            name!(name, String),
            name!(version, String),
            name!(sha256, String),
            name!(dim, i32),
            name!(utterance_threshold, f64),
            name!(speaker_threshold, f64),
            name!(centroid_threshold, f64),
        ),
    > {
        raise(|| {
            let m = Manifest::parse(manifest)?;
            Ok(TableIterator::once((
                m.name,
                m.version,
                m.sha256,
                m.dim as i32,
                m.thresholds.utterance,
                m.thresholds.speaker,
                m.thresholds.centroid,
            )))
        })
    }
}
