-- From audio and segments to embeddings. Extraction happens here, once, up front: labelling later only sets an id.

CREATE FUNCTION speaker.model_id(model text DEFAULT NULL) RETURNS int
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    wanted CONSTANT text := coalesce(model, speaker.default_model());
    found_id int;
BEGIN
    SELECT max(id) INTO found_id FROM speaker.models WHERE name = wanted;
    IF found_id IS NULL THEN
        RAISE EXCEPTION 'model "%" is not registered in this database', wanted
            USING ERRCODE = 'undefined_object',
                  HINT = 'SELECT name FROM speaker.models lists the models; register_model() adds one whose files are installed.';
    END IF;
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION speaker.model_id(text) IS 'Id of the newest registered version of a model; NULL means speaker.default_model.';

CREATE FUNCTION register_model(model text) RETURNS int
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    INSERT INTO speaker.models (name, version, sha256, dim, utterance_threshold, speaker_threshold, centroid_threshold, manifest)
    SELECT f.name, f.version, f.sha256, f.dim, f.utterance_threshold, f.speaker_threshold, f.centroid_threshold, m.manifest
    FROM (SELECT speaker.installed_manifest(model) AS manifest) AS m, speaker.manifest_facts(m.manifest) AS f
    RETURNING id
$$;
COMMENT ON FUNCTION register_model(text) IS
    'Registers the model whose manifest is installed in speaker.model_dir, and returns its id. A new version is a new row: vectors of two versions never mix.';

-- The hash of what an embedding is made from: the audio and the bounds.
CREATE FUNCTION speaker.source_hash(audio_sha256 bytea, start_s float8, end_s float8) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sha256(audio_sha256 || float8send(start_s) || float8send(end_s));

CREATE FUNCTION speaker.embed_segments(segment_ids bigint[], model_id int)
RETURNS TABLE (segment_id bigint, status text, error_code text, error text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    m speaker.models;
    installed_sha256 text;
    source record;
BEGIN
    SELECT * INTO STRICT m FROM speaker.models WHERE id = embed_segments.model_id;
    installed_sha256 := (speaker.manifest_facts(speaker.installed_manifest(m.name))).sha256;
    IF installed_sha256 <> m.sha256 THEN
        RAISE EXCEPTION 'model "%" is registered as version % with sha256 %, but the installed one has sha256 %',
                m.name, m.version, m.sha256, installed_sha256
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Install the registered version, or call register_model() to use the new one beside it.';
    END IF;

    FOR source IN
        SELECT r.id, r.audio IS NOT NULL AS has_audio,
               array_agg(s.id ORDER BY s.start_time, s.id) AS ids,
               array_agg(s.start_time ORDER BY s.start_time, s.id) AS starts,
               -- Diarizers run past the end of the file.
               array_agg(least(s.end_time, r.duration_s) ORDER BY s.start_time, s.id) AS ends
        FROM speaker.segments AS s
        JOIN speaker.runs AS u ON u.id = s.run_id
        JOIN speaker.recordings AS r ON r.id = u.recording_id
        WHERE s.id = ANY (segment_ids) AND s.rejected IS NULL
        GROUP BY r.id
        ORDER BY r.id
    LOOP
        RETURN QUERY
        WITH answers AS MATERIALIZED (
            SELECT source.ids[x.ordinal] AS segment_id, x.embedding, x.speech_s, x.error_code, x.error,
                   CASE WHEN x.error_code IS NULL THEN 'success' WHEN x.permanent THEN 'rejected' ELSE 'fail' END AS status
            FROM speaker.recordings AS r, extract_speaker_embeddings(r.audio, source.starts, source.ends, m.name) AS x
            WHERE r.id = source.id AND source.has_audio
            UNION ALL
            SELECT x.id, NULL, NULL, 'missing_audio', 'recording ' || source.id || ' has no audio', 'missing_audio'
            FROM unnest(source.ids) AS x (id)
            WHERE NOT source.has_audio
        ), stored AS (
            INSERT INTO speaker.embeddings AS e (segment_id, model_id, embedding, speech_s)
            SELECT a.segment_id, m.id, a.embedding, a.speech_s
            FROM answers AS a
            WHERE a.embedding IS NOT NULL
            ORDER BY a.segment_id
            ON CONFLICT (segment_id, model_id) DO UPDATE
            SET embedding = excluded.embedding, speech_s = excluded.speech_s, created_at = excluded.created_at
        ), stale AS (
            DELETE FROM speaker.embeddings AS e
            USING answers AS a
            WHERE (e.segment_id, e.model_id) = (a.segment_id, m.id) AND a.status = 'rejected'
        ), ledger AS (
            INSERT INTO speaker.embedding_jobs AS j
                (segment_id, model_id, status, error_code, error, attempts, source_hash, processed_at)
            SELECT a.segment_id, m.id, a.status, a.error_code, a.error, 1,
                   speaker.source_hash(r.sha256, s.start_time, s.end_time), clock_timestamp()
            FROM answers AS a
            JOIN speaker.segments AS s ON s.id = a.segment_id
            JOIN speaker.recordings AS r ON r.id = source.id
            ORDER BY a.segment_id
            ON CONFLICT (segment_id, model_id) DO UPDATE
            SET status = excluded.status, error_code = excluded.error_code, error = excluded.error,
                attempts = j.attempts + 1, source_hash = excluded.source_hash, processed_at = excluded.processed_at
        )
        SELECT a.segment_id, a.status, a.error_code, a.error FROM answers AS a ORDER BY a.segment_id;
    END LOOP;

    RETURN QUERY
    INSERT INTO speaker.embedding_jobs AS j (segment_id, model_id, status, error_code, error, processed_at)
    SELECT s.id, m.id, 'rejected', 'segment_empty', s.rejected, clock_timestamp()
    FROM speaker.segments AS s
    WHERE s.id = ANY (segment_ids) AND s.rejected IS NOT NULL
    ORDER BY s.id
    ON CONFLICT (segment_id, model_id) DO UPDATE SET processed_at = excluded.processed_at
    RETURNING j.segment_id, j.status, j.error_code, j.error;
END
$$;
COMMENT ON FUNCTION speaker.embed_segments(bigint[], int) IS
    'Embeds these segments under a model, decoding each recording once, and writes the outcome of each to the ledger.';

CREATE FUNCTION embed_run(run_id bigint, model text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, status text, error_code text, error text)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    due bigint[];
BEGIN
    IF NOT EXISTS (SELECT FROM speaker.runs AS u WHERE u.id = embed_run.run_id) THEN
        RAISE EXCEPTION 'there is no run %', run_id
            USING ERRCODE = 'no_data_found', HINT = 'SELECT id FROM speaker.runs lists the runs.';
    END IF;
    SELECT array_agg(s.id) INTO due
    FROM speaker.segments AS s
    JOIN speaker.runs AS u ON u.id = s.run_id
    JOIN speaker.recordings AS r ON r.id = u.recording_id
    LEFT JOIN speaker.embedding_jobs AS j ON (j.segment_id, j.model_id) = (s.id, chosen)
    WHERE s.run_id = embed_run.run_id
      AND (j.status IS NULL OR j.status IN ('pending', 'fail', 'missing_audio')
           OR (s.rejected IS NULL
               AND j.source_hash IS DISTINCT FROM speaker.source_hash(r.sha256, s.start_time, s.end_time)));
    RETURN QUERY SELECT * FROM speaker.embed_segments(due, chosen);
END
$$;
COMMENT ON FUNCTION embed_run(bigint, text) IS
    'Embeds the segments of a run that are due: never tried, failed in a way that may pass, or changed since. Returns a row for each.';

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
        RAISE EXCEPTION 'there is no run %', run_id
            USING ERRCODE = 'no_data_found', HINT = 'SELECT id FROM speaker.runs lists the runs.';
    END IF;
    RETURN QUERY
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
    RETURNING s.external_id, s.id;
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
        RAISE EXCEPTION 'recording, segments and segment_source are required'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'audio may be NULL where it is kept elsewhere.';
    END IF;

    INSERT INTO speaker.recordings (collection, external_id, audio, duration_s, container, codec, sample_rate, channels)
    SELECT ingest_recording.collection, recording, audio, i.duration_s, i.container, i.codec, i.sample_rate, i.channels
    FROM (VALUES (1)) AS one LEFT JOIN audio_info(audio) AS i ON true
    ON CONFLICT (collection, external_id) DO NOTHING;
    SELECT r.id, r.sha256 INTO stored
    FROM speaker.recordings AS r
    WHERE (r.collection, r.external_id) = (ingest_recording.collection, recording);
    IF stored.sha256 IS DISTINCT FROM sha256(audio) THEN
        RAISE EXCEPTION 'recording "%" exists in collection "%" with other audio', recording, collection
            USING ERRCODE = 'unique_violation',
                  HINT = 'The same content again is a no-op. Give other audio another external_id.';
    END IF;

    SELECT u.id INTO run FROM speaker.runs AS u
    WHERE u.recording_id = stored.id
      AND (u.segment_source, u.content_hash) = (ingest_recording.segment_source, content);
    IF run IS NULL THEN
        IF EXISTS (SELECT FROM speaker.runs AS u WHERE u.recording_id = stored.id) THEN
            RAISE EXCEPTION 'recording "%" exists in collection "%" with other segments', recording, collection
                USING ERRCODE = 'unique_violation',
                      HINT = 'The same content again is a no-op. add_run() adds another diarization of a recording.';
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
        RAISE EXCEPTION 'there is no recording "%" in collection "%"', recording, collection
            USING ERRCODE = 'no_data_found', HINT = 'ingest_recording() adds one.';
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
