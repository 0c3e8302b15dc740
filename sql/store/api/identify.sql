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

CREATE OR REPLACE FUNCTION @store@.check_method(method text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF method IS NULL OR method NOT IN ('mean', 'nearest') THEN
        PERFORM @store@.raise_error('invalid_argument', format('method is "%s", not mean or nearest', method),
            'mean: the average similarity to all of a speaker''s embeddings; nearest: the similarity to the best of them.');
    END IF;
END
$$;

-- For each vector the k speakers nearest to it, in one pass: over the means, or over the embeddings of confirmed labels.
CREATE OR REPLACE FUNCTION @store@.nearest_speakers(vectors @vector@.vector[], k int, model_id int, home text, method text)
RETURNS TABLE (place bigint, rank bigint, speaker_id bigint, similarity float8)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    ids bigint[];
    similarities float8[];
    per_vector int;
BEGIN
    IF method = 'mean' THEN
        SELECT @extension@.speaker_nearest_ids(c.speaker_id, c.mean, vectors, k),
               @extension@.speaker_nearest_similarities(c.speaker_id, c.mean, vectors, k)
        INTO ids, similarities
        FROM @store@.speaker_centroids AS c
        WHERE c.collection = home AND c.model_id = nearest_speakers.model_id;
    ELSE
        SELECT @extension@.speaker_best_ids(x.speaker_id, x.unit, vectors, k),
               @extension@.speaker_best_similarities(x.speaker_id, x.unit, vectors, k)
        INTO ids, similarities
        FROM (SELECT s.speaker_id, @vector@.l2_normalize(e.embedding) AS unit
              FROM @store@.segments AS s
              JOIN @store@.embeddings AS e
                ON e.segment_id = s.id AND e.model_id = nearest_speakers.model_id AND e.collection = s.collection
              WHERE s.collection = home AND s.speaker_id IS NOT NULL AND s.label_confirmed
              OFFSET 0) AS x;
    END IF;
    -- As many for each vector.
    per_vector := cardinality(ids) / cardinality(vectors);
    RETURN QUERY
    SELECT (x.place - 1) / per_vector + 1, (x.place - 1) % per_vector + 1, x.id, x.similarity
    FROM unnest(ids, similarities) WITH ORDINALITY AS x (id, similarity, place)
    ORDER BY x.place;
END
$$;

CREATE OR REPLACE FUNCTION @store@.speaker_knn(
    embedding @vector@.vector, k int DEFAULT 5, collection text DEFAULT NULL, model text DEFAULT NULL, method text DEFAULT 'mean')
RETURNS TABLE (speaker_id bigint, speaker text, distance float8, similarity float8, embeddings bigint)
LANGUAGE plpgsql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(speaker_knn.collection);
    chosen CONSTANT int := @store@.model_id(model);
    units CONSTANT @vector@.vector[] := ARRAY[@store@.check_embedding(embedding, chosen)];
BEGIN
    PERFORM @store@.check_k(k);
    PERFORM @store@.check_method(method);
    RETURN QUERY
    SELECT s.id, s.name, 1 - x.similarity, x.similarity, c.n
    FROM @store@.nearest_speakers(units, k, chosen, home, method) AS x,
         -- OFFSET 0: looked up by their keys, a few, whatever is known of the tables. A join has been seen to read all of them.
         LATERAL (SELECT p.id, p.name FROM @store@.speakers AS p WHERE p.id = x.speaker_id AND p.collection = home OFFSET 0) AS s,
         LATERAL (SELECT m.n FROM @store@.speaker_centroids AS m
                  WHERE m.speaker_id = x.speaker_id AND m.model_id = chosen AND m.collection = home OFFSET 0) AS c
    ORDER BY x.rank;
END
$$;
COMMENT ON FUNCTION @store@.speaker_knn(@vector@.vector, int, text, text, text) IS
    'The k known speakers with the smallest average cosine distance to their embeddings, with the number of these. Exact. similarity = 1 - distance, in [-1, 1]. method => nearest takes the best of a speaker''s embeddings instead: for people with several microphones.';

CREATE OR REPLACE FUNCTION @store@.identify_speakers(
    run_id bigint DEFAULT 0, threshold float8 DEFAULT NULL, margin float8 DEFAULT 0, collection text DEFAULT NULL,
    model text DEFAULT NULL, assign boolean DEFAULT true, recording text DEFAULT NULL, method text DEFAULT 'mean',
    explain boolean DEFAULT false)
RETURNS TABLE (segment_id bigint, external_id text, speaker text, similarity float8, nearest text, next_similarity float8,
               reason text, batch_id bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := @store@.model_id(model);
    -- The best of several is compared as two utterances are.
    least_similarity CONSTANT float8 := coalesce(threshold, (
        SELECT CASE method WHEN 'mean' THEN m.speaker_threshold ELSE m.utterance_threshold END
        FROM @store@.models AS m WHERE m.id = chosen));
    to_match CONSTANT float8 := @extension@.speaker_min_speech_to_match();
    to_confirm CONSTANT float8 := @extension@.speaker_min_speech_to_confirm();
    home text;
    among bigint[];
    segment_ids bigint[];
    external_ids text[];
    vectors @vector@.vector[];
    speech float8[];
    answers record;
    batch bigint;
BEGIN
    PERFORM @store@.check_method(method);
    IF identify_speakers.run_id = 0 AND recording IS NULL THEN
        PERFORM @store@.raise_error('argument_missing', 'neither run_id nor recording is given', 'Name what to identify.');
    END IF;
    SELECT s.home, s.runs INTO home, among
    FROM @store@.runs_meant(identify_speakers.run_id, identify_speakers.recording, identify_speakers.collection) AS s;
    SELECT array_agg(s.id ORDER BY s.start_time, s.id), array_agg(s.external_id ORDER BY s.start_time, s.id),
           array_agg(e.embedding ORDER BY s.start_time, s.id), array_agg(e.speech_s ORDER BY s.start_time, s.id)
    INTO segment_ids, external_ids, vectors, speech
    FROM @store@.segments AS s
    JOIN @store@.embeddings AS e ON e.segment_id = s.id AND e.model_id = chosen AND e.collection = s.collection
    WHERE s.run_id = ANY (among) AND s.collection = home AND s.speaker_id IS NULL;
    IF explain THEN
        RETURN QUERY
        SELECT s.id, s.external_id, p.name, NULL::float8, NULL::text, NULL::float8,
               CASE WHEN s.speaker_id IS NOT NULL THEN 'labelled already: ' || s.label_source ELSE 'no embedding' END, NULL::bigint
        FROM @store@.segments AS s
        LEFT JOIN @store@.speakers AS p ON p.id = s.speaker_id AND p.collection = s.collection
        WHERE s.run_id = ANY (among) AND s.collection = home
          AND (s.speaker_id IS NOT NULL OR NOT EXISTS (
              SELECT FROM @store@.embeddings AS e
              WHERE e.segment_id = s.id AND e.model_id = chosen AND e.collection = s.collection))
        ORDER BY s.start_time, s.id;
    END IF;
    IF segment_ids IS NULL THEN
        RETURN;
    END IF;

    -- One pass over the speakers for all of them: their own labels do not change the means that they are compared with.
    SELECT array_agg(i.ids[1] ORDER BY i.place) AS nearest_ids, array_agg(i.found[1] ORDER BY i.place) AS best,
           array_agg(i.found[2] ORDER BY i.place) AS next, array_agg(i.reason ORDER BY i.place) AS reasons
    INTO answers
    FROM (SELECT q.place, x.ids, x.found,
                 CASE WHEN x.found IS NULL THEN 'nobody is known'
                      WHEN x.found[1] < least_similarity THEN format('below the threshold of %s', round(least_similarity::numeric, 3))
                      WHEN x.found[1] - x.found[2] < margin THEN format('within the margin of %s', round(margin::numeric, 3))
                      WHEN q.speech < to_match THEN format('less speech than %s s', to_match)
                 END AS reason
          FROM unnest(speech) WITH ORDINALITY AS q (speech, place)
          LEFT JOIN (SELECT n.place, array_agg(n.speaker_id ORDER BY n.rank) AS ids, array_agg(n.similarity ORDER BY n.rank) AS found
                     FROM @store@.nearest_speakers(vectors, 2, chosen, home, method) AS n GROUP BY n.place) AS x
            ON x.place = q.place) AS i;

    IF identify_speakers.assign AND NOT explain AND array_position(answers.reasons, NULL) IS NOT NULL THEN
        batch := @store@.new_batch(home, 'identify_speakers');
        PERFORM @store@.assign(
            array_agg(x.id), array_agg(x.speaker_id), 'knn', array_agg(x.score), chosen, NULL, true, home,
            array_agg(CASE WHEN to_confirm >= 0 AND x.speech >= to_confirm THEN true END), batch)
        FROM unnest(segment_ids, answers.nearest_ids, answers.best, answers.reasons, speech) AS x (id, speaker_id, score, reason, speech)
        WHERE x.reason IS NULL;
    END IF;
    RETURN QUERY
    SELECT x.id, x.external_id, CASE WHEN x.reason IS NULL THEN n.name END, x.best, n.name, x.next, x.reason, batch
    FROM unnest(segment_ids, external_ids, answers.nearest_ids, answers.best, answers.next, answers.reasons)
         WITH ORDINALITY AS x (id, external_id, nearest_id, best, next, reason, place)
    LEFT JOIN @store@.speakers AS n ON n.id = x.nearest_id AND n.collection = home
    ORDER BY x.place;
END
$$;
COMMENT ON FUNCTION @store@.identify_speakers(bigint, float8, float8, text, text, boolean, text, text, boolean) IS
    'Compares each unknown segment of a run, or of a recording by its name, with all known speakers of its collection and labels those at or above the threshold (default: the model''s). These labels are suggestions until confirm_labels(), and undo_labels(batch_id) takes them back. speaker NULL is the answer "unknown", reason says why; margin is how far the second must be behind. assign => false only answers; so does explain => true, for segments that are labelled already, or have no embedding, too.';
