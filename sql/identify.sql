-- Nearest speakers by average distance.
--
-- For L2-normalised vectors the mean cosine distance from q to the n embeddings of a speaker is exactly 1 - q . mean(e),
-- so one inner product with the stored mean answers what otherwise scans every embedding. The aggregates nearest_speakers
-- and nearest_similarities share one pass over the means (decision 009).

CREATE FUNCTION speaker.check_embedding(embedding vector, model_id int) RETURNS vector
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    m speaker.models;
BEGIN
    SELECT * INTO STRICT m FROM speaker.models WHERE id = check_embedding.model_id;
    IF vector_dims(embedding) <> m.dim THEN
        PERFORM speaker.raise_error('vector_dimensions',
            format('different vector dimensions %s and %s', vector_dims(embedding), m.dim),
            format('Model "%s" has %s dimensions. Name the model that made the embedding.', m.name, m.dim));
    END IF;
    IF vector_norm(embedding) = 0 THEN
        PERFORM speaker.raise_error('vector_invalid', 'embedding is all zeros', 'It has no direction to compare.');
    END IF;
    RETURN l2_normalize(embedding);
END
$$;
COMMENT ON FUNCTION speaker.check_embedding(vector, int) IS 'The embedding, L2-normalised, if it can be one of this model.';

CREATE FUNCTION speaker.check_k(k int) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path FROM CURRENT AS $$
BEGIN
    IF k < 1 THEN
        PERFORM speaker.raise_error('invalid_argument', format('k is %s, but must be at least 1', k),
            'k is how many rows to return; NULL returns all.');
    END IF;
END
$$;

CREATE FUNCTION speaker_knn(
    embedding vector, k int DEFAULT 5, collection text DEFAULT 'default', model text DEFAULT NULL)
RETURNS TABLE (speaker_id bigint, speaker text, distance float8, similarity float8, embeddings bigint)
LANGUAGE plpgsql STABLE ROWS 5 SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    units CONSTANT vector[] := ARRAY[speaker.check_embedding(embedding, chosen)];
BEGIN
    PERFORM speaker.check_k(k);
    RETURN QUERY
    SELECT s.id, s.name, 1 - x.similarity, x.similarity, c.n
    FROM (SELECT speaker.nearest_speakers(c.speaker_id, c.mean, units, k) AS ids,
                 speaker.nearest_similarities(c.speaker_id, c.mean, units, k) AS similarities
          FROM speaker.speaker_centroids AS c
          WHERE c.collection = speaker_knn.collection AND c.model_id = chosen) AS found,
         unnest(found.ids, found.similarities) WITH ORDINALITY AS x (id, similarity, place)
    JOIN speaker.speakers AS s ON s.id = x.id
    JOIN speaker.speaker_centroids AS c ON (c.speaker_id, c.model_id) = (x.id, chosen)
    ORDER BY x.place;
END
$$;
COMMENT ON FUNCTION speaker_knn(vector, int, text, text) IS
    'The k known speakers with the smallest average cosine distance to their embeddings, with the number of these. Exact. similarity = 1 - distance, in [-1, 1].';

CREATE FUNCTION identify_speakers(
    run_id bigint, threshold float8 DEFAULT NULL, margin float8 DEFAULT 0, model text DEFAULT NULL,
    assign boolean DEFAULT true)
RETURNS TABLE (segment_id bigint, external_id text, speaker text, similarity float8, nearest text, next_similarity float8)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    least_similarity CONSTANT float8 :=
        coalesce(threshold, (SELECT m.speaker_threshold FROM speaker.models AS m WHERE m.id = chosen));
    home text;
    segment_ids bigint[];
    external_ids text[];
    vectors vector[];
    answers record;
BEGIN
    SELECT r.collection INTO home
    FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id
    WHERE u.id = identify_speakers.run_id;
    IF NOT FOUND THEN
        PERFORM speaker.raise_error('run_unknown', format('there is no run %s', run_id));
    END IF;

    SELECT array_agg(s.id ORDER BY s.start_time, s.id), array_agg(s.external_id ORDER BY s.start_time, s.id),
           array_agg(e.embedding ORDER BY s.start_time, s.id)
    INTO segment_ids, external_ids, vectors
    FROM speaker.segments AS s
    JOIN speaker.embeddings AS e ON (e.segment_id, e.model_id) = (s.id, chosen)
    WHERE s.run_id = identify_speakers.run_id AND s.speaker_id IS NULL;

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
          FROM (SELECT speaker.nearest_speakers(c.speaker_id, c.mean, vectors, 2) AS ids,
                       speaker.nearest_similarities(c.speaker_id, c.mean, vectors, 2) AS similarities
                FROM speaker.speaker_centroids AS c
                WHERE c.collection = home AND c.model_id = chosen) AS found,
               unnest(found.ids, found.similarities) WITH ORDINALITY AS x (id, similarity, place)
          GROUP BY 1) AS i;

    IF assign AND answers.known_ids IS NOT NULL THEN
        PERFORM speaker.assign(
            array_agg(x.id), array_agg(x.speaker_id), 'knn', array_agg(x.score), chosen, NULL, true)
        FROM unnest(segment_ids, answers.known_ids, answers.best) AS x (id, speaker_id, score)
        WHERE x.speaker_id IS NOT NULL;
    END IF;
    RETURN QUERY
    SELECT x.id, x.external_id, k.name, x.best, n.name, x.next
    FROM unnest(segment_ids, external_ids, answers.known_ids, answers.nearest_ids, answers.best, answers.next)
         WITH ORDINALITY AS x (id, external_id, known_id, nearest_id, best, next, place)
    LEFT JOIN speaker.speakers AS k ON k.id = x.known_id
    LEFT JOIN speaker.speakers AS n ON n.id = x.nearest_id
    ORDER BY x.place;
END
$$;
COMMENT ON FUNCTION identify_speakers(bigint, float8, float8, text, boolean) IS
    'Compares each unknown segment of a run with all known speakers of its collection and labels those at or above the threshold (default: the model''s). speaker NULL is the answer "unknown"; margin is how far the second must be behind. assign => false only answers.';
