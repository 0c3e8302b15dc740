-- Which collection a call means: the one that it names, else that of the row that it names by id, else the setting's.

-- The collection of a call: as named, else the setting speaker.collection, else default.
CREATE OR REPLACE FUNCTION @store@.home(collection text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce(collection, @extension@.speaker_collection(), 'default');
END
$$;

CREATE OR REPLACE FUNCTION @store@.home_of_run(run_id bigint, collection text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    answer text;
BEGIN
    IF home_of_run.collection IS NULL THEN
        SELECT u.collection INTO answer FROM @store@.runs AS u WHERE u.id = home_of_run.run_id;
    ELSE
        SELECT u.collection INTO answer FROM @store@.runs AS u
        WHERE u.id = home_of_run.run_id AND u.collection = home_of_run.collection;
    END IF;
    IF answer IS NULL THEN
        PERFORM @store@.raise_error('run_unknown', format('there is no run %s', run_id));
    END IF;
    RETURN answer;
END
$$;

CREATE OR REPLACE FUNCTION @store@.home_of_segment(segment_id bigint, collection text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    answer text;
BEGIN
    IF home_of_segment.collection IS NULL THEN
        SELECT s.collection INTO answer FROM @store@.segments AS s WHERE s.id = home_of_segment.segment_id;
    ELSE
        SELECT s.collection INTO answer FROM @store@.segments AS s
        WHERE s.id = home_of_segment.segment_id AND s.collection = home_of_segment.collection;
    END IF;
    IF answer IS NULL THEN
        PERFORM @store@.raise_error('segment_unknown', format('there is no segment %s', segment_id));
    END IF;
    RETURN answer;
END
$$;

CREATE OR REPLACE FUNCTION @store@.home_of_clustering(clustering_id bigint, collection text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    answer text;
BEGIN
    IF home_of_clustering.collection IS NULL THEN
        SELECT c.collection INTO answer FROM @store@.clusterings AS c WHERE c.id = home_of_clustering.clustering_id;
    ELSE
        SELECT c.collection INTO answer FROM @store@.clusterings AS c
        WHERE c.id = home_of_clustering.clustering_id AND c.collection = home_of_clustering.collection;
    END IF;
    IF answer IS NULL THEN
        PERFORM @store@.raise_error('cluster_unknown', format('there is no clustering %s', clustering_id),
            'SELECT id FROM speaker.clusterings lists the clusterings.');
    END IF;
    RETURN answer;
END
$$;

CREATE OR REPLACE FUNCTION @store@.home_of_batch(batch bigint, collection text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    answer text;
BEGIN
    IF batch IS NULL THEN
        PERFORM @store@.raise_error('argument_missing', 'batch is NULL', 'Whatever was to give the batch has found none.');
    END IF;
    SELECT b.collection INTO answer FROM @store@.label_batches AS b
    WHERE b.id = batch AND b.collection = coalesce(home_of_batch.collection, b.collection);
    IF answer IS NULL THEN
        PERFORM @store@.raise_error('batch_unknown', format('there is no batch %s', batch));
    END IF;
    RETURN answer;
END
$$;

-- The runs that a call means: one by its id, or all of a recording by its name. Neither (0, as an argument that was not given,
-- and NULL) is all of the collection: runs is NULL then. A run_id that is NULL was to be found and was not.
CREATE OR REPLACE FUNCTION @store@.runs_meant(run_id bigint, recording text, collection text, OUT home text, OUT runs bigint[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF runs_meant.run_id IS NULL THEN
        PERFORM @store@.raise_error('argument_missing', 'run_id is NULL', 'Whatever was to give the run has found none.');
    ELSIF runs_meant.run_id <> 0 THEN
        home := @store@.home_of_run(runs_meant.run_id, runs_meant.collection);
        runs := ARRAY[runs_meant.run_id];
        IF recording IS NOT NULL AND NOT EXISTS (
            SELECT FROM @store@.runs AS u
            JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection
            WHERE u.id = runs_meant.run_id AND u.collection = home AND r.external_id = recording)
        THEN
            PERFORM @store@.raise_error('run_unknown', format('run %s is not of recording "%s"', runs_meant.run_id, recording));
        END IF;
        RETURN;
    END IF;
    home := @store@.home(runs_meant.collection);
    IF recording IS NOT NULL THEN
        SELECT array_agg(u.id ORDER BY u.id) INTO runs
        FROM @store@.runs AS u
        JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection
        WHERE r.external_id = recording AND r.collection = home;
        IF runs IS NULL THEN
            PERFORM @store@.raise_error('recording_unknown',
                format('there is no recording "%s" with segments in collection "%s"', recording, home));
        END IF;
    END IF;
END
$$;
