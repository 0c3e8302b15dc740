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

-- What becomes of these segments under a model: each recording is read once, as it is decoded.
CREATE OR REPLACE FUNCTION @store@.extract_outcomes(ids bigint[], home text, model_id int) RETURNS @store@.outcome[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    answer @store@.outcome[];
BEGIN
    -- One statement, so that hashes and bytes are of one snapshot.
    WITH wanted AS MATERIALIZED (
        SELECT s.id, s.rejected, s.start_time, s.end_time, o.recording_id, o.has_audio, o.source_hash
        FROM @store@.segments AS s
        JOIN @store@.segment_sources AS o ON o.segment_id = s.id AND o.collection = s.collection
        WHERE s.id = ANY (ids) AND s.collection = home
    ), sources AS (
        SELECT r.id, r.audio, r.audio_lo, r.audio_path, r.named_by, w.ids, w.starts, w.ends
        FROM (SELECT x.recording_id,
                     array_agg(x.id ORDER BY x.start_time, x.id) AS ids,
                     array_agg(x.start_time ORDER BY x.start_time, x.id) AS starts,
                     -- Diarizers run past the end of the file.
                     array_agg(least(x.end_time, d.duration_s) ORDER BY x.start_time, x.id) AS ends
              FROM wanted AS x JOIN @store@.recordings AS d ON d.id = x.recording_id AND d.collection = home
              WHERE x.rejected IS NULL AND x.has_audio
              GROUP BY x.recording_id) AS w
        JOIN @store@.recordings AS r ON r.id = w.recording_id AND r.collection = home
        ORDER BY r.id
    ), extracted AS MATERIALIZED (
        -- Audio that is stored out of line is not read here, but as it is decoded.
        SELECT @extension@.speaker_extract(
                   s.audio, s.audio_lo, s.audio_path, s.named_by, s.ids, s.starts, s.ends, m.name, m.sha256) AS answers
        FROM sources AS s, @store@.models AS m
        WHERE m.id = extract_outcomes.model_id
    )
    SELECT array_agg((
        w.id,
        CASE WHEN w.rejected IS NULL AND x.segment_id IS NOT NULL OR w.has_audio THEN w.source_hash END,
        x.embedding, x.speech_s,
        CASE WHEN w.rejected IS NOT NULL THEN 'rejected'
             WHEN x.segment_id IS NULL
               OR x.error_code IN ('missing_audio', 'files_forbidden', 'audio_forbidden', 'file_path', 'audio_unreadable')
             THEN 'missing_audio'
             WHEN x.error_code IS NULL THEN 'success' WHEN x.permanent THEN 'rejected' ELSE 'fail' END,
        CASE WHEN w.rejected IS NOT NULL THEN 'segment_empty' WHEN x.segment_id IS NULL THEN 'missing_audio' ELSE x.error_code END,
        CASE WHEN x.segment_id IS NULL THEN coalesce(w.rejected, format('recording %s has no audio', w.recording_id)) ELSE x.error END
        )::@store@.outcome ORDER BY w.id)
    INTO answer
    FROM wanted AS w
    LEFT JOIN (SELECT u.* FROM extracted AS e,
                    unnest((e.answers).segment_ids, (e.answers).embeddings, (e.answers).speech_s, (e.answers).error_codes,
                           (e.answers).errors, (e.answers).permanent)
                    AS u (segment_id, embedding, speech_s, error_code, error, permanent)) AS x ON x.segment_id = w.id;
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
    claim @store@.embedding_claims := @store@.ask_ledger(
        'embed', home, embed_now.model_id, embed_now.max_segments, NULL, embed_now.segments);
BEGIN
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
