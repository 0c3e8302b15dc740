-- Nearest segments: search by example, over the embeddings themselves.
--
-- Embeddings of several models share a column, so each model has an index of its own: by expression, since an index
-- needs the dimension, and partial. The planner takes a partial index only where the query says the same constant,
-- hence the literal model id below (decision 009).

CREATE FUNCTION speaker.embedding_index(model_id int) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN 'embeddings_hnsw_' || model_id;

CREATE VIEW speaker.missing_indexes WITH (security_invoker = true) AS
SELECT m.id AS model_id, m.name AS model, speaker.embedding_index(m.id) AS index,
       format('CREATE INDEX CONCURRENTLY %I ON speaker.embeddings USING hnsw ((embedding::vector(%s)) vector_cosine_ops) '
              'WHERE model_id = %s', speaker.embedding_index(m.id), m.dim, m.id) AS definition
FROM speaker.models AS m
-- pgvector indexes up to 2000 dimensions.
WHERE m.dim <= 2000
  AND NOT EXISTS (
      SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
      WHERE i.indrelid = 'speaker.embeddings'::regclass AND i.indisvalid AND c.relname = speaker.embedding_index(m.id));
COMMENT ON VIEW speaker.missing_indexes IS
    'Models whose embeddings have no index: nearest_segments() then reads all of them. pg_dump leaves these indexes out; ensure_embedding_indexes() makes them, and so does the definition, without keeping writers waiting.';

CREATE FUNCTION ensure_embedding_indexes() RETURNS SETOF text
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    missing record;
BEGIN
    FOR missing IN SELECT * FROM speaker.missing_indexes ORDER BY model_id LOOP
        IF to_regclass(format('speaker.%I', missing.index)) IS NOT NULL THEN
            -- What a CREATE INDEX CONCURRENTLY that failed left behind.
            EXECUTE format('DROP INDEX speaker.%I', missing.index);
        END IF;
        EXECUTE replace(missing.definition, ' CONCURRENTLY', '');
        RETURN NEXT missing.index;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ensure_embedding_indexes() IS
    'Makes the index that nearest_segments() uses for each model that has none, and returns their names. For the owner of the extension, also after a restore; writers of embeddings wait meanwhile. A higher maintenance_work_mem makes it faster.';

-- Whether the index would find k rows that pass the filter soon. It visits rows from the nearest on, k / (share that
-- passes) of them, and gives up after hnsw.max_scan_tuples, 20,000.
CREATE FUNCTION speaker.index_finds(k int, model_id int, known_only boolean, collection text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    total float8;
    passing float8;
BEGIN
    -- A model's index knows how many embeddings there are, and the centroids exactly how many are known.
    SELECT c.reltuples INTO total
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = 'speaker.embeddings'::regclass AND i.indisvalid
      AND c.relname = speaker.embedding_index(index_finds.model_id);
    IF NOT FOUND OR k IS NULL THEN
        RETURN false;
    ELSIF NOT known_only THEN
        RETURN true;
    END IF;
    SELECT sum(n) INTO passing
    FROM speaker.speaker_centroids
    WHERE collection = index_finds.collection AND model_id = index_finds.model_id;
    -- Reading 10,000 known ones takes as long as the search in the index.
    RETURN passing > 10000 AND k * total / passing < 10000;
END
$$;

-- Of the nearest speakers, as far as together they have few embeddings.
CREATE FUNCTION speaker.segments_of_nearest_speakers(unit vector, k int, model_id int, collection text) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    people bigint[];
    found bigint[];
BEGIN
    SELECT array_agg(x.speaker_id) INTO people
    FROM (SELECT n.speaker_id, sum(n.embeddings) OVER (ORDER BY n.distance, n.speaker_id) AS embeddings
          FROM speaker.models AS m, speaker_knn(unit, 10, collection, m.name) AS n
          WHERE m.id = segments_of_nearest_speakers.model_id) AS x
    WHERE x.embeddings <= 2000;
    SELECT array_agg(x.id) INTO found
    FROM (SELECT s.id
          FROM speaker.segments AS s
          JOIN speaker.embeddings AS e ON (e.segment_id, e.model_id) = (s.id, segments_of_nearest_speakers.model_id)
          WHERE s.speaker_id = ANY (people)
          ORDER BY e.embedding <=> unit, s.id
          LIMIT k) AS x;
    RETURN found;
END
$$;

CREATE FUNCTION nearest_segments(
    embedding vector, k int DEFAULT 10, known_only boolean DEFAULT true, collection text DEFAULT 'default',
    model text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, recording text, start_time float8, end_time float8, speaker text, similarity float8)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path FROM CURRENT SET hnsw.iterative_scan = relaxed_order SET hnsw.ef_search = 200 SET enable_sort = on
AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    unit CONSTANT vector := speaker.check_embedding(embedding, chosen);
    -- The distance as the index has it, and as nothing has it: without the cast there is no index to use.
    indexed CONSTANT text := format('e.embedding::vector(%s) <=> $1::vector(%1$s)', vector_dims(unit));
    exact CONSTANT text := 'e.embedding <=> $1, e.segment_id';
    candidates CONSTANT text := format(
        $sql$
        SELECT array_agg(x.id)
        FROM (SELECT e.segment_id AS id
              FROM speaker.embeddings AS e
              JOIN speaker.segments AS s ON s.id = e.segment_id
              JOIN speaker.runs AS u ON u.id = s.run_id
              JOIN speaker.recordings AS r ON r.id = u.recording_id
              WHERE e.model_id = %s AND r.collection = $2 %s
              ORDER BY %%s
              LIMIT $3) AS x
        $sql$, chosen, CASE WHEN known_only THEN 'AND s.speaker_id IS NOT NULL' END);
    found bigint[];
BEGIN
    PERFORM speaker.check_k(k);
    IF speaker.index_finds(k, chosen, known_only, collection) THEN
        PERFORM set_config('hnsw.ef_search', least(greatest(200, 2 * k), 1000)::text, true);
        -- The index returns rows in their order; whatever sorts is the exact way.
        PERFORM set_config('enable_sort', 'off', true);
        EXECUTE format(candidates, indexed) INTO found USING unit, collection, k;
        PERFORM set_config('enable_sort', 'on', true);
    END IF;
    IF found IS NULL OR cardinality(found) < k THEN
        -- No index, or it gave up before it had found k rows that pass the filter.
        EXECUTE format(candidates, exact) INTO found USING unit, collection, k;
    ELSE
        -- A graph of a million voices may miss a whole speaker. The nearest speakers are known exactly, and most of
        -- what is near is theirs: their segments are read too.
        found := found || speaker.segments_of_nearest_speakers(unit, k, chosen, collection);
    END IF;
    RETURN QUERY
    SELECT s.id, r.external_id, s.start_time, s.end_time, p.name, speaker_similarity(e.embedding, unit)
    FROM (SELECT DISTINCT unnest(found)) AS f (id)
    JOIN speaker.embeddings AS e ON (e.segment_id, e.model_id) = (f.id, chosen)
    JOIN speaker.segments AS s ON s.id = f.id
    JOIN speaker.runs AS u ON u.id = s.run_id
    JOIN speaker.recordings AS r ON r.id = u.recording_id
    LEFT JOIN speaker.speakers AS p ON p.id = s.speaker_id
    ORDER BY 6 DESC, 1
    LIMIT k;
END
$$;
COMMENT ON FUNCTION nearest_segments(vector, int, boolean, text, text) IS
    'The k segments whose embeddings are most similar to this one, known_only => false unknown ones too. Approximate through the index of ensure_embedding_indexes(), exact where there is none or where few segments are known; k rows in any case, if there are so many.';
