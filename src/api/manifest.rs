//! What the installed models say of themselves.

use pgrx::prelude::*;
use speaker_core::manifest::Manifest;

use crate::error::raise;
use crate::model_cache;

/// Manifests that come with the extension. A store registers them in this order.
const BUILTIN: [&str; 1] = [include_str!("../../models/ge2e.toml")];

#[pg_extern(immutable, parallel_safe)]
fn speaker_builtin_manifests() -> TableIterator<'static, (name!(manifest, &'static str),)> {
    TableIterator::new(BUILTIN.map(|manifest| (manifest,)))
}

#[pg_extern(stable, strict, parallel_safe)]
fn speaker_installed_manifest(model: &str) -> String {
    raise(|| Ok(model_cache::read_manifest(model)?))
}

#[pg_extern(immutable, strict, parallel_safe)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
fn speaker_manifest_facts(
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

extension_sql!(
    r#"
ALTER FUNCTION speaker_builtin_manifests() ROWS 1;
ALTER FUNCTION speaker_manifest_facts(text) ROWS 1;
COMMENT ON FUNCTION speaker_builtin_manifests() IS
    'The manifests of the models that come with the extension, in the order of their registration.';
COMMENT ON FUNCTION speaker_installed_manifest(text) IS
    'The text of the manifest of a model in speaker.model_dir, as it is now.';
COMMENT ON FUNCTION speaker_manifest_facts(text) IS
    'What a store keeps of a manifest: the model''s name, version, sha256, dimension and thresholds.';
"#,
    name = "manifest_comments",
    requires = [speaker_builtin_manifests, speaker_installed_manifest, speaker_manifest_facts],
);
