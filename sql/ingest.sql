-- From audio and segments to embeddings. Extraction happens here, once, up front: labelling later only sets an id.

CREATE FUNCTION embed_run(run_id bigint, model text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, status text, error_code text, error text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    due bigint[];
BEGIN
    IF NOT EXISTS (SELECT FROM speaker.runs AS u WHERE u.id = embed_run.run_id) THEN
        PERFORM speaker.raise_error('run_unknown', format('there is no run %s', run_id));
    END IF;
    PERFORM speaker.enqueue(chosen, ARRAY[run_id]);
    PERFORM speaker.recover(chosen);
    -- Asked for by name, what failed is tried at once.
    SELECT array_agg(j.segment_id) INTO due
    FROM speaker.embedding_jobs AS j
    JOIN speaker.segments AS s ON s.id = j.segment_id
    WHERE s.run_id = embed_run.run_id AND j.model_id = chosen AND j.status IN ('pending', 'fail', 'missing_audio');
    RETURN QUERY SELECT * FROM speaker.embed_segments(due, chosen);
END
$$;
COMMENT ON FUNCTION embed_run(bigint, text) IS
    'Embeds the segments of a run that were never tried, have failed in a way that may pass, or have changed since. Returns a row for each.';

CREATE FUNCTION add_segments(run_id bigint, segments text)
RETURNS TABLE (external_id text, segment_id bigint)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    run record;
BEGIN
    SELECT u.segment_source, r.duration_s INTO run
    FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id
    WHERE u.id = add_segments.run_id;
    IF NOT FOUND THEN
        PERFORM speaker.raise_error('run_unknown', format('there is no run %s', run_id));
    END IF;
    RETURN QUERY
    WITH added AS (
        INSERT INTO speaker.segments AS s
            (run_id, external_id, source_index, start_time, end_time, speaker_label, text, confidence, rejected)
        SELECT run_id, coalesce(p.external_id, p.source_index::text), p.source_index, b.start_s,
               greatest(b.start_s, b.end_s), p.speaker_label, nullif(btrim(p.text), ''), p.confidence,
               CASE WHEN b.end_s <= b.start_s
                    THEN format('segment from %s s to %s s is empty%s', p.start_s, p.end_s,
                                ' in a recording of ' || run.duration_s || ' s')
               END
        FROM speaker.parse_segments(segments, run.segment_source) AS p,
             LATERAL (SELECT least(greatest(p.start_s, 0), run.duration_s) AS start_s,
                             least(p.end_s, run.duration_s) AS end_s) AS b
        ORDER BY p.source_index
        RETURNING s.external_id, s.id
    ), due AS (
        -- In the ledger from the start, so that sessions that look for work need not wait for each other to enter it.
        INSERT INTO speaker.embedding_jobs (segment_id, model_id)
        SELECT a.id, m.id FROM added AS a, (SELECT max(id) AS id FROM speaker.models WHERE name = speaker.default_model()) AS m
        WHERE m.id IS NOT NULL
    )
    SELECT a.external_id, a.id FROM added AS a;
END
$$;
CREATE FUNCTION add_segments(run_id bigint, segments jsonb)
RETURNS TABLE (external_id text, segment_id bigint)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$ SELECT * FROM add_segments(run_id, segments::text) $$;
COMMENT ON FUNCTION add_segments(bigint, text) IS
    'Adds segments to a run: Whisper''s verbose JSON, pyannote turns, or RTTM. Ends past the recording are clamped; a segment that this leaves empty is kept and marked rejected.';
COMMENT ON FUNCTION add_segments(bigint, jsonb) IS 'Adds segments to a run; see add_segments(bigint, text).';

-- Of what the segments say, not of how the text is written: JSON of another layout is the same content.
CREATE FUNCTION speaker.segments_hash(segments text, segment_source text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT SET search_path FROM CURRENT AS $$
    SELECT sha256(convert_to(coalesce(string_agg(p::text, E'\n' ORDER BY p.source_index), ''), 'UTF8'))
    FROM speaker.parse_segments(segments, segment_source) AS p
$$;

CREATE FUNCTION ingest_recording(
    recording text, audio bytea, segments text, segment_source text DEFAULT 'pyannote',
    collection text DEFAULT 'default', parameters jsonb DEFAULT '{}', model text DEFAULT NULL, embed boolean DEFAULT true)
RETURNS TABLE (external_id text, segment_id bigint, run_id bigint, status text, error text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    content CONSTANT bytea := speaker.segments_hash(segments, segment_source);
    chosen CONSTANT int := speaker.model_id(model);
    stored record;
    run bigint;
BEGIN
    IF recording IS NULL OR segments IS NULL OR segment_source IS NULL THEN
        PERFORM speaker.raise_error('argument_missing', 'recording, segments or segment_source is NULL',
            'audio may be NULL where it is kept elsewhere.');
    END IF;

    -- Without audio: a recording that is there, with its audio wherever it is, or one whose audio is kept elsewhere.
    INSERT INTO speaker.recordings (collection, external_id, audio)
    VALUES (ingest_recording.collection, recording, audio)
    ON CONFLICT (collection, external_id) DO NOTHING;
    SELECT r.id, r.sha256, r.container INTO stored
    FROM speaker.recordings AS r
    WHERE (r.collection, r.external_id) = (ingest_recording.collection, recording);
    IF audio IS NOT NULL AND stored.sha256 IS DISTINCT FROM sha256(audio) THEN
        PERFORM speaker.raise_error('recording_differs',
            format('recording "%s" exists in collection "%s" with other audio', recording, collection));
    END IF;
    IF audio IS NOT NULL AND stored.container IS NULL THEN
        PERFORM audio_info(audio); -- raises what is wrong with it
    END IF;

    SELECT u.id INTO run FROM speaker.runs AS u
    WHERE u.recording_id = stored.id
      AND (u.segment_source, u.content_hash) = (ingest_recording.segment_source, content);
    IF run IS NULL THEN
        IF EXISTS (SELECT FROM speaker.runs AS u WHERE u.recording_id = stored.id) THEN
            PERFORM speaker.raise_error('recording_differs',
                format('recording "%s" exists in collection "%s" with other segments', recording, collection));
        END IF;
        run := add_run(recording, segments, segment_source, collection, parameters);
    END IF;

    IF embed THEN
        PERFORM embed_run(run, model);
    END IF;
    RETURN QUERY
    SELECT s.external_id, s.id, run, coalesce(j.status, 'pending'), j.error
    FROM speaker.segments AS s
    LEFT JOIN speaker.embedding_jobs AS j ON (j.segment_id, j.model_id) = (s.id, chosen)
    WHERE s.run_id = run
    ORDER BY s.source_index, s.id;
END
$$;

CREATE FUNCTION add_run(
    recording text, segments text, segment_source text DEFAULT 'pyannote',
    collection text DEFAULT 'default', parameters jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    run bigint;
BEGIN
    INSERT INTO speaker.runs (recording_id, segment_source, parameters, content_hash)
    SELECT r.id, segment_source, parameters, speaker.segments_hash(segments, segment_source)
    FROM speaker.recordings AS r
    WHERE (r.collection, r.external_id) = (add_run.collection, add_run.recording)
    RETURNING id INTO run;
    IF run IS NULL THEN
        PERFORM speaker.raise_error('recording_unknown',
            format('there is no recording "%s" in collection "%s"', recording, collection));
    END IF;
    PERFORM add_segments(run, segments);
    RETURN run;
END
$$;
COMMENT ON FUNCTION add_run(text, text, text, text, jsonb) IS
    'Adds another diarization run to a recording and returns its id; embed_run() embeds it.';

CREATE FUNCTION ingest_recording(
    recording text, audio bytea, segments jsonb, segment_source text DEFAULT 'pyannote',
    collection text DEFAULT 'default', parameters jsonb DEFAULT '{}', model text DEFAULT NULL, embed boolean DEFAULT true)
RETURNS TABLE (external_id text, segment_id bigint, run_id bigint, status text, error text)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT
AS $$ SELECT * FROM ingest_recording(recording, audio, segments::text, segment_source, collection, parameters, model, embed) $$;
COMMENT ON FUNCTION ingest_recording(text, bytea, text, text, text, jsonb, text, boolean) IS
    'Stores a recording and its segments (Whisper''s verbose JSON, pyannote turns or RTTM) and embeds each segment. Returns a row per segment; a bad segment is its own failure. The same content again is a no-op, other content under the same external_id an error.';
COMMENT ON FUNCTION ingest_recording(text, bytea, jsonb, text, text, jsonb, text, boolean) IS
    'Stores a recording and its segments; see the form with text.';
