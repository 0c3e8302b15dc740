-- Who speaks: labels and enrolment. A label sets an id; it never decodes audio or touches a vector.

CREATE OR REPLACE FUNCTION @store@.label_segment(
    segment_id bigint, speaker text, whole_cluster boolean DEFAULT false, collection text DEFAULT NULL, model text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_segment(label_segment.segment_id, label_segment.collection);
    chosen CONSTANT int := @store@.model_id(model);
    person CONSTANT bigint := @store@.speaker_id(speaker, home, true);
    newest record;
    in_cluster boolean := false;
    batch bigint;
    changed bigint;
BEGIN
    IF whole_cluster THEN
        SELECT c.clustering_id, c.cluster INTO newest
        FROM @store@.cluster_members AS c
        WHERE c.segment_id = label_segment.segment_id AND c.collection = home AND c.cluster IS NOT NULL
        ORDER BY c.clustering_id DESC
        LIMIT 1;
        in_cluster := FOUND;
    END IF;
    -- All segments of this call before the first job and the first mean (LOCKS.md).
    IF in_cluster THEN
        PERFORM FROM @store@.segments AS s
        WHERE s.collection = home AND (s.id = label_segment.segment_id OR s.id IN (
            SELECT c.segment_id FROM @store@.cluster_members AS c
            WHERE c.clustering_id = newest.clustering_id AND c.cluster = newest.cluster AND c.collection = home))
        ORDER BY s.id FOR NO KEY UPDATE;
    ELSE
        PERFORM FROM @store@.segments AS s
        WHERE s.id = label_segment.segment_id AND s.collection = home FOR NO KEY UPDATE;
    END IF;
    -- Rows from before the embeddings: extract on the spot. A failure is in the ledger and no reason not to label.
    IF NOT EXISTS (SELECT FROM @store@.embedding_jobs AS j
                   WHERE j.segment_id = label_segment.segment_id AND j.model_id = chosen AND j.collection = home
                     AND j.status <> 'pending')
       AND EXISTS (SELECT FROM @store@.models AS m WHERE m.id = chosen AND m.manifest IS NOT NULL) THEN
        PERFORM @store@.embed_now(home, chosen, ARRAY[label_segment.segment_id], NULL);
    END IF;
    batch := @store@.new_batch(home, 'label_segment');
    changed := @store@.assign(
        ARRAY[label_segment.segment_id], ARRAY[person], 'manual', NULL, chosen, NULL, false, home, NULL, batch);
    -- Who says again what was suggested confirms it.
    IF changed = 0 THEN
        changed := @store@.confirm(ARRAY[label_segment.segment_id], ARRAY[person], home, batch);
    END IF;
    IF in_cluster THEN
        changed := changed + @store@.name_cluster(newest.clustering_id, newest.cluster, person, home, batch);
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION @store@.label_segment(bigint, text, boolean, text, text) IS
    'Says who speaks in a segment, and with whole_cluster in every unknown segment of its newest cluster too. Makes the speaker if need be; returns the number of segments that changed.';

CREATE OR REPLACE FUNCTION @store@.unlabel_segment(segment_id bigint, collection text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home CONSTANT text := @store@.home_of_segment(segment_id, collection);
BEGIN
    RETURN @store@.assign(ARRAY[segment_id], ARRAY[NULL::bigint], 'manual', NULL, NULL, NULL, false, home) > 0;
END
$$;
COMMENT ON FUNCTION @store@.unlabel_segment(bigint, text) IS 'Makes a segment unknown again; false if it was.';

CREATE OR REPLACE FUNCTION @store@.confirm_labels(
    run_id bigint DEFAULT 0, recording text DEFAULT NULL, speaker text DEFAULT NULL, batch bigint DEFAULT 0,
    collection text DEFAULT NULL, OUT confirmed bigint, OUT batch_id bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home text;
    among bigint[];
    person bigint;
    ids bigint[];
    people bigint[];
BEGIN
    IF confirm_labels.run_id IS NULL OR batch IS NULL
       OR confirm_labels.run_id = 0 AND recording IS NULL AND speaker IS NULL AND batch = 0 THEN
        PERFORM @store@.raise_error('argument_missing', 'none of run_id, recording, speaker and batch is given',
            'Say which labels are right. NULL is no id.');
    END IF;
    SELECT s.home, s.runs INTO home, among FROM @store@.runs_meant(confirm_labels.run_id, recording, confirm_labels.collection) AS s;
    IF batch <> 0 THEN
        home := @store@.home_of_batch(batch, CASE WHEN confirm_labels.run_id <> 0 THEN home ELSE confirm_labels.collection END);
    END IF;
    IF speaker IS NOT NULL THEN
        person := @store@.speaker_id(speaker, home, false);
    END IF;
    SELECT array_agg(s.id ORDER BY s.id), array_agg(s.speaker_id ORDER BY s.id) INTO ids, people
    FROM @store@.segments AS s
    WHERE s.collection = home AND NOT s.label_confirmed
      AND (among IS NULL OR s.run_id = ANY (among)) AND (person IS NULL OR s.speaker_id = person)
      AND (batch = 0 OR s.label_batch = batch);
    IF ids IS NULL THEN
        confirmed := 0;
    ELSE
        batch_id := @store@.new_batch(home, 'confirm_labels');
        confirmed := @store@.confirm(ids, people, home, batch_id);
    END IF;
END
$$;
COMMENT ON FUNCTION @store@.confirm_labels(bigint, text, text, bigint, text) IS
    'Stands for automatic labels, of a run, a recording, a speaker or a batch (or where several are given, of all of these): from now on they move the means. Returns how many, and the batch that undo_labels() takes back.';

CREATE OR REPLACE FUNCTION @store@.undo_labels(
    batch bigint, collection text DEFAULT NULL, OUT undone bigint, OUT left_alone bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_batch(batch, undo_labels.collection);
    ids bigint[];
    firsts bigint[];
    taken_back bigint[];
BEGIN
    -- What the call did first to each segment: before that it was as it is to be.
    SELECT array_agg(f.segment_id ORDER BY f.segment_id), array_agg(f.id ORDER BY f.segment_id) INTO ids, firsts
    FROM (SELECT a.segment_id, min(a.id) AS id
          FROM @store@.assignments AS a
          WHERE a.batch_id = batch AND a.collection = home
          GROUP BY a.segment_id) AS f;
    PERFORM FROM @store@.speakers AS p
    WHERE p.collection = home AND p.id IN (
        SELECT unnest(ARRAY[a.speaker_id, a.previous_speaker_id])
        FROM @store@.assignments AS a WHERE a.id = ANY (firsts) AND a.collection = home)
    ORDER BY p.id FOR KEY SHARE;
    PERFORM FROM @store@.segments AS s
    WHERE s.id = ANY (ids) AND s.collection = home AND s.label_batch = batch ORDER BY s.id FOR NO KEY UPDATE;
    WITH done AS (
        UPDATE @store@.segments AS s
        SET speaker_id = b.speaker_id, label_source = b.source, label_score = b.score, label_model_id = b.model_id,
            label_clustering_id = b.clustering_id, label_confirmed = b.confirmed, label_batch = b.batch_id, labelled_at = b.labelled_at
        FROM (SELECT f.segment_id, f.previous_labelled_at AS labelled_at, p.id AS speaker_id, h.score, h.model_id, h.clustering_id,
                     h.confirmed, h.batch_id,
                     CASE WHEN f.previous_speaker_id IS NULL OR p.id IS NOT NULL THEN f.previous_source ELSE 'undo' END AS source
              FROM unnest(firsts) AS i (id)
              JOIN @store@.assignments AS f ON f.id = i.id AND f.collection = home
              LEFT JOIN @store@.speakers AS p ON p.id = f.previous_speaker_id AND p.collection = home
              -- Who is gone since is nobody.
              LEFT JOIN LATERAL (
                  SELECT a.* FROM @store@.assignments AS a
                  WHERE a.segment_id = f.segment_id AND a.collection = home AND a.id < f.id
                    AND (f.previous_speaker_id IS NULL OR p.id IS NOT NULL)
                  ORDER BY a.id DESC LIMIT 1) AS h ON true) AS b
        WHERE s.id = b.segment_id AND s.collection = home AND s.label_batch = batch
        RETURNING s.id)
    SELECT coalesce(array_agg(d.id), '{}') INTO taken_back FROM done AS d;
    undone := cardinality(taken_back);
    SELECT count(*) INTO left_alone
    FROM unnest(firsts) AS i (id)
    JOIN @store@.assignments AS f ON f.id = i.id AND f.collection = home
    JOIN @store@.segments AS s ON s.id = f.segment_id AND s.collection = home
    WHERE s.id <> ALL (taken_back)
      AND (s.speaker_id IS DISTINCT FROM f.previous_speaker_id OR s.labelled_at IS DISTINCT FROM f.previous_labelled_at
           OR f.speaker_id IS NOT DISTINCT FROM f.previous_speaker_id AND s.label_confirmed IS NOT DISTINCT FROM f.confirmed);
END
$$;
COMMENT ON FUNCTION @store@.undo_labels(bigint, text) IS
    'Takes back a whole call that labelled or confirmed segments: each is as it was before, and the means with it. What was labelled or confirmed otherwise since is left alone, and counted. Speakers that the call made stay.';

CREATE OR REPLACE FUNCTION @store@.rename_speaker(speaker text, new_name text, collection text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(rename_speaker.collection);
    person CONSTANT bigint := @store@.speaker_id(speaker, home, false);
BEGIN
    -- Both names, in order, or two that swap them would wait for each other.
    PERFORM FROM @store@.speakers AS p
    WHERE p.collection = home AND (p.id = person OR p.name = new_name) ORDER BY p.id FOR UPDATE;
    UPDATE @store@.speakers AS p SET name = new_name WHERE p.id = person AND p.collection = home;
    IF NOT FOUND THEN
        PERFORM @store@.raise_error('speaker_unknown', format('speaker "%s" was merged or deleted by another session', speaker));
    END IF;
END
$$;
COMMENT ON FUNCTION @store@.rename_speaker(text, text, text) IS 'Gives a speaker another name; merge_speakers() joins two.';

CREATE OR REPLACE FUNCTION @store@.merge_speakers(speaker text, into_speaker text, collection text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(merge_speakers.collection);
    source_id CONSTANT bigint := @store@.speaker_id(speaker, home, false);
    target_id CONSTANT bigint := @store@.speaker_id(into_speaker, home, false);
    found_both bigint;
    ids bigint[];
    stood boolean[];
    changed bigint;
BEGIN
    IF source_id = target_id THEN
        PERFORM @store@.raise_error('invalid_argument', format('speaker "%s" cannot be merged into itself', speaker),
            'Name two different speakers.');
    END IF;
    -- Both before any segment: whoever labels with one of them has finished, or waits and finds it gone.
    PERFORM FROM @store@.speakers AS p WHERE p.id IN (source_id, target_id) AND p.collection = home ORDER BY p.id FOR UPDATE;
    GET DIAGNOSTICS found_both = ROW_COUNT;
    IF found_both < 2 THEN
        PERFORM @store@.raise_error('speaker_unknown',
            format('speaker "%s" or "%s" was merged by another session', speaker, into_speaker));
    END IF;
    SELECT coalesce(array_agg(s.id ORDER BY s.id), '{}'), array_agg(s.label_confirmed ORDER BY s.id) INTO ids, stood
    FROM @store@.segments AS s WHERE s.speaker_id = source_id AND s.collection = home;
    -- A suggestion stays one.
    changed := @store@.assign(ids, array_fill(target_id, ARRAY[cardinality(ids)]), 'merge', NULL, NULL, NULL, false, home, stood);
    DELETE FROM @store@.speakers AS p WHERE p.id = source_id AND p.collection = home;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION @store@.merge_speakers(text, text, text) IS
    'Moves all segments of the first speaker to the second and deletes the first. Returns the number of segments moved.';

CREATE OR REPLACE FUNCTION @store@.enroll_speaker(
    speaker text, audio bytea, start_s float8 DEFAULT NULL, end_s float8 DEFAULT NULL,
    collection text DEFAULT NULL, model text DEFAULT NULL, channel int DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(enroll_speaker.collection);
    chosen CONSTANT int := @store@.model_id(model);
    person bigint;
    key text;
    segment bigint;
    answer record;
BEGIN
    IF audio IS NULL THEN
        PERFORM @store@.raise_error('argument_missing', 'audio is NULL',
            'add_speaker_embedding() makes a person known by an embedding.');
    END IF;
    -- Before anything is stored: what cannot be used is the extraction's error, and leaves nothing behind.
    PERFORM @store@.check_computes(chosen);
    PERFORM @extension@.speaker_load_model(m.name, m.sha256) FROM @store@.models AS m WHERE m.id = chosen;
    SELECT e.* INTO answer
    FROM @store@.models AS m,
         @extension@.extract_speaker_embeddings(audio, ARRAY[start_s], ARRAY[end_s], m.name, ARRAY[enroll_speaker.channel]) AS e
    WHERE m.id = chosen;
    PERFORM @store@.raise_error(answer.error_code, answer.error) WHERE answer.error_code IS NOT NULL;
    IF answer.speech_s < @extension@.speaker_min_speech_to_create() THEN
        PERFORM @store@.raise_error('speech_too_short', format('the clip has %s s of speech, but speaker.min_speech_to_create is %s',
            round(answer.speech_s::numeric, 2), @extension@.speaker_min_speech_to_create()));
    END IF;

    person := @store@.speaker_id(speaker, home, true);
    -- The same clip again is a no-op: whoever comes second finds it, or waits for it. Hashed as bytes.
    key := format('enrolment:%s:%s', person, encode(sha256(
        sha256(audio) || coalesce(float8send(start_s), ''::bytea) || '\x2c'::bytea || coalesce(float8send(end_s), ''::bytea)
        || coalesce(int4send(enroll_speaker.channel), ''::bytea)), 'hex'));
    -- A second time if somebody deletes it in between.
    FOR attempt IN 1 .. 2 LOOP
        INSERT INTO @store@.recordings AS r (collection, external_id, audio) VALUES (home, key, enroll_speaker.audio)
        ON CONFLICT (collection, external_id) DO NOTHING;
        segment := @store@.enrolment_segment(home, key, coalesce(start_s, 0), end_s, enroll_speaker.channel);
        EXIT WHEN segment IS NOT NULL;
    END LOOP;
    IF segment IS NULL THEN
        PERFORM @store@.raise_error('row_hidden', format('an enrolment of "%s" exists in collection "%s" and cannot be seen', speaker, home));
    END IF;
    INSERT INTO @store@.embeddings AS e (segment_id, collection, model_id, embedding, speech_s)
    VALUES (segment, home, chosen, answer.embedding, answer.speech_s)
    ON CONFLICT (segment_id, model_id, collection) DO NOTHING;
    PERFORM @store@.assign(ARRAY[segment], ARRAY[person], 'enrolment', NULL, chosen, NULL, false, home);
    RETURN person;
END
$$;
COMMENT ON FUNCTION @store@.enroll_speaker(text, bytea, float8, float8, text, text, int) IS
    'Makes a person known by a clip of their voice (on one channel, or in the mix), and returns the speaker''s id. Several clips of one person make a better mean. The same clip again is a no-op.';

CREATE OR REPLACE FUNCTION @store@.add_speaker_embedding(
    speaker text, embedding @vector@.vector, collection text DEFAULT NULL, model text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(add_speaker_embedding.collection);
    chosen CONSTANT int := @store@.model_id(model);
    unit CONSTANT @vector@.vector := @store@.check_embedding(embedding, chosen);
    person CONSTANT bigint := @store@.speaker_id(speaker, home, true);
    key CONSTANT text := 'import:' || gen_random_uuid();
    segment bigint;
BEGIN
    INSERT INTO @store@.recordings AS r (collection, external_id) VALUES (home, key);
    segment := @store@.enrolment_segment(home, key, 0, 1, NULL);
    INSERT INTO @store@.embeddings AS e (segment_id, collection, model_id, embedding) VALUES (segment, home, chosen, unit);
    PERFORM @store@.assign(ARRAY[segment], ARRAY[person], 'import', NULL, chosen, NULL, false, home);
    RETURN segment;
END
$$;
COMMENT ON FUNCTION @store@.add_speaker_embedding(text, @vector@.vector, text, text) IS
    'Imports an embedding made elsewhere with the same model as one of a known speaker, and returns its segment''s id.';

CREATE OR REPLACE FUNCTION @store@.add_segment_embedding(
    segment_id bigint, embedding @vector@.vector, collection text DEFAULT NULL, model text DEFAULT NULL, speech_s float8 DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_segment(add_segment_embedding.segment_id, add_segment_embedding.collection);
    chosen CONSTANT int := @store@.model_id(model);
    unit CONSTANT @vector@.vector := @store@.check_embedding(embedding, chosen);
BEGIN
    INSERT INTO @store@.embeddings AS e (segment_id, collection, model_id, embedding, speech_s)
    VALUES (add_segment_embedding.segment_id, home, chosen, unit, add_segment_embedding.speech_s)
    ON CONFLICT (segment_id, model_id, collection) DO UPDATE SET embedding = excluded.embedding, speech_s = excluded.speech_s;
    RETURN add_segment_embedding.segment_id;
END
$$;
COMMENT ON FUNCTION @store@.add_segment_embedding(bigint, @vector@.vector, text, text, float8) IS
    'Stores the embedding of a segment that was computed elsewhere, under the model that made it, and returns the segment''s id. The ledger knows it as a success.';
