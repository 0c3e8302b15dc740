-- The centroids follow every change of a label or an embedding, in the same transaction.
--
-- The vector is in one table and the speaker in another, so a label and a new embedding of the same segment could miss
-- each other. The embedding's trigger therefore locks the segment FOR SHARE before it reads the speaker, while a label
-- holds the segment's row lock. Rows are locked in the order of their ids: single statements never deadlock.

CREATE TYPE speaker.centroid_delta AS (speaker_id bigint, model_id int, n bigint, sum float8[]);

CREATE FUNCTION speaker.apply_centroid_deltas(deltas speaker.centroid_delta[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    -- One statement, so that each row is locked and changed at once, in order. A row may be proposed with a negative n,
    -- which is why the table has no check on it. A speaker that is being deleted takes its centroid along.
    INSERT INTO speaker.speaker_centroids AS c (speaker_id, model_id, collection, n, sum)
    SELECT d.speaker_id, d.model_id, s.collection, d.n, d.sum
    FROM unnest(deltas) AS d JOIN speaker.speakers AS s ON s.id = d.speaker_id
    ORDER BY d.speaker_id, d.model_id
    ON CONFLICT (speaker_id, model_id) DO UPDATE
    SET n = c.n + excluded.n, sum = speaker.add_sums(c.sum, excluded.sum);

    DELETE FROM speaker.speaker_centroids AS c
    USING unnest(deltas) AS d
    WHERE (c.speaker_id, c.model_id, c.n) = (d.speaker_id, d.model_id, 0);
END
$$;

CREATE FUNCTION speaker.embeddings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    changed CONSTANT text := CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT segment_id, model_id, embedding, 1 AS weight FROM added'
        WHEN 'DELETE' THEN 'SELECT segment_id, model_id, embedding, -1 AS weight FROM removed'
        ELSE 'SELECT segment_id, model_id, embedding, 1 AS weight FROM added
              UNION ALL SELECT segment_id, model_id, embedding, -1 FROM removed'
    END;
    deltas speaker.centroid_delta[];
BEGIN
    EXECUTE format(
        'SELECT count(*) FROM (SELECT FROM speaker.segments WHERE id IN (SELECT segment_id FROM (%s) AS c)
         ORDER BY id FOR SHARE) AS locked', changed);
    EXECUTE format(
        'SELECT array_agg((speaker_id, model_id, n, sum)::speaker.centroid_delta)
         FROM (SELECT s.speaker_id, c.model_id, sum(c.weight) AS n,
                      speaker.weighted_sum(c.embedding, c.weight) AS sum
               FROM (%s) AS c JOIN speaker.segments AS s ON s.id = c.segment_id
               WHERE s.speaker_id IS NOT NULL
               GROUP BY s.speaker_id, c.model_id) AS d', changed) INTO deltas;
    IF deltas IS NOT NULL THEN
        PERFORM speaker.apply_centroid_deltas(deltas);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER embeddings_added AFTER INSERT ON speaker.embeddings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION speaker.embeddings_changed();
CREATE TRIGGER embeddings_removed AFTER DELETE ON speaker.embeddings
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION speaker.embeddings_changed();
CREATE TRIGGER embeddings_replaced AFTER UPDATE ON speaker.embeddings
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION speaker.embeddings_changed();

CREATE FUNCTION speaker.segments_relabeled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    deltas speaker.centroid_delta[];
    stranger record;
BEGIN
    SELECT n.id AS segment_id, r.collection, s.collection AS speaker_collection INTO stranger
    FROM after AS n
    JOIN speaker.speakers AS s ON s.id = n.speaker_id
    JOIN speaker.runs AS u ON u.id = n.run_id
    JOIN speaker.recordings AS r ON r.id = u.recording_id
    WHERE s.collection <> r.collection
    LIMIT 1;
    IF FOUND THEN
        PERFORM speaker.raise_error('collections_differ', format('segment %s is in collection "%s", its speaker in "%s"',
            stranger.segment_id, stranger.collection, stranger.speaker_collection));
    END IF;

    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg((speaker_id, model_id, n, sum)::speaker.centroid_delta) INTO deltas
        FROM (SELECT c.speaker_id, e.model_id, sum(c.weight) AS n, speaker.weighted_sum(e.embedding, c.weight) AS sum
              FROM (SELECT o.id, v.speaker_id, v.weight
                    FROM before AS o JOIN after AS n USING (id),
                         LATERAL (VALUES (o.speaker_id, -1), (n.speaker_id, 1)) AS v (speaker_id, weight)
                    WHERE o.speaker_id IS DISTINCT FROM n.speaker_id AND v.speaker_id IS NOT NULL) AS c
              JOIN speaker.embeddings AS e ON e.segment_id = c.id
              GROUP BY c.speaker_id, e.model_id) AS d;
        IF deltas IS NOT NULL THEN
            PERFORM speaker.apply_centroid_deltas(deltas);
        END IF;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER segments_added AFTER INSERT ON speaker.segments
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION speaker.segments_relabeled();
CREATE TRIGGER segments_relabeled AFTER UPDATE ON speaker.segments
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION speaker.segments_relabeled();

-- A deleted segment takes its embeddings first, while its speaker can still be read.
CREATE FUNCTION speaker.segment_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM speaker.embeddings WHERE segment_id = OLD.id;
    RETURN OLD;
END
$$;
CREATE TRIGGER segment_deleted BEFORE DELETE ON speaker.segments
    FOR EACH ROW EXECUTE FUNCTION speaker.segment_deleted();

CREATE FUNCTION speaker.speakers_moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE speaker.speaker_centroids AS c SET collection = NEW.collection WHERE c.speaker_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER speakers_moved AFTER UPDATE OF collection ON speaker.speakers
    FOR EACH ROW WHEN (OLD.collection <> NEW.collection) EXECUTE FUNCTION speaker.speakers_moved();

CREATE FUNCTION speaker.embeddings_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM speaker.speaker_centroids;
    RETURN NULL;
END
$$;
CREATE TRIGGER embeddings_truncated AFTER TRUNCATE ON speaker.embeddings
    FOR EACH STATEMENT EXECUTE FUNCTION speaker.embeddings_truncated();

CREATE FUNCTION rebuild_speaker_centroids() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    rows bigint;
BEGIN
    LOCK TABLE speaker.segments, speaker.embeddings IN SHARE MODE;
    DELETE FROM speaker.speaker_centroids;
    INSERT INTO speaker.speaker_centroids (speaker_id, model_id, collection, n, sum)
    SELECT p.id, e.model_id, p.collection, count(*), speaker.weighted_sum(e.embedding, 1)
    FROM speaker.segments AS s
    JOIN speaker.embeddings AS e ON e.segment_id = s.id
    JOIN speaker.speakers AS p ON p.id = s.speaker_id
    GROUP BY p.id, e.model_id;
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN rows;
END
$$;
COMMENT ON FUNCTION rebuild_speaker_centroids() IS
    'Makes all centroids anew from labels and embeddings, and returns their number. Writers wait meanwhile.';
REVOKE EXECUTE ON FUNCTION rebuild_speaker_centroids() FROM PUBLIC;
