-- A collection is never changed. (The keys would refuse most of it; this refuses all, and says why.)

CREATE OR REPLACE FUNCTION @store@.collection_is_fixed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @store@.raise_error('collection_fixed',
        format('a row of %s cannot move from collection "%s" to "%s"', TG_TABLE_NAME, OLD.collection, NEW.collection));
    RETURN NULL;
END
$$;

DO $do$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['recordings', 'speakers', 'runs', 'segments', 'embeddings', 'embedding_jobs',
                                'embedding_claims', 'clusterings', 'cluster_members', 'speaker_centroids', 'assignments'] LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER collection_is_fixed BEFORE UPDATE OF collection ON @store@.%I FOR EACH ROW
             WHEN (OLD.collection <> NEW.collection) EXECUTE FUNCTION @store@.collection_is_fixed()', name);
    END LOOP;
END
$do$;

-- Nor do a run or a segment move to another parent.
CREATE OR REPLACE FUNCTION @store@.parent_is_fixed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @store@.raise_error('collection_fixed', format('row %s of %s cannot move to another parent', OLD.id, TG_TABLE_NAME));
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER parent_is_fixed BEFORE UPDATE OF recording_id ON @store@.runs FOR EACH ROW
    WHEN (OLD.recording_id <> NEW.recording_id) EXECUTE FUNCTION @store@.parent_is_fixed();
CREATE OR REPLACE TRIGGER parent_is_fixed BEFORE UPDATE OF run_id ON @store@.segments FOR EACH ROW
    WHEN (OLD.run_id <> NEW.run_id) EXECUTE FUNCTION @store@.parent_is_fixed();
