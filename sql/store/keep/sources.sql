-- The delta rule: an embedding lives as long as what it was made from. A change of the audio, the bounds or the channel deletes it and
-- makes the segment due; a new version of a model is another model, with embeddings of its own.

-- The hash of what an embedding is made from: the audio, the bounds and the channel. Of bytes, so that no setting has a say in it.
CREATE OR REPLACE FUNCTION @store@.source_hash(audio_sha256 bytea, start_s float8, end_s float8, channel int) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(audio_sha256 || float8send(start_s) || float8send(end_s) || coalesce(int4send(channel), ''::bytea));

CREATE OR REPLACE VIEW @store@.segment_sources WITH (security_invoker = true) AS
SELECT s.id AS segment_id, s.collection, s.run_id, r.id AS recording_id,
       num_nonnulls(r.audio, r.audio_lo, r.audio_path) = 1 AS has_audio,
       @store@.source_hash(r.sha256, s.start_time, s.end_time, s.channel) AS source_hash
FROM @store@.segments AS s
JOIN @store@.runs AS u ON u.id = s.run_id AND u.collection = s.collection
JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection;
COMMENT ON VIEW @store@.segment_sources IS 'For each segment what an embedding of it is made from, as a hash of the audio, the bounds and the channel (NULL where there never was audio), and whether the audio is there.';

-- Of these segments, which their caller has locked or nobody else can see: those whose source is another than that of their
-- outcome. Vectors before jobs (LOCKS.md).
CREATE OR REPLACE FUNCTION @store@.forget_stale(ids bigint[], homes text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stale bigint[];
    models int[];
BEGIN
    PERFORM FROM @store@.segments AS s
    WHERE s.id = ANY (ids) AND s.collection = ANY (homes) ORDER BY s.id FOR NO KEY UPDATE;
    -- Locked first, in order: an UPDATE would lock in the order of its plan.
    PERFORM FROM @store@.embeddings AS e
    WHERE e.segment_id = ANY (ids) AND e.collection = ANY (homes) ORDER BY e.segment_id, e.model_id FOR UPDATE;
    PERFORM FROM @store@.embedding_jobs AS j
    WHERE j.segment_id = ANY (ids) AND j.collection = ANY (homes) ORDER BY j.segment_id, j.model_id FOR NO KEY UPDATE;
    WITH forgotten AS (
        UPDATE @store@.embedding_jobs AS j
        SET status = 'pending', status_before = NULL, error_code = NULL, error = NULL, attempts = 0, crashes = 0,
            lease = NULL, next_attempt_at = '-infinity', source_hash = NULL
        FROM @store@.segment_sources AS s
        WHERE s.segment_id = ANY (ids) AND s.collection = ANY (homes)
          AND j.segment_id = s.segment_id AND j.collection = s.collection AND j.status <> 'pending'
          AND j.source_hash IS DISTINCT FROM s.source_hash AND s.source_hash IS NOT NULL
          AND (j.status <> 'missing_audio' OR s.has_audio)
        RETURNING j.segment_id, j.model_id
    )
    SELECT array_agg(f.segment_id), array_agg(f.model_id) INTO stale, models FROM forgotten AS f;
    DELETE FROM @store@.embeddings AS e
    USING unnest(stale, models) AS t (segment_id, model_id)
    WHERE e.segment_id = t.segment_id AND e.model_id = t.model_id AND e.collection = ANY (homes);
    RETURN coalesce(cardinality(stale), 0);
END
$$;
