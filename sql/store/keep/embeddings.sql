-- A vector is in the mean of its segment's speaker, and its job is a success. Both as long as it is there.
--
-- The vector is in one table and the speaker in another, so a label and a new vector of the same segment could miss each
-- other: the segment is locked before the vector is written. With the rights of whoever writes it: this comes before
-- policies refuse the row, and must not wait for, nor find, what they hide.

CREATE OR REPLACE FUNCTION @store@.embedding_comes() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM @store@.segments AS s
    WHERE s.id = NEW.segment_id AND s.collection = NEW.collection FOR NO KEY UPDATE;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER embedding_comes BEFORE INSERT ON @store@.embeddings
    FOR EACH ROW EXECUTE FUNCTION @store@.embedding_comes();

CREATE OR REPLACE FUNCTION @store@.embeddings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed CONSTANT text := CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT segment_id, collection, model_id, embedding, 1 AS weight FROM added'
        WHEN 'DELETE' THEN 'SELECT segment_id, collection, model_id, embedding, -1 AS weight FROM removed'
        ELSE 'SELECT segment_id, collection, model_id, embedding, 1 AS weight FROM added
              UNION ALL SELECT segment_id, collection, model_id, embedding, -1 FROM removed'
    END;
    mixed bigint;
    deltas @store@.centroid_delta[];
BEGIN
    PERFORM @store@.check_table(TG_RELID, 'embeddings');
    -- Planned anew each time: a plan made for one row serves thousands badly.
    -- Vectors that were there are locked now, and so their segments must not be waited for: whoever changes a label or deletes a
    -- segment has that one, and waits for its vector. In read committed that is enough. In other isolations a label that came after
    -- the snapshot cannot be seen, but is an error here.
    IF TG_OP <> 'INSERT' AND current_setting('transaction_isolation') <> 'read committed' THEN
        EXECUTE format(
            'SELECT count(*) FROM (SELECT FROM @store@.segments AS s
                                   WHERE (s.id, s.collection) IN (SELECT c.segment_id, c.collection FROM (%s) AS c)
                                   ORDER BY s.id FOR SHARE SKIP LOCKED) AS locked', changed);
    END IF;
    IF TG_OP = 'DELETE' THEN
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.embedding_jobs AS j
                                   WHERE (j.segment_id, j.model_id, j.collection) IN (
                                       SELECT r.segment_id, r.model_id, r.collection FROM removed AS r)
                                   ORDER BY j.segment_id, j.model_id FOR NO KEY UPDATE) AS locked';
        -- Of segments that are deleted themselves nothing is left to do.
        EXECUTE
            'UPDATE @store@.embedding_jobs AS j
             SET status = ''pending'', status_before = NULL, error_code = NULL, error = NULL, attempts = 0, crashes = 0,
                 lease = NULL, next_attempt_at = ''-infinity'', source_hash = NULL
             FROM removed AS r
             JOIN @store@.segments AS s ON (s.id, s.collection) = (r.segment_id, r.collection)
             WHERE j.segment_id = r.segment_id AND j.model_id = r.model_id AND j.collection = r.collection
               AND j.status <> ''pending''';
    ELSE
        -- Whoever changes the audio locks the segments after it, and then sees vectors that came meanwhile. Audio that changed after
        -- the snapshot cannot be seen, but is an error here.
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            EXECUTE
                'SELECT count(*) FROM (SELECT FROM @store@.recordings AS r
                                       WHERE (r.id, r.collection) IN (
                                           SELECT s.recording_id, s.collection FROM added AS a
                                           JOIN @store@.segment_sources AS s
                                             ON (s.segment_id, s.collection) = (a.segment_id, a.collection))
                                       ORDER BY r.id FOR SHARE SKIP LOCKED) AS locked';
        END IF;
        EXECUTE
            'SELECT min(a.segment_id) FROM added AS a
             WHERE NOT EXISTS (SELECT FROM @store@.segments AS s WHERE (s.id, s.collection) = (a.segment_id, a.collection))'
            INTO mixed;
        IF mixed IS NOT NULL THEN
            PERFORM @store@.raise_error('changed_together', format('segment %s is deleted in the statement that changes its vector', mixed));
        END IF;
        EXECUTE
            'INSERT INTO @store@.embedding_jobs AS j
                 (segment_id, collection, model_id, status, attempts, next_attempt_at, source_hash, processed_at)
             SELECT a.segment_id, a.collection, a.model_id, ''success'', 1, NULL, s.source_hash, clock_timestamp()
             FROM added AS a
             JOIN @store@.segment_sources AS s ON (s.segment_id, s.collection) = (a.segment_id, a.collection)
             -- Other bounds or audio in the same statement have taken it away again.
             JOIN @store@.embeddings AS e
               ON (e.segment_id, e.model_id, e.collection) = (a.segment_id, a.model_id, a.collection)
             ORDER BY a.segment_id, a.model_id
             ON CONFLICT (segment_id, model_id, collection) DO UPDATE
             SET status = ''success'', status_before = NULL, error_code = NULL, error = NULL, attempts = j.attempts + 1,
                 crashes = 0, lease = NULL, next_attempt_at = NULL, source_hash = excluded.source_hash,
                 processed_at = excluded.processed_at';
    END IF;
    EXECUTE format(
        'SELECT array_agg((d.speaker_id, d.collection, d.model_id, d.n, d.sum)::@store@.centroid_delta)
         FROM (SELECT s.speaker_id, s.collection, c.model_id, sum(c.weight) AS n,
                      @extension@.speaker_weighted_sum(c.embedding, c.weight::float8) AS sum
               FROM (%s) AS c JOIN @store@.segments AS s ON (s.id, s.collection) = (c.segment_id, c.collection)
               WHERE s.speaker_id IS NOT NULL AND s.label_confirmed
               GROUP BY s.speaker_id, s.collection, c.model_id) AS d', changed) INTO deltas;
    PERFORM @store@.apply_centroid_deltas(deltas) WHERE deltas IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER embeddings_added AFTER INSERT ON @store@.embeddings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION @store@.embeddings_changed();
CREATE OR REPLACE TRIGGER embeddings_removed AFTER DELETE ON @store@.embeddings
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION @store@.embeddings_changed();
CREATE OR REPLACE TRIGGER embeddings_replaced AFTER UPDATE ON @store@.embeddings
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION @store@.embeddings_changed();
