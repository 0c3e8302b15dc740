-- The ledger: which segments have an embedding of what, which are due, and who is at work.

-- The hash of what an embedding is made from: the audio and the bounds.
CREATE FUNCTION speaker.source_hash(audio_sha256 bytea, start_s float8, end_s float8) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sha256(audio_sha256 || float8send(start_s) || float8send(end_s));

CREATE VIEW speaker.segment_sources WITH (security_invoker = true) AS
SELECT s.id AS segment_id, s.run_id, r.id AS recording_id,
       num_nonnulls(r.audio, r.audio_lo, r.audio_path) = 1 AS has_audio,
       speaker.source_hash(r.sha256, s.start_time, s.end_time) AS source_hash
FROM speaker.segments AS s
JOIN speaker.runs AS u ON u.id = s.run_id
JOIN speaker.recordings AS r ON r.id = u.recording_id;
COMMENT ON VIEW speaker.segment_sources IS 'For each segment what an embedding of it is made from, as a hash of the audio and the bounds (NULL where there never was audio), and whether the audio is there.';

-- The delta rule -------------------------------------------------------------------------------------------------------
--
-- An embedding lives as long as what it was made from. A change of the audio or the bounds deletes it and makes the
-- segment due; a new version of a model is another model, with embeddings of its own.

CREATE FUNCTION speaker.forget_stale(segment_ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    -- First the segments, in order, then their jobs and embeddings: as everywhere, so that nobody deadlocks.
    PERFORM FROM speaker.segments WHERE id = ANY (segment_ids) ORDER BY id FOR SHARE;
    WITH stale AS (
        UPDATE speaker.embedding_jobs AS j
        SET status = 'pending', error_code = NULL, error = NULL, attempts = 0, crashes = 0, lease = NULL,
            next_attempt_at = NULL, source_hash = NULL
        FROM speaker.segment_sources AS s
        WHERE s.segment_id = ANY (segment_ids) AND j.segment_id = s.segment_id AND j.status <> 'pending'
          AND j.source_hash IS DISTINCT FROM s.source_hash AND s.source_hash IS NOT NULL
        RETURNING j.segment_id, j.model_id
    )
    DELETE FROM speaker.embeddings AS e USING stale AS t WHERE (e.segment_id, e.model_id) = (t.segment_id, t.model_id);
END
$$;

CREATE FUNCTION speaker.segment_moves() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    -- Why it was rejected was said of the old bounds.
    IF NEW.end_time > NEW.start_time AND NEW.rejected IS NOT DISTINCT FROM OLD.rejected THEN
        NEW.rejected := NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER segment_moves BEFORE UPDATE OF start_time, end_time ON speaker.segments FOR EACH ROW
    WHEN (OLD.start_time <> NEW.start_time OR OLD.end_time <> NEW.end_time)
    EXECUTE FUNCTION speaker.segment_moves();

CREATE FUNCTION speaker.segment_moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM speaker.forget_stale(ARRAY[NEW.id]);
    RETURN NULL;
END
$$;
CREATE TRIGGER segment_moved AFTER UPDATE OF start_time, end_time ON speaker.segments FOR EACH ROW
    WHEN (OLD.start_time <> NEW.start_time OR OLD.end_time <> NEW.end_time)
    EXECUTE FUNCTION speaker.segment_moved();

CREATE FUNCTION speaker.audio_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM speaker.forget_stale(ARRAY(
        SELECT s.id FROM speaker.segments AS s JOIN speaker.runs AS u ON u.id = s.run_id
        WHERE u.recording_id = NEW.id ORDER BY s.id));
    RETURN NULL;
END
$$;
CREATE TRIGGER audio_changed AFTER UPDATE ON speaker.recordings FOR EACH ROW
    WHEN (NEW.sha256 IS NOT NULL
          AND (OLD.sha256 IS DISTINCT FROM NEW.sha256
               OR num_nonnulls(OLD.audio, OLD.audio_lo, OLD.audio_path) < num_nonnulls(NEW.audio, NEW.audio_lo, NEW.audio_path)))
    EXECUTE FUNCTION speaker.audio_changed();

-- One attempt ----------------------------------------------------------------------------------------------------------

CREATE TYPE speaker.outcome AS (
    segment_id bigint, source_hash bytea, embedding vector, speech_s float8, status text, error_code text, error text);

CREATE FUNCTION speaker.check_model(model_id int) RETURNS speaker.models
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    m speaker.models;
    installed_sha256 text;
BEGIN
    SELECT * INTO STRICT m FROM speaker.models WHERE id = check_model.model_id;
    installed_sha256 := (speaker.manifest_facts(speaker.installed_manifest(m.name))).sha256;
    IF installed_sha256 <> m.sha256 THEN
        PERFORM speaker.raise_error('model_other_version', format(
            'model "%s" is registered as version %s with sha256 %s, but the installed one has sha256 %s',
            m.name, m.version, m.sha256, installed_sha256));
    END IF;
    RETURN m;
END
$$;
COMMENT ON FUNCTION speaker.check_model(int) IS 'A registered model, if it is the one that is installed.';

CREATE FUNCTION speaker.backoff(attempts int) RETURNS interval
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT least(speaker.retry_delay_s() * 2.0 ^ least(attempts - 1, 20), 86400) * interval '1 second'
$$;
COMMENT ON FUNCTION speaker.backoff(int) IS 'How long a segment waits after this many attempts: speaker.retry_delay, doubled by each, at most a day.';

-- Writes outcomes, in the order of the segments so that sessions wait for each other instead of deadlocking. What was
-- made from audio or bounds that have changed meanwhile is dropped, and the segment is due again. A caller that holds
-- locks on jobs must not wait for segments: with patient = false a segment that somebody is changing is left due.
CREATE FUNCTION speaker.record(outcomes speaker.outcome[], model_id int, patient boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    ids CONSTANT bigint[] := ARRAY(SELECT o.segment_id FROM unnest(outcomes) AS o);
    recording_ids bigint[] := ARRAY(
        SELECT DISTINCT s.recording_id FROM speaker.segment_sources AS s WHERE s.segment_id = ANY (ids));
    locked bigint[];
BEGIN
    IF patient THEN
        PERFORM FROM speaker.recordings WHERE id = ANY (recording_ids) ORDER BY id FOR SHARE;
        PERFORM FROM speaker.segments WHERE id = ANY (ids) ORDER BY id FOR SHARE;
        locked := ids;
    ELSE
        recording_ids := ARRAY(SELECT id FROM speaker.recordings WHERE id = ANY (recording_ids) ORDER BY id FOR SHARE SKIP LOCKED);
        locked := ARRAY(SELECT id FROM speaker.segments WHERE id = ANY (ids) ORDER BY id FOR SHARE SKIP LOCKED);
    END IF;

    -- A new statement: it sees what those changed that the locks waited for.
    SELECT array_agg(CASE
               WHEN s.segment_id <> ALL (locked) OR s.recording_id <> ALL (recording_ids) OR o.source_hash <> s.source_hash
               THEN (o.segment_id, NULL, NULL, NULL, 'pending', NULL, NULL)::speaker.outcome
               ELSE (o.segment_id, o.source_hash, o.embedding, o.speech_s, o.status, o.error_code, o.error)::speaker.outcome
           END ORDER BY o.segment_id)
    INTO outcomes
    FROM unnest(outcomes) AS o
    JOIN speaker.segment_sources AS s ON s.segment_id = o.segment_id;

    INSERT INTO speaker.embeddings AS e (segment_id, model_id, embedding, speech_s)
    SELECT o.segment_id, record.model_id, o.embedding, o.speech_s
    FROM unnest(outcomes) AS o
    WHERE o.embedding IS NOT NULL
    ON CONFLICT (segment_id, model_id) DO UPDATE
    SET embedding = excluded.embedding, speech_s = excluded.speech_s, created_at = excluded.created_at;

    DELETE FROM speaker.embeddings AS e
    USING unnest(outcomes) AS o
    WHERE (e.segment_id, e.model_id) = (o.segment_id, record.model_id) AND o.status = 'rejected';

    INSERT INTO speaker.embedding_jobs (segment_id, model_id)
    SELECT o.segment_id, record.model_id FROM unnest(outcomes) AS o
    ON CONFLICT (segment_id, model_id) DO NOTHING;

    UPDATE speaker.embedding_jobs AS j
    SET status = CASE WHEN n.dead THEN 'dead' ELSE o.status END,
        error_code = o.error_code, error = o.error, attempts = n.attempts, lease = NULL,
        crashes = CASE o.status WHEN 'pending' THEN j.crashes ELSE 0 END,
        -- A file or large object that is gone may come back; a recording without any will be due by its trigger.
        next_attempt_at = CASE WHEN NOT n.dead AND (o.status = 'fail' OR o.status = 'missing_audio' AND o.source_hash IS NOT NULL)
                               THEN now() + speaker.backoff(n.attempts) END,
        source_hash = o.source_hash, processed_at = clock_timestamp()
    FROM unnest(outcomes) AS o,
         LATERAL (SELECT x.attempts + (o.status <> 'pending')::int AS attempts,
                         o.status = 'fail' AND x.attempts + 1 >= speaker.max_attempts() AS dead
                  FROM speaker.embedding_jobs AS x
                  WHERE (x.segment_id, x.model_id) = (o.segment_id, record.model_id)) AS n
    WHERE (j.segment_id, j.model_id) = (o.segment_id, record.model_id);
END
$$;

CREATE FUNCTION speaker.audio_of_segments(segment_ids bigint[])
RETURNS TABLE (audio bytea, audio_lo oid, audio_path text,
               ids bigint[], source_hashes bytea[], starts float8[], ends float8[])
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    -- Audio that is stored out of line is not read here, but as extract_segments() decodes it.
    SELECT r.audio, r.audio_lo, r.audio_path,
           array_agg(s.id ORDER BY s.start_time, s.id), array_agg(o.source_hash ORDER BY s.start_time, s.id),
           array_agg(s.start_time ORDER BY s.start_time, s.id),
           -- Diarizers run past the end of the file.
           array_agg(least(s.end_time, r.duration_s) ORDER BY s.start_time, s.id)
    FROM speaker.segments AS s
    JOIN speaker.segment_sources AS o ON o.segment_id = s.id
    JOIN speaker.recordings AS r ON r.id = o.recording_id
    WHERE s.id = ANY (segment_ids) AND s.rejected IS NULL AND o.has_audio
    GROUP BY r.id
    ORDER BY r.id
$$;
COMMENT ON FUNCTION speaker.audio_of_segments(bigint[]) IS
    'Where the audio of these segments is: a row for each recording that has any, with the bounds in order of time.';

CREATE FUNCTION speaker.embed_segments(segment_ids bigint[], model_id int, patient boolean DEFAULT true)
RETURNS TABLE (segment_id bigint, status text, error_code text, error text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    m CONSTANT speaker.models := speaker.check_model(model_id);
    outcomes speaker.outcome[];
BEGIN
    SELECT array_agg((
        w.id,
        CASE WHEN w.rejected IS NULL THEN x.source_hash WHEN w.has_audio THEN w.source_hash END,
        x.embedding, x.speech_s,
        CASE WHEN w.rejected IS NOT NULL THEN 'rejected' WHEN x.segment_id IS NULL OR x.error_code IN ('missing_audio', 'files_forbidden', 'file_path', 'audio_unreadable')
             THEN 'missing_audio'
             WHEN x.error_code IS NULL THEN 'success' WHEN x.permanent THEN 'rejected' ELSE 'fail' END,
        CASE WHEN w.rejected IS NOT NULL THEN 'segment_empty' WHEN x.segment_id IS NULL THEN 'missing_audio' ELSE x.error_code END,
        CASE WHEN x.segment_id IS NULL THEN coalesce(w.rejected, format('recording %s has no audio', w.recording_id)) ELSE x.error END
        )::speaker.outcome ORDER BY w.id)
    INTO outcomes
    FROM (SELECT s.id, s.rejected, o.recording_id, o.has_audio, o.source_hash
          FROM speaker.segments AS s JOIN speaker.segment_sources AS o ON o.segment_id = s.id
          WHERE s.id = ANY (segment_ids)) AS w
    LEFT JOIN speaker.extract_segments(segment_ids, m.name) AS x ON x.segment_id = w.id;

    PERFORM speaker.record(outcomes, model_id, patient);
    RETURN QUERY
    SELECT j.segment_id, j.status, j.error_code, j.error
    FROM speaker.embedding_jobs AS j
    WHERE j.segment_id = ANY (segment_ids) AND j.model_id = embed_segments.model_id
    ORDER BY j.segment_id;
END
$$;
COMMENT ON FUNCTION speaker.embed_segments(bigint[], int, boolean) IS
    'Embeds these segments under a model, decoding each recording once, and writes the outcome of each to the ledger.';

-- What is due ----------------------------------------------------------------------------------------------------------

CREATE FUNCTION speaker.scope(run_id bigint, recording text, collection text) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    runs bigint[];
BEGIN
    IF num_nonnulls(run_id, recording, collection) = 0 THEN
        RETURN NULL;
    END IF;
    runs := ARRAY(
        SELECT u.id FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id
        WHERE u.id = coalesce(scope.run_id, u.id) AND r.external_id = coalesce(recording, r.external_id)
          AND r.collection = coalesce(scope.collection, r.collection));
    IF runs = '{}' AND run_id IS NOT NULL THEN
        PERFORM speaker.raise_error('run_unknown', format('there is no run %s', run_id));
    ELSIF runs = '{}' AND recording IS NOT NULL THEN
        PERFORM speaker.raise_error('recording_unknown', format('there is no recording "%s"', recording));
    END IF;
    RETURN runs;
END
$$;
COMMENT ON FUNCTION speaker.scope(bigint, text, text) IS 'The runs that these arguments mean; NULL means all.';

-- Makes rows for what was never tried, and due what changed while no trigger looked. Returns the number of both.
CREATE FUNCTION speaker.enqueue(model_id int, runs bigint[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    added bigint;
    stale bigint[];
BEGIN
    INSERT INTO speaker.embedding_jobs (segment_id, model_id)
    SELECT s.id, enqueue.model_id
    FROM speaker.segments AS s
    WHERE (runs IS NULL OR s.run_id = ANY (runs))
      AND NOT EXISTS (SELECT FROM speaker.embedding_jobs AS j WHERE (j.segment_id, j.model_id) = (s.id, enqueue.model_id))
      -- Vectors that were made elsewhere.
      AND NOT EXISTS (SELECT FROM speaker.embeddings AS e WHERE (e.segment_id, e.model_id) = (s.id, enqueue.model_id))
    ORDER BY s.id
    ON CONFLICT (segment_id, model_id) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;

    stale := ARRAY(
        SELECT j.segment_id
        FROM speaker.embedding_jobs AS j
        JOIN speaker.segment_sources AS s ON s.segment_id = j.segment_id
        WHERE j.model_id = enqueue.model_id AND j.status NOT IN ('pending', 'running')
          AND (runs IS NULL OR s.run_id = ANY (runs))
          AND j.source_hash IS DISTINCT FROM s.source_hash AND s.source_hash IS NOT NULL
          AND (j.status <> 'missing_audio' OR s.has_audio)
        ORDER BY j.segment_id);
    PERFORM speaker.forget_stale(stale) WHERE stale <> '{}';
    RETURN added + cardinality(stale);
END
$$;

CREATE FUNCTION speaker.is_due(job speaker.embedding_jobs) RETURNS boolean
LANGUAGE sql STABLE
RETURN (job).status = 'pending' AND ((job).next_attempt_at IS NULL OR (job).next_attempt_at <= now())
    OR (job).status IN ('fail', 'missing_audio') AND (job).next_attempt_at <= now();

CREATE FUNCTION speaker.count_due(model_id int, runs bigint[] DEFAULT NULL) RETURNS bigint
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT count(*)
    FROM speaker.segments AS s
    LEFT JOIN speaker.embedding_jobs AS j ON (j.segment_id, j.model_id) = (s.id, count_due.model_id)
    WHERE (runs IS NULL OR s.run_id = ANY (runs))
      AND CASE WHEN j.segment_id IS NULL
               THEN NOT EXISTS (SELECT FROM speaker.embeddings AS e WHERE (e.segment_id, e.model_id) = (s.id, count_due.model_id))
               ELSE speaker.is_due(j) END
$$;

CREATE FUNCTION retry_embeddings(error_code text DEFAULT NULL, run_id bigint DEFAULT NULL, model text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    runs CONSTANT bigint[] := speaker.scope(run_id, NULL, NULL);
    changed bigint;
BEGIN
    UPDATE speaker.embedding_jobs AS j
    SET status = 'pending', error_code = NULL, error = NULL, attempts = 0, crashes = 0, next_attempt_at = NULL
    FROM speaker.segments AS s
    WHERE s.id = j.segment_id AND j.model_id = chosen AND j.error_code = coalesce(retry_embeddings.error_code, j.error_code)
      AND (runs IS NULL OR s.run_id = ANY (runs));
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION retry_embeddings(text, bigint, text) IS
    'Makes segments due that failed, were rejected or are dead, all or those of one error code, and returns their number: for after the cause is removed.';
