-- Nearest segments: search by example, over the embeddings themselves.
--
-- Embeddings of several models share a column, so each model has an index of its own: by expression, since an index
-- needs the dimension, and partial. The planner takes a partial index only where the query says the same constant,
-- hence the literal model id below (decision 009).

CREATE OR REPLACE FUNCTION @store@.embedding_index(model_id int) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN 'embeddings_hnsw_' || model_id;

CREATE OR REPLACE VIEW @store@.missing_indexes WITH (security_invoker = true) AS
SELECT m.id AS model_id, m.name AS model, @store@.embedding_index(m.id) AS index,
       format('CREATE INDEX CONCURRENTLY %I ON @store@.embeddings USING hnsw ((embedding::@vector@.vector(%s)) @vector@.vector_cosine_ops) '
              'WHERE model_id = %s', @store@.embedding_index(m.id), m.dim, m.id) AS definition
FROM @store@.models AS m
-- pgvector indexes up to 2000 dimensions.
WHERE m.dim <= 2000
  AND NOT EXISTS (
      SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
      WHERE i.indrelid = '@store@.embeddings'::regclass AND i.indisvalid AND c.relname = @store@.embedding_index(m.id));
COMMENT ON VIEW @store@.missing_indexes IS
    'Models whose embeddings have no index: nearest_segments() then reads all of them. ensure_embedding_indexes() makes them, and so does the definition, without keeping writers waiting.';

CREATE OR REPLACE FUNCTION @store@.ensure_embedding_indexes() RETURNS SETOF text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    missing record;
BEGIN
    FOR missing IN SELECT * FROM @store@.missing_indexes AS m ORDER BY m.model_id LOOP
        IF to_regclass(format('@store@.%I', missing.index)) IS NOT NULL THEN
            -- What a CREATE INDEX CONCURRENTLY that failed left behind.
            EXECUTE format('DROP INDEX @store@.%I', missing.index);
        END IF;
        EXECUTE replace(missing.definition, ' CONCURRENTLY', '');
        RETURN NEXT missing.index;
    END LOOP;
END
$$;
COMMENT ON FUNCTION @store@.ensure_embedding_indexes() IS
    'Makes the index that nearest_segments() uses for each model that has none, and returns their names. For the store''s owner; writers of embeddings wait meanwhile. A higher maintenance_work_mem makes it faster.';

-- Whether the index would find k rows that pass the filter soon. It visits rows from the nearest on, k / (share that
-- passes) of them, and gives up after hnsw.max_scan_tuples, 20,000.
CREATE OR REPLACE FUNCTION @store@.index_finds(k int, model_id int, known_only boolean, home text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    total float8;
    passing float8;
BEGIN
    -- A model's index knows how many embeddings there are; how many of them are the collection's, or known, is counted.
    SELECT c.reltuples INTO total
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = '@store@.embeddings'::regclass AND i.indisvalid
      AND c.relname = @store@.embedding_index(index_finds.model_id);
    IF NOT FOUND OR k IS NULL THEN
        RETURN false;
    ELSIF known_only THEN
        SELECT sum(c.n) INTO passing
        FROM @store@.speaker_centroids AS c
        WHERE c.collection = home AND c.model_id = index_finds.model_id;
    ELSE
        SELECT sum(t.n) INTO passing
        FROM @store@.tallies AS t
        WHERE t.collection = home AND t.model_id = index_finds.model_id AND t.what = 'success';
    END IF;
    -- Reading 10,000 of them takes as long as the search in the index.
    RETURN passing > 10000 AND k * total / passing < 10000;
END
$$;

-- Of the nearest speakers, as far as together they have few embeddings.
CREATE OR REPLACE FUNCTION @store@.segments_of_nearest_speakers(unit @vector@.vector, k int, model_id int, home text)
RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    people bigint[];
    found bigint[];
BEGIN
    SELECT array_agg(x.speaker_id) INTO people
    FROM (SELECT n.speaker_id, sum(n.embeddings) OVER (ORDER BY n.distance, n.speaker_id) AS embeddings
          FROM @store@.models AS m, @store@.speaker_knn(unit, 10, home, m.name, 'mean'::text) AS n
          WHERE m.id = segments_of_nearest_speakers.model_id) AS x
    WHERE x.embeddings <= 2000;
    SELECT array_agg(x.id) INTO found
    FROM (SELECT s.id
          FROM @store@.segments AS s
          JOIN @store@.embeddings AS e
            ON e.segment_id = s.id AND e.model_id = segments_of_nearest_speakers.model_id AND e.collection = s.collection
          WHERE s.speaker_id = ANY (people) AND s.collection = home
          ORDER BY e.embedding OPERATOR(@vector@.<=>) unit, s.id
          LIMIT k) AS x;
    RETURN found;
END
$$;

CREATE OR REPLACE FUNCTION @store@.nearest_segments(
    embedding @vector@.vector, k int DEFAULT 10, known_only boolean DEFAULT true, collection text DEFAULT NULL,
    model text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, recording text, start_time float8, end_time float8, speaker text, similarity float8)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp SET enable_sort = on
AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(nearest_segments.collection);
    chosen CONSTANT int := @store@.model_id(model);
    unit CONSTANT @vector@.vector := @store@.check_embedding(embedding, chosen);
    -- The distance as the index has it, and as nothing has it: without the cast there is no index to use.
    indexed CONSTANT text := format(
        'e.embedding::@vector@.vector(%s) OPERATOR(@vector@.<=>) $1::@vector@.vector(%1$s)', @vector@.vector_dims(unit));
    exact CONSTANT text := 'e.embedding OPERATOR(@vector@.<=>) $1, e.segment_id';
    candidates CONSTANT text := format(
        $sql$
        SELECT array_agg(x.id)
        FROM (SELECT e.segment_id AS id
              FROM @store@.embeddings AS e
              %s
              WHERE e.model_id = %s AND e.collection = $2
              ORDER BY %%s
              LIMIT $3) AS x
        $sql$,
        CASE WHEN known_only
             THEN 'JOIN @store@.segments AS s ON s.id = e.segment_id AND s.collection = e.collection AND s.speaker_id IS NOT NULL'
        END,
        chosen);
    found bigint[];
    iterative_scan text;
    ef_search text;
BEGIN
    PERFORM @store@.check_k(k);
    IF @store@.index_finds(k, chosen, known_only, home) THEN
        -- By hand, and back: a SET clause of the function would need a superuser to restore it where pgvector is not loaded.
        iterative_scan := current_setting('hnsw.iterative_scan');
        ef_search := current_setting('hnsw.ef_search');
        PERFORM set_config('hnsw.iterative_scan', 'relaxed_order', true);
        PERFORM set_config('hnsw.ef_search', least(greatest(200, 2 * k), 1000)::text, true);
        -- The index returns rows in their order; whatever sorts is the exact way.
        PERFORM set_config('enable_sort', 'off', true);
        EXECUTE format(candidates, indexed) INTO found USING unit, home, k;
        PERFORM set_config('enable_sort', 'on', true);
        PERFORM set_config('hnsw.iterative_scan', iterative_scan, true);
        PERFORM set_config('hnsw.ef_search', ef_search, true);
    END IF;
    IF found IS NULL OR cardinality(found) < k THEN
        -- No index, or it gave up before it had found k rows that pass the filter.
        EXECUTE format(candidates, exact) INTO found USING unit, home, k;
    ELSE
        -- A graph of a million voices may miss a whole speaker. The nearest speakers are known exactly, and most of
        -- what is near is theirs: their segments are read too.
        found := found || @store@.segments_of_nearest_speakers(unit, k, chosen, home);
    END IF;
    RETURN QUERY
    SELECT s.id, r.external_id, s.start_time, s.end_time, p.name, @extension@.speaker_similarity(e.embedding, unit)
    FROM (SELECT DISTINCT unnest(found)) AS f (id)
    JOIN @store@.embeddings AS e ON e.segment_id = f.id AND e.model_id = chosen AND e.collection = home
    JOIN @store@.segments AS s ON s.id = f.id AND s.collection = home
    JOIN @store@.runs AS u ON u.id = s.run_id AND u.collection = home
    JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = home
    LEFT JOIN @store@.speakers AS p ON p.id = s.speaker_id AND p.collection = home
    ORDER BY 6 DESC, 1
    LIMIT k;
END
$$;
COMMENT ON FUNCTION @store@.nearest_segments(@vector@.vector, int, boolean, text, text) IS
    'The k segments whose embeddings are most similar to this one, known_only => false unknown ones too. Approximate through the index of ensure_embedding_indexes(), exact where there is none or where few segments pass; k rows in any case, if there are so many.';
