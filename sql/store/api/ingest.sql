-- From audio and segments to embeddings. Extraction happens here, once, up front: labelling later only sets an id.

CREATE OR REPLACE FUNCTION @store@.parse_segments(segments text, segment_source text DEFAULT NULL)
RETURNS TABLE (external_id text, source_index int, start_s float8, end_s float8, channel int, speaker_label text, text text,
               confidence float8, error_code text, error text, format text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT p.* FROM @extension@.speaker_parse_segments(segments) AS p;
END
$$;
COMMENT ON FUNCTION @store@.parse_segments(text, text) IS
    'What is read from a text of segments, without storing it. The format is told by the text, and is the last column; segment_source is not needed for it. Times are in seconds. A segment that cannot be used has an error.';

CREATE OR REPLACE FUNCTION @store@.read_segments(segments text) RETURNS @store@.segment_input[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    answer @store@.segment_input[];
BEGIN
    SELECT array_agg((p.external_id, p.source_index, p.start_s, p.end_s, p.channel, p.speaker_label, p.text, p.confidence,
                      p.error_code, p.error)::@store@.segment_input ORDER BY p.source_index)
    INTO answer
    FROM @extension@.speaker_parse_segments(segments) AS p;
    RETURN coalesce(answer, '{}');
END
$$;

-- Of what the segments say, not of how the text is written: JSON of another layout is the same content. Numbers as bytes: as text
-- they would depend on a setting.
CREATE OR REPLACE FUNCTION @store@.segments_hash(parsed @store@.segment_input[]) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT sha256(coalesce(string_agg(
            float8send(p.start_s) || float8send(p.end_s) || float8send(coalesce(p.confidence, 'NaN')) || int4send(coalesce(p.channel, 0))
            || convert_to(jsonb_build_array(p.external_id, p.speaker_label, p.text, p.error_code)::text || E'\n', 'UTF8'),
            ''::bytea ORDER BY p.source_index), ''::bytea))
        FROM unnest(parsed) AS p);
END
$$;

-- The segments of a run: those that it has already stay as they are. One that is there with other content is an error.
CREATE OR REPLACE FUNCTION @store@.put_segments(home text, run_id bigint, parsed @store@.segment_input[])
RETURNS TABLE (external_id text, segment_id bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    other text;
BEGIN
    -- A diarizer's rounding before the start is cut off. What is behind the end is known once the audio is read.
    parsed := ARRAY(
        SELECT (coalesce(p.external_id, p.source_index::text), p.source_index, greatest(p.start_s, 0),
                greatest(p.end_s, p.start_s, 0), p.channel, p.speaker_label, nullif(btrim(p.text), ''), p.confidence,
                CASE WHEN p.error_code IS NOT NULL THEN p.error_code WHEN p.end_s <= greatest(p.start_s, 0) THEN 'segment_empty' END,
                CASE WHEN p.error_code IS NOT NULL THEN p.error
                     WHEN p.end_s <= greatest(p.start_s, 0) THEN format('segment from %s s to %s s is empty', p.start_s, p.end_s) END
               )::@store@.segment_input
        FROM unnest(parsed) AS p ORDER BY p.source_index);
    INSERT INTO @store@.segments AS s
        (collection, run_id, external_id, source_index, start_time, end_time, channel, speaker_label, text, confidence,
         rejected, rejected_code)
    SELECT home, put_segments.run_id, p.external_id, p.source_index, p.start_s, p.end_s, p.channel, p.speaker_label, p.text,
           p.confidence, p.error, p.error_code
    FROM unnest(parsed) AS p ORDER BY p.source_index
    ON CONFLICT (run_id, external_id, collection) DO NOTHING;
    SELECT min(p.external_id) INTO other
    FROM unnest(parsed) AS p
    WHERE NOT EXISTS (
        SELECT FROM @store@.segments AS s
        WHERE s.run_id = put_segments.run_id AND s.external_id = p.external_id AND s.collection = home
          AND s.start_time = p.start_s AND s.end_time = p.end_s AND s.channel IS NOT DISTINCT FROM p.channel
          AND s.speaker_label IS NOT DISTINCT FROM p.speaker_label AND s.text IS NOT DISTINCT FROM p.text
          AND s.confidence IS NOT DISTINCT FROM p.confidence);
    IF other IS NOT NULL THEN
        PERFORM @store@.raise_error('segments_differ', format('run %s has another segment "%s"', run_id, other));
    END IF;
    RETURN QUERY
    SELECT s.external_id, s.id
    FROM unnest(parsed) AS p
    JOIN @store@.segments AS s ON s.run_id = put_segments.run_id AND s.external_id = p.external_id AND s.collection = home
    ORDER BY p.source_index;
END
$$;

CREATE OR REPLACE FUNCTION @store@.add_segments(run_id bigint, segments text, collection text DEFAULT NULL)
RETURNS TABLE (external_id text, segment_id bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_run(add_segments.run_id, add_segments.collection);
BEGIN
    -- One at a time: two that add the same external ids in another order would wait for each other.
    PERFORM FROM @store@.runs AS u WHERE u.id = add_segments.run_id AND u.collection = home FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM @store@.raise_error('run_unknown', format('there is no run %s', run_id));
    END IF;
    PERFORM @store@.raise_error('argument_missing', 'segments is NULL') WHERE segments IS NULL;
    RETURN QUERY SELECT p.* FROM @store@.put_segments(home, add_segments.run_id, @store@.read_segments(segments)) AS p;
END
$$;
COMMENT ON FUNCTION @store@.add_segments(bigint, text, text) IS
    'Adds segments to a run, and returns the id of each. The same segments again are a no-op, other content under the same external id an error. A bad segment is kept and marked rejected.';

CREATE OR REPLACE FUNCTION @store@.add_segments(run_id bigint, segments jsonb, collection text DEFAULT NULL)
RETURNS TABLE (external_id text, segment_id bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT a.* FROM @store@.add_segments(run_id, segments::text, collection) AS a;
END
$$;
COMMENT ON FUNCTION @store@.add_segments(bigint, jsonb, text) IS 'Adds segments to a run; see the form with text.';

CREATE OR REPLACE FUNCTION @store@.add_segments(run_id bigint, segments json, collection text DEFAULT NULL)
RETURNS TABLE (external_id text, segment_id bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT a.* FROM @store@.add_segments(run_id, segments::text, collection) AS a;
END
$$;
COMMENT ON FUNCTION @store@.add_segments(bigint, json, text) IS 'Adds segments to a run; see the form with text.';

-- The run of this content: the one that the recording has, or a new one.
CREATE OR REPLACE FUNCTION @store@.put_run(
    home text, recording_id bigint, parsed @store@.segment_input[], content bytea, segment_source text, parameters jsonb)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    run bigint;
BEGIN
    IF segment_source IN ('', 'enrolment') THEN
        PERFORM @store@.raise_error('invalid_argument', format('segment_source is "%s"', segment_source),
            'Any words that say where the segments came from; enrolment is the store''s own.');
    END IF;
    -- A second time if somebody deletes it in between.
    FOR attempt IN 1 .. 2 LOOP
        INSERT INTO @store@.runs AS u (collection, recording_id, segment_source, parameters, content_hash)
        VALUES (home, put_run.recording_id, put_run.segment_source, coalesce(put_run.parameters, '{}'), content)
        ON CONFLICT (recording_id, segment_source, content_hash, collection) DO NOTHING
        RETURNING u.id INTO run;
        IF run IS NOT NULL THEN
            PERFORM @store@.put_segments(home, run, parsed);
            RETURN run;
        END IF;
        SELECT u.id INTO run FROM @store@.runs AS u
        WHERE u.recording_id = put_run.recording_id AND u.collection = home
          AND u.segment_source = put_run.segment_source AND u.content_hash = content FOR KEY SHARE;
        IF run IS NOT NULL THEN
            RETURN run;
        END IF;
    END LOOP;
    PERFORM @store@.raise_error('row_hidden', format('a run of these segments exists in collection "%s" and cannot be seen', home));
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION @store@.add_run(
    recording text, segments text, segment_source text DEFAULT 'pyannote',
    collection text DEFAULT NULL, parameters jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(add_run.collection);
    parsed @store@.segment_input[];
    stored bigint;
BEGIN
    IF recording IS NULL OR segments IS NULL OR segment_source IS NULL THEN
        PERFORM @store@.raise_error('argument_missing', 'recording, segments or segment_source is NULL');
    END IF;
    parsed := @store@.read_segments(segments);
    SELECT r.id INTO stored FROM @store@.recordings AS r
    WHERE r.collection = home AND r.external_id = recording FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM @store@.raise_error('recording_unknown',
            format('there is no recording "%s" in collection "%s"', recording, home));
    END IF;
    RETURN @store@.put_run(home, stored, parsed, @store@.segments_hash(parsed),
                           add_run.segment_source, add_run.parameters);
END
$$;
COMMENT ON FUNCTION @store@.add_run(text, text, text, text, jsonb) IS
    'Adds another diarization run to a recording and returns its id; embed_run() embeds it. The same segments from the same source again are the run that is there.';

CREATE OR REPLACE FUNCTION @store@.add_run(
    recording text, segments jsonb, segment_source text DEFAULT 'pyannote',
    collection text DEFAULT NULL, parameters jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN @store@.add_run(recording, segments::text, segment_source, collection, parameters);
END
$$;
COMMENT ON FUNCTION @store@.add_run(text, jsonb, text, text, jsonb) IS 'Adds another diarization run to a recording; see the form with text.';

CREATE OR REPLACE FUNCTION @store@.add_run(
    recording text, segments json, segment_source text DEFAULT 'pyannote',
    collection text DEFAULT NULL, parameters jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN @store@.add_run(recording, segments::text, segment_source, collection, parameters);
END
$$;
COMMENT ON FUNCTION @store@.add_run(text, json, text, text, jsonb) IS 'Adds another diarization run to a recording; see the form with text.';

CREATE OR REPLACE FUNCTION @store@.embed_run(
    run_id bigint DEFAULT 0, collection text DEFAULT NULL, model text DEFAULT NULL, recording text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, status text, error_code text, error text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := @store@.model_id(model);
    home text;
    among bigint[];
BEGIN
    IF embed_run.run_id = 0 AND recording IS NULL THEN
        PERFORM @store@.raise_error('argument_missing', 'neither run_id nor recording is given', 'Name what to embed.');
    END IF;
    SELECT s.home, s.runs INTO home, among FROM @store@.runs_meant(embed_run.run_id, embed_run.recording, embed_run.collection) AS s;
    RETURN QUERY
    SELECT e.* FROM @store@.embed_now(home, chosen, ARRAY(
        SELECT s.id FROM @store@.segments AS s
        WHERE s.run_id = ANY (among) AND s.collection = home ORDER BY s.id), NULL) AS e;
END
$$;
COMMENT ON FUNCTION @store@.embed_run(bigint, text, text, text) IS
    'Embeds the segments of a run, or of a recording by its name, that were never tried, have failed in a way that may pass, or have changed since. Returns a row for each; what another session is working on is left to it.';

CREATE OR REPLACE FUNCTION @store@.ingest_recording(
    recording text, audio bytea, segments text, segment_source text DEFAULT 'pyannote',
    collection text DEFAULT NULL, parameters jsonb DEFAULT '{}', model text DEFAULT NULL, embed boolean DEFAULT true)
RETURNS TABLE (external_id text, segment_id bigint, run_id bigint, status text, error text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(ingest_recording.collection);
    chosen CONSTANT int := @store@.model_id(model);
    parsed @store@.segment_input[];
    content bytea;
    is_new boolean;
    stored record;
    run bigint;
BEGIN
    IF recording IS NULL OR segments IS NULL OR segment_source IS NULL THEN
        PERFORM @store@.raise_error('argument_missing', 'recording, segments or segment_source is NULL',
            'audio may be NULL where it is kept elsewhere.');
    END IF;
    parsed := @store@.read_segments(segments);
    content := @store@.segments_hash(parsed);

    -- Without audio: a recording that is there, with its audio wherever it is, or one whose audio is kept elsewhere.
    -- Whoever ingests the same waits, and finds it. A second time if somebody deletes it in between.
    FOR attempt IN 1 .. 2 LOOP
        INSERT INTO @store@.recordings AS r (collection, external_id, audio)
        VALUES (home, recording, ingest_recording.audio)
        ON CONFLICT (collection, external_id) DO NOTHING;
        is_new := FOUND;
        SELECT r.id, r.sha256, r.container INTO stored
        FROM @store@.recordings AS r
        WHERE r.collection = home AND r.external_id = recording FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
    END LOOP;
    IF stored.id IS NULL THEN
        PERFORM @store@.raise_error('row_hidden',
            format('recording "%s" exists in collection "%s" and cannot be seen', recording, home));
    END IF;
    -- The trigger has read the audio of a new one.
    IF audio IS NOT NULL AND NOT is_new AND stored.sha256 IS DISTINCT FROM sha256(audio) THEN
        PERFORM @store@.raise_error('recording_differs',
            format('recording "%s" exists in collection "%s" with other audio', recording, home));
    END IF;
    IF audio IS NOT NULL AND stored.container IS NULL THEN
        PERFORM @extension@.audio_info(audio); -- raises what is wrong with it
    END IF;

    SELECT u.id INTO run FROM @store@.runs AS u
    WHERE u.recording_id = stored.id AND u.collection = home
      AND u.segment_source = ingest_recording.segment_source AND u.content_hash = content;
    IF run IS NULL THEN
        IF EXISTS (SELECT FROM @store@.runs AS u WHERE u.recording_id = stored.id AND u.collection = home) THEN
            PERFORM @store@.raise_error('recording_differs',
                format('recording "%s" exists in collection "%s" with other segments', recording, home));
        END IF;
        run := @store@.put_run(home, stored.id, parsed, content,
                               ingest_recording.segment_source, ingest_recording.parameters);
    END IF;

    IF embed AND EXISTS (SELECT FROM @store@.models AS m WHERE m.id = chosen AND m.manifest IS NOT NULL) THEN
        PERFORM @store@.embed_run(run, home, model, NULL::text);
    END IF;
    RETURN QUERY
    SELECT s.external_id, s.id, run, coalesce(j.status, 'pending'), j.error
    FROM @store@.segments AS s
    LEFT JOIN @store@.embedding_jobs AS j
      ON j.segment_id = s.id AND j.model_id = chosen AND j.collection = s.collection
    WHERE s.run_id = run AND s.collection = home
    ORDER BY s.source_index, s.id;
END
$$;
COMMENT ON FUNCTION @store@.ingest_recording(text, bytea, text, text, text, jsonb, text, boolean) IS
    'Stores a recording and its segments, as diarizers and transcribers write them, and embeds each segment. Returns a row per segment; a bad segment is its own failure. The same content again is a no-op, other content under the same external_id an error.';

CREATE OR REPLACE FUNCTION @store@.ingest_recording(
    recording text, audio bytea, segments jsonb, segment_source text DEFAULT 'pyannote',
    collection text DEFAULT NULL, parameters jsonb DEFAULT '{}', model text DEFAULT NULL, embed boolean DEFAULT true)
RETURNS TABLE (external_id text, segment_id bigint, run_id bigint, status text, error text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT i.* FROM @store@.ingest_recording(
        recording, audio, segments::text, segment_source, collection, parameters, model, embed) AS i;
END
$$;
COMMENT ON FUNCTION @store@.ingest_recording(text, bytea, jsonb, text, text, jsonb, text, boolean) IS
    'Stores a recording and its segments; see the form with text.';

CREATE OR REPLACE FUNCTION @store@.ingest_recording(
    recording text, audio bytea, segments json, segment_source text DEFAULT 'pyannote',
    collection text DEFAULT NULL, parameters jsonb DEFAULT '{}', model text DEFAULT NULL, embed boolean DEFAULT true)
RETURNS TABLE (external_id text, segment_id bigint, run_id bigint, status text, error text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT i.* FROM @store@.ingest_recording(
        recording, audio, segments::text, segment_source, collection, parameters, model, embed) AS i;
END
$$;
COMMENT ON FUNCTION @store@.ingest_recording(text, bytea, json, text, text, jsonb, text, boolean) IS
    'Stores a recording and its segments; see the form with text.';
