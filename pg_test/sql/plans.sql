-- How searches run, whatever kind of plan: a scan of the means for speakers, the partial index for segments.
-- 2,000 more speakers, most of them in one collection, without the labels behind them.
INSERT INTO speaker.speakers (collection, name)
SELECT CASE WHEN i % 10 = 0 THEN 'small' ELSE 'large' END, 'Many ' || i FROM generate_series(1, 2000) AS i;
INSERT INTO speaker.speaker_centroids (speaker_id, model_id, collection, n, sum, mean)
SELECT p.id, 1, p.collection, 1, v.sum, speaker_mean(v.sum, 1)
FROM speaker.speakers AS p, LATERAL (SELECT array_agg(sin(p.id * i)) AS sum FROM generate_series(1, 256) AS i) AS v
WHERE p.name LIKE 'Many %';
VACUUM ANALYZE speaker.speaker_centroids;
SET ROLE regress_app;

-- The statement of speaker_knn.
PREPARE nearest (vector[], text, int) AS
SELECT speaker_nearest_ids(c.speaker_id, c.mean, $1, 5), speaker_nearest_similarities(c.speaker_id, c.mean, $1, 5)
FROM speaker.speaker_centroids AS c WHERE c.collection = $2 AND c.model_id = $3;
EXPLAIN (COSTS OFF) EXECUTE nearest (NULL, 'large', 1);
EXPLAIN (COSTS OFF) EXECUTE nearest (NULL, 'small', 1);
SET plan_cache_mode = force_generic_plan;
-- A plan for any collection expects a few of them; it reads the same rows, found by the index.
EXPLAIN (COSTS OFF) EXECUTE nearest (NULL, 'large', 1);

-- In the functions, by what was scanned: the statistics of this transaction.
RESET plan_cache_mode;
CREATE FUNCTION scans(command text, OUT of_means bigint, OUT of_their_index bigint, OUT of_embeddings bigint, OUT of_vector_index bigint)
LANGUAGE plpgsql AS $$
DECLARE
    relations regclass[] := '{speaker.speaker_centroids, speaker.speaker_centroids_collection_idx, speaker.embeddings, speaker.embeddings_hnsw_1}';
    before bigint[];
    found bigint[];
    rows int;
BEGIN
    SELECT array_agg(pg_stat_get_xact_numscans(r) ORDER BY o) INTO before FROM unnest(relations) WITH ORDINALITY AS u (r, o);
    FOR i IN 1..10 LOOP
        EXECUTE command;
        GET DIAGNOSTICS rows = ROW_COUNT;
        IF rows <> 5 THEN
            RAISE EXCEPTION '% rows', rows;
        END IF;
    END LOOP;
    SELECT array_agg(pg_stat_get_xact_numscans(r) - before[o] ORDER BY o) INTO found FROM unnest(relations) WITH ORDINALITY AS u (r, o);
    of_means := found[1]; of_their_index := found[2]; of_embeddings := found[3]; of_vector_index := found[4];
END
$$;
-- Ten searches among many are ten scans of the means: five planned for the collection, then the plan for any.
SELECT * FROM scans($$ SELECT speaker_knn(voice(7, 0.5), 5, 'large') $$);
SELECT * FROM scans($$ SELECT speaker_knn(voice(7, 0.5), 5, 'small') $$);
-- A collection of few embeddings is read, the index is not.
SELECT of_vector_index FROM scans($$ SELECT nearest_segments(voice(7, 0.5), 5, false, 'search') $$);
-- Of many the index finds them: as many as that are counted, at least.
RESET ROLE;
INSERT INTO speaker.tallies (collection, model_id, what, n) VALUES ('search', 1, 'success', 20000);
SET ROLE regress_app;
SELECT of_vector_index FROM scans($$ SELECT nearest_segments(voice(7, 0.5), 5, false, 'search') $$);
-- Few are known: they are read, and the index is not.
SELECT * FROM scans($$ SELECT nearest_segments(voice(7, 0.5), 5, true, 'search') $$);
SET plan_cache_mode = force_generic_plan;
SELECT of_means + of_their_index AS of_means FROM scans($$ SELECT speaker_knn(voice(7, 0.5), 5, 'large') $$);
SELECT of_vector_index FROM scans($$ SELECT nearest_segments(voice(7, 0.5), 5, false, 'search') $$);
-- Prepared, and called from PL/pgSQL with variables.
PREPARE knn (vector, text) AS SELECT speaker_knn($1, 5, $2);
PREPARE segments (vector, text) AS SELECT nearest_segments($1, 5, false, $2);
SELECT of_means + of_their_index AS of_means FROM scans($$ EXECUTE knn (voice(7, 0.5), 'large') $$);
SELECT of_vector_index FROM scans($$ EXECUTE segments (voice(7, 0.5), 'search') $$);
CREATE FUNCTION search_of(q vector, place text) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT k.speaker_id FROM speaker_knn(q, 5, 'large') AS k, (SELECT count(*) FROM nearest_segments(q, 5, false, place)) AS n;
END
$$;
SELECT of_means + of_their_index AS of_means, of_vector_index FROM scans($$ SELECT search_of(voice(7, 0.5), 'search') $$);
RESET plan_cache_mode;
RESET ROLE;
DELETE FROM speaker.tallies WHERE (collection, n) = ('search', 20000);
DELETE FROM speaker.speakers WHERE name LIKE 'Many %';
