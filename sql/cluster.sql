-- Unknown voices, grouped.

CREATE FUNCTION speaker.cluster_name(ordinal int) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    WITH RECURSIVE letters (rest, name) AS (
        SELECT ordinal, ''
        UNION ALL
        SELECT (rest - 1) / 26, chr(65 + (rest - 1) % 26) || name FROM letters WHERE rest > 0
    )
    SELECT name FROM letters WHERE rest = 0
$$;
COMMENT ON FUNCTION speaker.cluster_name(int) IS 'A, B, ..., Z, AA, AB, ... for 1, 2, ..., 26, 27, 28, ...';

CREATE FUNCTION cluster_unlabeled(
    run_id bigint, min_cluster_size int DEFAULT 3, min_samples int DEFAULT NULL, model text DEFAULT NULL)
RETURNS TABLE (clustering_id bigint, cluster text, segments bigint, seconds float8, representative bigint, segment_ids bigint[])
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    made bigint;
    ids bigint[];
    vectors vector[];
BEGIN
    IF NOT EXISTS (SELECT FROM speaker.runs AS u WHERE u.id = cluster_unlabeled.run_id) THEN
        PERFORM speaker.raise_error('run_unknown', format('there is no run %s', run_id));
    END IF;
    SELECT array_agg(s.id ORDER BY s.id), array_agg(e.embedding ORDER BY s.id) INTO ids, vectors
    FROM speaker.segments AS s
    JOIN speaker.embeddings AS e ON (e.segment_id, e.model_id) = (s.id, chosen)
    WHERE s.run_id = cluster_unlabeled.run_id AND s.speaker_id IS NULL;

    INSERT INTO speaker.clusterings (run_id, model_id, parameters)
    VALUES (cluster_unlabeled.run_id, chosen,
            jsonb_build_object('min_cluster_size', min_cluster_size, 'min_samples', coalesce(min_samples, min_cluster_size)))
    RETURNING id INTO made;

    WITH members AS (
        SELECT ids[h.ordinal] AS segment_id, vectors[h.ordinal] AS embedding, h.cluster, h.probability, h.outlier_score
        FROM hdbscan(coalesce(vectors, '{}'), min_cluster_size, min_samples) AS h
    ), named AS (
        -- From the largest cluster down, the earliest first among equals.
        SELECT c.cluster, speaker.cluster_name(row_number() OVER (ORDER BY c.size DESC, c.first)::int) AS name, c.mean
        FROM (SELECT cluster, count(*) AS size, min(segment_id) AS first, speaker_centroid(embedding) AS mean
              FROM members WHERE cluster IS NOT NULL GROUP BY cluster) AS c
    )
    INSERT INTO speaker.cluster_members (clustering_id, segment_id, cluster, probability, outlier_score, representative)
    SELECT made, m.segment_id, n.name, m.probability, m.outlier_score,
           -- The member to listen to: the nearest to the mean of its cluster.
           n.name IS NOT NULL
           AND row_number() OVER (PARTITION BY n.name ORDER BY m.embedding <=> n.mean, m.segment_id) = 1
    FROM members AS m LEFT JOIN named AS n USING (cluster)
    ORDER BY m.segment_id;

    RETURN QUERY
    SELECT made, c.cluster, count(*), sum(s.end_time - s.start_time),
           min(c.segment_id) FILTER (WHERE c.representative), array_agg(c.segment_id ORDER BY s.start_time, s.id)
    FROM speaker.cluster_members AS c JOIN speaker.segments AS s ON s.id = c.segment_id
    WHERE c.clustering_id = made
    GROUP BY c.cluster
    ORDER BY c.cluster IS NULL, length(c.cluster), c.cluster;
END
$$;
COMMENT ON FUNCTION cluster_unlabeled(bigint, int, int, text) IS
    'Clusters the unknown segments of a run with HDBSCAN and stores the clustering. A row per cluster, named A, B, C, ... from the largest down, with the segment to listen to; the row whose cluster is NULL is noise.';

CREATE FUNCTION label_cluster(clustering_id bigint, cluster text, speaker text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    members bigint[];
    scores float8[];
    chosen int;
    person bigint;
BEGIN
    SELECT array_agg(m.segment_id ORDER BY m.segment_id), array_agg(m.probability ORDER BY m.segment_id), min(c.model_id)
    INTO members, scores, chosen
    FROM speaker.cluster_members AS m JOIN speaker.clusterings AS c ON c.id = m.clustering_id
    WHERE (m.clustering_id, m.cluster) = ($1, $2);
    IF members IS NULL THEN
        PERFORM speaker.raise_error('cluster_unknown', format('clustering %s has no cluster "%s"', $1, $2));
    END IF;
    person := speaker.speaker_id(speaker, speaker.segment_collection(members[1]), true);
    RETURN speaker.assign(
        members, array_fill(person, ARRAY[cardinality(members)]), 'cluster', scores, chosen, $1, true);
END
$$;
COMMENT ON FUNCTION label_cluster(bigint, text, text) IS
    'Says who a cluster is: labels those of its members that are still unknown, with their membership probability as score. Returns the number of segments that changed.';
