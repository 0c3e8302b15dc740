-- Which model a call means.

CREATE FUNCTION speaker.model_id(model text DEFAULT NULL) RETURNS int
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    wanted CONSTANT text := coalesce(model, speaker.default_model());
    found_id int;
BEGIN
    SELECT max(id) INTO found_id FROM speaker.models WHERE name = wanted;
    IF found_id IS NULL THEN
        PERFORM speaker.raise_error('model_unknown', format('model "%s" is not registered in this database', wanted));
    END IF;
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION speaker.model_id(text) IS 'Id of the newest registered version of a model; NULL means speaker.default_model.';

CREATE FUNCTION register_model(model text) RETURNS int
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    INSERT INTO speaker.models (name, version, sha256, dim, utterance_threshold, speaker_threshold, centroid_threshold, manifest)
    SELECT f.name, f.version, f.sha256, f.dim, f.utterance_threshold, f.speaker_threshold, f.centroid_threshold, m.manifest
    FROM (SELECT speaker.installed_manifest(model) AS manifest) AS m, speaker.manifest_facts(m.manifest) AS f
    RETURNING id
$$;
COMMENT ON FUNCTION register_model(text) IS
    'Registers the model whose manifest is installed in speaker.model_dir, and returns its id. A new version is a new row: vectors of two versions never mix.';
