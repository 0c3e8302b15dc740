-- Models that a store may use.

COMMENT ON TABLE @store@.migrations IS 'The migrations that made this store what it is, a row each, by upgrade_speaker_store().';

CREATE TABLE @store@.models (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    version text NOT NULL,
    sha256 text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    dim int NOT NULL CHECK (dim BETWEEN 1 AND 16000),
    utterance_threshold float8 NOT NULL CHECK (utterance_threshold BETWEEN -1 AND 1),
    speaker_threshold float8 NOT NULL CHECK (speaker_threshold BETWEEN -1 AND 1),
    centroid_threshold float8 NOT NULL CHECK (centroid_threshold BETWEEN -1 AND 1),
    manifest text,
    is_current boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (name, version),
    UNIQUE (id, dim),
    CHECK ((sha256 IS NULL) = (manifest IS NULL))
);
CREATE UNIQUE INDEX models_current_idx ON @store@.models (name) WHERE is_current;
COMMENT ON TABLE @store@.models IS 'Models that this store may use: those that come with the extension, and those of register_model().';
COMMENT ON COLUMN @store@.models.manifest IS 'What the model is. A model without one is external: its vectors are computed elsewhere.';
COMMENT ON COLUMN @store@.models.is_current IS 'Whether the name alone means this version. use_model() says which does.';
COMMENT ON COLUMN @store@.models.utterance_threshold IS 'Same speaker at or above this cosine similarity of two utterances.';
COMMENT ON COLUMN @store@.models.speaker_threshold IS 'Same speaker at or above this average similarity of an utterance to the embeddings of a speaker.';
COMMENT ON COLUMN @store@.models.centroid_threshold IS 'Same speaker at or above this cosine similarity of two speakers'' means.';

INSERT INTO @store@.models
    (name, version, sha256, dim, utterance_threshold, speaker_threshold, centroid_threshold, manifest, is_current)
SELECT f.name, f.version, f.sha256, f.dim, f.utterance_threshold, f.speaker_threshold, f.centroid_threshold, b.manifest, true
FROM @extension@.speaker_builtin_manifests() WITH ORDINALITY AS b (manifest, place),
     @extension@.speaker_manifest_facts(b.manifest) AS f
ORDER BY b.place;
