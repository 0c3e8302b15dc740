-- What is known of a recording's audio follows the audio.

-- With the rights of whoever writes the row: a large object or file that this role may not read is an error, here and now.
CREATE OR REPLACE FUNCTION @store@.recording_changes() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    facts record;
BEGIN
    IF num_nonnulls(NEW.audio_lo, NEW.audio_path) = 0 THEN
        NEW.named_by := NULL;
    ELSIF TG_OP = 'INSERT' OR NEW.audio_lo IS DISTINCT FROM OLD.audio_lo OR NEW.audio_path IS DISTINCT FROM OLD.audio_path THEN
        NEW.named_by := current_user;
    ELSE
        NEW.named_by := OLD.named_by;
    END IF;
    IF num_nonnulls(NEW.audio, NEW.audio_lo, NEW.audio_path) <> 1 THEN
        -- Taken away, not changed: what was made of it stays, and stays known.
        IF TG_OP = 'UPDATE' THEN
            NEW.sha256 := OLD.sha256;
        END IF;
    ELSE
        SELECT * INTO facts
        FROM @extension@.speaker_recording_facts(NEW.audio, NEW.audio_lo, NEW.audio_path, NEW.named_by);
        NEW.sha256 := facts.sha256;
        NEW.container := facts.container;
        NEW.codec := facts.codec;
        NEW.sample_rate := facts.sample_rate;
        NEW.channels := facts.channels;
        NEW.duration_s := facts.duration_s;
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER recording_changes
    BEFORE INSERT OR UPDATE OF audio, audio_lo, audio_path, named_by, sha256 ON @store@.recordings
    FOR EACH ROW EXECUTE FUNCTION @store@.recording_changes();

CREATE OR REPLACE FUNCTION @store@.recordings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids bigint[];
    homes text[];
BEGIN
    PERFORM @store@.check_table(TG_RELID, 'recordings');
    -- Planned anew each time: a plan made for one row serves thousands badly.
    EXECUTE
        'SELECT array_agg(s.id ORDER BY s.id), array_agg(s.collection ORDER BY s.id)
         FROM after AS n
         JOIN before AS o ON (o.id, o.collection) = (n.id, n.collection)
         JOIN @store@.runs AS u ON (u.recording_id, u.collection) = (n.id, n.collection)
         JOIN @store@.segments AS s ON (s.run_id, s.collection) = (u.id, u.collection)
         WHERE n.sha256 IS NOT NULL
           AND (o.sha256 IS DISTINCT FROM n.sha256
                OR num_nonnulls(o.audio, o.audio_lo, o.audio_path) < num_nonnulls(n.audio, n.audio_lo, n.audio_path))'
        INTO ids, homes;
    PERFORM @store@.forget_stale(ids, homes) WHERE ids IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER recordings_changed AFTER UPDATE ON @store@.recordings
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION @store@.recordings_changed();

-- Deleted recordings and runs -------------------------------------------------------------------------------------------------
--
-- All that is below them goes at once, locked in the order of LOCKS.md. The foreign keys alone would delete row after row, each with
-- what is below it, and two sessions would meet at segments and means in any order. The triggers see the whole statement, do
-- everything at the first row that has something left, and fire before those of the keys, as segments_deleted() does.

CREATE OR REPLACE FUNCTION @store@.recordings_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> '@store@.recordings'::regclass THEN
        PERFORM @store@.check_table(TG_RELID, 'recordings');
    END IF;
    IF EXISTS (SELECT FROM @store@.runs AS u WHERE u.recording_id = OLD.id AND u.collection = OLD.collection) THEN
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.runs AS u
                                   WHERE (u.recording_id, u.collection) IN (SELECT g.id, g.collection FROM gone AS g)
                                   ORDER BY u.id FOR UPDATE) AS locked';
        EXECUTE 'DELETE FROM @store@.runs AS u USING gone AS g WHERE u.recording_id = g.id AND u.collection = g.collection';
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER "A_recordings_deleted" AFTER DELETE ON @store@.recordings
    REFERENCING OLD TABLE AS gone FOR EACH ROW EXECUTE FUNCTION @store@.recordings_deleted();

CREATE OR REPLACE FUNCTION @store@.runs_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> '@store@.runs'::regclass THEN
        PERFORM @store@.check_table(TG_RELID, 'runs');
    END IF;
    IF EXISTS (SELECT FROM @store@.segments AS s WHERE s.run_id = OLD.id AND s.collection = OLD.collection)
       OR EXISTS (SELECT FROM @store@.clusterings AS c WHERE c.run_id = OLD.id AND c.collection = OLD.collection) THEN
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.clusterings AS c
                                   WHERE (c.run_id, c.collection) IN (SELECT g.id, g.collection FROM gone AS g)
                                   ORDER BY c.id FOR UPDATE) AS locked';
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.segments AS s
                                   WHERE (s.run_id, s.collection) IN (SELECT g.id, g.collection FROM gone AS g)
                                   ORDER BY s.id FOR UPDATE) AS locked';
        EXECUTE 'DELETE FROM @store@.clusterings AS c USING gone AS g WHERE c.run_id = g.id AND c.collection = g.collection';
        EXECUTE 'DELETE FROM @store@.segments AS s USING gone AS g WHERE s.run_id = g.id AND s.collection = g.collection';
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER "A_runs_deleted" AFTER DELETE ON @store@.runs
    REFERENCING OLD TABLE AS gone FOR EACH ROW EXECUTE FUNCTION @store@.runs_deleted();

CREATE OR REPLACE FUNCTION @store@.clusterings_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> '@store@.clusterings'::regclass THEN
        PERFORM @store@.check_table(TG_RELID, 'clusterings');
    END IF;
    IF EXISTS (SELECT FROM @store@.cluster_members AS m WHERE m.clustering_id = OLD.id AND m.collection = OLD.collection) THEN
        EXECUTE
            'SELECT count(*) FROM (SELECT FROM @store@.cluster_members AS m
                                   WHERE (m.clustering_id, m.collection) IN (SELECT g.id, g.collection FROM gone AS g)
                                   ORDER BY m.segment_id, m.clustering_id FOR UPDATE) AS locked';
        EXECUTE
            'DELETE FROM @store@.cluster_members AS m USING gone AS g
             WHERE m.clustering_id = g.id AND m.collection = g.collection';
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER "A_clusterings_deleted" AFTER DELETE ON @store@.clusterings
    REFERENCING OLD TABLE AS gone FOR EACH ROW EXECUTE FUNCTION @store@.clusterings_deleted();
