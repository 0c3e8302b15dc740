-- Nearest speakers by average distance.
--
-- For L2-normalised vectors the mean cosine distance from q to the n embeddings of a speaker is exactly 1 - q . mean(e),
-- so one inner product with the stored mean answers what otherwise scans every embedding. The aggregates speaker_nearest_ids
-- and speaker_nearest_similarities share one pass over the means (decision 009).

CREATE OR REPLACE FUNCTION @store@.check_k(k int) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF k < 1 THEN
        PERFORM @store@.raise_error('invalid_argument', format('k is %s, but must be at least 1', k),
            'k is how many rows to return; NULL returns all.');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION @store@.speaker_knn(
    embedding @vector@.vector, k int DEFAULT 5, collection text DEFAULT NULL, model text DEFAULT NULL)
RETURNS TABLE (speaker_id bigint, speaker text, distance float8, similarity float8, embeddings bigint)
LANGUAGE plpgsql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(speaker_knn.collection);
    chosen CONSTANT int := @store@.model_id(model);
    units CONSTANT @vector@.vector[] := ARRAY[@store@.check_embedding(embedding, chosen)];
BEGIN
    PERFORM @store@.check_k(k);
    RETURN QUERY
    SELECT s.id, s.name, 1 - x.similarity, x.similarity, c.n
    FROM (SELECT @extension@.speaker_nearest_ids(c.speaker_id, c.mean, units, k) AS ids,
                 @extension@.speaker_nearest_similarities(c.speaker_id, c.mean, units, k) AS similarities
          FROM @store@.speaker_centroids AS c
          WHERE c.collection = home AND c.model_id = chosen) AS found,
         unnest(found.ids, found.similarities) WITH ORDINALITY AS x (id, similarity, place),
         -- OFFSET 0: looked up by their keys, a few, whatever is known of the tables. A join has been seen to read all of them.
         LATERAL (SELECT p.id, p.name FROM @store@.speakers AS p WHERE p.id = x.id AND p.collection = home OFFSET 0) AS s,
         LATERAL (SELECT m.n FROM @store@.speaker_centroids AS m
                  WHERE m.speaker_id = x.id AND m.model_id = chosen AND m.collection = home OFFSET 0) AS c
    ORDER BY x.place;
END
$$;
COMMENT ON FUNCTION @store@.speaker_knn(@vector@.vector, int, text, text) IS
    'The k known speakers with the smallest average cosine distance to their embeddings, with the number of these. Exact. similarity = 1 - distance, in [-1, 1].';

CREATE OR REPLACE FUNCTION @store@.identify_speakers(
    run_id bigint, threshold float8 DEFAULT NULL, margin float8 DEFAULT 0, model text DEFAULT NULL,
    assign boolean DEFAULT true, collection text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, external_id text, speaker text, similarity float8, nearest text, next_similarity float8)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_run(identify_speakers.run_id, identify_speakers.collection);
    chosen CONSTANT int := @store@.model_id(model);
    least_similarity CONSTANT float8 :=
        coalesce(threshold, (SELECT m.speaker_threshold FROM @store@.models AS m WHERE m.id = chosen));
    segment_ids bigint[];
    external_ids text[];
    vectors @vector@.vector[];
    answers record;
BEGIN
    SELECT array_agg(s.id ORDER BY s.start_time, s.id), array_agg(s.external_id ORDER BY s.start_time, s.id),
           array_agg(e.embedding ORDER BY s.start_time, s.id)
    INTO segment_ids, external_ids, vectors
    FROM @store@.segments AS s
    JOIN @store@.embeddings AS e ON e.segment_id = s.id AND e.model_id = chosen AND e.collection = s.collection
    WHERE s.run_id = identify_speakers.run_id AND s.collection = home AND s.speaker_id IS NULL;

    -- One pass over the speakers for the whole run: its own assignments do not change the means it is compared with.
    SELECT array_agg(i.ids[1] ORDER BY i.place) AS nearest_ids,
           array_agg(i.similarities[1] ORDER BY i.place) AS best,
           array_agg(i.similarities[2] ORDER BY i.place) AS next,
           array_agg(CASE WHEN i.similarities[1] >= least_similarity
                           AND (i.similarities[2] IS NULL OR i.similarities[1] - i.similarities[2] >= margin)
                          THEN i.ids[1] END ORDER BY i.place) AS known_ids
    INTO answers
    FROM (SELECT (x.place - 1) / (cardinality(found.ids) / cardinality(segment_ids)) AS place,
                 array_agg(x.id ORDER BY x.place) AS ids, array_agg(x.similarity ORDER BY x.place) AS similarities
          FROM (SELECT @extension@.speaker_nearest_ids(c.speaker_id, c.mean, vectors, 2) AS ids,
                       @extension@.speaker_nearest_similarities(c.speaker_id, c.mean, vectors, 2) AS similarities
                FROM @store@.speaker_centroids AS c
                WHERE c.collection = home AND c.model_id = chosen) AS found,
               unnest(found.ids, found.similarities) WITH ORDINALITY AS x (id, similarity, place)
          GROUP BY 1) AS i;

    IF identify_speakers.assign AND answers.known_ids IS NOT NULL THEN
        PERFORM @store@.assign(
            array_agg(x.id), array_agg(x.speaker_id), 'knn', array_agg(x.score), chosen, NULL, true, home)
        FROM unnest(segment_ids, answers.known_ids, answers.best) AS x (id, speaker_id, score)
        WHERE x.speaker_id IS NOT NULL;
    END IF;
    RETURN QUERY
    SELECT x.id, x.external_id, k.name, x.best, n.name, x.next
    FROM unnest(segment_ids, external_ids, answers.known_ids, answers.nearest_ids, answers.best, answers.next)
         WITH ORDINALITY AS x (id, external_id, known_id, nearest_id, best, next, place)
    LEFT JOIN @store@.speakers AS k ON k.id = x.known_id AND k.collection = home
    LEFT JOIN @store@.speakers AS n ON n.id = x.nearest_id AND n.collection = home
    ORDER BY x.place;
END
$$;
COMMENT ON FUNCTION @store@.identify_speakers(bigint, float8, float8, text, boolean, text) IS
    'Compares each unknown segment of a run with all known speakers of its collection and labels those at or above the threshold (default: the model''s). speaker NULL is the answer "unknown"; margin is how far the second must be behind. assign => false only answers.';
