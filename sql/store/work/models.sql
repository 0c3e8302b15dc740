-- Which model a call means.

CREATE OR REPLACE FUNCTION @store@.model_id(model text DEFAULT NULL) RETURNS int
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted CONSTANT text := coalesce(model, @extension@.speaker_default_model());
    answer int;
BEGIN
    PERFORM @extension@.speaker_check_store(@version@);
    SELECT m.id INTO answer FROM @store@.models AS m WHERE m.name = wanted AND m.is_current;
    IF answer IS NULL THEN
        PERFORM @store@.raise_error('model_unknown', format('model "%s" is not registered in this store', wanted));
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION @store@.model_id(text) IS 'Id of the current version of a model; NULL means speaker.default_model.';

CREATE OR REPLACE FUNCTION @store@.load_model(model text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen CONSTANT int := @store@.model_id(model);
BEGIN
    PERFORM @store@.check_computes(chosen);
    PERFORM @extension@.speaker_load_model(m.name, m.sha256) FROM @store@.models AS m WHERE m.id = chosen;
END
$$;
COMMENT ON FUNCTION @store@.load_model(text) IS 'Opens a model in this session, if it is the one that is registered here.';

-- The embedding, L2-normalised, if it can be one of this model.
CREATE OR REPLACE FUNCTION @store@.check_embedding(embedding @vector@.vector, model_id int) RETURNS @vector@.vector
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    m @store@.models;
BEGIN
    IF embedding IS NULL THEN
        PERFORM @store@.raise_error('argument_missing', 'embedding is NULL', 'Whatever was to give the embedding has found none.');
    END IF;
    SELECT * INTO STRICT m FROM @store@.models AS x WHERE x.id = check_embedding.model_id;
    IF @vector@.vector_dims(embedding) <> m.dim THEN
        PERFORM @store@.raise_error('vector_dimensions',
            format('different vector dimensions %s and %s', @vector@.vector_dims(embedding), m.dim),
            format('Model "%s" has %s dimensions. Name the model that made the embedding.', m.name, m.dim));
    END IF;
    IF @vector@.vector_norm(embedding) = 0 THEN
        PERFORM @store@.raise_error('vector_invalid', 'embedding is all zeros', 'It has no direction to compare.');
    END IF;
    RETURN @vector@.l2_normalize(embedding);
END
$$;

-- A model whose embeddings can be computed here.
CREATE OR REPLACE FUNCTION @store@.check_computes(model_id int) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @store@.raise_error('model_external', format('embeddings of model "%s" are computed elsewhere', m.name))
    FROM @store@.models AS m WHERE m.id = check_computes.model_id AND m.manifest IS NULL;
END
$$;
