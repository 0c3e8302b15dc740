-- A recording's audio is in its row, in a large object or in a file of the server.

CREATE OR REPLACE FUNCTION @store@.recording_facts(audio bytea, audio_lo oid, audio_path text)
RETURNS TABLE (sha256 bytea, container text, codec text, sample_rate int, channels int, duration_s float8)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT f.* FROM @extension@.speaker_recording_facts(audio, audio_lo, audio_path, NULL::text) AS f;
END
$$;
COMMENT ON FUNCTION @store@.recording_facts(bytea, oid, text) IS
    'What an audio source is, by its bytes, read with the caller''s rights. Audio that cannot be decoded has a hash and nothing else.';

CREATE OR REPLACE FUNCTION @store@.refresh_recording(recording text, collection text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home(refresh_recording.collection);
    stored record;
    now_there bytea;
BEGIN
    SELECT r.id, r.sha256 INTO stored FROM @store@.recordings AS r
    WHERE r.collection = home AND r.external_id = recording FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM @store@.raise_error('recording_unknown',
            format('there is no recording "%s" in collection "%s"', recording, home));
    END IF;
    -- The trigger puts in what it finds.
    UPDATE @store@.recordings AS r SET audio_lo = r.audio_lo
    WHERE r.id = stored.id AND r.collection = home RETURNING r.sha256 INTO now_there;
    RETURN now_there IS DISTINCT FROM stored.sha256;
END
$$;
COMMENT ON FUNCTION @store@.refresh_recording(text, text) IS
    'Looks again at a recording whose audio is in a large object or a file of the server: true if it has changed, and its segments are due.';

CREATE OR REPLACE FUNCTION @store@.segment_clip(segment_id bigint, padding_s float8 DEFAULT 0, collection text DEFAULT NULL)
RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := @store@.home_of_segment(segment_clip.segment_id, segment_clip.collection);
    answer bytea;
BEGIN
    SELECT @extension@.speaker_recording_clip(
               r.audio, r.audio_lo, r.audio_path, r.named_by, greatest(s.start_time - padding_s, 0),
               least(s.end_time + padding_s, r.duration_s), s.channel)
    INTO answer
    FROM @store@.segments AS s
    JOIN @store@.runs AS u ON u.id = s.run_id AND u.collection = s.collection
    JOIN @store@.recordings AS r ON r.id = u.recording_id AND r.collection = u.collection
    WHERE s.id = segment_clip.segment_id AND s.collection = home;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION @store@.segment_clip(bigint, float8, text) IS
    'A segment to listen to, as a WAV file (16 kHz, mono, 16 bit), with padding_s seconds more at each end.';
