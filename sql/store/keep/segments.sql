-- Whatever changes a segment: its label goes into the history and the means, other bounds make it due, and what is
-- deleted leaves nothing behind but its history.

-- The facts of a label ------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION @store@.segment_label() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.labelled_at IS NOT DISTINCT FROM OLD.labelled_at THEN
        -- It says who speaks, and nothing of how that was found.
        NEW.label_source := 'manual';
        NEW.label_score := NULL;
        NEW.label_model_id := NULL;
        NEW.label_clustering_id := NULL;
        NEW.label_confirmed := true;
        NEW.label_batch := NULL;
    ELSIF TG_OP = 'UPDATE' AND NEW.speaker_id IS NULL AND NEW.labelled_at IS NULL THEN
        -- As one that was never labelled. The history has it otherwise.
        NEW.label_source := NULL;
        NEW.label_score := NULL;
        NEW.label_model_id := NULL;
        NEW.label_clustering_id := NULL;
        NEW.label_confirmed := NULL;
        NEW.label_batch := NULL;
        RETURN NEW;
    END IF;
    NEW.label_source := coalesce(NEW.label_source, 'manual');
    -- What nobody has looked at is a suggestion, unless the user has it otherwise.
    NEW.label_confirmed := CASE WHEN NEW.speaker_id IS NOT NULL THEN coalesce(
        NEW.label_confirmed, NEW.label_source NOT IN ('knn', 'chunk') OR @extension@.speaker_confirm_automatic_labels()) END;
    -- A label that comes back has its time, if the history knows of it.
    IF TG_OP = 'INSERT' OR NEW.labelled_at IS NULL OR OLD.labelled_at IS NULL OR NEW.labelled_at >= OLD.labelled_at OR NOT EXISTS (
        SELECT FROM @store@.assignments AS a
        WHERE a.segment_id = NEW.id AND a.collection = NEW.collection
          AND a.previous_labelled_at = NEW.labelled_at AND a.previous_speaker_id IS NOT DISTINCT FROM NEW.speaker_id)
    THEN
        NEW.labelled_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER segment_label BEFORE UPDATE OF speaker_id ON @store@.segments FOR EACH ROW
    WHEN (OLD.speaker_id IS DISTINCT FROM NEW.speaker_id) EXECUTE FUNCTION @store@.segment_label();
CREATE OR REPLACE TRIGGER segment_label_new BEFORE INSERT ON @store@.segments FOR EACH ROW
    WHEN (NEW.speaker_id IS NOT NULL) EXECUTE FUNCTION @store@.segment_label();

-- What the history has of a label is not rewritten beside it.
CREATE OR REPLACE FUNCTION @store@.label_is_fixed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @store@.raise_error('label_fixed', format('how segment %s was labelled cannot change without its speaker', OLD.id));
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER label_is_fixed
    BEFORE UPDATE OF label_source, label_score, label_model_id, label_clustering_id, label_confirmed, label_batch, labelled_at ON @store@.segments FOR EACH ROW
    -- Column by column: two rows compared read otherwise once they are dumped and restored.
    WHEN (OLD.speaker_id IS NOT DISTINCT FROM NEW.speaker_id
          AND (OLD.label_source IS DISTINCT FROM NEW.label_source
               OR OLD.label_score IS DISTINCT FROM NEW.label_score
               OR OLD.label_model_id IS DISTINCT FROM NEW.label_model_id
               OR OLD.label_clustering_id IS DISTINCT FROM NEW.label_clustering_id
               OR OLD.labelled_at IS DISTINCT FROM NEW.labelled_at
               -- Confirmed or not, by which call: that may change.
               OR NEW.label_confirmed IS NULL AND NEW.speaker_id IS NOT NULL
               OR NEW.label_confirmed IS NOT NULL AND NEW.speaker_id IS NULL
               OR OLD.label_confirmed IS NOT DISTINCT FROM NEW.label_confirmed AND OLD.label_batch IS DISTINCT FROM NEW.label_batch))
    EXECUTE FUNCTION @store@.label_is_fixed();

-- Why it was rejected was said of the old bounds, or the old channel.
CREATE OR REPLACE FUNCTION @store@.segment_bounds() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.end_time > NEW.start_time AND NEW.rejected IS NOT DISTINCT FROM OLD.rejected THEN
        NEW.rejected := NULL;
        NEW.rejected_code := NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER segment_bounds BEFORE UPDATE OF start_time, end_time, channel ON @store@.segments FOR EACH ROW
    WHEN (OLD.start_time <> NEW.start_time OR OLD.end_time <> NEW.end_time OR OLD.channel IS DISTINCT FROM NEW.channel)
    EXECUTE FUNCTION @store@.segment_bounds();

-- New segments ------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION @store@.segments_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @store@.check_table(TG_RELID, 'segments');
    INSERT INTO @store@.assignments
        (collection, segment_id, speaker_id, speaker, source, score, model_id, clustering_id, confirmed, batch_id,
         assigned_by, assigned_role, assigned_at)
    SELECT n.collection, n.id, n.speaker_id, p.name, n.label_source, n.label_score, n.label_model_id, n.label_clustering_id,
           n.label_confirmed, n.label_batch, session_user, nullif(current_setting('role'), 'none'), n.labelled_at
    FROM after AS n JOIN @store@.speakers AS p ON p.id = n.speaker_id AND p.collection = n.collection
    ORDER BY n.id;
    -- In the ledger from the start, so that sessions that look for work need not enter it.
    INSERT INTO @store@.embedding_jobs (segment_id, collection, model_id)
    SELECT n.id, n.collection, m.id
    FROM after AS n, @store@.models AS m
    WHERE m.name = @extension@.speaker_default_model() AND m.is_current
    ORDER BY n.id;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER segments_added AFTER INSERT ON @store@.segments
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION @store@.segments_added();

-- Other labels, other bounds -------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION @store@.segments_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relabelled boolean;
    mixed bigint;
    moved bigint[];
    homes text[];
    people bigint[];
    deltas @store@.centroid_delta[];
BEGIN
    PERFORM @store@.check_table(TG_RELID, 'segments');
    -- All of it planned anew each time: a plan made for one row serves thousands badly.
    EXECUTE
        'SELECT bool_or((o.speaker_id, o.label_confirmed) IS DISTINCT FROM (n.speaker_id, n.label_confirmed)),
                array_agg(n.id ORDER BY n.id) FILTER (WHERE (o.start_time, o.end_time, o.channel) IS DISTINCT FROM (n.start_time, n.end_time, n.channel)),
                array_agg(n.collection ORDER BY n.id) FILTER (WHERE (o.start_time, o.end_time, o.channel) IS DISTINCT FROM (n.start_time, n.end_time, n.channel)),
                array_agg(o.speaker_id) || array_agg(n.speaker_id)
         FROM after AS n JOIN before AS o ON (o.id, o.collection) = (n.id, n.collection)'
        INTO relabelled, moved, homes, people;
    IF relabelled THEN
        -- A vector that the same statement has written, or made stale, or taken away, is counted for the one speaker or the
        -- other, and nobody knows any more for which.
        EXECUTE
            'SELECT min(n.id)
             FROM after AS n
             JOIN before AS o ON (o.id, o.collection) = (n.id, n.collection)
             LEFT JOIN @store@.segments AS s ON (s.id, s.collection) = (n.id, n.collection)
             LEFT JOIN @store@.embedding_jobs AS j ON (j.segment_id, j.collection) = (n.id, n.collection)
             LEFT JOIN @store@.embeddings AS e ON (e.segment_id, e.collection) = (n.id, n.collection)
             WHERE (o.speaker_id, o.label_confirmed) IS DISTINCT FROM (n.speaker_id, n.label_confirmed)
               AND (s.id IS NULL
                    -- In this transaction, and not before the segment.
                    OR e.xmin = s.xmin AND e.cmin::text::bigint >= s.cmin::text::bigint
                    OR j.xmin = s.xmin AND j.cmin::text::bigint >= s.cmin::text::bigint
                    OR j.status = ''success'' AND e.segment_id IS NULL)'
            INTO mixed;
        IF mixed IS NOT NULL THEN
            PERFORM @store@.raise_error('changed_together', format('the label of segment %s and its vector change in one statement', mixed));
        END IF;
    END IF;
    -- No vector comes while the segment is locked; one that is there must stay as it is. Those who write vectors do not wait for
    -- segments, so that is for these locks to say.
    IF relabelled OR moved IS NOT NULL THEN
        EXECUTE format(
            'SELECT count(*) FROM (SELECT FROM @store@.embeddings AS e
                                   WHERE (e.segment_id, e.collection) IN (
                                       SELECT n.id, n.collection FROM after AS n
                                       JOIN before AS o ON (o.id, o.collection) = (n.id, n.collection)
                                       WHERE (o.speaker_id, o.label_confirmed) IS DISTINCT FROM (n.speaker_id, n.label_confirmed)
                                          OR (o.start_time, o.end_time, o.channel) IS DISTINCT FROM (n.start_time, n.end_time, n.channel))
                                   ORDER BY e.segment_id, e.model_id FOR %s) AS locked',
            CASE WHEN moved IS NULL THEN 'SHARE' ELSE 'UPDATE' END);
    END IF;
    IF relabelled AND current_setting('transaction_isolation') <> 'read committed' THEN
        -- A vector that came after the snapshot cannot be seen. Its job can, and is an error here.
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.embedding_jobs AS j
                                   WHERE (j.segment_id, j.collection) IN (
                                       SELECT n.id, n.collection FROM after AS n
                                       JOIN before AS o ON (o.id, o.collection) = (n.id, n.collection)
                                       WHERE (o.speaker_id, o.label_confirmed) IS DISTINCT FROM (n.speaker_id, n.label_confirmed))
                                   ORDER BY j.segment_id, j.model_id FOR SHARE SKIP LOCKED) AS locked';
    END IF;
    IF moved IS NOT NULL THEN
        PERFORM FROM @store@.embedding_jobs AS j
        WHERE j.segment_id = ANY (moved) AND j.collection = ANY (homes)
        ORDER BY j.segment_id, j.model_id FOR NO KEY UPDATE;
        -- The means of both steps below at once, in order.
        PERFORM FROM @store@.speaker_centroids AS c
        WHERE relabelled AND c.speaker_id = ANY (people) AND c.collection = ANY (homes)
        ORDER BY c.speaker_id, c.model_id FOR NO KEY UPDATE;
    END IF;

    IF relabelled THEN
        EXECUTE
            'INSERT INTO @store@.assignments
                 (collection, segment_id, speaker_id, speaker, previous_speaker_id, previous_speaker, previous_source,
                  previous_labelled_at, source, score, model_id, clustering_id, confirmed, batch_id, assigned_by, assigned_role,
                  assigned_at)
             SELECT n.collection, n.id, n.speaker_id, p.name, o.speaker_id, coalesce(q.name, t.speaker), o.label_source, o.labelled_at,
                    CASE WHEN o.speaker_id IS NOT DISTINCT FROM n.speaker_id THEN ''confirm''
                         ELSE coalesce(n.label_source, ''undo'') END,
                    n.label_score, n.label_model_id, n.label_clustering_id, n.label_confirmed, n.label_batch, session_user,
                    nullif(current_setting(''role''), ''none''),
                    -- A label that comes back has its old time; it comes back now.
                    CASE WHEN o.labelled_at IS NULL OR n.labelled_at > o.labelled_at THEN n.labelled_at ELSE clock_timestamp() END
             FROM after AS n
             JOIN before AS o ON (o.id, o.collection) = (n.id, n.collection)
             LEFT JOIN @store@.speakers AS p ON (p.id, p.collection) = (n.speaker_id, n.collection)
             LEFT JOIN @store@.speakers AS q ON (q.id, q.collection) = (o.speaker_id, o.collection)
             -- Who was deleted has a name in the history only.
             LEFT JOIN LATERAL (SELECT a.speaker_id, a.speaker, a.previous_speaker_id FROM @store@.assignments AS a
                                WHERE o.speaker_id IS NOT NULL AND q.id IS NULL
                                  AND a.segment_id = n.id AND a.collection = n.collection
                                ORDER BY a.id DESC LIMIT 1) AS t ON true
             WHERE (o.speaker_id, o.label_confirmed) IS DISTINCT FROM (n.speaker_id, n.label_confirmed)
               -- What speakers_deleted() does it has told already.
               AND (n.speaker_id IS NULL AND t.speaker_id IS NULL AND t.previous_speaker_id = o.speaker_id) IS NOT TRUE
             ORDER BY n.id';
        EXECUTE
            'SELECT array_agg((d.speaker_id, d.collection, d.model_id, d.n, d.sum)::@store@.centroid_delta)
             FROM (SELECT c.speaker_id, c.collection, e.model_id, sum(c.weight) AS n,
                          @extension@.speaker_weighted_sum(e.embedding, c.weight::float8) AS sum
                   FROM (SELECT n.id, n.collection, v.speaker_id, v.weight
                         FROM after AS n
                         JOIN before AS o ON (o.id, o.collection) = (n.id, n.collection),
                              LATERAL (VALUES (o.speaker_id, o.label_confirmed, -1), (n.speaker_id, n.label_confirmed, 1))
                                  AS v (speaker_id, confirmed, weight)
                         WHERE (o.speaker_id, o.label_confirmed) IS DISTINCT FROM (n.speaker_id, n.label_confirmed) AND v.speaker_id IS NOT NULL AND v.confirmed) AS c
                   JOIN @store@.embeddings AS e ON (e.segment_id, e.collection) = (c.id, c.collection)
                   GROUP BY c.speaker_id, c.collection, e.model_id) AS d'
            INTO deltas;
        PERFORM @store@.apply_centroid_deltas(deltas) WHERE deltas IS NOT NULL;
    END IF;
    -- After the labels: what is forgotten leaves the mean that it is in now.
    PERFORM @store@.forget_stale(moved, homes) WHERE moved IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER segments_changed AFTER UPDATE ON @store@.segments
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION @store@.segments_changed();

-- Deleted segments ----------------------------------------------------------------------------------------------------------
--
-- Their vectors leave the means of their speakers. All at once: a speaker's mean changes once and not once a segment, and
-- speakers are locked in order. That has to happen before the foreign keys delete the vectors, one segment after the other,
-- and after all segments are known; so it is a trigger for each row that sees the whole statement, does everything
-- at the first row that has something left, and fires before the foreign keys' triggers, by its name: these start with
-- RI_, and triggers fire in the order of their names.

CREATE OR REPLACE FUNCTION @store@.segments_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mixed bigint;
    deltas @store@.centroid_delta[];
BEGIN
    IF TG_RELID <> '@store@.segments'::regclass THEN
        PERFORM @store@.check_table(TG_RELID, 'segments');
    END IF;
    IF EXISTS (SELECT FROM @store@.cluster_members AS m WHERE m.segment_id = OLD.id AND m.collection = OLD.collection) THEN
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.cluster_members AS m
                                   WHERE (m.segment_id, m.collection) IN (SELECT g.id, g.collection FROM gone AS g)
                                   ORDER BY m.segment_id, m.clustering_id FOR UPDATE) AS locked';
        EXECUTE
            'DELETE FROM @store@.cluster_members AS m USING gone AS g
             WHERE m.segment_id = g.id AND m.collection = g.collection';
    END IF;
    IF EXISTS (SELECT FROM @store@.embedding_jobs AS j WHERE j.segment_id = OLD.id AND j.collection = OLD.collection) THEN
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.embeddings AS e
                                   WHERE (e.segment_id, e.collection) IN (SELECT g.id, g.collection FROM gone AS g)
                                   ORDER BY e.segment_id, e.model_id FOR UPDATE) AS locked';
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.embedding_jobs AS j
                                   WHERE (j.segment_id, j.collection) IN (SELECT g.id, g.collection FROM gone AS g)
                                   ORDER BY j.segment_id, j.model_id FOR UPDATE) AS locked';
        -- A vector that the same statement has taken away cannot be taken out of the mean any more.
        EXECUTE
            'SELECT min(j.segment_id)
             FROM gone AS g
             JOIN @store@.embedding_jobs AS j ON j.segment_id = g.id AND j.collection = g.collection AND j.status = ''success''
             LEFT JOIN @store@.embeddings AS e
               ON (e.segment_id, e.model_id, e.collection) = (j.segment_id, j.model_id, j.collection)
             WHERE g.speaker_id IS NOT NULL AND g.label_confirmed AND e.segment_id IS NULL'
            INTO mixed;
        IF mixed IS NOT NULL THEN
            PERFORM @store@.raise_error('changed_together', format('segment %s and its vector are deleted in one statement', mixed));
        END IF;
        EXECUTE
            'DELETE FROM @store@.embedding_jobs AS j USING gone AS g
             WHERE j.segment_id = g.id AND j.collection = g.collection';
        EXECUTE
            'WITH deleted AS (
                 DELETE FROM @store@.embeddings AS e USING gone AS g
                 WHERE e.segment_id = g.id AND e.collection = g.collection
                 RETURNING CASE WHEN g.label_confirmed THEN g.speaker_id END AS speaker_id, g.collection, e.model_id, e.embedding
             )
             SELECT array_agg((d.speaker_id, d.collection, d.model_id, d.n, d.sum)::@store@.centroid_delta)
             FROM (SELECT x.speaker_id, x.collection, x.model_id, -count(*) AS n,
                          @extension@.speaker_weighted_sum(x.embedding, (-1)::float8) AS sum
                   FROM deleted AS x WHERE x.speaker_id IS NOT NULL
                   GROUP BY x.speaker_id, x.collection, x.model_id) AS d'
            INTO deltas;
        PERFORM @store@.apply_centroid_deltas(deltas) WHERE deltas IS NOT NULL;
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER "A_segments_deleted" AFTER DELETE ON @store@.segments
    REFERENCING OLD TABLE AS gone FOR EACH ROW EXECUTE FUNCTION @store@.segments_deleted();

CREATE OR REPLACE FUNCTION @store@.labels_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @store@.check_table(TG_RELID, 'segments');
    INSERT INTO @store@.assignments
        (collection, segment_id, previous_speaker_id, previous_speaker, source, assigned_by, assigned_role, assigned_at)
    SELECT g.collection, g.id, g.speaker_id, coalesce(p.name, t.speaker), 'deletion', session_user,
           nullif(current_setting('role'), 'none'), clock_timestamp()
    FROM gone AS g
    LEFT JOIN @store@.speakers AS p ON p.id = g.speaker_id AND p.collection = g.collection
    -- A speaker who is deleted by the same statement has a name in the history only.
    LEFT JOIN LATERAL (SELECT a.speaker FROM @store@.assignments AS a
                       WHERE p.id IS NULL AND a.segment_id = g.id AND a.collection = g.collection AND a.speaker_id = g.speaker_id
                       ORDER BY a.id DESC LIMIT 1) AS t ON true
    WHERE g.speaker_id IS NOT NULL
    ORDER BY g.id;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER labels_deleted AFTER DELETE ON @store@.segments
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION @store@.labels_deleted();

-- A speaker that is deleted leaves its segments unknown ------------------------------------------------------------------------

-- All of a statement at once, as above. The history is written here, which still knows the names.
CREATE OR REPLACE FUNCTION @store@.speakers_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
BEGIN
    IF TG_RELID <> '@store@.speakers'::regclass THEN
        PERFORM @store@.check_table(TG_RELID, 'speakers');
    END IF;
    IF EXISTS (SELECT FROM @store@.segments AS s WHERE s.speaker_id = OLD.id AND s.collection = OLD.collection) THEN
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.segments AS s
                                   WHERE (s.speaker_id, s.collection) IN (SELECT g.id, g.collection FROM gone AS g)
                                   ORDER BY s.id FOR NO KEY UPDATE) AS locked';
        EXECUTE
            'INSERT INTO @store@.assignments
                 (collection, segment_id, previous_speaker_id, previous_speaker, source, assigned_by, assigned_role, assigned_at)
             SELECT g.collection, s.id, g.id, g.name, ''deletion'', session_user, nullif(current_setting(''role''), ''none''), $1
             FROM gone AS g JOIN @store@.segments AS s ON s.speaker_id = g.id AND s.collection = g.collection
             ORDER BY s.id' USING at;
        EXECUTE
            'UPDATE @store@.segments AS s
             SET speaker_id = NULL, label_source = ''deletion'', label_score = NULL, label_model_id = NULL,
                 label_clustering_id = NULL, label_confirmed = NULL, label_batch = NULL, labelled_at = $1
             FROM gone AS g WHERE s.speaker_id = g.id AND s.collection = g.collection' USING at;
    END IF;
    DELETE FROM @store@.speaker_centroids AS c WHERE c.speaker_id = OLD.id AND c.collection = OLD.collection;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER "A_speakers_deleted" AFTER DELETE ON @store@.speakers
    REFERENCING OLD TABLE AS gone FOR EACH ROW EXECUTE FUNCTION @store@.speakers_deleted();
