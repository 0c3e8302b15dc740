-- From claims to outcomes: what is between taking segments and saying how they went.

-- Asks the ledger for a step, and answers its row: what was claimed, or how many rows it changed. Where nothing was claimed
-- no row stays.
CREATE OR REPLACE FUNCTION @store@.ask_ledger(
    step text, home text, model_id int, max_segments int DEFAULT NULL, runs bigint[] DEFAULT NULL,
    segments bigint[] DEFAULT NULL, error_code text DEFAULT NULL)
RETURNS @store@.embedding_claims
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    made int;
    answer @store@.embedding_claims;
BEGIN
    INSERT INTO @store@.embedding_claims AS c (collection, model_id, step, max_segments, runs, segments, error_code)
    VALUES (home, ask_ledger.model_id, ask_ledger.step, ask_ledger.max_segments, ask_ledger.runs, ask_ledger.segments,
            ask_ledger.error_code)
    RETURNING c.lease INTO made;
    -- A new statement: it sees what the trigger has put in.
    SELECT * INTO answer FROM @store@.embedding_claims AS c WHERE c.lease = made AND c.collection = home;
    IF NOT FOUND THEN
        PERFORM @store@.raise_error('row_hidden', 'a claim was made and cannot be seen');
    END IF;
    IF answer.claimed = '{}' THEN
        DELETE FROM @store@.embedding_claims AS c WHERE c.lease = made AND c.collection = home;
    END IF;
    RETURN answer;
END
$$;

-- What becomes of these segments under a model: each recording is read once, as it is decoded. A segment is embedded from where
-- its label speaks alone in its run.
CREATE OR REPLACE FUNCTION @store@.extract_outcomes(ids bigint[], home text, model_id int) RETURNS @store@.outcome[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    answer @store@.outcome[];
BEGIN
    -- One statement, so that hashes and bytes are of one snapshot.
    WITH wanted AS MATERIALIZED (
        SELECT s.id, s.run_id, s.rejected, s.rejected_code, s.start_time, s.end_time, s.channel, s.speaker_label,
               o.recording_id, o.has_audio, o.source_hash,
               -- Diarizers run past the end of the file, a little: that is cut off. More is another unit, or another recording.
               CASE WHEN s.start_time < r.duration_s AND s.end_time <= r.duration_s + greatest(1, r.duration_s * 0.01)
                    THEN least(s.end_time, r.duration_s) ELSE s.end_time END AS heard_until
        FROM @store@.segments AS s
        JOIN @store@.segment_sources AS o ON o.segment_id = s.id AND o.collection = s.collection
        JOIN @store@.recordings AS r ON r.id = o.recording_id AND r.collection = o.collection
        WHERE s.id = ANY (ids) AND s.collection = home
    ), turns AS (
        -- Those that nobody speaks beside need not be asked about, but cost less than to be found.
        SELECT array_agg(t.id ORDER BY t.place) AS ids, array_agg(t.start_time ORDER BY t.place) AS starts,
               array_agg(t.end_time ORDER BY t.place) AS ends, array_agg(t.speaker_label ORDER BY t.place) AS labels,
               array_agg(t.channel ORDER BY t.place) AS channels,
               array_agg(t.place) FILTER (WHERE t.is_wanted) AS wanted
        FROM (SELECT s.run_id, s.id, s.start_time, s.end_time, s.speaker_label, s.channel, w.speaker_label IS NOT NULL AS is_wanted,
                     row_number() OVER (PARTITION BY s.run_id ORDER BY s.id)::int AS place
              FROM @store@.segments AS s LEFT JOIN wanted AS w ON w.id = s.id
              WHERE s.run_id IN (SELECT x.run_id FROM wanted AS x WHERE x.speaker_label IS NOT NULL) AND s.collection = home
                AND s.rejected IS NULL) AS t
        GROUP BY t.run_id
    ), pieces AS MATERIALIZED (
        SELECT t.ids[a.turn] AS id, a.start_s, a.end_s
        FROM turns AS t, LATERAL @extension@.speaker_alone(t.starts, t.ends, t.labels, t.channels, t.wanted) AS a
        UNION ALL
        SELECT w.id, w.start_time, w.end_time FROM wanted AS w WHERE w.speaker_label IS NULL AND w.rejected IS NULL
    ), alone AS (
        -- Not the difference of sums where nothing was cut: it would not be 0.
        SELECT w.id, CASE WHEN count(p.id) = 1 AND min(p.start_s) = w.start_time AND max(p.end_s) = w.end_time THEN 0
                          ELSE w.end_time - w.start_time - coalesce(sum(p.end_s - p.start_s), 0) END AS overlapped_s
        FROM wanted AS w LEFT JOIN pieces AS p ON p.id = w.id
        WHERE w.rejected IS NULL
        GROUP BY w.id, w.start_time, w.end_time
    ), sources AS (
        SELECT r.id, r.audio, r.audio_lo, r.audio_path, r.named_by, c.ids, c.starts, c.ends, c.channels
        FROM (SELECT w.recording_id,
                     array_agg(w.id ORDER BY w.start_time, w.id, p.start_s) AS ids,
                     array_agg(p.start_s ORDER BY w.start_time, w.id, p.start_s) AS starts,
                     array_agg(least(p.end_s, w.heard_until) ORDER BY w.start_time, w.id, p.start_s) AS ends,
                     array_agg(w.channel ORDER BY w.start_time, w.id, p.start_s) AS channels
              FROM wanted AS w JOIN pieces AS p ON p.id = w.id AND p.start_s < w.heard_until
              WHERE w.rejected IS NULL AND w.has_audio
              GROUP BY w.recording_id) AS c
        JOIN @store@.recordings AS r ON r.id = c.recording_id AND r.collection = home
        ORDER BY r.id
    ), extracted AS MATERIALIZED (
        -- Audio that is stored out of line is not read here, but as it is decoded.
        SELECT @extension@.speaker_extract(
                   s.audio, s.audio_lo, s.audio_path, s.named_by, s.ids, s.starts, s.ends, s.channels, m.name, m.sha256) AS answers
        FROM sources AS s, @store@.models AS m
        WHERE m.id = extract_outcomes.model_id
    ), answered AS (
        SELECT w.id, w.source_hash, w.has_audio, x.embedding, x.speech_s, a.overlapped_s, x.permanent,
               CASE WHEN w.rejected IS NOT NULL THEN coalesce(w.rejected_code, 'segment_empty')
                    WHEN NOT w.has_audio THEN 'missing_audio'
                    -- With too little left, it is the others that are in the way.
                    WHEN x.segment_id IS NULL OR a.overlapped_s > 0 AND x.error_code LIKE 'speech\_%' THEN 'overlapped'
                    ELSE x.error_code END AS error_code,
               CASE WHEN w.rejected IS NOT NULL THEN w.rejected
                    WHEN NOT w.has_audio THEN format('recording %s has no audio', w.recording_id)
                    WHEN x.segment_id IS NULL THEN 'others speak in all of the segment'
                    WHEN a.overlapped_s > 0 AND x.error_code LIKE 'speech\_%' THEN
                         format('others speak in %s s of the segment; of the rest: %s', round(a.overlapped_s::numeric, 2), x.error)
                    ELSE x.error END AS error
        FROM wanted AS w
        LEFT JOIN alone AS a ON a.id = w.id
        LEFT JOIN (SELECT u.* FROM extracted AS e,
                        unnest((e.answers).segment_ids, (e.answers).embeddings, (e.answers).speech_s, (e.answers).error_codes,
                               (e.answers).errors, (e.answers).permanent)
                        AS u (segment_id, embedding, speech_s, error_code, error, permanent)) AS x ON x.segment_id = w.id
    )
    SELECT array_agg((
        w.id, CASE WHEN w.has_audio THEN w.source_hash END, w.embedding, w.speech_s, w.overlapped_s,
        CASE WHEN w.error_code IS NULL THEN 'success'
             WHEN w.error_code IN ('missing_audio', 'files_forbidden', 'audio_forbidden', 'file_path', 'audio_unreadable')
             THEN 'missing_audio'
             -- What was not extracted can never be.
             WHEN coalesce(w.permanent, true) THEN 'rejected' ELSE 'fail' END,
        w.error_code, w.error)::@store@.outcome ORDER BY w.id)
    INTO answer
    FROM answered AS w;
    RETURN answer;
END
$$;

-- Does the work of a claim: all of it at once, as far as memory for the vectors goes.
CREATE OR REPLACE FUNCTION @store@.work_on(claim @store@.embedding_claims) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- A vector is a kilobyte or so, and a recording is decoded once for each piece.
    piece CONSTANT int := 10000;
BEGIN
    FOR at IN 0 .. (cardinality(claim.claimed) - 1) / piece LOOP
        UPDATE @store@.embedding_claims AS c
        SET outcomes = @store@.extract_outcomes(
            claim.claimed[at * piece + 1 : (at + 1) * piece], claim.collection, claim.model_id)
        WHERE c.lease = claim.lease AND c.collection = claim.collection;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION @store@.end_claim(claim @store@.embedding_claims) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM @store@.embedding_claims AS c WHERE c.lease = claim.lease AND c.collection = claim.collection;
END
$$;

-- Embeds in the caller's transaction: these segments, or, where they are NULL, so many of those that are due.
CREATE OR REPLACE FUNCTION @store@.embed_now(home text, model_id int, segments bigint[], max_segments int)
RETURNS TABLE (segment_id bigint, status text, error_code text, error text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    claim @store@.embedding_claims;
BEGIN
    PERFORM @store@.check_computes(embed_now.model_id);
    claim := @store@.ask_ledger('embed', home, embed_now.model_id, embed_now.max_segments, NULL, embed_now.segments);
    IF claim.claimed = '{}' THEN
        RETURN;
    END IF;
    PERFORM @store@.work_on(claim);
    PERFORM @store@.end_claim(claim);
    RETURN QUERY
    SELECT j.segment_id, j.status, j.error_code, j.error
    FROM @store@.embedding_jobs AS j
    WHERE j.segment_id = ANY (claim.claimed) AND j.model_id = embed_now.model_id AND j.collection = home
    ORDER BY j.segment_id;
END
$$;
