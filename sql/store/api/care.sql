-- For the store's owner: what is derived made anew, and the way in for data that were dumped without the rest.

CREATE OR REPLACE FUNCTION @store@.rebuild_speaker_centroids() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    LOCK TABLE @store@.segments, @store@.embeddings IN SHARE MODE;
    DELETE FROM @store@.speaker_centroids;
    INSERT INTO @store@.speaker_centroids (speaker_id, collection, model_id, n, sum, mean)
    SELECT d.id, d.collection, d.model_id, d.n, d.sum, @extension@.speaker_mean(d.sum, d.n)
    FROM (SELECT p.id, p.collection, e.model_id, count(*) AS n,
                 @extension@.speaker_weighted_sum(e.embedding, 1::float8) AS sum
          FROM @store@.segments AS s
          JOIN @store@.embeddings AS e ON e.segment_id = s.id AND e.collection = s.collection
          JOIN @store@.speakers AS p ON p.id = s.speaker_id AND p.collection = s.collection
          GROUP BY p.id, p.collection, e.model_id) AS d;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END
$$;
COMMENT ON FUNCTION @store@.rebuild_speaker_centroids() IS
    'Makes all speakers'' means anew from labels and embeddings, and returns their number. For the store''s owner; writers wait meanwhile.';

CREATE OR REPLACE FUNCTION @store@.repair_store() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rows bigint;
    wrong bigint := 0;
    home text;
BEGIN
    LOCK TABLE @store@.recordings, @store@.runs, @store@.segments, @store@.embeddings, @store@.embedding_jobs IN SHARE ROW EXCLUSIVE MODE;
    -- Vectors without a success, and successes without a vector.
    INSERT INTO @store@.embedding_jobs AS j
        (segment_id, collection, model_id, status, attempts, next_attempt_at, source_hash, processed_at)
    SELECT e.segment_id, e.collection, e.model_id, 'success', 1, NULL, s.source_hash, e.created_at
    FROM @store@.embeddings AS e
    JOIN @store@.segment_sources AS s ON s.segment_id = e.segment_id AND s.collection = e.collection
    WHERE NOT EXISTS (SELECT FROM @store@.embedding_jobs AS x
                      WHERE x.segment_id = e.segment_id AND x.model_id = e.model_id AND x.collection = e.collection AND x.status = 'success')
    ON CONFLICT (segment_id, model_id, collection) DO UPDATE
    SET status = 'success', status_before = NULL, error_code = NULL, error = NULL, crashes = 0, lease = NULL,
        next_attempt_at = NULL, source_hash = excluded.source_hash, processed_at = excluded.processed_at;
    GET DIAGNOSTICS rows = ROW_COUNT;
    wrong := wrong + rows;
    UPDATE @store@.embedding_jobs AS j
    SET status = 'pending', status_before = NULL, error_code = NULL, error = NULL, attempts = 0, crashes = 0, lease = NULL,
        next_attempt_at = '-infinity', source_hash = NULL
    WHERE j.status = 'success'
      AND NOT EXISTS (SELECT FROM @store@.embeddings AS e
                      WHERE e.segment_id = j.segment_id AND e.model_id = j.model_id AND e.collection = j.collection);
    GET DIAGNOSTICS rows = ROW_COUNT;
    wrong := wrong + rows;
    -- What changed while no trigger looked, and what the ledger never heard of.
    FOR home IN SELECT DISTINCT s.collection FROM @store@.segments AS s LOOP
        wrong := wrong + @store@.forget_stale(
            ARRAY(SELECT j.segment_id
                  FROM @store@.embedding_jobs AS j
                  JOIN @store@.segment_sources AS s ON s.segment_id = j.segment_id AND s.collection = j.collection
                  WHERE j.collection = home AND j.status NOT IN ('pending', 'running')
                    AND j.source_hash IS DISTINCT FROM s.source_hash AND s.source_hash IS NOT NULL
                  ORDER BY j.segment_id),
            ARRAY[home]);
        wrong := wrong + coalesce((
            SELECT sum(@store@.enqueue(home, m.id, NULL)) FROM @store@.models AS m
            WHERE m.name = @extension@.speaker_default_model() AND m.is_current), 0);
    END LOOP;
    PERFORM @store@.rebuild_speaker_centroids();
    -- Last: everything above was counted as well.
    DELETE FROM @store@.tallies;
    INSERT INTO @store@.tallies (collection, model_id, what, n, at)
    SELECT s.collection, NULL, 'segments', count(*), '-infinity'::timestamptz FROM @store@.segments AS s GROUP BY 1
    UNION ALL
    SELECT j.collection, j.model_id, j.status, count(*), '-infinity' FROM @store@.embedding_jobs AS j GROUP BY 1, 2, 3
    UNION ALL
    SELECT c.collection, c.model_id, 'speakers', count(*), '-infinity' FROM @store@.speaker_centroids AS c GROUP BY 1, 2;
    RETURN wrong;
END
$$;
COMMENT ON FUNCTION @store@.repair_store() IS
    'Compares the ledger with all segments, their audio and their vectors, and makes means and counts anew: after anything that wrote while triggers were off. Returns how many rows of the ledger were wrong. For the store''s owner; writers wait meanwhile.';

-- Data alone ------------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION @store@.begin_restore() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    IF EXISTS (SELECT FROM @store@.recordings) OR EXISTS (SELECT FROM @store@.speakers) OR EXISTS (SELECT FROM @store@.assignments) THEN
        PERFORM @store@.raise_error('store_not_empty', 'data can be restored into an empty store only');
    END IF;
    FOR name IN
        SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = '@store@'::regnamespace AND c.relkind = 'r' ORDER BY 1
    LOOP
        EXECUTE format('ALTER TABLE @store@.%I DISABLE TRIGGER USER', name);
    END LOOP;
    -- They come with the data.
    DELETE FROM @store@.models;
    DELETE FROM @store@.migrations;
    DELETE FROM @store@.tallies;
END
$$;
COMMENT ON FUNCTION @store@.begin_restore() IS
    'Makes an empty store ready for pg_restore --data-only: its triggers are off, and the rows that every store has are gone, until end_restore(). For the store''s owner.';

CREATE OR REPLACE FUNCTION @store@.end_restore() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = '@store@'::regnamespace AND c.relkind = 'r' ORDER BY 1
    LOOP
        EXECUTE format('ALTER TABLE @store@.%I ENABLE TRIGGER USER', name);
    END LOOP;
    RETURN @store@.repair_store();
END
$$;
COMMENT ON FUNCTION @store@.end_restore() IS
    'Ends what begin_restore() began: triggers are on again, and what came is checked as repair_store() does. Returns how many rows of the ledger were wrong; of a whole dump none is.';
