-- Backfills: many segments, several sessions, and nothing lost when one of them ends.
--
-- A batch is claimed, the claim is committed, then the work is done and committed. A claim is a lease: an advisory lock
-- of the session at work. Nobody holds it any more: the session is gone, and so perhaps because of a segment of that
-- batch. Each of them is then a suspect, tried alone while nobody else works on anything, so that none is blamed for
-- another: that is the gate, which batches share and a suspect has for itself.

CREATE FUNCTION speaker.lost_lease(lease int) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT NOT EXISTS (
        SELECT FROM pg_catalog.pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
          AND (l.classid, l.objid) = (speaker.lease_class()::oid, lost_lease.lease::oid))
$$;
COMMENT ON FUNCTION speaker.lost_lease(int) IS 'Whether the session that claimed something under this lease is gone.';

CREATE FUNCTION speaker.max_crashes() RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 4;
COMMENT ON FUNCTION speaker.max_crashes() IS 'Sessions that a segment may end, the first in company and the others alone, before it is dead.';

-- Takes back what was claimed by sessions that are gone.
CREATE FUNCTION speaker.recover(model_id int) RETURNS void
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    UPDATE speaker.embedding_jobs AS j
    SET lease = NULL, crashes = j.crashes + 1, processed_at = clock_timestamp(),
        status = CASE WHEN j.crashes + 1 >= speaker.max_crashes() THEN 'dead' ELSE 'pending' END,
        error_code = CASE WHEN j.crashes + 1 >= speaker.max_crashes() THEN 'session_ended' END,
        error = CASE WHEN j.crashes + 1 >= speaker.max_crashes()
                     THEN format('the session ended %s times at this segment', j.crashes + 1) END,
        next_attempt_at = CASE WHEN j.crashes > 0 THEN now() + speaker.backoff(j.crashes) END
    FROM (SELECT DISTINCT r.lease FROM speaker.embedding_jobs AS r
          WHERE r.model_id = recover.model_id AND r.status = 'running') AS l
    WHERE j.model_id = recover.model_id AND j.status = 'running' AND j.lease = l.lease AND speaker.lost_lease(l.lease)
$$;

CREATE FUNCTION speaker.claim(model_id int, batch_size int, runs bigint[]) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    ids bigint[] := '{}';
    claimed CONSTANT int := nextval('speaker.lease_seq');
BEGIN
    PERFORM speaker.recover(model_id);
    IF EXISTS (SELECT FROM speaker.embedding_jobs AS j
               WHERE j.model_id = claim.model_id AND j.status = 'pending' AND j.crashes > 0 AND speaker.is_due(j)) THEN
        PERFORM speaker.enter_backfill(alone => true);
        ids := ARRAY(
            SELECT j.segment_id FROM speaker.embedding_jobs AS j
            WHERE j.model_id = claim.model_id AND j.status = 'pending' AND j.crashes > 0 AND speaker.is_due(j)
            ORDER BY j.crashes, j.segment_id
            LIMIT 1 FOR UPDATE SKIP LOCKED);
        IF ids = '{}' THEN
            PERFORM speaker.leave_backfill();
        END IF;
    END IF;
    IF ids = '{}' THEN
        PERFORM speaker.enter_backfill(alone => false);
        ids := ARRAY(
            SELECT j.segment_id FROM speaker.embedding_jobs AS j
            WHERE j.model_id = claim.model_id AND j.status IN ('pending', 'fail', 'missing_audio') AND j.crashes = 0
              AND speaker.is_due(j)
              AND (runs IS NULL
                   OR EXISTS (SELECT FROM speaker.segments AS s WHERE s.id = j.segment_id AND s.run_id = ANY (runs)))
            ORDER BY j.segment_id
            LIMIT batch_size FOR UPDATE SKIP LOCKED);
    END IF;
    IF ids = '{}' THEN
        PERFORM speaker.leave_backfill();
        RETURN NULL;
    END IF;
    PERFORM speaker.hold_lease(claimed);
    UPDATE speaker.embedding_jobs AS j
    SET status = 'running', lease = claimed, error_code = NULL, error = NULL, next_attempt_at = NULL,
        -- What dies of it is dead as it is now: it is due again once it changes.
        source_hash = s.source_hash
    FROM speaker.segment_sources AS s
    WHERE j.model_id = claim.model_id AND j.segment_id = ANY (ids) AND s.segment_id = j.segment_id;
    RETURN claimed;
END
$$;
COMMENT ON FUNCTION speaker.claim(int, int, bigint[]) IS
    'Claims a batch, or one suspect, and returns the lease; NULL where nothing is due. To be committed before the work.';

CREATE FUNCTION speaker.work(lease int, model_id int)
RETURNS TABLE (tried bigint, embedded bigint, server_error text, message text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    ids CONSTANT bigint[] := ARRAY(
        SELECT j.segment_id FROM speaker.embedding_jobs AS j
        WHERE j.model_id = work.model_id AND j.status = 'running' AND j.lease = work.lease);
    one bigint;
BEGIN
    tried := cardinality(ids);
    BEGIN
        SELECT count(*) FILTER (WHERE e.status = 'success') INTO embedded FROM speaker.embed_segments(ids, model_id) AS e;
        RETURN NEXT;
        RETURN;
    EXCEPTION WHEN OTHERS THEN
        server_error := SQLSTATE;
        message := SQLERRM;
    END;
    IF left(server_error, 2) IN ('53', '58', 'F0') OR server_error IN ('40001', '40P01', '55P03') THEN
        -- Memory, disk, configuration, or a lock: no segment's fault.
        UPDATE speaker.embedding_jobs AS j SET status = 'pending', lease = NULL
        WHERE j.model_id = work.model_id AND j.segment_id = ANY (ids);
        tried := 0;
        embedded := 0;
        RETURN NEXT;
        RETURN;
    END IF;
    -- One of them. Each by itself, so that the others get through.
    embedded := 0;
    FOREACH one IN ARRAY ids LOOP
        BEGIN
            embedded := embedded + (
                SELECT count(*) FILTER (WHERE e.status = 'success') FROM speaker.embed_segments(ARRAY[one], model_id) AS e);
        EXCEPTION WHEN OTHERS THEN
            PERFORM speaker.record(ARRAY[(
                one, s.source_hash, NULL, NULL, 'fail', 'unexpected_error',
                SQLSTATE || ': ' || SQLERRM)::speaker.outcome], work.model_id, true)
            FROM speaker.segment_sources AS s
            WHERE s.segment_id = one;
        END;
    END LOOP;
    server_error := NULL;
    message := NULL;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION speaker.work(int, int) IS
    'Embeds what was claimed under a lease. server_error and message: what went wrong with the server rather than with a segment; the claim is taken back.';

-- No SET search_path here: a procedure that has one cannot commit. So every name is qualified.
CREATE PROCEDURE backfill_embeddings(
    batch_size int DEFAULT 200, model text DEFAULT NULL, run_id bigint DEFAULT NULL, recording text DEFAULT NULL,
    collection text DEFAULT NULL, time_budget interval DEFAULT NULL, dry_run boolean DEFAULT false,
    INOUT embedded bigint DEFAULT 0, INOUT failed bigint DEFAULT 0, INOUT remaining bigint DEFAULT 0)
LANGUAGE plpgsql AS $$
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    runs CONSTANT bigint[] := speaker.scope(run_id, recording, collection);
    started CONSTANT timestamptz := pg_catalog.clock_timestamp();
    due bigint;
    lease int;
    batch record;
    seconds float8;
    done bigint := 0;
BEGIN
    IF batch_size IS NULL OR batch_size < 1 THEN
        PERFORM speaker.raise_error('invalid_argument', 'batch_size is less than 1');
    END IF;
    embedded := 0;
    failed := 0;
    due := speaker.count_due(chosen, runs);
    remaining := due;
    IF dry_run THEN
        RAISE NOTICE 'backfill: % segments are due', due;
        RETURN;
    END IF;
    -- A model that cannot be used is not the segments' fault.
    PERFORM speaker.load_model((speaker.check_model(chosen)).name);

    LOOP
        PERFORM speaker.enqueue(chosen, runs) WHERE done = 0;
        COMMIT;
        lease := speaker.claim(chosen, batch_size, runs);
        COMMIT;
        IF lease IS NULL THEN
            EXIT WHEN speaker.enqueue(chosen, runs) = 0;
            CONTINUE;
        END IF;
        SELECT * INTO batch FROM speaker.work(lease, chosen);
        COMMIT;
        PERFORM speaker.leave_backfill();
        IF batch.server_error IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = batch.server_error, MESSAGE = batch.message;
        END IF;

        done := done + batch.tried;
        embedded := embedded + batch.embedded;
        failed := done - embedded;
        seconds := extract(epoch FROM pg_catalog.clock_timestamp() - started);
        RAISE NOTICE 'backfill: % of %, % failed, % segments/s, about % left', done, greatest(due, done), failed,
            round((done / seconds)::numeric, 1),
            pg_catalog.justify_interval(pg_catalog.make_interval(secs => ceil(greatest(due - done, 0) * seconds / greatest(done, 1))));
        EXIT WHEN pg_catalog.clock_timestamp() - started >= time_budget;
    END LOOP;
    remaining := speaker.count_due(chosen, runs);
    RAISE NOTICE 'backfill: % embedded, % failed, % still due', embedded, failed, remaining;
END
$$;
COMMENT ON PROCEDURE backfill_embeddings(int, text, bigint, text, text, interval, boolean, bigint, bigint, bigint) IS
    'Embeds every segment that is due, committing after each batch; several sessions may do it at once. run_id, recording or collection narrow it, time_budget ends it after the batch that passes it, dry_run only counts. Not inside a transaction: there, embed_due().';

CREATE FUNCTION embed_due(max_segments int DEFAULT 100, model text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, status text, error_code text, error text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    ids bigint[];
BEGIN
    IF max_segments IS NULL OR max_segments < 1 THEN
        PERFORM speaker.raise_error('invalid_argument', 'max_segments is less than 1');
    END IF;
    FOR attempt IN 1 .. 2 LOOP
        -- The locks are the claim: they end with the caller's transaction, however that ends. What has ended a session
        -- is left to backfill_embeddings(), which alone can record that it did so again.
        ids := ARRAY(
            SELECT j.segment_id FROM speaker.embedding_jobs AS j
            WHERE j.model_id = chosen AND j.status IN ('pending', 'fail', 'missing_audio') AND j.crashes = 0
              AND speaker.is_due(j)
            ORDER BY j.segment_id
            LIMIT max_segments FOR UPDATE SKIP LOCKED);
        EXIT WHEN ids <> '{}' OR speaker.enqueue(chosen) = 0;
    END LOOP;
    RETURN QUERY SELECT * FROM speaker.embed_segments(ids, chosen, patient => false);
END
$$;
COMMENT ON FUNCTION embed_due(int, text) IS
    'Embeds one batch of due segments in the caller''s transaction, and returns a row for each; none: nothing is due. For clients that cannot call backfill_embeddings().';

-- What a person reads --------------------------------------------------------------------------------------------------

CREATE VIEW speaker.backfill_progress WITH (security_invoker = true) AS
SELECT m.name AS model, m.version, t.total, c.done, t.total - c.done - c.closed AS remaining, c.running, c.failed,
       c.rejected, c.missing_audio, c.dead, round(c.done * 100.0 / nullif(t.total, 0), 1) AS percent,
       r.per_minute, (t.total - c.done - c.closed) / nullif(r.per_minute, 0) * interval '1 minute' AS eta
FROM speaker.models AS m
CROSS JOIN (SELECT count(*) AS total FROM speaker.segments) AS t
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE j.status = 'success') + (
               SELECT count(*) FROM speaker.embeddings AS e
               WHERE e.model_id = m.id
                 AND NOT EXISTS (SELECT FROM speaker.embedding_jobs AS x
                                 WHERE (x.segment_id, x.model_id) = (e.segment_id, e.model_id))) AS done,
           count(*) FILTER (WHERE j.status IN ('rejected', 'missing_audio', 'dead')) AS closed,
           count(*) FILTER (WHERE j.status = 'running') AS running,
           count(*) FILTER (WHERE j.status = 'fail') AS failed,
           count(*) FILTER (WHERE j.status = 'rejected') AS rejected,
           count(*) FILTER (WHERE j.status = 'missing_audio') AS missing_audio,
           count(*) FILTER (WHERE j.status = 'dead') AS dead
    FROM speaker.embedding_jobs AS j WHERE j.model_id = m.id
) AS c
CROSS JOIN LATERAL (
    -- Of the last five minutes, or of as much of them as there was work.
    SELECT round(count(*) * 60 / greatest(extract(epoch FROM max(j.processed_at) - min(j.processed_at)), 1), 1) AS per_minute
    FROM speaker.embedding_jobs AS j
    WHERE j.model_id = m.id AND j.processed_at > now() - interval '5 minutes'
) AS r;
COMMENT ON VIEW speaker.backfill_progress IS
    'For each model: its segments, how many are embedded, remain, are at work, failed (and are tried again), were rejected, have no audio or are dead; the rate of the last five minutes, and when the rest is done at that rate.';
