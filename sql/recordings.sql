-- A recording's audio is in its row, in a large object or in a file of the server; what is known of it follows.

CREATE FUNCTION speaker.recording_changes() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    facts record;
BEGIN
    -- Only a role that may read files of the server may have one read: whoever embeds it later may be allowed to.
    IF NEW.audio_path IS NOT NULL THEN
        PERFORM speaker.check_server_files();
    END IF;
    IF num_nonnulls(NEW.audio, NEW.audio_lo, NEW.audio_path) <> 1 THEN
        -- Taken away, not changed: what was made of it stays, and stays known.
        NEW.sha256 := CASE TG_OP WHEN 'UPDATE' THEN OLD.sha256 END;
    ELSIF TG_OP = 'UPDATE' OR NEW.sha256 IS NULL THEN -- a row from a dump has it
        SELECT * INTO facts FROM speaker.recording_facts(NEW.audio, NEW.audio_lo, NEW.audio_path);
        NEW.sha256 := facts.sha256;
        NEW.container := facts.container;
        NEW.codec := facts.codec;
        NEW.sample_rate := facts.sample_rate;
        NEW.channels := facts.channels;
        NEW.duration_s := facts.duration_s;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER recording_changes BEFORE INSERT OR UPDATE OF audio, audio_lo, audio_path, sha256 ON speaker.recordings
    FOR EACH ROW EXECUTE FUNCTION speaker.recording_changes();

CREATE FUNCTION refresh_recording(recording text, collection text DEFAULT 'default') RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    stored record;
    now_there bytea;
BEGIN
    SELECT r.id, r.sha256 INTO stored FROM speaker.recordings AS r
    WHERE (r.collection, r.external_id) = (refresh_recording.collection, recording) FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM speaker.raise_error('recording_unknown',
            format('there is no recording "%s" in collection "%s"', recording, collection));
    END IF;
    -- The trigger puts in what it finds.
    UPDATE speaker.recordings AS r SET sha256 = NULL WHERE r.id = stored.id RETURNING r.sha256 INTO now_there;
    RETURN now_there IS DISTINCT FROM stored.sha256;
END
$$;
COMMENT ON FUNCTION refresh_recording(text, text) IS
    'Looks again at a recording whose audio is in a large object or a file of the server: true if it has changed, and its segments are due.';

CREATE FUNCTION segment_clip(segment_id bigint, padding_s float8 DEFAULT 0) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    answer bytea;
BEGIN
    SELECT speaker.clip_of(r.audio, r.audio_lo, r.audio_path, greatest(s.start_time - padding_s, 0),
                           least(s.end_time + padding_s, r.duration_s))
    INTO answer
    FROM speaker.segments AS s
    JOIN speaker.runs AS u ON u.id = s.run_id
    JOIN speaker.recordings AS r ON r.id = u.recording_id
    WHERE s.id = segment_clip.segment_id;
    IF NOT FOUND THEN
        PERFORM speaker.raise_error('segment_unknown', format('there is no segment %s', segment_id));
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION segment_clip(bigint, float8) IS
    'A segment to listen to, as a WAV file (16 kHz, mono, 16 bit), with padding_s seconds more at each end.';
