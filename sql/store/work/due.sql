-- What is due, and where. By the counts, so that a look costs the same whatever the size of the store.

-- The collections that may have segments to embed under this model.
CREATE OR REPLACE FUNCTION @store@.homes_with_work(model_id int) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN ARRAY(
        SELECT t.collection
        FROM @store@.tallies AS t
        WHERE t.what <> 'speakers' AND (t.model_id = homes_with_work.model_id OR t.model_id IS NULL)
        GROUP BY t.collection
        HAVING sum(t.n) FILTER (WHERE t.what IN ('pending', 'running', 'fail', 'missing_audio')) > 0
            -- Segments that the ledger does not have.
            OR sum(t.n) FILTER (WHERE t.what = 'segments') > coalesce(sum(t.n) FILTER (WHERE t.what <> 'segments'), 0)
        ORDER BY t.collection);
END
$$;

-- How many segments of a collection the ledger does not have under this model.
CREATE OR REPLACE FUNCTION @store@.unlisted(home text, model_id int) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
        SELECT coalesce(sum(CASE WHEN t.what = 'segments' THEN t.n WHEN t.model_id = unlisted.model_id THEN -t.n END), 0)
        FROM @store@.tallies AS t
        WHERE t.collection = home AND t.what <> 'speakers' AND (t.model_id IS NULL OR t.model_id = unlisted.model_id));
END
$$;

-- The runs and the collections that these arguments mean; runs NULL means all of them.
CREATE OR REPLACE FUNCTION @store@.scope(
    run_id bigint, recording text, collection text, model_id int, OUT runs bigint[], OUT homes text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF scope.run_id IS NOT NULL THEN
        homes := ARRAY[@store@.home_of_run(scope.run_id, scope.collection)];
        runs := ARRAY[scope.run_id];
    ELSIF recording IS NOT NULL THEN
        homes := ARRAY[@store@.home(scope.collection)];
        runs := ARRAY(
            SELECT u.id FROM @store@.runs AS u
            JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection
            WHERE r.external_id = recording AND r.collection = homes[1]);
        IF runs = '{}' THEN
            PERFORM @store@.raise_error('recording_unknown',
                format('there is no recording "%s" with segments in collection "%s"', recording, homes[1]));
        END IF;
    ELSIF scope.collection IS NOT NULL THEN
        homes := ARRAY[scope.collection];
    ELSE
        homes := @store@.homes_with_work(scope.model_id);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION @store@.count_due(homes text[], model_id int, runs bigint[]) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- Two statements: one plan for both would read the whole ledger for one run.
    IF count_due.runs IS NOT NULL THEN
        RETURN (
            SELECT count(*)
            FROM @store@.segments AS s
            LEFT JOIN @store@.embedding_jobs AS j
              ON j.segment_id = s.id AND j.model_id = count_due.model_id AND j.collection = s.collection
            WHERE s.run_id = ANY (count_due.runs) AND s.collection = ANY (homes)
              AND (j.segment_id IS NULL OR j.status IN ('pending', 'fail', 'missing_audio') AND j.next_attempt_at <= now()));
    END IF;
    RETURN (
        SELECT coalesce(sum(@store@.unlisted(h.home, count_due.model_id) + (
            SELECT count(*) FROM @store@.embedding_jobs AS j
            WHERE j.model_id = count_due.model_id AND j.collection = h.home
              AND j.status IN ('pending', 'fail', 'missing_audio') AND j.crashes = 0 AND j.next_attempt_at <= now()) + (
            SELECT count(*) FROM @store@.embedding_jobs AS j
            WHERE j.model_id = count_due.model_id AND j.collection = h.home
              AND j.status = 'pending' AND j.crashes > 0 AND j.next_attempt_at <= now())), 0)
        FROM unnest(homes) AS h (home));
END
$$;
