-- Counts, so that what a person asks for again and again is not counted anew.

CREATE OR REPLACE FUNCTION @store@.tally() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- What a table's rows are counted as: (model_id, what) of a row.
    counted CONSTANT text := CASE TG_ARGV[0]
        WHEN 'segments' THEN 'SELECT collection, NULL::int AS model_id, ''segments'' AS what'
        WHEN 'embedding_jobs' THEN 'SELECT collection, model_id, status AS what'
        WHEN 'speaker_centroids' THEN 'SELECT collection, model_id, ''speakers'' AS what'
    END;
    last bigint;
    homes text[];
BEGIN
    PERFORM @store@.check_table(TG_RELID, TG_ARGV[0]);
    EXECUTE format(
        'WITH made AS (
             INSERT INTO @store@.tallies (collection, model_id, what, n)
             SELECT c.collection, c.model_id, c.what, sum(c.weight) FROM (%s) AS c
             GROUP BY 1, 2, 3 HAVING sum(c.weight) <> 0
             RETURNING id, collection
         )
         SELECT max(m.id) / 256 - min(m.id - 1) / 256, array_agg(DISTINCT m.collection) FROM made AS m',
        CASE TG_OP WHEN 'INSERT' THEN counted || ', 1 AS weight FROM added'
                   WHEN 'DELETE' THEN counted || ', -1 AS weight FROM removed'
                   ELSE counted || ', 1 AS weight FROM added UNION ALL ' || counted || ', -1 FROM removed' END)
        INTO last, homes;
    -- In other isolations a row that somebody else sums up meanwhile would be an error.
    IF last > 0 AND current_setting('transaction_isolation') = 'read committed' THEN
        WITH old AS (
            DELETE FROM @store@.tallies AS t
            WHERE (t.id, t.collection) IN (
                SELECT o.id, o.collection FROM @store@.tallies AS o
                WHERE o.collection = ANY (homes) AND o.at < now() - interval '1 minute' FOR UPDATE SKIP LOCKED)
            RETURNING t.collection, t.model_id, t.what, t.n
        )
        INSERT INTO @store@.tallies (collection, model_id, what, n, at)
        SELECT o.collection, o.model_id, o.what, sum(o.n), '-infinity' FROM old AS o
        GROUP BY 1, 2, 3 HAVING sum(o.n) <> 0;
    END IF;
    RETURN NULL;
END
$$;

DO $do$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['segments', 'embedding_jobs', 'speaker_centroids'] LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER tally_added AFTER INSERT ON @store@.%1$I REFERENCING NEW TABLE AS added
             FOR EACH STATEMENT EXECUTE FUNCTION @store@.tally(%1$L)', name);
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER tally_removed AFTER DELETE ON @store@.%1$I REFERENCING OLD TABLE AS removed
             FOR EACH STATEMENT EXECUTE FUNCTION @store@.tally(%1$L)', name);
    END LOOP;
END
$do$;
CREATE OR REPLACE TRIGGER tally_changed AFTER UPDATE ON @store@.embedding_jobs
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION @store@.tally('embedding_jobs');

-- Nothing that is kept here survives a TRUNCATE: all of it is made anew.
CREATE OR REPLACE FUNCTION @store@.truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @store@.check_table(TG_RELID, TG_ARGV[0]);
    PERFORM @store@.repair_store();
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER truncated AFTER TRUNCATE ON @store@.segments
    FOR EACH STATEMENT EXECUTE FUNCTION @store@.truncated('segments');
CREATE OR REPLACE TRIGGER truncated AFTER TRUNCATE ON @store@.embeddings
    FOR EACH STATEMENT EXECUTE FUNCTION @store@.truncated('embeddings');
CREATE OR REPLACE TRIGGER truncated AFTER TRUNCATE ON @store@.embedding_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION @store@.truncated('embedding_jobs');
