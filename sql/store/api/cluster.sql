-- Unknown voices, grouped.

-- A, B, ..., Z, AA, AB, ... for 1, 2, ..., 26, 27, 28, ...
CREATE OR REPLACE FUNCTION @store@.cluster_name(ordinal int) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rest int := ordinal;
    name text := '';
BEGIN
    WHILE rest > 0 LOOP
        name := chr(65 + (rest - 1) % 26) || name;
        rest := (rest - 1) / 26;
    END LOOP;
    RETURN name;
END
$$;

CREATE OR REPLACE FUNCTION @store@.clusters(of_clustering bigint, collection text DEFAULT NULL)
RETURNS TABLE (clustering_id bigint, cluster text, segments bigint, seconds float8, representative bigint, segment_ids bigint[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_clustering(of_clustering, clusters.collection);
BEGIN
    RETURN QUERY
    SELECT c.clustering_id, c.cluster, count(*), sum(s.end_time - s.start_time),
           min(c.segment_id) FILTER (WHERE c.representative), array_agg(c.segment_id ORDER BY s.run_id, s.start_time, s.id)
    FROM @store@.cluster_members AS c
    JOIN @store@.segments AS s ON s.id = c.segment_id AND s.collection = c.collection
    WHERE c.clustering_id = of_clustering AND c.collection = home
    GROUP BY c.clustering_id, c.cluster
    ORDER BY c.cluster IS NULL, length(c.cluster), c.cluster;
END
$$;
COMMENT ON FUNCTION @store@.clusters(bigint, text) IS 'The clusters of a clustering, as cluster_unlabeled() returned them, with those who joined since.';

CREATE OR REPLACE FUNCTION @store@.cluster_unlabeled(
    run_id bigint DEFAULT NULL, min_cluster_size int DEFAULT 3, min_samples int DEFAULT NULL, model text DEFAULT NULL,
    collection text DEFAULT NULL, runs bigint[] DEFAULT NULL)
RETURNS TABLE (clustering_id bigint, cluster text, segments bigint, seconds float8, representative bigint, segment_ids bigint[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := @store@.model_id(model);
    home CONSTANT text := CASE
        WHEN cluster_unlabeled.run_id IS NULL THEN @store@.home(cluster_unlabeled.collection)
        -- The collection of a run is its own, whatever the caller's is.
        ELSE @store@.home_of_run(cluster_unlabeled.run_id, NULL) END;
    made bigint;
    found_ids bigint[];
    found_clusters record;
BEGIN
    -- Straight from the scan into the clustering: as an array the vectors would meet PostgreSQL's limit of 1 GB.
    SELECT (x.answer).* INTO found_clusters
    FROM (SELECT @extension@.speaker_hdbscan(
                     s.id, e.embedding, cluster_unlabeled.min_cluster_size, cluster_unlabeled.min_samples ORDER BY s.id) AS answer
          FROM @store@.segments AS s
          JOIN @store@.embeddings AS e ON e.segment_id = s.id AND e.model_id = chosen AND e.collection = s.collection
          WHERE s.speaker_id IS NULL AND s.collection = home
            AND (cluster_unlabeled.run_id IS NULL OR s.run_id = cluster_unlabeled.run_id)
            AND (cluster_unlabeled.runs IS NULL OR s.run_id = ANY (cluster_unlabeled.runs))) AS x;

    IF cluster_unlabeled.run_id IS NOT NULL THEN
        PERFORM FROM @store@.runs AS u WHERE u.id = cluster_unlabeled.run_id AND u.collection = home FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM @store@.raise_error('run_unknown', format('there is no run %s', run_id));
        END IF;
    END IF;
    INSERT INTO @store@.clusterings AS c (collection, run_id, runs, model_id, parameters, tree, names)
    SELECT home, cluster_unlabeled.run_id, cluster_unlabeled.runs, chosen,
           jsonb_build_object('min_cluster_size', cluster_unlabeled.min_cluster_size,
                              'min_samples', coalesce(cluster_unlabeled.min_samples, cluster_unlabeled.min_cluster_size)),
           coalesce(found_clusters.tree, '{}'),
           -- From the largest cluster down, the earliest first among equals.
           coalesce(array_agg(@store@.cluster_name(n.place::int) ORDER BY n.label), '{}')
    FROM (SELECT m.label, row_number() OVER (ORDER BY count(*) DESC, min(m.id)) AS place
          FROM unnest(found_clusters.segment_ids, found_clusters.clusters) AS m (id, label)
          WHERE m.label >= 0 GROUP BY m.label) AS n
    RETURNING c.id INTO made;

    -- What somebody is deleting is left out, not waited for: segments are deleted in any order.
    found_ids := ARRAY(
        SELECT s.id FROM @store@.segments AS s
        WHERE s.id = ANY (found_clusters.segment_ids) AND s.collection = home ORDER BY s.id FOR KEY SHARE SKIP LOCKED);
    INSERT INTO @store@.cluster_members
        (clustering_id, collection, segment_id, cluster, probability, outlier_score, core_distance, node, density, representative)
    SELECT made, home, m.id, c.names[m.label + 1], m.probability, m.outlier_score, m.core_distance, m.node, m.density,
           -- The member to listen to: the nearest to the mean of its cluster.
           m.label >= 0 AND found_clusters.representatives[m.label + 1] = m.id
    FROM unnest(found_clusters.segment_ids, found_clusters.clusters, found_clusters.probabilities,
                found_clusters.outlier_scores, found_clusters.core_distances, found_clusters.nodes, found_clusters.densities)
         AS m (id, label, probability, outlier_score, core_distance, node, density)
    JOIN unnest(found_ids) AS f (id) ON f.id = m.id,
         @store@.clusterings AS c
    WHERE c.id = made AND c.collection = home
    ORDER BY m.id;

    RETURN QUERY SELECT x.* FROM @store@.clusters(made, home) AS x;
END
$$;
COMMENT ON FUNCTION @store@.cluster_unlabeled(bigint, int, int, text, text, bigint[]) IS
    'Clusters the unknown segments of a run, of several (runs), or of a whole collection (neither) with HDBSCAN and stores the clustering. A row per cluster, named A, B, C, ... from the largest down, with the segment to listen to; the row whose cluster is NULL is noise.';

CREATE OR REPLACE FUNCTION @store@.extend_clustering(clustering_id bigint, collection text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, cluster text, probability float8)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_clustering(extend_clustering.clustering_id, extend_clustering.collection);
    c @store@.clusterings;
    answers record;
    found_ids bigint[];
BEGIN
    SELECT * INTO c FROM @store@.clusterings AS x
    WHERE x.id = extend_clustering.clustering_id AND x.collection = home FOR UPDATE;
    -- The members first, with what is known of them, then the unknown segments of the scope that are none.
    SELECT (x.answer).* INTO answers
    FROM (SELECT @extension@.speaker_hdbscan_predict(
                     p.id, p.embedding, p.core_distance, p.node, p.density, c.tree, (c.parameters ->> 'min_samples')::int
                     ORDER BY p.node IS NULL, p.id) AS answer
          FROM (SELECT m.segment_id AS id, e.embedding, m.core_distance, m.node, m.density
                FROM @store@.cluster_members AS m
                JOIN @store@.embeddings AS e
                  ON e.segment_id = m.segment_id AND e.model_id = c.model_id AND e.collection = m.collection
                WHERE m.clustering_id = c.id AND m.collection = home AND m.node IS NOT NULL
                UNION ALL
                SELECT s.id, e.embedding, NULL, NULL, NULL
                FROM @store@.segments AS s
                JOIN @store@.embeddings AS e ON e.segment_id = s.id AND e.model_id = c.model_id AND e.collection = s.collection
                WHERE s.speaker_id IS NULL AND s.collection = home
                  AND (c.run_id IS NULL OR s.run_id = c.run_id) AND (c.runs IS NULL OR s.run_id = ANY (c.runs))
                  AND NOT EXISTS (SELECT FROM @store@.cluster_members AS m
                                  WHERE m.clustering_id = c.id AND m.segment_id = s.id AND m.collection = home)) AS p) AS x;
    found_ids := ARRAY(
        SELECT s.id FROM @store@.segments AS s
        WHERE s.id = ANY (answers.segment_ids) AND s.collection = home ORDER BY s.id FOR KEY SHARE SKIP LOCKED);

    RETURN QUERY
    INSERT INTO @store@.cluster_members AS m (clustering_id, collection, segment_id, cluster, probability)
    SELECT c.id, home, p.id, c.names[p.cluster + 1], p.probability
    FROM unnest(answers.segment_ids, answers.clusters, answers.probabilities) AS p (id, cluster, probability)
    JOIN unnest(found_ids) AS f (id) ON f.id = p.id
    ORDER BY p.id
    RETURNING m.segment_id, m.cluster, m.probability;
END
$$;
COMMENT ON FUNCTION @store@.extend_clustering(bigint, text) IS
    'Puts unknown segments that came since into the clusters of a clustering, without clustering again (approximate_predict of the Python package hdbscan). A row for each; cluster NULL is noise. New voices need a new clustering.';

CREATE OR REPLACE FUNCTION @store@.label_cluster(clustering_id bigint, cluster text, speaker text, collection text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_clustering(label_cluster.clustering_id, label_cluster.collection);
    members bigint[];
    scores float8[];
    chosen int;
    person bigint;
BEGIN
    SELECT array_agg(m.segment_id ORDER BY m.segment_id), array_agg(m.probability ORDER BY m.segment_id), min(c.model_id)
    INTO members, scores, chosen
    FROM @store@.cluster_members AS m
    JOIN @store@.clusterings AS c ON c.id = m.clustering_id AND c.collection = m.collection
    WHERE m.clustering_id = label_cluster.clustering_id AND m.cluster = label_cluster.cluster AND m.collection = home;
    IF members IS NULL THEN
        PERFORM @store@.raise_error('cluster_unknown', format('clustering %s has no cluster "%s"', clustering_id, cluster));
    END IF;
    person := @store@.speaker_id(speaker, home, true);
    RETURN @store@.assign(members, array_fill(person, ARRAY[cardinality(members)]), 'cluster', scores, chosen,
                          label_cluster.clustering_id, true, home);
END
$$;
COMMENT ON FUNCTION @store@.label_cluster(bigint, text, text, text) IS
    'Says who a cluster is: labels those of its members that are still unknown, with their membership probability as score. Returns the number of segments that changed.';
