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
    collection text DEFAULT NULL, confirmed boolean[] DEFAULT NULL, batch bigint DEFAULT NULL)
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
        label_clustering_id = assign.clustering_id, label_confirmed = a.confirmed, label_batch = batch,
        labelled_at = clock_timestamp()
    FROM unnest(segment_ids, speaker_ids, scores, confirmed) AS a (id, speaker_id, score, confirmed)
    WHERE s.id = a.id AND s.collection = place
      AND s.speaker_id IS DISTINCT FROM a.speaker_id AND (NOT only_unknown OR s.speaker_id IS NULL)
      -- Who was deleted since somebody looked is nobody.
      AND (a.speaker_id IS NULL OR EXISTS (
          SELECT FROM @store@.speakers AS p WHERE p.id = a.speaker_id AND p.collection = place));
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

-- Stands for labels that are suggestions, as far as they are still those.
CREATE OR REPLACE FUNCTION @store@.confirm(ids bigint[], speaker_ids bigint[], home text, batch bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM FROM @store@.speakers AS p WHERE p.id = ANY (speaker_ids) AND p.collection = home ORDER BY p.id FOR KEY SHARE;
    PERFORM FROM @store@.segments AS s WHERE s.id = ANY (ids) AND s.collection = home ORDER BY s.id FOR NO KEY UPDATE;
    UPDATE @store@.segments AS s SET label_confirmed = true, label_batch = batch
    FROM unnest(ids, speaker_ids) AS a (id, speaker_id)
    WHERE s.id = a.id AND s.collection = home AND s.speaker_id = a.speaker_id AND NOT s.label_confirmed;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

-- A call that labels or confirms, for undo_labels().
CREATE OR REPLACE FUNCTION @store@.new_batch(home text, call text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO @store@.label_batches AS b (collection, call) VALUES (home, new_batch.call) RETURNING b.id INTO made;
    RETURN made;
END
$$;

-- The segment of a person's vector, in a run of source enrolment of a recording that no one diarized; NULL where that was
-- deleted meanwhile. end_s NULL: to its end.
CREATE OR REPLACE FUNCTION @store@.enrolment_segment(home text, external_id text, start_s float8, end_s float8, channel int)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stored record;
    run bigint;
    answer bigint;
BEGIN
    -- Who comes second waits here, and then finds what the first has made.
    SELECT r.id, r.duration_s INTO stored FROM @store@.recordings AS r
    WHERE r.collection = home AND r.external_id = enrolment_segment.external_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO @store@.runs AS u (collection, recording_id, segment_source, content_hash)
    VALUES (home, stored.id, 'enrolment', sha256(convert_to(enrolment_segment.external_id, 'UTF8')))
    ON CONFLICT (recording_id, segment_source, content_hash, collection) DO NOTHING
    RETURNING u.id INTO run;
    IF run IS NULL THEN
        SELECT u.id, s.id INTO run, answer
        FROM @store@.runs AS u
        LEFT JOIN @store@.segments AS s ON s.run_id = u.id AND s.collection = u.collection AND s.external_id = '0'
        WHERE u.recording_id = stored.id AND u.segment_source = 'enrolment' AND u.collection = home;
        IF run IS NULL THEN
            RETURN NULL;
        END IF;
        PERFORM FROM @store@.segments AS s WHERE s.id = answer AND s.collection = home FOR KEY SHARE;
    END IF;
    IF NOT FOUND OR answer IS NULL THEN
        INSERT INTO @store@.segments AS s (collection, run_id, external_id, source_index, start_time, end_time, channel)
        VALUES (home, run, '0', 0, start_s, coalesce(end_s, stored.duration_s), enrolment_segment.channel) RETURNING s.id INTO answer;
    END IF;
    RETURN answer;
END
$$;
