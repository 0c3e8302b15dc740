-- What applications and people read.

CREATE OR REPLACE VIEW @store@.speaker_embeddings WITH (security_invoker = true) AS
SELECT s.external_id, e.embedding, p.name AS speaker_id, s.speaker_label, r.external_id AS video_id,
       s.run_id AS diarization_run_id, s.start_time, s.end_time, s.id AS segment_id, r.collection
FROM @store@.segments AS s
JOIN @store@.runs AS u ON u.id = s.run_id AND u.collection = s.collection
JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection
LEFT JOIN @store@.embeddings AS e
  ON e.segment_id = s.id AND e.collection = s.collection AND e.model_id = (SELECT @store@.model_id(NULL::text))
LEFT JOIN @store@.speakers AS p ON p.id = s.speaker_id AND p.collection = s.collection
-- One collection: whoever groups by a name must not mix two tenants' namesakes.
WHERE s.collection = (SELECT @store@.home(NULL::text));
COMMENT ON VIEW @store@.speaker_embeddings IS
    'The segments of the session''s collection, one row each, with their embeddings under the default model (NULL where there is none yet), in the shape that applications query: speaker_id is the speaker''s name, NULL while unknown. Rows can be inserted, updated (speaker_id, speaker_label, external_id, start_time, end_time, embedding) and deleted.';

-- What an application writes into the view goes the way of the functions.
CREATE OR REPLACE FUNCTION @store@.speaker_embedding_written() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home text;
    run bigint;
    recording bigint;
    segment bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM @store@.segments AS s WHERE s.id = OLD.segment_id AND s.collection = OLD.collection;
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.segment_id, OLD.collection, OLD.video_id, OLD.diarization_run_id)
           IS DISTINCT FROM (NEW.segment_id, NEW.collection, NEW.video_id, NEW.diarization_run_id) THEN
            PERFORM @store@.raise_error('invalid_argument', 'a segment stays in its recording, run and collection', 'Delete it there, and insert it here.');
        END IF;
        home := OLD.collection;
        segment := OLD.segment_id;
        IF (OLD.external_id, OLD.speaker_label, OLD.start_time, OLD.end_time)
           IS DISTINCT FROM (NEW.external_id, NEW.speaker_label, NEW.start_time, NEW.end_time) THEN
            UPDATE @store@.segments AS s
            SET external_id = NEW.external_id, speaker_label = NEW.speaker_label, start_time = NEW.start_time, end_time = NEW.end_time
            WHERE s.id = segment AND s.collection = home;
        END IF;
    ELSE
        home := @store@.home(NULL::text);
        IF NEW.collection <> home OR NEW.segment_id IS NOT NULL THEN
            PERFORM @store@.raise_error('invalid_argument', 'a row of speaker_embeddings comes with a collection that is not the session''s, or with a segment_id',
                'SET speaker.collection chooses the collection; ids are the store''s.');
        ELSIF NEW.start_time IS NULL OR NEW.end_time IS NULL OR NEW.video_id IS NULL AND NEW.diarization_run_id IS NULL THEN
            PERFORM @store@.raise_error('argument_missing', 'start_time, end_time, or both of video_id and diarization_run_id are NULL');
        END IF;
        IF NEW.diarization_run_id IS NULL THEN
            INSERT INTO @store@.recordings AS r (collection, external_id) VALUES (home, NEW.video_id)
            ON CONFLICT (collection, external_id) DO NOTHING;
            SELECT r.id INTO recording FROM @store@.recordings AS r
            WHERE r.collection = home AND r.external_id = NEW.video_id FOR NO KEY UPDATE;
            SELECT u.id INTO run FROM @store@.runs AS u
            WHERE u.recording_id = recording AND u.collection = home AND u.segment_source = 'speaker_embeddings';
            IF run IS NULL THEN
                run := @store@.put_run(home, recording, '{}'::@store@.segment_input[], '\x'::bytea, 'speaker_embeddings'::text, '{}'::jsonb);
            END IF;
        ELSE
            run := NEW.diarization_run_id;
            PERFORM FROM @store@.runs AS u JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection
            WHERE u.id = run AND u.collection = home AND r.external_id = coalesce(NEW.video_id, r.external_id);
            IF NOT FOUND THEN
                PERFORM @store@.raise_error('run_unknown', format('there is no run %s of that recording', run));
            END IF;
        END IF;
        SELECT p.segment_id INTO segment
        FROM @store@.put_segments(home, run, ARRAY[(
            NEW.external_id, (SELECT coalesce(max(s.source_index) + 1, 0) FROM @store@.segments AS s WHERE s.run_id = run AND s.collection = home),
            NEW.start_time, NEW.end_time, NULL, NEW.speaker_label, NULL, NULL, NULL, NULL)::@store@.segment_input]) AS p;
    END IF;
    IF NEW.embedding IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.embedding IS NULL OR OLD.embedding::text <> NEW.embedding::text) THEN
        PERFORM @store@.add_segment_embedding(segment, NEW.embedding, home, NULL::text, NULL::float8);
    ELSIF NEW.embedding IS NULL AND TG_OP = 'UPDATE' THEN
        DELETE FROM @store@.embeddings AS e
        WHERE e.segment_id = segment AND e.collection = home AND e.model_id = @store@.model_id(NULL::text);
    END IF;
    IF TG_OP = 'INSERT' AND NEW.speaker_id IS NOT NULL OR TG_OP = 'UPDATE' AND NEW.speaker_id IS DISTINCT FROM OLD.speaker_id THEN
        PERFORM @store@.assign(
            ARRAY[segment], ARRAY[CASE WHEN NEW.speaker_id IS NOT NULL THEN @store@.speaker_id(NEW.speaker_id, home, true) END],
            'manual'::text, NULL::float8[], NULL::int, NULL::bigint, false, home, NULL::boolean[], NULL::bigint);
    END IF;
    SELECT x.* INTO NEW FROM @store@.speaker_embeddings AS x WHERE x.segment_id = segment AND x.collection = home;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER speaker_embedding_written INSTEAD OF INSERT OR UPDATE OR DELETE ON @store@.speaker_embeddings
    FOR EACH ROW EXECUTE FUNCTION @store@.speaker_embedding_written();

CREATE OR REPLACE VIEW @store@.transcript WITH (security_invoker = true) AS
SELECT r.collection, r.external_id AS recording, s.run_id, s.id AS segment_id, s.start_time, s.end_time,
       p.name AS speaker, s.speaker_label, s.text
FROM @store@.segments AS s
JOIN @store@.runs AS u ON u.id = s.run_id AND u.collection = s.collection
JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection
LEFT JOIN @store@.speakers AS p ON p.id = s.speaker_id AND p.collection = s.collection;
COMMENT ON VIEW @store@.transcript IS 'Who spoke when, and what. speaker is NULL while unknown.';

-- Through a function of the store: a view that asked the extension itself would go with it.
CREATE OR REPLACE FUNCTION @store@.error_catalogue()
RETURNS TABLE (code text, sqlstate text, permanent boolean, meaning text, troubleshooting text, recovery text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT c.* FROM @extension@.speaker_error_catalogue() AS c;
END
$$;

CREATE OR REPLACE VIEW @store@.error_codes WITH (security_invoker = true) AS
SELECT c.code, c.sqlstate, c.permanent, c.meaning, c.troubleshooting, c.recovery FROM @store@.error_catalogue() AS c;
COMMENT ON VIEW @store@.error_codes IS
    'Every error code of this extension, as in the detail and the routine field of an error and in the ledger: its SQLSTATE, what it means, what to look at and what to do. permanent: the same input can never work.';

CREATE OR REPLACE VIEW @store@.embedding_failures WITH (security_invoker = true) AS
SELECT r.collection, r.external_id AS recording, s.run_id, s.id AS segment_id, s.external_id, s.start_time, s.end_time,
       m.name AS model, j.status, j.error_code, j.error, j.attempts, j.crashes, j.processed_at, j.next_attempt_at,
       c.troubleshooting, c.recovery
FROM @store@.embedding_jobs AS j
JOIN @store@.models AS m ON m.id = j.model_id
JOIN @store@.segments AS s ON s.id = j.segment_id AND s.collection = j.collection
JOIN @store@.runs AS u ON u.id = s.run_id AND u.collection = s.collection
JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection
LEFT JOIN @store@.error_codes AS c ON c.code = j.error_code
WHERE j.error_code IS NOT NULL;
COMMENT ON VIEW @store@.embedding_failures IS
    'Segments without an embedding: why, what to look at, what to do, and when they are tried again (next_attempt_at; never by themselves where that is NULL).';

CREATE OR REPLACE VIEW @store@.status WITH (security_invoker = true) AS
SELECT m.name AS model, m.version, m.is_current, m.dim,
       coalesce((SELECT sum(t.n) FROM @store@.tallies AS t WHERE t.what = 'segments'), 0)::bigint AS segments,
       coalesce(c.embedded, 0)::bigint AS embedded, coalesce(c.failed, 0)::bigint AS failed, coalesce(c.speakers, 0)::bigint AS speakers,
       NOT EXISTS (SELECT FROM @store@.missing_indexes AS i WHERE i.model_id = m.id) AS indexed
FROM @store@.models AS m
LEFT JOIN (SELECT t.model_id,
                  sum(t.n) FILTER (WHERE t.what = 'success') AS embedded,
                  sum(t.n) FILTER (WHERE t.what IN ('fail', 'rejected', 'missing_audio', 'dead')) AS failed,
                  sum(t.n) FILTER (WHERE t.what = 'speakers') AS speakers
           FROM @store@.tallies AS t GROUP BY t.model_id) AS c ON c.model_id = m.id;
COMMENT ON VIEW @store@.status IS 'For each model: its segments, embeddings, failures and known speakers, and whether its embeddings have the index of ensure_embedding_indexes().';

CREATE OR REPLACE VIEW @store@.backfill_progress WITH (security_invoker = true) AS
SELECT m.name AS model, m.version, t.total, coalesce(c.done, 0)::bigint AS done,
       (t.total - coalesce(c.done + c.closed, 0))::bigint AS remaining,
       coalesce(c.running, 0)::bigint AS running, coalesce(c.failed, 0)::bigint AS failed, coalesce(c.rejected, 0)::bigint AS rejected,
       coalesce(c.missing_audio, 0)::bigint AS missing_audio, coalesce(c.dead, 0)::bigint AS dead,
       round(coalesce(c.done, 0) * 100.0 / nullif(t.total, 0), 1) AS percent,
       c.per_minute, (t.total - coalesce(c.done + c.closed, 0)) / nullif(c.per_minute, 0) * interval '1 minute' AS eta
FROM @store@.models AS m
CROSS JOIN (SELECT coalesce(sum(x.n), 0)::bigint AS total FROM @store@.tallies AS x WHERE x.what = 'segments') AS t
LEFT JOIN (SELECT x.model_id,
                  coalesce(sum(x.n) FILTER (WHERE x.what = 'success'), 0) AS done,
                  coalesce(sum(x.n) FILTER (WHERE x.what IN ('rejected', 'missing_audio', 'dead')), 0) AS closed,
                  sum(x.n) FILTER (WHERE x.what = 'running') AS running,
                  sum(x.n) FILTER (WHERE x.what = 'fail') AS failed,
                  sum(x.n) FILTER (WHERE x.what = 'rejected') AS rejected,
                  sum(x.n) FILTER (WHERE x.what = 'missing_audio') AS missing_audio,
                  sum(x.n) FILTER (WHERE x.what = 'dead') AS dead,
                  -- Of the last minute, or of as much of it as there was work.
                  round(sum(x.n) FILTER (WHERE x.what IN ('success', 'fail', 'rejected', 'dead') AND x.at > now() - interval '1 minute') * 60
                        / greatest(extract(epoch FROM max(x.at) - min(x.at) FILTER (WHERE x.at > now() - interval '1 minute')), 1), 1)
                      AS per_minute
           FROM @store@.tallies AS x GROUP BY x.model_id) AS c ON c.model_id = m.id;
COMMENT ON VIEW @store@.backfill_progress IS
    'For each model: its segments, how many are embedded, remain, are at work, failed (and are tried again), were rejected, have no audio or are dead; the rate of the last minute, and when the rest is done at that rate.';
