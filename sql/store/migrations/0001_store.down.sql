-- Back to no store at all, while that loses nothing.
DO $do$
BEGIN
    IF EXISTS (SELECT FROM @store@.recordings) OR EXISTS (SELECT FROM @store@.speakers) OR EXISTS (SELECT FROM @store@.assignments) THEN
        PERFORM @store@.raise_error('store_not_empty', 'this store has recordings, speakers or history');
    END IF;
END
$do$;
DROP SCHEMA @store@ CASCADE;
