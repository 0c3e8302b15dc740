-- Nearest speakers by average distance.
--
-- For L2-normalised vectors the mean cosine distance from q to the n embeddings of a speaker is exactly 1 - q . mean(e),
-- so one inner product with the stored mean answers what otherwise scans every embedding.

CREATE FUNCTION speaker.check_embedding(embedding vector, model_id int) RETURNS vector
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    m speaker.models;
BEGIN
    SELECT * INTO STRICT m FROM speaker.models WHERE id = check_embedding.model_id;
    IF vector_dims(embedding) <> m.dim THEN
        RAISE EXCEPTION 'different vector dimensions % and %', vector_dims(embedding), m.dim
            USING ERRCODE = 'data_exception',
                  HINT = format('Model "%s" has %s dimensions. Name the model that made the embedding.', m.name, m.dim);
    END IF;
    IF vector_norm(embedding) = 0 THEN
        RAISE EXCEPTION 'embedding is all zeros' USING ERRCODE = 'invalid_parameter_value', HINT = 'It has no direction to compare.';
    END IF;
    RETURN l2_normalize(embedding);
END
$$;
COMMENT ON FUNCTION speaker.check_embedding(vector, int) IS 'The embedding, L2-normalised, if it can be one of this model.';

CREATE FUNCTION speaker_knn(
    embedding vector, k int DEFAULT 5, collection text DEFAULT 'default', model text DEFAULT NULL)
RETURNS TABLE (speaker_id bigint, speaker text, distance float8, similarity float8, embeddings bigint)
LANGUAGE plpgsql STABLE ROWS 5 SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    unit CONSTANT vector := speaker.check_embedding(embedding, chosen);
BEGIN
    RETURN QUERY
    SELECT c.speaker_id, s.name, 1 + (c.mean <#> unit), -(c.mean <#> unit), c.n
    FROM speaker.speaker_centroids AS c
    JOIN speaker.speakers AS s ON s.id = c.speaker_id
    WHERE c.model_id = chosen AND s.collection = speaker_knn.collection
    ORDER BY c.mean <#> unit, c.speaker_id
    LIMIT k;
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
    answers record;
BEGIN
    SELECT r.collection INTO home
    FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id
    WHERE u.id = identify_speakers.run_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no run %', run_id
            USING ERRCODE = 'no_data_found', HINT = 'SELECT id FROM speaker.runs lists the runs.';
    END IF;

    -- One picture of the speakers for the whole run: its own assignments do not change the means it is compared with.
    SELECT array_agg(i.id ORDER BY i.start_time, i.id) AS ids,
           array_agg(i.external_id ORDER BY i.start_time, i.id) AS external_ids,
           array_agg(i.speaker_id ORDER BY i.start_time, i.id) AS nearest_ids,
           array_agg(i.best ORDER BY i.start_time, i.id) AS best,
           array_agg(i.next ORDER BY i.start_time, i.id) AS next,
           array_agg(CASE WHEN i.best >= least_similarity AND (i.next IS NULL OR i.best - i.next >= margin)
                          THEN i.speaker_id END ORDER BY i.start_time, i.id) AS known_ids
    INTO answers
    FROM (SELECT s.id, s.external_id, s.start_time, t.ids[1] AS speaker_id, t.similarities[1] AS best, t.similarities[2] AS next
          FROM speaker.segments AS s
          JOIN speaker.embeddings AS e ON (e.segment_id, e.model_id) = (s.id, chosen)
          LEFT JOIN LATERAL (
              SELECT array_agg(x.speaker_id) AS ids, array_agg(x.similarity) AS similarities
              FROM (SELECT c.speaker_id, -(c.mean <#> l2_normalize(e.embedding)) AS similarity
                    FROM speaker.speaker_centroids AS c
                    JOIN speaker.speakers AS p ON p.id = c.speaker_id AND p.collection = home
                    WHERE c.model_id = chosen
                    ORDER BY 2 DESC, c.speaker_id
                    LIMIT 2) AS x) AS t ON true
          WHERE s.run_id = identify_speakers.run_id AND s.speaker_id IS NULL) AS i;

    IF assign AND answers.ids IS NOT NULL THEN
        PERFORM speaker.assign(
            array_agg(x.id), array_agg(x.speaker_id), 'knn', array_agg(x.score), chosen, NULL, true)
        FROM unnest(answers.ids, answers.known_ids, answers.best) AS x (id, speaker_id, score)
        WHERE x.speaker_id IS NOT NULL;
    END IF;
    RETURN QUERY
    SELECT x.id, x.external_id, k.name, x.best, n.name, x.next
    FROM unnest(answers.ids, answers.external_ids, answers.known_ids, answers.nearest_ids, answers.best, answers.next)
         WITH ORDINALITY AS x (id, external_id, known_id, nearest_id, best, next, place)
    LEFT JOIN speaker.speakers AS k ON k.id = x.known_id
    LEFT JOIN speaker.speakers AS n ON n.id = x.nearest_id
    ORDER BY x.place;
END
$$;
COMMENT ON FUNCTION identify_speakers(bigint, float8, float8, text, boolean) IS
    'Compares each unknown segment of a run with all known speakers of its collection and labels those at or above the threshold (default: the model''s). speaker NULL is the answer "unknown"; margin is how far the second must be behind. assign => false only answers.';
