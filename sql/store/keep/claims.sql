-- The steps of the ledger. Only its owner writes it, so a session asks by a row of embedding_claims and these triggers do
-- what it asks for: whether it may ask for that collection was decided before, by its rights and policies on that table.
--
-- A claim of a backfill is committed before the work, so it is a lease: a lock of the session, which ends with it. Nobody
-- holds it any more: either the session survived an error and has let go, then the claim is given back as it was; or it
-- vanished, perhaps because of a segment of that batch. Each of them is then a suspect, tried alone while nobody
-- else works on anything, so that none is blamed for another: that is the gate, which batches share and a suspect
-- has for itself. Backfills hold nothing while they wait there. Who embeds in a transaction may, but a suspect waits for
-- nobody's rows.

-- Sessions that a segment may end, the first in company and the others alone, before it is dead.
CREATE OR REPLACE FUNCTION @store@.max_crashes() RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 4;

-- How long a segment waits after this many attempts: speaker.retry_delay, doubled by each, at most a day.
CREATE OR REPLACE FUNCTION @store@.backoff(attempts int) RETURNS interval
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN least(@extension@.speaker_retry_delay_s() * 2.0 ^ least(attempts - 1, 20), 86400) * interval '1 second';
END
$$;

-- What nobody works on any more under a lease: as it was, or one crash more.
CREATE OR REPLACE FUNCTION @store@.give_back(home text, lost int, crashed boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- What somebody else changes is that one's, and has no lease afterwards; what is left is for the next time.
    ids CONSTANT bigint[] := ARRAY(
        SELECT j.segment_id FROM @store@.embedding_jobs AS j
        WHERE j.collection = home AND j.status = 'running' AND j.lease = lost
        ORDER BY j.segment_id, j.model_id FOR UPDATE SKIP LOCKED);
    most CONSTANT int := @store@.max_crashes();
BEGIN
    UPDATE @store@.embedding_jobs AS j
    SET lease = NULL, status_before = NULL, status = coalesce(j.status_before, 'pending'),
        next_attempt_at = CASE WHEN j.status_before IS NULL THEN '-infinity' ELSE j.next_attempt_at END
    WHERE NOT crashed AND j.segment_id = ANY (ids) AND j.collection = home AND j.lease = lost;

    UPDATE @store@.embedding_jobs AS j
    SET lease = NULL, status_before = NULL, crashes = j.crashes + 1, processed_at = clock_timestamp(),
        status = CASE WHEN j.crashes + 1 >= most THEN 'dead' ELSE 'pending' END,
        error_code = CASE WHEN j.crashes + 1 >= most THEN 'session_ended' END,
        error = CASE WHEN j.crashes + 1 >= most THEN format('the session ended %s times at this segment', j.crashes + 1) END,
        next_attempt_at = CASE WHEN j.crashes + 1 >= most THEN NULL
                               WHEN j.crashes > 0 THEN now() + @store@.backoff(j.crashes)
                               ELSE '-infinity' END,
        -- What died of it is dead as it is: it is due again once it changes.
        source_hash = s.source_hash
    FROM @store@.segment_sources AS s
    WHERE crashed AND j.segment_id = ANY (ids) AND j.collection = home AND j.lease = lost
      AND s.segment_id = j.segment_id AND s.collection = home;
    RETURN cardinality(ids);
END
$$;

-- Takes back what was claimed by sessions that let go of it or are gone.
CREATE OR REPLACE FUNCTION @store@.recover(home text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lost int;
    survived boolean;
    changed bigint := 0;
BEGIN
    FOR lost IN
        SELECT DISTINCT j.lease FROM @store@.embedding_jobs AS j WHERE j.collection = home AND j.status = 'running'
    LOOP
        CONTINUE WHEN NOT @extension@.speaker_lease_is_lost('@store@.embedding_claims'::regclass::oid, lost);
        SELECT @extension@.speaker_backend_alive(c.pid, c.backend_start) INTO survived
        FROM @store@.embedding_claims AS c WHERE c.lease = lost AND c.collection = home;
        -- Without a row the claim was given back in good order, but for segments that somebody had locked then.
        changed := changed + @store@.give_back(home, lost, NOT coalesce(survived, true));
    END LOOP;
    DELETE FROM @store@.embedding_claims AS c
    WHERE c.collection = home AND c.lease IN (
        SELECT o.lease FROM @store@.embedding_claims AS o
        WHERE o.collection = home AND o.step = 'backfill'
          AND @extension@.speaker_lease_is_lost('@store@.embedding_claims'::regclass::oid, o.lease)
          AND NOT EXISTS (SELECT FROM @store@.embedding_jobs AS j
                          WHERE j.collection = home AND j.status = 'running' AND j.lease = o.lease)
        FOR UPDATE SKIP LOCKED);
    RETURN changed;
END
$$;

-- Rows for segments that have none under this model. A transaction elsewhere that makes the same ones, and stays open, is not
-- waited for: its runs are left out.
CREATE OR REPLACE FUNCTION @store@.enqueue(home text, model_id int, runs bigint[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
#variable_conflict use_column
DECLARE
    run bigint;
    made bigint;
    changed bigint := 0;
BEGIN
    -- In order: whoever enters them too is at the same place.
    FOR run IN
        SELECT DISTINCT s.run_id FROM @store@.segments AS s
        WHERE s.collection = home AND (enqueue.runs IS NULL OR s.run_id = ANY (enqueue.runs))
          AND NOT EXISTS (SELECT FROM @store@.embedding_jobs AS j
                          WHERE j.segment_id = s.id AND j.model_id = enqueue.model_id AND j.collection = home)
        ORDER BY s.run_id
    LOOP
        BEGIN
            INSERT INTO @store@.embedding_jobs (segment_id, collection, model_id)
            SELECT s.id, home, enqueue.model_id
            FROM @store@.segments AS s
            WHERE s.collection = home AND s.run_id = run
            ORDER BY s.id FOR KEY SHARE SKIP LOCKED
            ON CONFLICT (segment_id, model_id, collection) DO NOTHING;
            GET DIAGNOSTICS made = ROW_COUNT;
            changed := changed + made;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
    RETURN changed;
END
$$;

-- Taking ------------------------------------------------------------------------------------------------------------------------

-- Those of these segments that nobody else is changing, nor the mean of their speaker, locked. Who holds jobs does not wait for
-- segments (LOCKS.md), and an open transaction elsewhere does not keep the rest waiting: what it changes stays due.
CREATE OR REPLACE FUNCTION @store@.lock_free_segments(ids bigint[], home text, model_id int) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    free CONSTANT bigint[] := ARRAY(
        SELECT s.id FROM @store@.segments AS s
        WHERE s.id = ANY (ids) AND s.collection = home ORDER BY s.id FOR NO KEY UPDATE SKIP LOCKED);
    people CONSTANT bigint[] := ARRAY(
        SELECT DISTINCT s.speaker_id FROM @store@.segments AS s
        WHERE s.id = ANY (free) AND s.collection = home AND s.speaker_id IS NOT NULL);
    free_people bigint[];
BEGIN
    IF people = '{}' THEN
        RETURN free;
    END IF;
    free_people := ARRAY(
        SELECT c.speaker_id FROM @store@.speaker_centroids AS c
        WHERE c.speaker_id = ANY (people) AND c.model_id = lock_free_segments.model_id AND c.collection = home
        ORDER BY c.speaker_id FOR NO KEY UPDATE SKIP LOCKED);
    RETURN ARRAY(
        SELECT s.id FROM @store@.segments AS s
        WHERE s.id = ANY (free) AND s.collection = home
          AND (s.speaker_id IS NULL OR s.speaker_id = ANY (free_people) OR NOT EXISTS (
              SELECT FROM @store@.speaker_centroids AS c
              WHERE c.speaker_id = s.speaker_id AND c.model_id = lock_free_segments.model_id AND c.collection = home))
        ORDER BY s.id);
END
$$;

CREATE OR REPLACE FUNCTION @store@.claim_made() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ledger CONSTANT oid := TG_RELID;
    ids bigint[] := '{}';
    tried bigint[];
    wanted bigint := NEW.max_segments;
    done bigint := 0;
BEGIN
    PERFORM @store@.check_table(TG_RELID, 'embedding_claims');
    CASE NEW.step
    WHEN 'enqueue' THEN
        done := @store@.enqueue(NEW.collection, NEW.model_id, NEW.runs);
    WHEN 'recover' THEN
        done := @store@.recover(NEW.collection);
    WHEN 'retry' THEN
        -- What somebody else has is being tried, or made due, by that one.
        tried := ARRAY(
            SELECT j.segment_id
            FROM @store@.embedding_jobs AS j
            JOIN @store@.segments AS s ON s.id = j.segment_id AND s.collection = j.collection
            WHERE j.collection = NEW.collection
              AND j.model_id = NEW.model_id AND j.status <> 'running' AND j.error_code = coalesce(NEW.error_code, j.error_code)
              AND (NEW.runs IS NULL OR s.run_id = ANY (NEW.runs))
            ORDER BY j.segment_id FOR UPDATE OF j SKIP LOCKED);
        UPDATE @store@.embedding_jobs AS j
        SET status = 'pending', error_code = NULL, error = NULL, attempts = 0, crashes = 0, next_attempt_at = '-infinity'
        WHERE j.segment_id = ANY (tried) AND j.model_id = NEW.model_id AND j.collection = NEW.collection;
        done := cardinality(tried);
    WHEN 'embed' THEN
        -- Within the caller's transaction, whose row locks are the claim: nobody would see the jobs running, and a second change of a
        -- row in one transaction has its foreign key looked at again, and its segment waited for. Asked for by name, what waits
        -- is tried at once; what somebody else has is that one's.
        PERFORM @extension@.speaker_enter_embedding(ledger);
        IF NEW.segments IS NOT NULL THEN
            INSERT INTO @store@.embedding_jobs (segment_id, collection, model_id)
            SELECT s.id, s.collection, NEW.model_id FROM @store@.segments AS s
            WHERE s.id = ANY (NEW.segments) AND s.collection = NEW.collection
              AND NOT EXISTS (SELECT FROM @store@.embedding_jobs AS j
                              WHERE j.segment_id = s.id AND j.model_id = NEW.model_id AND j.collection = NEW.collection)
            -- What somebody is deleting is left out, not waited for.
            ORDER BY s.id FOR KEY SHARE SKIP LOCKED
            ON CONFLICT (segment_id, model_id, collection) DO NOTHING;
            ids := ARRAY(
                SELECT j.segment_id FROM @store@.embedding_jobs AS j
                WHERE j.segment_id = ANY (NEW.segments) AND j.model_id = NEW.model_id AND j.collection = NEW.collection
                  AND j.status IN ('pending', 'fail', 'missing_audio')
                ORDER BY j.segment_id FOR UPDATE SKIP LOCKED);
        ELSE
            -- What has ended a session is left to backfills, which alone can record that it did so again.
            ids := ARRAY(
                SELECT j.segment_id FROM @store@.embedding_jobs AS j
                WHERE j.model_id = NEW.model_id AND j.collection = NEW.collection
                  AND j.status IN ('pending', 'fail', 'missing_audio') AND j.crashes = 0 AND j.next_attempt_at <= now()
                ORDER BY j.next_attempt_at, j.segment_id LIMIT NEW.max_segments FOR UPDATE SKIP LOCKED);
        END IF;
    WHEN 'backfill' THEN
        IF EXISTS (SELECT FROM @store@.embedding_jobs AS j
                   WHERE j.model_id = NEW.model_id AND j.collection = NEW.collection
                     AND j.status = 'pending' AND j.crashes > 0 AND j.next_attempt_at <= now()) THEN
            PERFORM @extension@.speaker_enter_backfill(ledger, true);
            ids := ARRAY(
                SELECT j.segment_id FROM @store@.embedding_jobs AS j
                WHERE j.model_id = NEW.model_id AND j.collection = NEW.collection
                  AND j.status = 'pending' AND j.crashes > 0 AND j.next_attempt_at <= now()
                ORDER BY j.crashes, j.segment_id LIMIT 1 FOR UPDATE SKIP LOCKED);
            ids := @store@.lock_free_segments(ids, NEW.collection, NEW.model_id);
            IF ids = '{}' THEN
                PERFORM @extension@.speaker_leave_backfill();
            END IF;
        END IF;
        IF ids = '{}' THEN
            PERFORM @extension@.speaker_enter_backfill(ledger, false);
            -- Behind what somebody is changing there may be others: twice as many are looked at, until some are free.
            LOOP
                IF NEW.runs IS NULL THEN
                    tried := ARRAY(
                        SELECT j.segment_id FROM @store@.embedding_jobs AS j
                        WHERE j.model_id = NEW.model_id AND j.collection = NEW.collection
                          AND j.status IN ('pending', 'fail', 'missing_audio') AND j.crashes = 0 AND j.next_attempt_at <= now()
                        ORDER BY j.next_attempt_at, j.segment_id LIMIT wanted FOR UPDATE SKIP LOCKED);
                ELSE
                    tried := ARRAY(
                        SELECT j.segment_id FROM @store@.embedding_jobs AS j
                        WHERE j.model_id = NEW.model_id AND j.collection = NEW.collection
                          AND j.status IN ('pending', 'fail', 'missing_audio') AND j.crashes = 0 AND j.next_attempt_at <= now()
                          AND j.segment_id IN (SELECT s.id FROM @store@.segments AS s
                                               WHERE s.run_id = ANY (NEW.runs) AND s.collection = NEW.collection)
                        ORDER BY j.segment_id LIMIT wanted FOR UPDATE SKIP LOCKED);
                END IF;
                ids := (@store@.lock_free_segments(tried, NEW.collection, NEW.model_id))[1 : NEW.max_segments];
                EXIT WHEN ids <> '{}' OR cardinality(tried) < wanted;
                wanted := least(wanted * 2, 2000000000);
            END LOOP;
        END IF;
        IF ids = '{}' THEN
            PERFORM @extension@.speaker_leave_backfill();
        ELSE
            PERFORM @extension@.speaker_hold_lease(ledger, NEW.lease);
        END IF;
    END CASE;

    IF NEW.step = 'backfill' AND ids <> '{}' THEN
        UPDATE @store@.embedding_jobs AS j
        SET status_before = j.status, status = 'running', lease = NEW.lease
        WHERE j.segment_id = ANY (ids) AND j.model_id = NEW.model_id AND j.collection = NEW.collection;
    END IF;
    UPDATE @store@.embedding_claims AS c
    SET claimed = ids, changed = done, backend_start = @extension@.speaker_backend_start()
    WHERE c.lease = NEW.lease AND c.collection = NEW.collection;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER claim_made AFTER INSERT ON @store@.embedding_claims
    FOR EACH ROW EXECUTE FUNCTION @store@.claim_made();

-- Recording -----------------------------------------------------------------------------------------------------------------

-- Outcomes, in the order of the segments. What was made from audio or bounds that have changed meanwhile is dropped, and what
-- is no longer this session's too. What somebody is changing stays due.
CREATE OR REPLACE FUNCTION @store@.outcomes_said() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids bigint[] := ARRAY(SELECT o.segment_id FROM unnest(NEW.outcomes) AS o WHERE o.segment_id = ANY (OLD.claimed));
    recording_ids bigint[] := ARRAY(
        SELECT DISTINCT s.recording_id FROM @store@.segment_sources AS s
        WHERE s.segment_id = ANY (ids) AND s.collection = NEW.collection);
    locked bigint[];
    most CONSTANT int := @extension@.speaker_max_attempts();
BEGIN
    PERFORM @store@.check_table(TG_RELID, 'embedding_claims');
    IF OLD.pid <> pg_backend_pid() THEN
        PERFORM @store@.raise_error('claim_of_others', format('claim %s is of another session', OLD.lease));
    END IF;
    IF EXISTS (SELECT FROM unnest(NEW.outcomes) AS o WHERE o.status IN ('success', 'fail', 'rejected', 'missing_audio') IS NOT TRUE) THEN
        PERFORM @store@.raise_error('invalid_argument', 'an outcome is neither success nor fail, rejected or missing_audio');
    END IF;
    -- Whoever changes the audio locks the segments after it, and then sees what was recorded meanwhile. Only in other isolations
    -- than read committed, which a backfill never has, audio that changed after the snapshot must be an error here.
    IF NEW.step = 'embed' THEN
        recording_ids := ARRAY(
            SELECT r.id FROM @store@.recordings AS r
            WHERE r.id = ANY (recording_ids) AND r.collection = NEW.collection ORDER BY r.id FOR SHARE SKIP LOCKED);
    END IF;
    ids := ARRAY(
        SELECT j.segment_id FROM @store@.embedding_jobs AS j
        WHERE j.segment_id = ANY (ids) AND j.model_id = NEW.model_id AND j.collection = NEW.collection
        ORDER BY j.segment_id FOR UPDATE SKIP LOCKED);
    locked := @store@.lock_free_segments(ids, NEW.collection, NEW.model_id);

    -- A new statement: it sees what those changed that the locks waited for.
    SELECT array_agg(o ORDER BY o.segment_id) INTO NEW.outcomes
    FROM unnest(NEW.outcomes) AS o
    JOIN @store@.segment_sources AS s ON s.segment_id = o.segment_id AND s.collection = NEW.collection
    JOIN @store@.embedding_jobs AS j
      ON j.segment_id = o.segment_id AND j.model_id = NEW.model_id AND j.collection = NEW.collection
    WHERE o.segment_id = ANY (locked) AND s.recording_id = ANY (recording_ids)
      AND CASE NEW.step WHEN 'embed' THEN j.status IN ('pending', 'fail', 'missing_audio')
                        ELSE j.status = 'running' AND j.lease = NEW.lease END
      AND (o.source_hash IS NULL OR o.source_hash = s.source_hash);

    -- Its trigger makes the job a success.
    INSERT INTO @store@.embeddings AS e (segment_id, collection, model_id, embedding, speech_s, overlapped_s)
    SELECT o.segment_id, NEW.collection, NEW.model_id, o.embedding, o.speech_s, o.overlapped_s
    FROM unnest(NEW.outcomes) AS o
    WHERE o.status = 'success'
    ON CONFLICT (segment_id, model_id, collection) DO UPDATE
    SET embedding = excluded.embedding, speech_s = excluded.speech_s, overlapped_s = excluded.overlapped_s,
        created_at = excluded.created_at;

    UPDATE @store@.embedding_jobs AS j
    SET status = CASE WHEN o.status = 'fail' AND j.attempts + 1 >= most THEN 'dead' ELSE o.status END, status_before = NULL,
        error_code = o.error_code, error = o.error, attempts = j.attempts + 1, lease = NULL, crashes = 0,
        -- A file or large object that is gone may come back; a recording without any will be due by its trigger.
        next_attempt_at = CASE WHEN o.status = 'fail' AND j.attempts + 1 < most
                                 OR o.status = 'missing_audio' AND o.source_hash IS NOT NULL
                               THEN now() + @store@.backoff(j.attempts + 1) END,
        source_hash = o.source_hash, processed_at = clock_timestamp()
    FROM unnest(NEW.outcomes) AS o
    WHERE o.status <> 'success'
      AND j.segment_id = o.segment_id AND j.model_id = NEW.model_id AND j.collection = NEW.collection;
    NEW.outcomes := NULL;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER outcomes_said BEFORE UPDATE OF outcomes ON @store@.embedding_claims
    FOR EACH ROW WHEN (NEW.outcomes IS NOT NULL) EXECUTE FUNCTION @store@.outcomes_said();

-- Letting go -----------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION @store@.claim_ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @store@.check_table(TG_RELID, 'embedding_claims');
    -- Those of sessions that vanished are recovered, by the step of that name.
    IF OLD.step = 'backfill' AND OLD.claimed <> '{}' THEN
        IF OLD.pid = pg_backend_pid() THEN
            PERFORM @store@.give_back(OLD.collection, OLD.lease, false);
        ELSIF EXISTS (SELECT FROM @store@.embedding_jobs AS j
                      WHERE j.collection = OLD.collection AND j.status = 'running' AND j.lease = OLD.lease) THEN
            PERFORM @store@.raise_error('claim_of_others', format('claim %s is of another session', OLD.lease));
        END IF;
    ELSIF OLD.step = 'embed' THEN
        PERFORM @extension@.speaker_leave_embedding(TG_RELID);
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER claim_ended AFTER DELETE ON @store@.embedding_claims
    FOR EACH ROW EXECUTE FUNCTION @store@.claim_ended();
