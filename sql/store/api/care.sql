-- For the store's owner: what is derived made anew, and the way in for data that were dumped without the rest.

CREATE OR REPLACE FUNCTION @store@.rebuild_speaker_centroids() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    LOCK TABLE @store@.segments, @store@.embeddings IN SHARE MODE;
    -- After a restore nothing is known of the tables, and whole tables would be joined by the collection alone.
    ANALYZE @store@.segments, @store@.embeddings, @store@.speakers;
    DELETE FROM @store@.speaker_centroids;
    INSERT INTO @store@.speaker_centroids (speaker_id, collection, model_id, n, sum, mean)
    SELECT d.id, d.collection, d.model_id, d.n, d.sum, @extension@.speaker_mean(d.sum, d.n)
    FROM (SELECT p.id, p.collection, e.model_id, count(*) AS n,
                 @extension@.speaker_weighted_sum(e.embedding, 1::float8) AS sum
          FROM @store@.segments AS s
          JOIN @store@.embeddings AS e ON e.segment_id = s.id AND e.collection = s.collection
          JOIN @store@.speakers AS p ON p.id = s.speaker_id AND p.collection = s.collection
          WHERE s.label_confirmed
          GROUP BY p.id, p.collection, e.model_id) AS d;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END
$$;
COMMENT ON FUNCTION @store@.rebuild_speaker_centroids() IS
    'Makes all speakers'' means anew from confirmed labels and embeddings, and returns their number. For the store''s owner; writers wait meanwhile.';

CREATE OR REPLACE FUNCTION @store@.repair_store() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rows bigint;
    wrong bigint := 0;
    home text;
BEGIN
    LOCK TABLE @store@.recordings, @store@.runs, @store@.segments, @store@.embeddings, @store@.embedding_jobs IN SHARE ROW EXCLUSIVE MODE;
    ANALYZE @store@.recordings, @store@.runs, @store@.segments, @store@.embeddings, @store@.embedding_jobs;
    -- Vectors without a success, and successes without a vector.
    INSERT INTO @store@.embedding_jobs AS j
        (segment_id, collection, model_id, status, attempts, next_attempt_at, source_hash, processed_at)
    SELECT e.segment_id, e.collection, e.model_id, 'success', 1, NULL, s.source_hash, e.created_at
    FROM @store@.embeddings AS e
    JOIN @store@.segment_sources AS s ON s.segment_id = e.segment_id AND s.collection = e.collection
    WHERE NOT EXISTS (SELECT FROM @store@.embedding_jobs AS x
                      WHERE x.segment_id = e.segment_id AND x.model_id = e.model_id AND x.collection = e.collection AND x.status = 'success')
    -- Sorted, so that all of it is known before the first row is written: a plan that looks into the table for each would read
    -- what it has written so far, again and again.
    ORDER BY e.segment_id, e.model_id
    ON CONFLICT (segment_id, model_id, collection) DO UPDATE
    SET status = 'success', status_before = NULL, error_code = NULL, error = NULL, crashes = 0, lease = NULL,
        next_attempt_at = NULL, source_hash = excluded.source_hash, processed_at = excluded.processed_at;
    GET DIAGNOSTICS rows = ROW_COUNT;
    wrong := wrong + rows;
    ANALYZE @store@.embedding_jobs;
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
    off record;
BEGIN
    IF EXISTS (SELECT FROM @store@.recordings) OR EXISTS (SELECT FROM @store@.speakers) OR EXISTS (SELECT FROM @store@.assignments) THEN
        PERFORM @store@.raise_error('store_not_empty', 'data can be restored into an empty store only');
    END IF;
    -- So that they are afterwards as they are now; those of the user, too.
    CREATE TABLE IF NOT EXISTS @store@.restored_triggers (relation name, trigger name, enabled "char");
    INSERT INTO @store@.restored_triggers (relation, trigger, enabled)
    SELECT c.relname, t.tgname, t.tgenabled
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = '@store@'::regnamespace AND c.relname = ANY (@store@.own_relations())
      AND c.relkind = 'r' AND NOT t.tgisinternal AND t.tgenabled <> 'D';
    FOR off IN SELECT r.relation, r.trigger FROM @store@.restored_triggers AS r ORDER BY 1, 2 LOOP
        EXECUTE format('ALTER TABLE @store@.%I DISABLE TRIGGER %I', off.relation, off.trigger);
    END LOOP;
    -- They come with the data.
    DELETE FROM @store@.models;
    DELETE FROM @store@.migrations;
    DELETE FROM @store@.tallies;
END
$$;
COMMENT ON FUNCTION @store@.begin_restore() IS
    'Makes an empty store ready for pg_restore --data-only: triggers of its tables are off, and the rows that every store has are gone, until end_restore(). For the store''s owner.';

CREATE OR REPLACE FUNCTION @store@.end_restore() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    version CONSTANT int := (SELECT max(m.number) FROM @store@.migrations AS m);
    again record;
BEGIN
    IF version IS NULL THEN
        PERFORM @store@.raise_error('store_version', 'no data came since begin_restore()',
            'Restore a dump of a whole store, then call end_restore(); or drop this schema and make the store anew.');
    END IF;
    PERFORM @extension@.speaker_check_store(version);
    IF to_regclass('@store@.restored_triggers') IS NOT NULL THEN
        FOR again IN SELECT r.relation, r.trigger, r.enabled FROM @store@.restored_triggers AS r ORDER BY 1, 2 LOOP
            EXECUTE format('ALTER TABLE @store@.%I ENABLE %s TRIGGER %I', again.relation,
                CASE again.enabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' END, again.trigger);
        END LOOP;
        DROP TABLE @store@.restored_triggers;
    END IF;
    RETURN @store@.repair_store();
END
$$;
COMMENT ON FUNCTION @store@.end_restore() IS
    'Ends what begin_restore() began: triggers are on again, and what came is checked as repair_store() does. Returns how many rows of the ledger were wrong; of a whole dump none is.';
