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

-- The unknown segments of a scope that are no members of a clustering yet, with their embeddings.
CREATE FUNCTION speaker.unclustered(
    run_id bigint, collection text, runs bigint[], model_id int, clustering_id bigint,
    OUT ids bigint[], OUT vectors vector[])
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT coalesce(array_agg(s.id ORDER BY s.id), '{}'), coalesce(array_agg(e.embedding ORDER BY s.id), '{}')
    FROM speaker.segments AS s
    JOIN speaker.runs AS u ON u.id = s.run_id
    JOIN speaker.recordings AS r ON r.id = u.recording_id
    JOIN speaker.embeddings AS e ON (e.segment_id, e.model_id) = (s.id, unclustered.model_id)
    WHERE s.speaker_id IS NULL AND r.collection = unclustered.collection
      AND (unclustered.run_id IS NULL OR s.run_id = unclustered.run_id)
      AND (unclustered.runs IS NULL OR s.run_id = ANY (unclustered.runs))
      AND NOT EXISTS (SELECT FROM speaker.cluster_members AS m
                      WHERE (m.clustering_id, m.segment_id) = (unclustered.clustering_id, s.id))
$$;

CREATE FUNCTION speaker.clusters(clustering_id bigint)
RETURNS TABLE (clustering_id bigint, cluster text, segments bigint, seconds float8, representative bigint, segment_ids bigint[])
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT c.clustering_id, c.cluster, count(*), sum(s.end_time - s.start_time),
           min(c.segment_id) FILTER (WHERE c.representative), array_agg(c.segment_id ORDER BY s.run_id, s.start_time, s.id)
    FROM speaker.cluster_members AS c JOIN speaker.segments AS s ON s.id = c.segment_id
    WHERE c.clustering_id = $1
    GROUP BY c.clustering_id, c.cluster
    ORDER BY c.cluster IS NULL, length(c.cluster), c.cluster
$$;
COMMENT ON FUNCTION speaker.clusters(bigint) IS 'The clusters of a clustering, as cluster_unlabeled() returned them, with those who joined since.';

CREATE FUNCTION cluster_unlabeled(
    run_id bigint DEFAULT NULL, min_cluster_size int DEFAULT 3, min_samples int DEFAULT NULL, model text DEFAULT NULL,
    collection text DEFAULT 'default', runs bigint[] DEFAULT NULL)
RETURNS TABLE (clustering_id bigint, cluster text, segments bigint, seconds float8, representative bigint, segment_ids bigint[])
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    home text := collection;
    made bigint;
    unknown record;
    found_clusters record;
BEGIN
    IF run_id IS NOT NULL THEN
        SELECT r.collection INTO home FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id
        WHERE u.id = cluster_unlabeled.run_id;
        IF NOT FOUND THEN
            PERFORM speaker.raise_error('run_unknown', format('there is no run %s', run_id));
        END IF;
    END IF;
    SELECT * INTO unknown FROM speaker.unclustered(run_id, home, runs, chosen, NULL);
    SELECT * INTO found_clusters FROM speaker.cluster_vectors(unknown.vectors, min_cluster_size, min_samples);

    INSERT INTO speaker.clusterings (run_id, collection, runs, model_id, parameters, tree, names)
    SELECT cluster_unlabeled.run_id, home, cluster_unlabeled.runs, chosen,
           jsonb_build_object('min_cluster_size', min_cluster_size, 'min_samples', coalesce(min_samples, min_cluster_size)),
           found_clusters.tree,
           -- From the largest cluster down, the earliest first among equals.
           coalesce(array_agg(speaker.cluster_name(c.place::int) ORDER BY c.label), '{}')
    FROM (SELECT m.label, row_number() OVER (ORDER BY count(*) DESC, min(m.id)) AS place
          FROM unnest(unknown.ids, found_clusters.clusters) AS m (id, label)
          WHERE m.label >= 0 GROUP BY m.label) AS c
    RETURNING id INTO made;

    WITH members AS (
        SELECT m.*, (SELECT c.names[m.label + 1] FROM speaker.clusterings AS c WHERE c.id = made) AS name
        FROM unnest(unknown.ids, unknown.vectors, found_clusters.clusters, found_clusters.probabilities,
                    found_clusters.outlier_scores, found_clusters.core_distances, found_clusters.nodes,
                    found_clusters.densities)
             AS m (id, embedding, label, probability, outlier_score, core_distance, node, density)
    ), means AS (
        SELECT name, speaker_centroid(embedding) AS mean FROM members WHERE name IS NOT NULL GROUP BY name
    )
    INSERT INTO speaker.cluster_members
        (clustering_id, segment_id, cluster, probability, outlier_score, core_distance, node, density, representative)
    SELECT made, m.id, m.name, m.probability, m.outlier_score, m.core_distance, m.node, m.density,
           -- The member to listen to: the nearest to the mean of its cluster.
           m.name IS NOT NULL AND row_number() OVER (PARTITION BY m.name ORDER BY m.embedding <=> c.mean, m.id) = 1
    FROM members AS m LEFT JOIN means AS c USING (name)
    ORDER BY m.id;

    RETURN QUERY SELECT * FROM speaker.clusters(made);
END
$$;
COMMENT ON FUNCTION cluster_unlabeled(bigint, int, int, text, text, bigint[]) IS
    'Clusters the unknown segments of a run, of several (runs), or of a whole collection (neither) with HDBSCAN and stores the clustering. A row per cluster, named A, B, C, ... from the largest down, with the segment to listen to; the row whose cluster is NULL is noise.';

CREATE FUNCTION extend_clustering(clustering_id bigint)
RETURNS TABLE (segment_id bigint, cluster text, probability float8)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    c speaker.clusterings;
    old record;
    new record;
BEGIN
    SELECT * INTO c FROM speaker.clusterings AS x WHERE x.id = extend_clustering.clustering_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM speaker.raise_error('cluster_unknown', format('there is no clustering %s', clustering_id),
            'SELECT id FROM speaker.clusterings lists the clusterings.');
    END IF;
    SELECT * INTO new FROM speaker.unclustered(c.run_id, c.collection, c.runs, c.model_id, c.id);
    SELECT array_agg(e.embedding ORDER BY m.segment_id) AS vectors,
           array_agg(m.core_distance ORDER BY m.segment_id) AS core_distances,
           array_agg(m.node ORDER BY m.segment_id) AS nodes,
           array_agg(m.density ORDER BY m.segment_id) AS densities
    INTO old
    FROM speaker.cluster_members AS m
    JOIN speaker.embeddings AS e ON (e.segment_id, e.model_id) = (m.segment_id, c.model_id)
    WHERE m.clustering_id = c.id AND m.node IS NOT NULL;
    IF new.ids = '{}' OR old.vectors IS NULL THEN
        RETURN;
    END IF;

    RETURN QUERY
    INSERT INTO speaker.cluster_members AS m (clustering_id, segment_id, cluster, probability)
    SELECT c.id, new.ids[p.ordinal], c.names[p.cluster + 1], p.probability
    FROM speaker.predict_clusters(old.vectors, old.core_distances, old.nodes, old.densities, c.tree,
                                  (c.parameters ->> 'min_samples')::int, new.vectors) AS p
    ORDER BY 2
    RETURNING m.segment_id, m.cluster, m.probability;
END
$$;
COMMENT ON FUNCTION extend_clustering(bigint) IS
    'Puts unknown segments that came since into the clusters of a clustering, without clustering again (approximate_predict of the Python package hdbscan). A row for each; cluster NULL is noise. New voices need a new clustering.';

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
