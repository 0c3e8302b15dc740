-- Models: for the store's owner.

CREATE OR REPLACE FUNCTION @store@.register_model(model text, make_current boolean DEFAULT true) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    text_of_it CONSTANT text := @extension@.speaker_installed_manifest(model);
    answer int;
BEGIN
    IF make_current THEN
        UPDATE @store@.models AS m SET is_current = false WHERE m.name = register_model.model AND m.is_current;
    END IF;
    INSERT INTO @store@.models AS m
        (name, version, sha256, dim, utterance_threshold, speaker_threshold, centroid_threshold, manifest, is_current)
    SELECT f.name, f.version, f.sha256, f.dim, f.utterance_threshold, f.speaker_threshold, f.centroid_threshold, text_of_it,
           coalesce(make_current, false)
    FROM @extension@.speaker_manifest_facts(text_of_it) AS f
    RETURNING m.id INTO answer;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION @store@.register_model(text, boolean) IS
    'Registers the model whose manifest is installed in speaker.model_dir, as the current version of its name unless make_current is false, and returns its id. A new version is a new row: vectors of two versions never mix.';

CREATE OR REPLACE FUNCTION @store@.use_model(model text, version text) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    chosen int;
BEGIN
    SELECT m.id INTO chosen FROM @store@.models AS m WHERE m.name = use_model.model AND m.version = use_model.version;
    IF chosen IS NULL THEN
        PERFORM @store@.raise_error('model_unknown',
            format('version "%s" of model "%s" is not registered in this store', version, model));
    END IF;
    UPDATE @store@.models AS m SET is_current = false WHERE m.name = use_model.model AND m.is_current AND m.id <> chosen;
    UPDATE @store@.models AS m SET is_current = true WHERE m.id = chosen;
    RETURN chosen;
END
$$;
COMMENT ON FUNCTION @store@.use_model(text, text) IS
    'Says which registered version of a model its name means from now on, and returns its id. The vectors of the others stay.';

CREATE OR REPLACE FUNCTION @store@.register_external_model(
    model text, version text, dim int, speaker_threshold float8, utterance_threshold float8 DEFAULT NULL,
    centroid_threshold float8 DEFAULT NULL, make_current boolean DEFAULT true)
RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    answer int;
BEGIN
    IF make_current THEN
        UPDATE @store@.models AS m SET is_current = false WHERE m.name = register_external_model.model AND m.is_current;
    END IF;
    INSERT INTO @store@.models AS m (name, version, dim, utterance_threshold, speaker_threshold, centroid_threshold, is_current)
    VALUES (register_external_model.model, register_external_model.version, register_external_model.dim,
            coalesce(register_external_model.utterance_threshold, register_external_model.speaker_threshold),
            register_external_model.speaker_threshold,
            coalesce(register_external_model.centroid_threshold, register_external_model.speaker_threshold),
            coalesce(make_current, false))
    RETURNING m.id INTO answer;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION @store@.register_external_model(text, text, int, float8, float8, float8, boolean) IS
    'Registers a model whose embeddings are computed elsewhere, with its dimension and thresholds, and returns its id: add_segment_embedding() and add_speaker_embedding() take its vectors, and search, identification and clustering work with them.';
