-- The ledger: how embedding went, who is at work, and the counts of it.

CREATE TABLE @store@.embedding_jobs (
    segment_id bigint NOT NULL,
    collection text NOT NULL DEFAULT 'default',
    model_id int NOT NULL REFERENCES @store@.models,
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'success', 'fail', 'rejected', 'missing_audio', 'dead')),
    status_before text CHECK (status_before IN ('pending', 'fail', 'missing_audio')),
    error_code text,
    error text,
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    crashes int NOT NULL DEFAULT 0 CHECK (crashes >= 0),
    lease int,
    next_attempt_at timestamptz DEFAULT '-infinity',
    source_hash bytea,
    processed_at timestamptz,
    PRIMARY KEY (segment_id, model_id, collection),
    FOREIGN KEY (segment_id, collection) REFERENCES @store@.segments (id, collection) ON DELETE CASCADE,
    CHECK ((coalesce(status_before, status) IN ('fail', 'rejected', 'missing_audio', 'dead')) = (error_code IS NOT NULL)),
    CHECK ((status = 'running') = (lease IS NOT NULL))
);
-- In the order in which they are taken: what waits for its time, or for ever, is not read. Suspects are few.
CREATE INDEX embedding_jobs_open_idx ON @store@.embedding_jobs (model_id, collection, next_attempt_at, segment_id)
    WHERE status IN ('pending', 'fail', 'missing_audio') AND next_attempt_at IS NOT NULL AND crashes = 0;
CREATE INDEX embedding_jobs_suspects_idx ON @store@.embedding_jobs (model_id, collection, next_attempt_at)
    WHERE status = 'pending' AND crashes > 0;
CREATE INDEX embedding_jobs_running_idx ON @store@.embedding_jobs (collection, lease) WHERE status = 'running';
CREATE INDEX embedding_jobs_failed_idx ON @store@.embedding_jobs (collection, model_id, error_code) WHERE error_code IS NOT NULL;
COMMENT ON TABLE @store@.embedding_jobs IS 'The ledger: the state of each segment under each model. rejected: can never work as it is. fail: is tried again at next_attempt_at. dead: failed too often. Kept by triggers.';
COMMENT ON COLUMN @store@.embedding_jobs.status_before IS 'While a session is at work: what the state was, and is again if that session gives it back.';
COMMENT ON COLUMN @store@.embedding_jobs.attempts IS 'Attempts that ended, one way or the other.';
COMMENT ON COLUMN @store@.embedding_jobs.crashes IS 'Attempts whose session vanished before they ended. From the first on the segment is tried alone.';
COMMENT ON COLUMN @store@.embedding_jobs.next_attempt_at IS 'From when on it is due; NULL: not by itself.';
COMMENT ON COLUMN @store@.embedding_jobs.source_hash IS 'Of the audio and the bounds that the outcome is of; where it is not theirs any more, the segment is due.';

CREATE TYPE @store@.outcome AS (
    segment_id bigint, source_hash bytea, embedding @vector@.vector, speech_s float8, overlapped_s float8, status text, error_code text, error text);
COMMENT ON TYPE @store@.outcome IS 'How one attempt ended.';

-- A session takes segments by inserting a row, says how they went by updating it, and lets go by deleting it. Triggers
-- do these steps with the rights of the ledger's owner, who alone writes it; what a role may see and insert here
-- decides for which collections it may ask.
CREATE TABLE @store@.embedding_claims (
    lease int GENERATED ALWAYS AS IDENTITY (CYCLE),
    collection text NOT NULL DEFAULT 'default',
    model_id int NOT NULL REFERENCES @store@.models,
    step text NOT NULL CHECK (step IN ('enqueue', 'recover', 'backfill', 'embed', 'retry')),
    max_segments int CHECK (max_segments > 0),
    runs bigint[],
    segments bigint[],
    error_code text,
    pid int NOT NULL DEFAULT pg_backend_pid(),
    backend_start timestamptz,
    claimed bigint[] NOT NULL DEFAULT '{}',
    changed bigint NOT NULL DEFAULT 0,
    outcomes @store@.outcome[],
    PRIMARY KEY (lease, collection)
);
COMMENT ON TABLE @store@.embedding_claims IS 'Steps of sessions at work on the ledger. Rows go with the step; one that stays is of a session that vanished.';
COMMENT ON COLUMN @store@.embedding_claims.step IS 'backfill: committed before the work, under a lock that ends with the session. embed: within one transaction. enqueue, recover and retry change the ledger and claim nothing.';

-- Counts as rows that are only added, so that sessions never wait for each other over them. Now and then those of more
-- than a minute ago are summed up.
CREATE TABLE @store@.tallies (
    id bigint GENERATED ALWAYS AS IDENTITY,
    collection text NOT NULL DEFAULT 'default',
    model_id int,
    what text NOT NULL,
    n bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id, collection)
);
CREATE INDEX tallies_collection_idx ON @store@.tallies (collection, at);
COMMENT ON TABLE @store@.tallies IS 'Derived: how many segments, jobs of each status and speakers there are, as changes of these numbers. Kept by triggers.';

CREATE TYPE @store@.backfill AS (
    model_id int, batch_size int, runs bigint[], homes text[], home int, is_everywhere boolean,
    started timestamptz, until timestamptz, due bigint,
    claim @store@.embedding_claims, has_claim boolean,
    tried bigint, tried_now bigint, tried_in_pass bigint, embedded bigint, embedded_now bigint, failed bigint, remaining bigint,
    finished boolean, is_over_time boolean, server_error text, message text);
COMMENT ON TYPE @store@.backfill IS 'Where a backfill is, from one of its transactions to the next.';
