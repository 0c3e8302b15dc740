-- Recordings, what was said to be in them, and their embeddings.
--
-- Every table has the collection, and every key of a tenant's table has it too: so no row can point into another
-- collection, a policy needs no join, and the tables can be distributed by it. Its default is a constant.

CREATE TABLE @store@.recordings (
    id bigint GENERATED ALWAYS AS IDENTITY,
    collection text NOT NULL DEFAULT 'default' CHECK (collection <> ''),
    external_id text NOT NULL CHECK (external_id <> ''),
    audio bytea,
    audio_lo oid CHECK (audio_lo <> 0),
    audio_path text CHECK (starts_with(audio_path, '/')),
    named_by text,
    sha256 bytea CHECK (length(sha256) = 32),
    duration_s float8 CHECK (duration_s > 0 AND duration_s < 'Infinity'),
    container text,
    codec text,
    sample_rate int CHECK (sample_rate > 0),
    channels int CHECK (channels > 0),
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, collection),
    UNIQUE (collection, external_id),
    CONSTRAINT recordings_one_source CHECK (num_nonnulls(audio, audio_lo, audio_path) <= 1)
);
-- Audio is compressed already, and EXTERNAL lets a slice of it be read without the rest.
ALTER TABLE @store@.recordings ALTER COLUMN audio SET STORAGE EXTERNAL;
COMMENT ON TABLE @store@.recordings IS 'Audio files. external_id is the application''s own id (a video id), unique in its collection. The audio is here (audio), in a large object (audio_lo), in a file of the server (audio_path), or kept elsewhere (none of them).';
COMMENT ON COLUMN @store@.recordings.named_by IS 'The role that named the large object or the file, kept by a trigger: it is read with that role''s rights, whoever asks.';
COMMENT ON COLUMN @store@.recordings.sha256 IS 'Of the audio, kept by a trigger. What is in a large object or a file may change without one: refresh_recording() looks again.';

CREATE TABLE @store@.speakers (
    id bigint GENERATED ALWAYS AS IDENTITY,
    collection text NOT NULL DEFAULT 'default' CHECK (collection <> ''),
    name text NOT NULL CHECK (btrim(name) = name AND name <> '' AND upper(name) NOT IN ('UNKNOWN', 'PENDING')),
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, collection),
    UNIQUE (collection, name)
);
COMMENT ON TABLE @store@.speakers IS 'Known persons, unique by name in their collection. An unknown voice is not a row here: it is a segment whose speaker_id is NULL.';

CREATE TABLE @store@.runs (
    id bigint GENERATED ALWAYS AS IDENTITY,
    collection text NOT NULL DEFAULT 'default',
    recording_id bigint NOT NULL,
    segment_source text NOT NULL CHECK (segment_source <> ''),
    parameters jsonb NOT NULL DEFAULT '{}',
    content_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, collection),
    UNIQUE (recording_id, segment_source, content_hash, collection),
    FOREIGN KEY (recording_id, collection) REFERENCES @store@.recordings (id, collection) ON DELETE CASCADE
);
COMMENT ON TABLE @store@.runs IS 'Diarization runs: one set of segments of one recording, and where they came from.';
COMMENT ON COLUMN @store@.runs.segment_source IS 'Where the segments came from, in any words; enrolment is the store''s own.';
COMMENT ON COLUMN @store@.runs.content_hash IS 'sha256 of the segments as given: the same segments again are the same run.';

CREATE TABLE @store@.segments (
    id bigint GENERATED ALWAYS AS IDENTITY,
    collection text NOT NULL DEFAULT 'default',
    run_id bigint NOT NULL,
    external_id text CHECK (external_id <> ''),
    source_index int CHECK (source_index >= 0),
    start_time float8 NOT NULL CHECK (start_time >= 0 AND start_time < 'Infinity'),
    end_time float8 NOT NULL CHECK (end_time < 'Infinity'),
    channel int CHECK (channel > 0),
    speaker_label text,
    text text,
    confidence float8 CHECK (confidence BETWEEN 0 AND 1),
    rejected text,
    rejected_code text,
    speaker_id bigint,
    label_source text CHECK (label_source IN ('manual', 'knn', 'cluster', 'chunk', 'enrolment', 'merge', 'import', 'deletion', 'undo')),
    label_score float8,
    label_model_id int,
    label_clustering_id bigint,
    label_confirmed boolean,
    label_batch bigint,
    labelled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, collection),
    UNIQUE (run_id, external_id, collection),
    FOREIGN KEY (run_id, collection) REFERENCES @store@.runs (id, collection) ON DELETE CASCADE,
    -- A speaker that is deleted leaves its segments unknown: a trigger, since the history has to tell.
    FOREIGN KEY (speaker_id, collection) REFERENCES @store@.speakers (id, collection),
    CONSTRAINT segments_end_after_start
        CHECK (end_time > start_time OR (rejected IS NOT NULL AND end_time = start_time))
);
CREATE INDEX segments_speaker_id_idx ON @store@.segments (speaker_id) WHERE speaker_id IS NOT NULL;
CREATE INDEX segments_run_id_idx ON @store@.segments (run_id, start_time);
COMMENT ON TABLE @store@.segments IS 'Stretches of speech, in seconds. speaker_id NULL means not known; speaker_label is only the diarizer''s.';
COMMENT ON COLUMN @store@.segments.channel IS 'The channel of the recording that the voice is on, from 1; NULL means the mix of all.';
COMMENT ON COLUMN @store@.segments.rejected IS 'Why this segment can never be embedded: as it was given it has no time, or no length. Such a segment may have no length here.';
COMMENT ON COLUMN @store@.segments.rejected_code IS 'The same as a code of error_codes; NULL beside a reason means segment_empty.';
COMMENT ON COLUMN @store@.segments.label_source IS 'How the speaker was found: a statement of whoever set speaker_id, in the same UPDATE, together with labelled_at. An UPDATE of speaker_id alone is manual.';
COMMENT ON COLUMN @store@.segments.label_confirmed IS 'Whether somebody, or a rule that the user sets, stands for the label. One that is not confirmed is a suggestion: it is shown, and does not move the mean of its speaker.';
COMMENT ON COLUMN @store@.segments.label_batch IS 'The call that labelled or confirmed it: undo_labels() takes it back.';
COMMENT ON COLUMN @store@.segments.labelled_at IS 'When the label was made; the time is a trigger''s. One that undo_labels() brings back has the time that it had.';

CREATE TABLE @store@.embeddings (
    segment_id bigint NOT NULL,
    collection text NOT NULL DEFAULT 'default',
    model_id int NOT NULL,
    embedding @vector@.vector NOT NULL CHECK (@vector@.vector_norm(embedding) > 0),
    dim int NOT NULL GENERATED ALWAYS AS (@vector@.vector_dims(embedding)) STORED,
    speech_s float8 CHECK (speech_s >= 0),
    overlapped_s float8 CHECK (overlapped_s >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (segment_id, model_id, collection),
    FOREIGN KEY (segment_id, collection) REFERENCES @store@.segments (id, collection) ON DELETE CASCADE,
    -- The dimension is the model's: a vector of another model cannot be stored under this one.
    FOREIGN KEY (model_id, dim) REFERENCES @store@.models (id, dim)
);
-- What a collection has is read without the others where it is small.
CREATE INDEX embeddings_collection_idx ON @store@.embeddings (collection, model_id);
COMMENT ON TABLE @store@.embeddings IS 'The embedding of a segment under a model. Who speaks is a column of the segment, so that a label never touches a vector index.';
COMMENT ON COLUMN @store@.embeddings.speech_s IS 'Seconds of speech after voice activity detection; NULL for imported vectors.';
COMMENT ON COLUMN @store@.embeddings.overlapped_s IS 'Seconds of the segment that were left out because another label speaks there too; NULL for imported vectors.';

CREATE TYPE @store@.segment_input AS (
    external_id text, source_index int, start_s float8, end_s float8, channel int, speaker_label text, text text, confidence float8,
    error_code text, error text);
COMMENT ON TYPE @store@.segment_input IS 'A segment as it was read from what a diarizer or transcriber wrote.';
