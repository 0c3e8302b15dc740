-- Speakers by their names, and the one way in which functions of the store set them.

-- The id of a speaker by name; with make the row is made if need be, and stays until the transaction ends.
CREATE OR REPLACE FUNCTION @store@.speaker_id(speaker text, home text, make boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    answer bigint;
BEGIN
    IF NOT make THEN
        SELECT s.id INTO answer FROM @store@.speakers AS s WHERE s.collection = home AND s.name = speaker_id.speaker;
        IF answer IS NULL THEN
            PERFORM @store@.raise_error('speaker_unknown', format('there is no speaker "%s" in collection "%s"', speaker, home));
        END IF;
        RETURN answer;
    END IF;
    -- A second time if a merge deletes the speaker between the two statements; a third time would find no more.
    FOR attempt IN 1 .. 2 LOOP
        INSERT INTO @store@.speakers AS s (collection, name) VALUES (home, speaker_id.speaker)
        ON CONFLICT (collection, name) DO NOTHING;
        SELECT s.id INTO answer FROM @store@.speakers AS s
        WHERE s.collection = home AND s.name = speaker_id.speaker FOR KEY SHARE;
        IF answer IS NOT NULL THEN
            RETURN answer;
        END IF;
    END LOOP;
    PERFORM @store@.raise_error('row_hidden', format('speaker "%s" exists in collection "%s" and cannot be seen', speaker, home));
    RETURN NULL;
END
$$;

-- Speakers, then segments, then (by trigger) means, each in the order of the ids (LOCKS.md). The history is a trigger's.
CREATE OR REPLACE FUNCTION @store@.assign(
    segment_ids bigint[], speaker_ids bigint[], source text, scores float8[] DEFAULT NULL,
    model_id int DEFAULT NULL, clustering_id bigint DEFAULT NULL, only_unknown boolean DEFAULT false,
    collection text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    place CONSTANT text := @store@.home(assign.collection);
    changed bigint;
BEGIN
    PERFORM FROM @store@.speakers AS p
    WHERE p.id = ANY (speaker_ids) AND p.collection = place ORDER BY p.id FOR KEY SHARE;
    PERFORM FROM @store@.segments AS s
    WHERE s.id = ANY (segment_ids) AND s.collection = place ORDER BY s.id FOR NO KEY UPDATE;
    UPDATE @store@.segments AS s
    SET speaker_id = a.speaker_id, label_source = source, label_score = a.score, label_model_id = assign.model_id,
        label_clustering_id = assign.clustering_id, labelled_at = clock_timestamp()
    FROM unnest(segment_ids, speaker_ids, scores) AS a (id, speaker_id, score)
    WHERE s.id = a.id AND s.collection = place
      AND s.speaker_id IS DISTINCT FROM a.speaker_id AND (NOT only_unknown OR s.speaker_id IS NULL);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

-- A run of source enrolment, to hold the vectors of a person, of a recording that no one diarized. end_s NULL: to its end.
CREATE OR REPLACE FUNCTION @store@.enrolment_segment(home text, external_id text, start_s float8, end_s float8)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    run bigint;
    answer bigint;
    length_s float8;
BEGIN
    SELECT r.duration_s INTO length_s FROM @store@.recordings AS r
    WHERE r.collection = home AND r.external_id = enrolment_segment.external_id;
    INSERT INTO @store@.runs AS u (collection, recording_id, segment_source, content_hash)
    SELECT r.collection, r.id, 'enrolment', sha256(convert_to(r.external_id, 'UTF8'))
    FROM @store@.recordings AS r
    WHERE r.collection = home AND r.external_id = enrolment_segment.external_id
    RETURNING u.id INTO run;
    INSERT INTO @store@.segments AS s (collection, run_id, external_id, source_index, start_time, end_time)
    VALUES (home, run, '0', 0, start_s, coalesce(end_s, length_s)) RETURNING s.id INTO answer;
    RETURN answer;
END
$$;
