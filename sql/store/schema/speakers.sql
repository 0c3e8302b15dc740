-- What is known of speakers: means, history, clusterings.

CREATE TABLE @store@.speaker_centroids (
    speaker_id bigint NOT NULL,
    collection text NOT NULL DEFAULT 'default',
    model_id int NOT NULL REFERENCES @store@.models,
    n bigint NOT NULL,
    sum float8[] NOT NULL,
    mean @vector@.vector,
    -- No foreign key to speakers: a new mean would lock its speaker last, who comes first (LOCKS.md). A trigger deletes it.
    PRIMARY KEY (speaker_id, model_id, collection)
) WITH (fillfactor = 70);
-- A search reads, through this, only its own collection where there are many. (No index on what a label changes, or the
-- row could not be updated in place.)
CREATE INDEX speaker_centroids_collection_idx ON @store@.speaker_centroids (collection, model_id);
-- A search reads the means alone: they stay in the row, the sums go out of line.
ALTER TABLE @store@.speaker_centroids ALTER COLUMN mean SET STORAGE MAIN, ALTER COLUMN sum SET STORAGE EXTERNAL;
COMMENT ON TABLE @store@.speaker_centroids IS 'Derived: number, float8 sum and mean of the L2-normalised embeddings that confirmed labels give each speaker. Kept by triggers.';

CREATE TYPE @store@.centroid_delta AS (speaker_id bigint, collection text, model_id int, n bigint, sum float8[]);
COMMENT ON TYPE @store@.centroid_delta IS 'What a statement adds to a speaker''s mean, or takes from it.';

CREATE TABLE @store@.assignments (
    id bigint GENERATED ALWAYS AS IDENTITY,
    collection text NOT NULL DEFAULT 'default',
    segment_id bigint NOT NULL,
    speaker_id bigint,
    speaker text,
    previous_speaker_id bigint,
    previous_speaker text,
    previous_source text,
    previous_labelled_at timestamptz,
    source text NOT NULL,
    score float8,
    model_id int,
    clustering_id bigint,
    confirmed boolean,
    batch_id bigint,
    assigned_by text NOT NULL,
    assigned_role text,
    assigned_at timestamptz NOT NULL,
    PRIMARY KEY (id, collection)
);
CREATE INDEX assignments_segment_id_idx ON @store@.assignments (segment_id, id);
CREATE INDEX assignments_batch_id_idx ON @store@.assignments (batch_id) WHERE batch_id IS NOT NULL;
COMMENT ON TABLE @store@.assignments IS 'History of who was said to speak, written by triggers for every change, however it came about; speaker NULL means the label was taken back. It points at nothing: what was decided stays when segments, speakers or clusterings go, until the owner deletes it.';
COMMENT ON COLUMN @store@.assignments.source IS 'As stated with the change: manual, knn, cluster, chunk, enrolment, merge, import; deletion: the segment or the speaker was deleted; undo: undo_labels() took the label back; confirm: the label was confirmed, or is not any more.';
COMMENT ON COLUMN @store@.assignments.previous_labelled_at IS 'The labelled_at that the segment had before, as previous_source is its label_source.';
COMMENT ON COLUMN @store@.assignments.confirmed IS 'Whether the label was confirmed then. A label that is only confirmed, or is not any more, is a row of its own.';
COMMENT ON COLUMN @store@.assignments.batch_id IS 'The call of label_batches that it was part of.';
COMMENT ON COLUMN @store@.assignments.assigned_by IS 'The role that logged in.';
COMMENT ON COLUMN @store@.assignments.assigned_role IS 'The role that it had set, if any.';

CREATE TABLE @store@.label_batches (
    id bigint GENERATED ALWAYS AS IDENTITY,
    collection text NOT NULL DEFAULT 'default',
    call text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    made_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (id, collection)
);
COMMENT ON TABLE @store@.label_batches IS 'Calls that labelled or confirmed segments, for undo_labels().';

CREATE TABLE @store@.clusterings (
    id bigint GENERATED ALWAYS AS IDENTITY,
    collection text NOT NULL DEFAULT 'default',
    run_id bigint,
    runs bigint[],
    model_id int NOT NULL REFERENCES @store@.models,
    parameters jsonb NOT NULL DEFAULT '{}',
    names text[] NOT NULL DEFAULT '{}',
    tree float8[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (id, collection),
    FOREIGN KEY (run_id, collection) REFERENCES @store@.runs (id, collection) ON DELETE CASCADE
);
CREATE INDEX clusterings_run_id_idx ON @store@.clusterings (run_id) WHERE run_id IS NOT NULL;
COMMENT ON TABLE @store@.clusterings IS 'Clusterings of unlabeled segments: of one run, of several (runs), or of a whole collection.';
COMMENT ON COLUMN @store@.clusterings.tree IS 'What extend_clustering() needs: five numbers for each node of the condensed tree.';

CREATE TABLE @store@.cluster_members (
    clustering_id bigint NOT NULL,
    collection text NOT NULL DEFAULT 'default',
    segment_id bigint NOT NULL,
    cluster text CHECK (cluster <> ''),
    probability float8 NOT NULL CHECK (probability BETWEEN 0 AND 1),
    outlier_score float8,
    core_distance float8,
    node int,
    density float8,
    representative boolean NOT NULL DEFAULT false,
    PRIMARY KEY (clustering_id, segment_id, collection),
    FOREIGN KEY (clustering_id, collection) REFERENCES @store@.clusterings (id, collection) ON DELETE CASCADE,
    FOREIGN KEY (segment_id, collection) REFERENCES @store@.segments (id, collection) ON DELETE CASCADE
);
CREATE INDEX cluster_members_segment_id_idx ON @store@.cluster_members (segment_id);
COMMENT ON TABLE @store@.cluster_members IS 'Members of a clustering. cluster is A, B, C, ... from the largest down, and NULL for noise. Those that joined later have no outlier_score, core_distance, node and density.';

CREATE TABLE @store@.memberships (
    member text NOT NULL,
    collection text,
    by_setting boolean NOT NULL DEFAULT false,
    UNIQUE NULLS NOT DISTINCT (member, collection),
    CHECK (by_setting = (collection IS NULL))
);
-- It has no primary key: where it is published, its rows are told apart by all that they say.
ALTER TABLE @store@.memberships REPLICA IDENTITY FULL;
COMMENT ON TABLE @store@.memberships IS 'Which collections a role sees once enable_row_security() was called. by_setting: whichever the setting speaker.collection names, which is a boundary against mistakes only: whoever runs SQL as such a role can set it.';
