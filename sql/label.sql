-- Who speaks: labels, their history, and enrolment. A label sets an id; it never decodes audio or touches a vector.

CREATE FUNCTION speaker.segment_collection(segment_id bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    answer text;
BEGIN
    SELECT r.collection INTO answer
    FROM speaker.segments AS s
    JOIN speaker.runs AS u ON u.id = s.run_id
    JOIN speaker.recordings AS r ON r.id = u.recording_id
    WHERE s.id = segment_collection.segment_id;
    IF NOT FOUND THEN
        PERFORM speaker.raise_error('segment_unknown', format('there is no segment %s', segment_id));
    END IF;
    RETURN answer;
END
$$;

CREATE FUNCTION speaker.speaker_id(speaker text, collection text, make boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    answer bigint;
BEGIN
    IF make THEN
        -- Again if a merge deletes the speaker between the two statements.
        WHILE answer IS NULL LOOP
            INSERT INTO speaker.speakers (collection, name) VALUES ($2, $1)
            ON CONFLICT (collection, name) DO NOTHING;
            SELECT s.id INTO answer FROM speaker.speakers AS s WHERE (s.collection, s.name) = ($2, $1) FOR KEY SHARE;
        END LOOP;
    ELSE
        SELECT s.id INTO answer FROM speaker.speakers AS s WHERE (s.collection, s.name) = ($2, $1);
    END IF;
    IF answer IS NULL THEN
        PERFORM speaker.raise_error('speaker_unknown', format('there is no speaker "%s" in collection "%s"', $1, $2));
    END IF;
    RETURN answer;
END
$$;

-- The one place that changes who speaks: every label goes through it and into the history.
CREATE FUNCTION speaker.assign(
    segment_ids bigint[], speaker_ids bigint[], source text, scores float8[] DEFAULT NULL,
    model_id int DEFAULT NULL, clustering_id bigint DEFAULT NULL, only_unknown boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    changed bigint;
BEGIN
    -- Speakers, then segments, then (by trigger) means, each in the order of the ids: calls wait for each other instead
    -- of deadlocking. A merge locks in the same order.
    PERFORM FROM speaker.speakers WHERE id = ANY (speaker_ids) ORDER BY id FOR KEY SHARE;
    PERFORM FROM speaker.segments WHERE id = ANY (segment_ids) ORDER BY id FOR NO KEY UPDATE;

    WITH asked AS (
        SELECT s.id, a.speaker_id, a.score, s.speaker_id AS previous_id
        FROM unnest(segment_ids, speaker_ids, scores) AS a (id, speaker_id, score)
        JOIN speaker.segments AS s ON s.id = a.id
        WHERE s.speaker_id IS DISTINCT FROM a.speaker_id AND (NOT only_unknown OR s.speaker_id IS NULL)
    ), updated AS (
        UPDATE speaker.segments AS s SET speaker_id = a.speaker_id FROM asked AS a WHERE s.id = a.id
    )
    INSERT INTO speaker.assignments
        (segment_id, speaker_id, speaker, previous_speaker, source, score, model_id, clustering_id)
    SELECT a.id, a.speaker_id, n.name, p.name, source, a.score, assign.model_id, assign.clustering_id
    FROM asked AS a
    LEFT JOIN speaker.speakers AS n ON n.id = a.speaker_id
    LEFT JOIN speaker.speakers AS p ON p.id = a.previous_id
    ORDER BY a.id;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION speaker.assign(bigint[], bigint[], text, float8[], int, bigint, boolean) IS
    'Sets the speakers of segments and writes the history. Returns the number of segments whose speaker changed.';

CREATE FUNCTION label_segment(segment_id bigint, speaker text, whole_cluster boolean DEFAULT false, model text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    person CONSTANT bigint := speaker.speaker_id(speaker, speaker.segment_collection(segment_id), true);
    cluster record;
    in_cluster boolean := false;
    changed bigint;
BEGIN
    -- Rows from before the embeddings: extract on the spot. A failure is in the ledger and no reason not to label.
    IF NOT EXISTS (SELECT FROM speaker.embedding_jobs AS j
                   WHERE (j.segment_id, j.model_id) = ($1, chosen) AND j.status <> 'pending')
       AND NOT EXISTS (SELECT FROM speaker.embeddings AS e WHERE (e.segment_id, e.model_id) = ($1, chosen)) THEN
        PERFORM speaker.embed_segments(ARRAY[segment_id], chosen);
    END IF;
    IF whole_cluster THEN
        SELECT c.clustering_id, c.cluster INTO cluster
        FROM speaker.cluster_members AS c
        WHERE c.segment_id = $1 AND c.cluster IS NOT NULL
        ORDER BY c.clustering_id DESC
        LIMIT 1;
        in_cluster := FOUND;
        -- All segments of this call before the first mean: see assign().
        PERFORM FROM speaker.segments AS s
        WHERE s.id = $1 OR s.id IN (
            SELECT c.segment_id FROM speaker.cluster_members AS c
            WHERE (c.clustering_id, c.cluster) = (cluster.clustering_id, cluster.cluster))
        ORDER BY s.id FOR NO KEY UPDATE;
    END IF;
    changed := speaker.assign(ARRAY[segment_id], ARRAY[person], 'manual', NULL, chosen);
    IF in_cluster THEN
        changed := changed + label_cluster(cluster.clustering_id, cluster.cluster, speaker);
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION label_segment(bigint, text, boolean, text) IS
    'Says who speaks in a segment, and with whole_cluster in every unknown segment of its newest cluster too. Makes the speaker if need be; returns the number of segments that changed.';

CREATE FUNCTION unlabel_segment(segment_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path FROM CURRENT
AS $$ SELECT speaker.assign(ARRAY[segment_id], ARRAY[NULL::bigint], 'manual') > 0 $$;
COMMENT ON FUNCTION unlabel_segment(bigint) IS 'Makes a segment unknown again; false if it was.';

CREATE FUNCTION rename_speaker(speaker text, new_name text, collection text DEFAULT 'default') RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    person CONSTANT bigint := speaker.speaker_id($1, $3, false);
BEGIN
    UPDATE speaker.speakers SET name = new_name WHERE id = person;
END
$$;
COMMENT ON FUNCTION rename_speaker(text, text, text) IS 'Gives a speaker another name; merge_speakers() joins two.';

CREATE FUNCTION merge_speakers(speaker text, into_speaker text, collection text DEFAULT 'default') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    source_id CONSTANT bigint := speaker.speaker_id($1, $3, false);
    target_id CONSTANT bigint := speaker.speaker_id($2, $3, false);
    ids bigint[];
    changed bigint;
BEGIN
    IF source_id = target_id THEN
        PERFORM speaker.raise_error('invalid_argument', format('speaker "%s" cannot be merged into itself', $1),
            'Name two different speakers.');
    END IF;
    -- Both before any segment: whoever labels with one of them has finished, or waits and finds it gone.
    PERFORM FROM speaker.speakers WHERE id IN (source_id, target_id) ORDER BY id FOR UPDATE;
    IF (SELECT count(*) FROM speaker.speakers WHERE id IN (source_id, target_id)) < 2 THEN
        PERFORM speaker.raise_error('speaker_unknown', format('speaker "%s" or "%s" was merged by another session', $1, $2));
    END IF;
    SELECT coalesce(array_agg(s.id), '{}') INTO ids FROM speaker.segments AS s WHERE s.speaker_id = source_id;
    changed := speaker.assign(ids, array_fill(target_id, ARRAY[cardinality(ids)]), 'merge');
    DELETE FROM speaker.speakers WHERE id = source_id;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION merge_speakers(text, text, text) IS
    'Moves all segments of the first speaker to the second and deletes the first. Returns the number of segments moved.';

-- A run of source enrolment to hold the vectors of a person, of a recording that no one diarized.
CREATE FUNCTION speaker.enrolment_segment(
    person bigint, collection text, external_id text, audio bytea, start_s float8, end_s float8)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    answer bigint;
BEGIN
    WITH recording AS (
        INSERT INTO speaker.recordings (collection, external_id, audio) VALUES ($2, $3, $4) RETURNING id
    ), run AS (
        INSERT INTO speaker.runs (recording_id, segment_source, content_hash)
        SELECT id, 'enrolment', sha256(convert_to(external_id, 'UTF8')) FROM recording RETURNING id
    )
    INSERT INTO speaker.segments (run_id, external_id, source_index, start_time, end_time)
    SELECT id, '0', 0, start_s, end_s FROM run RETURNING id INTO answer;
    RETURN answer;
END
$$;

CREATE FUNCTION enroll_speaker(
    speaker text, audio bytea, start_s float8 DEFAULT NULL, end_s float8 DEFAULT NULL,
    collection text DEFAULT 'default', model text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    person CONSTANT bigint := speaker.speaker_id(speaker, collection, true);
    -- The same clip again is a no-op.
    key CONSTANT text := format('enrolment:%s:%s:%s:%s', person, encode(sha256(audio), 'hex'), start_s, end_s);
    segment bigint;
    outcome record;
BEGIN
    SELECT s.id INTO segment
    FROM speaker.recordings AS r
    JOIN speaker.runs AS u ON u.recording_id = r.id
    JOIN speaker.segments AS s ON s.run_id = u.id
    WHERE (r.collection, r.external_id) = ($5, key);
    IF audio IS NULL THEN
        PERFORM speaker.raise_error('argument_missing', 'audio is NULL',
            'add_speaker_embedding() makes a person known by an embedding.');
    END IF;
    IF segment IS NULL THEN
        -- Raises what is wrong with the audio or the bounds, before they are stored.
        PERFORM audio_clip(audio, start_s, end_s);
        segment := speaker.enrolment_segment(
            person, collection, key, audio, coalesce(start_s, 0), coalesce(end_s, (SELECT i.duration_s FROM audio_info(audio) AS i)));
    END IF;

    IF NOT EXISTS (SELECT FROM speaker.embeddings AS e WHERE (e.segment_id, e.model_id) = (segment, chosen)) THEN
        SELECT * INTO outcome FROM speaker.embed_segments(ARRAY[segment], chosen);
        IF outcome.status <> 'success' THEN
            -- An enrolment that cannot be used is the extraction's error to the caller, and leaves nothing behind.
            PERFORM extract_speaker_embedding(audio, start_s, end_s, m.name) FROM speaker.models AS m WHERE m.id = chosen;
        END IF;
    END IF;
    PERFORM speaker.assign(ARRAY[segment], ARRAY[person], 'enrolment', NULL, chosen);
    RETURN person;
END
$$;
COMMENT ON FUNCTION enroll_speaker(text, bytea, float8, float8, text, text) IS
    'Makes a person known by a clip of their voice, and returns the speaker''s id. Several clips of one person make a better mean. The same clip again is a no-op.';

CREATE FUNCTION add_speaker_embedding(
    speaker text, embedding vector, collection text DEFAULT 'default', model text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := speaker.model_id(model);
    unit CONSTANT vector := speaker.check_embedding(embedding, chosen);
    person CONSTANT bigint := speaker.speaker_id(speaker, collection, true);
    segment CONSTANT bigint := speaker.enrolment_segment(
        person, collection, 'import:' || gen_random_uuid(), NULL, 0, 1);
BEGIN
    INSERT INTO speaker.embeddings (segment_id, model_id, embedding) VALUES (segment, chosen, unit);
    PERFORM speaker.assign(ARRAY[segment], ARRAY[person], 'import', NULL, chosen);
    RETURN segment;
END
$$;
COMMENT ON FUNCTION add_speaker_embedding(text, vector, text, text) IS
    'Imports an embedding made elsewhere with the same model as one of a known speaker, and returns its segment''s id.';
