-- What applications read.

CREATE VIEW speaker.speaker_embeddings WITH (security_invoker = true) AS
SELECT s.external_id, e.embedding, p.name AS speaker_id, s.speaker_label, r.external_id AS video_id,
       s.run_id AS diarization_run_id, s.start_time, s.end_time, s.id AS segment_id, r.collection
FROM speaker.embeddings AS e
JOIN speaker.segments AS s ON s.id = e.segment_id
JOIN speaker.runs AS u ON u.id = s.run_id
JOIN speaker.recordings AS r ON r.id = u.recording_id
LEFT JOIN speaker.speakers AS p ON p.id = s.speaker_id
WHERE e.model_id = (SELECT speaker.model_id());
COMMENT ON VIEW speaker.speaker_embeddings IS
    'Embeddings of the default model, one row per segment, in the shape that applications query: speaker_id is the speaker''s name, NULL while unknown.';

CREATE VIEW speaker.transcript WITH (security_invoker = true) AS
SELECT r.collection, r.external_id AS recording, s.run_id, s.id AS segment_id, s.start_time, s.end_time,
       p.name AS speaker, s.speaker_label, s.text
FROM speaker.segments AS s
JOIN speaker.runs AS u ON u.id = s.run_id
JOIN speaker.recordings AS r ON r.id = u.recording_id
LEFT JOIN speaker.speakers AS p ON p.id = s.speaker_id;
COMMENT ON VIEW speaker.transcript IS 'Who spoke when, and what. speaker is NULL while unknown.';

CREATE VIEW speaker.embedding_failures WITH (security_invoker = true) AS
SELECT r.collection, r.external_id AS recording, s.run_id, s.id AS segment_id, s.external_id, s.start_time, s.end_time,
       m.name AS model, j.status, j.error_code, j.error, j.attempts, j.crashes, j.processed_at, j.next_attempt_at,
       c.troubleshooting, c.recovery
FROM speaker.embedding_jobs AS j
JOIN speaker.models AS m ON m.id = j.model_id
JOIN speaker.segments AS s ON s.id = j.segment_id
JOIN speaker.runs AS u ON u.id = s.run_id
JOIN speaker.recordings AS r ON r.id = u.recording_id
LEFT JOIN speaker.error_codes AS c ON c.code = j.error_code
WHERE j.error_code IS NOT NULL;
COMMENT ON VIEW speaker.embedding_failures IS
    'Segments without an embedding: why, what to look at, what to do, and when they are tried again (next_attempt_at; never by themselves where that is NULL).';

CREATE VIEW speaker.status WITH (security_invoker = true) AS
SELECT m.name AS model, m.version, m.dim,
       (SELECT count(*) FROM speaker.segments) AS segments,
       (SELECT count(*) FROM speaker.embeddings AS e WHERE e.model_id = m.id) AS embedded,
       (SELECT count(*) FROM speaker.embedding_jobs AS j WHERE j.model_id = m.id AND j.error_code IS NOT NULL) AS failed,
       (SELECT count(*) FROM speaker.speaker_centroids AS c WHERE c.model_id = m.id) AS speakers,
       NOT EXISTS (SELECT FROM speaker.missing_indexes AS i WHERE i.model_id = m.id) AS indexed
FROM speaker.models AS m;
COMMENT ON VIEW speaker.status IS 'For each model: its segments, embeddings, failures and known speakers, and whether its embeddings have the index of ensure_embedding_indexes().';

CREATE FUNCTION speaker.grant_access(to_role regrole, access text DEFAULT 'write') RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    IF access NOT IN ('read', 'write') THEN
        PERFORM speaker.raise_error('invalid_argument', format('access is "%s", not read or write', access),
            'read selects; write ingests, labels and deletes too.');
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA speaker TO %s', to_role);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA speaker TO %s', to_role);
    IF access = 'write' THEN
        -- Centroids are written by triggers, models by their owner, and history is only ever added to.
        EXECUTE format('GRANT INSERT, UPDATE, DELETE ON speaker.recordings, speaker.speakers, speaker.runs, '
            'speaker.segments, speaker.embeddings, speaker.embedding_jobs, speaker.clusterings, '
            'speaker.cluster_members TO %s', to_role);
        EXECUTE format('GRANT INSERT ON speaker.assignments TO %s', to_role);
        EXECUTE format('GRANT USAGE ON SEQUENCE speaker.lease_seq TO %s', to_role);
    END IF;
END
$$;
COMMENT ON FUNCTION speaker.grant_access(regrole, text) IS
    'Grants a role what it needs to read, or to read and write, everything of this extension. For the owner of the extension.';
REVOKE EXECUTE ON FUNCTION speaker.grant_access(regrole, text) FROM PUBLIC;
