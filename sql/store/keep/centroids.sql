-- The means follow every change of a label or an embedding, in the same transaction.

CREATE OR REPLACE FUNCTION @store@.apply_centroid_deltas(deltas @store@.centroid_delta[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One statement, so that each row is locked and changed at once, in order. A row may be proposed with a negative n,
    -- which is why the table has no check on it. A speaker that is being deleted takes its centroid along.
    INSERT INTO @store@.speaker_centroids AS c (speaker_id, collection, model_id, n, sum, mean)
    SELECT d.speaker_id, d.collection, d.model_id, d.n, d.sum, @extension@.speaker_mean(d.sum, d.n)
    FROM unnest(deltas) AS d JOIN @store@.speakers AS s ON s.id = d.speaker_id AND s.collection = d.collection
    ORDER BY d.speaker_id, d.model_id
    ON CONFLICT (speaker_id, model_id, collection) DO UPDATE
    SET n = c.n + excluded.n, sum = @extension@.speaker_add_sums(c.sum, excluded.sum),
        mean = @extension@.speaker_mean(@extension@.speaker_add_sums(c.sum, excluded.sum), c.n + excluded.n);

    DELETE FROM @store@.speaker_centroids AS c
    USING unnest(deltas) AS d
    WHERE c.speaker_id = d.speaker_id AND c.collection = d.collection AND c.model_id = d.model_id AND c.n = 0;
END
$$;
