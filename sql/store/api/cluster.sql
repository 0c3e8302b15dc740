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
RETURNS TABLE (clustering_id bigint, cluster text, segments bigint, seconds float8, representative bigint, segment_ids bigint[], clustered_by text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_clustering(of_clustering, clusters.collection);
BEGIN
    RETURN QUERY
    SELECT c.clustering_id, c.cluster, count(*), sum(s.end_time - s.start_time),
           min(c.segment_id) FILTER (WHERE c.representative), array_agg(c.segment_id ORDER BY s.run_id, s.start_time, s.id),
           min(k.parameters ->> 'method')
    FROM @store@.clusterings AS k
    JOIN @store@.cluster_members AS c ON c.clustering_id = k.id AND c.collection = k.collection
    JOIN @store@.segments AS s ON s.id = c.segment_id AND s.collection = c.collection
    WHERE k.id = of_clustering AND k.collection = home
    GROUP BY c.clustering_id, c.cluster
    ORDER BY c.cluster IS NULL, length(c.cluster), c.cluster;
END
$$;
COMMENT ON FUNCTION @store@.clusters(bigint, text) IS 'The clusters of a clustering, as cluster_unlabeled() returned them, with those who joined since.';

-- Average linkage takes seconds up to so many segments, and its time grows with their square.
CREATE OR REPLACE FUNCTION @store@.most_to_agglomerate() RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 3000;

-- The unknown segments of a clustering's scope. The same speech in parallel runs, or in copies of the recording, counts once:
-- a segment of a later run of the same audio that shares at least half of its time, on its channel, with one of the
-- first run is not counted for itself, and is_like is that one.
CREATE OR REPLACE FUNCTION @store@.unknown_segments(home text, model_id int, among bigint[])
RETURNS TABLE (segment_id bigint, is_like bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH unknown AS MATERIALIZED (
        SELECT s.id, s.start_time, s.end_time, coalesce(encode(r.sha256, 'hex'), r.id::text) AS audio, coalesce(s.channel, 0) AS channel,
               dense_rank() OVER (PARTITION BY coalesce(encode(r.sha256, 'hex'), r.id::text) ORDER BY s.run_id) AS run
        FROM @store@.segments AS s
        JOIN @store@.embeddings AS e ON e.segment_id = s.id AND e.model_id = unknown_segments.model_id AND e.collection = s.collection
        JOIN @store@.runs AS u ON u.id = s.run_id AND u.collection = s.collection
        JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection
        WHERE s.speaker_id IS NULL AND s.collection = home AND (among IS NULL OR s.run_id = ANY (among))
    )
    SELECT o.id, (
        SELECT f.id FROM unknown AS f
        WHERE o.run > 1 AND f.run = 1 AND f.audio = o.audio AND f.channel = o.channel
          AND f.start_time < o.end_time AND f.end_time > o.start_time
          AND least(f.end_time, o.end_time) - greatest(f.start_time, o.start_time) >= (o.end_time - o.start_time) / 2
        ORDER BY least(f.end_time, o.end_time) - greatest(f.start_time, o.start_time) DESC, f.id LIMIT 1)
    FROM unknown AS o;
END
$$;

-- The cluster of a clustering whose members a vector is most similar to on average, of those that are as similar as that.
CREATE OR REPLACE FUNCTION @store@.nearest_clusters(of_clustering bigint, home text, ids bigint[], least_similarity float8)
RETURNS TABLE (segment_id bigint, cluster text, similarity float8)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH means AS MATERIALIZED (
        SELECT m.cluster, c.model_id, @extension@.speaker_centroid(e.embedding) AS mean
        FROM @store@.clusterings AS c
        JOIN @store@.cluster_members AS m ON m.clustering_id = c.id AND m.collection = c.collection AND m.cluster IS NOT NULL
        JOIN @store@.embeddings AS e ON e.segment_id = m.segment_id AND e.model_id = c.model_id AND e.collection = c.collection
        WHERE c.id = of_clustering AND c.collection = home
        GROUP BY m.cluster, c.model_id
    )
    SELECT i.id, n.cluster, n.similarity
    FROM unnest(ids) AS i (id)
    CROSS JOIN LATERAL (
        SELECT t.cluster, -(e.embedding OPERATOR(@vector@.<#>) t.mean) AS similarity
        FROM means AS t
        JOIN @store@.embeddings AS e ON e.segment_id = i.id AND e.model_id = t.model_id AND e.collection = home
        ORDER BY 2 DESC, length(t.cluster), t.cluster LIMIT 1) AS n
    WHERE n.similarity >= least_similarity;
END
$$;

CREATE OR REPLACE FUNCTION @store@.cluster_unlabeled(
    run_id bigint DEFAULT 0, min_cluster_size int DEFAULT 3, min_samples int DEFAULT NULL, collection text DEFAULT NULL,
    model text DEFAULT NULL, runs bigint[] DEFAULT '{}', recording text DEFAULT NULL, method text DEFAULT 'auto',
    threshold float8 DEFAULT NULL, allow_single_cluster boolean DEFAULT false, assign_noise float8 DEFAULT NULL)
RETURNS TABLE (clustering_id bigint, cluster text, segments bigint, seconds float8, representative bigint, segment_ids bigint[], clustered_by text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := @store@.model_id(model);
    least_similarity CONSTANT float8 :=
        coalesce(threshold, (SELECT m.speaker_threshold FROM @store@.models AS m WHERE m.id = chosen));
    home text;
    among bigint[];
    how text := method;
    counted bigint[];
    likes bigint[];
    like_whom bigint[];
    made bigint;
    found_ids bigint[];
    found_clusters record;
BEGIN
    IF how IS NULL OR how NOT IN ('auto', 'hdbscan', 'agglomerative') THEN
        PERFORM @store@.raise_error('invalid_argument', format('method is "%s", not auto, hdbscan or agglomerative', how),
            'auto: average linkage up to a few thousand segments, HDBSCAN beyond.');
    END IF;
    IF cluster_unlabeled.runs IS NULL THEN
        PERFORM @store@.raise_error('argument_missing', 'runs is NULL', 'Whatever was to give the runs has found none.');
    END IF;
    SELECT s.home, s.runs INTO home, among
    -- The collection of a run is its own, whatever the caller's is.
    FROM @store@.runs_meant(cluster_unlabeled.run_id, cluster_unlabeled.recording,
                            CASE WHEN cluster_unlabeled.run_id = 0 THEN cluster_unlabeled.collection END) AS s;
    IF cluster_unlabeled.runs <> '{}' THEN
        among := cluster_unlabeled.runs;
    END IF;
    SELECT coalesce(array_agg(s.segment_id) FILTER (WHERE s.is_like IS NULL), '{}'),
           coalesce(array_agg(s.segment_id) FILTER (WHERE s.is_like IS NOT NULL), '{}'),
           coalesce(array_agg(s.is_like) FILTER (WHERE s.is_like IS NOT NULL), '{}')
    INTO counted, likes, like_whom
    FROM @store@.unknown_segments(home, chosen, among) AS s;
    IF how = 'auto' THEN
        how := CASE WHEN cardinality(counted) <= @store@.most_to_agglomerate() THEN 'agglomerative' ELSE 'hdbscan' END;
    END IF;

    -- Straight from the scan into the clustering: as an array the vectors would meet PostgreSQL's limit of 1 GB.
    IF how = 'agglomerative' THEN
        SELECT (x.answer).segment_ids, (x.answer).clusters, NULL::float8[] AS probabilities, NULL::float8[] AS outlier_scores,
               NULL::float8[] AS core_distances, NULL::int[] AS nodes, NULL::float8[] AS densities, NULL::float8[] AS tree,
               (x.answer).representatives
        INTO found_clusters
        FROM (SELECT @extension@.speaker_agglomerate(
                         e.segment_id, e.embedding, cluster_unlabeled.min_cluster_size, least_similarity ORDER BY e.segment_id) AS answer
              FROM @store@.embeddings AS e
              WHERE e.segment_id = ANY (counted) AND e.model_id = chosen AND e.collection = home) AS x;
    ELSE
        SELECT (x.answer).* INTO found_clusters
        FROM (SELECT @extension@.speaker_hdbscan(
                         e.segment_id, e.embedding, cluster_unlabeled.min_cluster_size, cluster_unlabeled.min_samples,
                         cluster_unlabeled.allow_single_cluster ORDER BY e.segment_id) AS answer
              FROM @store@.embeddings AS e
              WHERE e.segment_id = ANY (counted) AND e.model_id = chosen AND e.collection = home) AS x;
    END IF;

    IF cluster_unlabeled.run_id <> 0 THEN
        PERFORM FROM @store@.runs AS u WHERE u.id = cluster_unlabeled.run_id AND u.collection = home FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM @store@.raise_error('run_unknown', format('there is no run %s', run_id));
        END IF;
    END IF;
    INSERT INTO @store@.clusterings AS c (collection, run_id, runs, model_id, parameters, tree, names)
    SELECT home, nullif(cluster_unlabeled.run_id, 0), CASE WHEN cluster_unlabeled.run_id = 0 THEN among END, chosen,
           jsonb_build_object('method', how, 'min_cluster_size', cluster_unlabeled.min_cluster_size)
           || CASE how WHEN 'agglomerative' THEN jsonb_build_object('threshold', least_similarity)
                       ELSE jsonb_build_object('min_samples', coalesce(cluster_unlabeled.min_samples, cluster_unlabeled.min_cluster_size),
                                               'allow_single_cluster', cluster_unlabeled.allow_single_cluster) END
           || CASE WHEN assign_noise IS NULL THEN '{}' ELSE jsonb_build_object('assign_noise', assign_noise) END,
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
        WHERE s.id = ANY (counted || likes) AND s.collection = home ORDER BY s.id FOR KEY SHARE SKIP LOCKED);
    INSERT INTO @store@.cluster_members
        (clustering_id, collection, segment_id, cluster, probability, outlier_score, core_distance, node, density, representative)
    SELECT made, home, m.id, c.names[m.label + 1], coalesce(m.probability, CASE WHEN m.label >= 0 THEN 1 ELSE 0 END),
           m.outlier_score, m.core_distance, m.node, m.density,
           -- The member to listen to: the nearest to the mean of its cluster.
           m.label >= 0 AND found_clusters.representatives[m.label + 1] = m.id
    FROM unnest(found_clusters.segment_ids, found_clusters.clusters, found_clusters.probabilities,
                found_clusters.outlier_scores, found_clusters.core_distances, found_clusters.nodes, found_clusters.densities)
         AS m (id, label, probability, outlier_score, core_distance, node, density)
    JOIN unnest(found_ids) AS f (id) ON f.id = m.id,
         @store@.clusterings AS c
    WHERE c.id = made AND c.collection = home
    ORDER BY m.id;
    IF assign_noise IS NOT NULL THEN
        UPDATE @store@.cluster_members AS m SET cluster = n.cluster, probability = greatest(least(n.similarity, 1), 0)
        FROM @store@.nearest_clusters(made, home, ARRAY(
            SELECT x.segment_id FROM @store@.cluster_members AS x
            WHERE x.clustering_id = made AND x.collection = home AND x.cluster IS NULL), assign_noise) AS n
        WHERE m.clustering_id = made AND m.collection = home AND m.segment_id = n.segment_id;
    END IF;
    -- Where the one that they are like is.
    INSERT INTO @store@.cluster_members (clustering_id, collection, segment_id, cluster, probability)
    SELECT made, home, l.id, m.cluster, m.probability
    FROM unnest(likes, like_whom) AS l (id, whom)
    JOIN unnest(found_ids) AS f (id) ON f.id = l.id
    JOIN @store@.cluster_members AS m ON m.clustering_id = made AND m.segment_id = l.whom AND m.collection = home
    ORDER BY l.id;

    RETURN QUERY SELECT x.* FROM @store@.clusters(made, home) AS x;
END
$$;
COMMENT ON FUNCTION @store@.cluster_unlabeled(bigint, int, int, text, text, bigint[], text, text, float8, boolean, float8) IS
    'Clusters the unknown segments of a run, of several (runs), of a recording, or of a whole collection (none of them) and stores the clustering. A row per cluster, named A, B, C, ... from the largest down, with the segment to listen to; the row whose cluster is NULL is noise. method: hdbscan; agglomerative, average linkage down to threshold (default: the model''s), for few voices and few segments; auto, which of the two it took is in the column. Copies and parallel runs of a recording count once. assign_noise puts noise into the cluster that it is that similar to on average.';

CREATE OR REPLACE FUNCTION @store@.extend_clustering(clustering_id bigint, collection text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, cluster text, probability float8)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_clustering(extend_clustering.clustering_id, extend_clustering.collection);
    c @store@.clusterings;
    ids bigint[];
    answers record;
    found_ids bigint[];
BEGIN
    SELECT * INTO c FROM @store@.clusterings AS x
    WHERE x.id = extend_clustering.clustering_id AND x.collection = home FOR UPDATE;
    ids := ARRAY(
        SELECT s.id FROM @store@.segments AS s
        JOIN @store@.embeddings AS e ON e.segment_id = s.id AND e.model_id = c.model_id AND e.collection = s.collection
        WHERE s.speaker_id IS NULL AND s.collection = home
          AND (c.run_id IS NULL OR s.run_id = c.run_id) AND (c.runs IS NULL OR s.run_id = ANY (c.runs))
          AND NOT EXISTS (SELECT FROM @store@.cluster_members AS m
                          WHERE m.clustering_id = c.id AND m.segment_id = s.id AND m.collection = home)
        ORDER BY s.id);
    IF c.parameters ->> 'method' = 'agglomerative' THEN
        SELECT array_agg(i.id ORDER BY i.id) AS segment_ids, array_agg(n.cluster ORDER BY i.id) AS names,
               array_agg(coalesce(greatest(least(n.similarity, 1), 0), 0) ORDER BY i.id) AS probabilities
        INTO answers
        FROM unnest(ids) AS i (id)
        LEFT JOIN @store@.nearest_clusters(c.id, home, ids, (c.parameters ->> 'threshold')::float8) AS n ON n.segment_id = i.id;
    ELSE
        -- The members first, with what is known of them, then those that are none.
        SELECT (x.answer).segment_ids, (x.answer).probabilities,
               ARRAY(SELECT c.names[l.label + 1] FROM unnest((x.answer).clusters) WITH ORDINALITY AS l (label, place) ORDER BY l.place) AS names
        INTO answers
        FROM (SELECT @extension@.speaker_hdbscan_predict(
                         p.id, p.embedding, p.core_distance, p.node, p.density, c.tree, (c.parameters ->> 'min_samples')::int
                         ORDER BY p.node IS NULL, p.id) AS answer
              FROM (SELECT m.segment_id AS id, e.embedding, m.core_distance, m.node, m.density
                    FROM @store@.cluster_members AS m
                    JOIN @store@.embeddings AS e
                      ON e.segment_id = m.segment_id AND e.model_id = c.model_id AND e.collection = m.collection
                    WHERE m.clustering_id = c.id AND m.collection = home AND m.node IS NOT NULL
                    UNION ALL
                    SELECT e.segment_id, e.embedding, NULL, NULL, NULL
                    FROM @store@.embeddings AS e
                    WHERE e.segment_id = ANY (ids) AND e.model_id = c.model_id AND e.collection = home) AS p) AS x;
    END IF;
    found_ids := ARRAY(
        SELECT s.id FROM @store@.segments AS s
        WHERE s.id = ANY (answers.segment_ids) AND s.collection = home ORDER BY s.id FOR KEY SHARE SKIP LOCKED);

    RETURN QUERY
    INSERT INTO @store@.cluster_members AS m (clustering_id, collection, segment_id, cluster, probability)
    SELECT c.id, home, p.id, p.cluster, p.probability
    FROM unnest(answers.segment_ids, answers.names, answers.probabilities) AS p (id, cluster, probability)
    JOIN unnest(found_ids) AS f (id) ON f.id = p.id
    ORDER BY p.id
    RETURNING m.segment_id, m.cluster, m.probability;
END
$$;
COMMENT ON FUNCTION @store@.extend_clustering(bigint, text) IS
    'Puts unknown segments that came since into the clusters of a clustering, without clustering again: of HDBSCAN by approximate_predict of the Python package hdbscan, of average linkage into the cluster that they are similar enough to. A row for each; cluster NULL is noise. New voices need a new clustering.';

-- Says who a cluster is, as a part of a call.
CREATE OR REPLACE FUNCTION @store@.name_cluster(clustering_id bigint, cluster text, person bigint, home text, batch bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    members bigint[];
    scores float8[];
    chosen int;
BEGIN
    SELECT coalesce(array_agg(m.segment_id ORDER BY m.segment_id), '{}'), array_agg(m.probability ORDER BY m.segment_id), min(c.model_id)
    INTO members, scores, chosen
    FROM @store@.cluster_members AS m
    JOIN @store@.clusterings AS c ON c.id = m.clustering_id AND c.collection = m.collection
    WHERE m.clustering_id = name_cluster.clustering_id AND m.cluster = name_cluster.cluster AND m.collection = home;
    RETURN @store@.assign(members, array_fill(person, ARRAY[cardinality(members)]), 'cluster', scores, chosen,
                          name_cluster.clustering_id, true, home, NULL, batch);
END
$$;

CREATE OR REPLACE FUNCTION @store@.label_cluster(clustering_id bigint, cluster text, speaker text, collection text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_clustering(label_cluster.clustering_id, label_cluster.collection);
BEGIN
    PERFORM FROM @store@.cluster_members AS m
    WHERE m.clustering_id = label_cluster.clustering_id AND m.cluster = label_cluster.cluster AND m.collection = home LIMIT 1;
    IF NOT FOUND THEN
        PERFORM @store@.raise_error('cluster_unknown', format('clustering %s has no cluster "%s"', clustering_id, cluster));
    END IF;
    RETURN @store@.name_cluster(label_cluster.clustering_id, label_cluster.cluster, @store@.speaker_id(speaker, home, true), home,
                                @store@.new_batch(home, 'label_cluster'));
END
$$;
COMMENT ON FUNCTION @store@.label_cluster(bigint, text, text, text) IS
    'Says who a cluster is: labels those of its members that are still unknown, with their membership probability as score. Returns the number of segments that changed.';
