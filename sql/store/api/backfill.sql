-- Backfills: many segments, several sessions, and nothing lost when one of them ends.
--
-- A batch is claimed, the claim is committed, then the work is done and committed (keep/claims.sql has the rules). A procedure
-- that commits can have no SET search_path, so it does nothing but call functions that have one, and commit.

CREATE OR REPLACE FUNCTION @store@.backfill_begin(can_commit boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT can_commit THEN
        PERFORM @store@.raise_error('in_transaction', 'backfill_embeddings() commits, and cannot do so inside a transaction');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION @store@.backfill_plan(
    batch_size int, run_id bigint, recording text, collection text, model text, time_budget interval, dry_run boolean)
RETURNS @store@.backfill
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    b @store@.backfill;
    places record;
BEGIN
    IF batch_size IS NULL OR batch_size < 1 THEN
        PERFORM @store@.raise_error('invalid_argument', 'batch_size is less than 1');
    END IF;
    b.model_id := @store@.model_id(model);
    places := @store@.scope(backfill_plan.run_id, backfill_plan.recording, backfill_plan.collection, b.model_id);
    b.batch_size := batch_size;
    b.runs := places.runs;
    b.homes := places.homes;
    b.home := 1;
    b.is_everywhere := num_nonnulls(run_id, recording, collection) = 0;
    b.started := clock_timestamp();
    b.until := b.started + time_budget;
    b.tried := 0;
    b.embedded := 0;
    b.tried_in_pass := 0;
    b.due := @store@.count_due(b.homes, b.model_id, b.runs);
    b.remaining := b.due;
    b.failed := 0;
    b.finished := coalesce(dry_run, false);
    IF b.finished THEN
        RAISE NOTICE 'backfill: % segments are due', b.due;
    ELSE
        -- A model that cannot be used is not the segments' fault.
        PERFORM @store@.check_computes(b.model_id);
        PERFORM @extension@.speaker_load_model(m.name, m.sha256) FROM @store@.models AS m WHERE m.id = b.model_id;
    END IF;
    RETURN b;
END
$$;

-- Takes back what sessions that are gone had, and enters what is missing, where the backfill is now.
CREATE OR REPLACE FUNCTION @store@.backfill_prepare(b @store@.backfill) RETURNS @store@.backfill
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF b.home > cardinality(b.homes) THEN
        -- Another pass, until one finds nothing.
        b.finished := b.tried_in_pass = 0;
        b.home := 1;
        b.tried_in_pass := 0;
        IF b.is_everywhere THEN
            b.homes := @store@.homes_with_work(b.model_id);
        END IF;
    END IF;
    IF NOT b.finished AND b.home <= cardinality(b.homes) THEN
        IF @store@.unlisted(b.homes[b.home], b.model_id) > 0 THEN
            PERFORM @store@.ask_ledger('enqueue', b.homes[b.home], b.model_id, NULL, b.runs);
        END IF;
        PERFORM @store@.ask_ledger('recover', b.homes[b.home], b.model_id);
    ELSE
        b.finished := true;
    END IF;
    RETURN b;
END
$$;

CREATE OR REPLACE FUNCTION @store@.backfill_claim(b @store@.backfill) RETURNS @store@.backfill
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    b.claim := NULL;
    IF NOT b.finished THEN
        b.claim := @store@.ask_ledger('backfill', b.homes[b.home], b.model_id, b.batch_size, b.runs);
        IF (b.claim).claimed = '{}' THEN
            b.claim := NULL;
            b.home := b.home + 1;
        END IF;
    END IF;
    b.has_claim := (b.claim).lease IS NOT NULL;
    RETURN b;
END
$$;

CREATE OR REPLACE FUNCTION @store@.is_nobodys_fault(state text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Memory, disk, configuration, the operator, a lock, a conflict of transactions, a standby, a missing right or function: no
    -- segment's.
    RETURN left(state, 2) IN ('25', '40', '42', '53', '54', '55', '57', '58', 'F0');
END
$$;

-- Embeds what was claimed. server_error and message: what went wrong with the server rather than with a segment; the claim
-- is given back.
CREATE OR REPLACE FUNCTION @store@.backfill_work(b @store@.backfill) RETURNS @store@.backfill
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    one bigint;
    state text;
    alone @store@.embedding_claims;
    outcome @store@.outcome;
BEGIN
    b.server_error := NULL;
    BEGIN
        PERFORM @store@.work_on(b.claim);
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        b.server_error := SQLSTATE;
        b.message := SQLERRM;
    END;
    IF b.server_error IS NOT NULL AND NOT @store@.is_nobodys_fault(b.server_error) THEN
        -- One of them. Each by itself, so that the others get through.
        b.server_error := NULL;
        FOREACH one IN ARRAY (b.claim).claimed LOOP
            BEGIN
                alone := b.claim;
                alone.claimed := ARRAY[one];
                PERFORM @store@.work_on(alone);
            EXCEPTION WHEN query_canceled OR OTHERS THEN
                state := SQLSTATE;
                IF @store@.is_nobodys_fault(state) THEN
                    b.server_error := state;
                    b.message := SQLERRM;
                    EXIT;
                END IF;
                SELECT s.segment_id, s.source_hash INTO outcome.segment_id, outcome.source_hash
                FROM @store@.segment_sources AS s WHERE s.segment_id = one AND s.collection = (b.claim).collection;
                outcome.status := 'fail';
                outcome.error_code := 'unexpected_error';
                outcome.error := state || ': ' || SQLERRM;
                UPDATE @store@.embedding_claims AS c SET outcomes = ARRAY[outcome]
                WHERE c.lease = (b.claim).lease AND c.collection = (b.claim).collection;
            END;
        END LOOP;
    END IF;
    SELECT count(*) FILTER (WHERE j.status <> 'running'), count(*) FILTER (WHERE j.status = 'success')
    INTO b.tried_now, b.embedded_now
    FROM @store@.embedding_jobs AS j
    WHERE j.segment_id = ANY ((b.claim).claimed) AND j.model_id = b.model_id AND j.collection = (b.claim).collection;
    -- What has no outcome is given back as it was.
    PERFORM @store@.end_claim(b.claim);
    b.tried := b.tried + b.tried_now;
    b.tried_in_pass := b.tried_in_pass + b.tried_now;
    b.embedded := b.embedded + b.embedded_now;
    RETURN b;
END
$$;

CREATE OR REPLACE FUNCTION @store@.backfill_report(b @store@.backfill) RETURNS @store@.backfill
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seconds CONSTANT float8 := extract(epoch FROM clock_timestamp() - b.started);
BEGIN
    PERFORM @extension@.speaker_leave_backfill();
    IF b.server_error IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = b.server_error, MESSAGE = b.message;
    END IF;
    RAISE NOTICE 'backfill: % of %, % failed, % segments/s, about % left', b.tried, greatest(b.due, b.tried),
        b.tried - b.embedded, round((b.tried / seconds)::numeric, 1),
        justify_interval(make_interval(secs => ceil(greatest(b.due - b.tried, 0) * seconds / greatest(b.tried, 1))));
    b.finished := clock_timestamp() >= b.until IS TRUE;
    b.is_over_time := b.finished;
    RETURN b;
END
$$;

CREATE OR REPLACE FUNCTION @store@.backfill_end(b @store@.backfill) RETURNS @store@.backfill
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF b.is_everywhere THEN
        b.homes := @store@.homes_with_work(b.model_id);
    END IF;
    b.remaining := @store@.count_due(b.homes, b.model_id, b.runs);
    b.failed := b.tried - b.embedded;
    IF b.tried > 0 THEN
        RAISE NOTICE 'backfill: % embedded, % failed, % still due', b.embedded, b.failed, b.remaining;
    END IF;
    RETURN b;
END
$$;

CREATE OR REPLACE PROCEDURE @store@.backfill_embeddings(
    batch_size int DEFAULT 200, run_id bigint DEFAULT NULL, recording text DEFAULT NULL, collection text DEFAULT NULL,
    model text DEFAULT NULL, time_budget interval DEFAULT NULL, dry_run boolean DEFAULT false,
    INOUT embedded bigint DEFAULT 0, INOUT failed bigint DEFAULT 0, INOUT remaining bigint DEFAULT 0)
LANGUAGE plpgsql AS $$
DECLARE
    b @store@.backfill;
BEGIN
    -- Asked here: what the procedure calls never can.
    PERFORM @store@.backfill_begin(@extension@.speaker_can_commit());
    -- Its own isolation, whatever the session's: sessions that share the work must see what the others have committed.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    b := @store@.backfill_plan(batch_size, run_id, recording, collection, model, time_budget, dry_run);
    LOOP
        EXIT WHEN b.finished;
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        b := @store@.backfill_prepare(b);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        b := @store@.backfill_claim(b);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        EXIT WHEN b.finished;
        IF b.has_claim THEN
            b := @store@.backfill_work(b);
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            b := @store@.backfill_report(b);
        END IF;
        EXIT WHEN b.is_over_time;
    END LOOP;
    b := @store@.backfill_end(b);
    embedded := b.embedded;
    failed := b.failed;
    remaining := b.remaining;
END
$$;
COMMENT ON PROCEDURE @store@.backfill_embeddings(int, bigint, text, text, text, interval, boolean, bigint, bigint, bigint) IS
    'Embeds every segment that is due, committing after each batch; several sessions may do it at once. run_id, recording or collection narrow it, time_budget ends it after the batch that passes it, dry_run only counts. Not inside a transaction: there, embed_due().';

CREATE OR REPLACE FUNCTION @store@.embed_due(max_segments int DEFAULT 100, collection text DEFAULT NULL, model text DEFAULT NULL)
RETURNS TABLE (segment_id bigint, status text, error_code text, error text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := @store@.model_id(model);
    homes text[];
    home text;
    left_to_do int := max_segments;
    done bigint;
BEGIN
    IF max_segments IS NULL OR max_segments < 1 THEN
        PERFORM @store@.raise_error('invalid_argument', 'max_segments is less than 1');
    END IF;
    homes := CASE WHEN embed_due.collection IS NULL THEN @store@.homes_with_work(chosen) ELSE ARRAY[embed_due.collection] END;
    FOREACH home IN ARRAY homes LOOP
        EXIT WHEN left_to_do < 1;
        IF @store@.unlisted(home, chosen) > 0 THEN
            PERFORM @store@.ask_ledger('enqueue', home, chosen);
        END IF;
        RETURN QUERY SELECT e.* FROM @store@.embed_now(home, chosen, NULL, left_to_do) AS e;
        GET DIAGNOSTICS done = ROW_COUNT;
        left_to_do := left_to_do - done;
    END LOOP;
END
$$;
COMMENT ON FUNCTION @store@.embed_due(int, text, text) IS
    'Embeds one batch of due segments in the caller''s transaction, and returns a row for each; none: nothing is due. For clients that cannot call backfill_embeddings().';

CREATE OR REPLACE FUNCTION @store@.retry_embeddings(
    error_code text DEFAULT NULL, run_id bigint DEFAULT NULL, collection text DEFAULT NULL, model text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    chosen CONSTANT int := @store@.model_id(model);
    homes text[];
    home text;
    changed bigint := 0;
BEGIN
    homes := CASE
        WHEN retry_embeddings.run_id IS NOT NULL THEN ARRAY[@store@.home_of_run(retry_embeddings.run_id, retry_embeddings.collection)]
        WHEN retry_embeddings.collection IS NOT NULL THEN ARRAY[retry_embeddings.collection]
        ELSE ARRAY(SELECT DISTINCT j.collection FROM @store@.embedding_jobs AS j
                   WHERE j.error_code IS NOT NULL AND j.model_id = chosen)
    END;
    FOREACH home IN ARRAY homes LOOP
        changed := changed + (@store@.ask_ledger(
            'retry', home, chosen, NULL, CASE WHEN retry_embeddings.run_id IS NOT NULL THEN ARRAY[retry_embeddings.run_id] END,
            NULL, retry_embeddings.error_code)).changed;
    END LOOP;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION @store@.retry_embeddings(text, bigint, text, text) IS
    'Makes segments due that failed, were rejected or are dead, all or those of one error code, and returns their number: for after the cause is removed.';
