-- Who may do what. Tables are read and written with the caller's own rights; derived tables, ledger and history by triggers only.

-- Functions that are the store's owner's alone, beside all functions of triggers.
CREATE OR REPLACE FUNCTION @store@.owners_functions() RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY[
        -- Care.
        'owners_functions', 'own_relations', 'callable', 'grant_access', 'grant_access_again', 'enable_row_security',
        'disable_row_security', 'register_model', 'register_external_model', 'use_model', 'ensure_embedding_indexes', 'rebuild_speaker_centroids', 'repair_store',
        'begin_restore', 'end_restore',
        -- Steps of triggers.
        'check_table', 'apply_centroid_deltas', 'forget_stale', 'give_back', 'recover', 'enqueue', 'lock_free_segments'];
END
$$;

-- The tables and views of a store. Its schema may have others, of the user.
CREATE OR REPLACE FUNCTION @store@.own_relations() RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY[
        'migrations', 'models', 'recordings', 'speakers', 'runs', 'segments', 'embeddings', 'embedding_jobs', 'embedding_claims',
        'tallies', 'speaker_centroids', 'assignments', 'label_batches', 'clusterings', 'cluster_members', 'memberships',
        'segment_sources', 'missing_indexes', 'speaker_embeddings', 'transcript', 'error_codes', 'embedding_failures', 'status',
        'backfill_progress'];
END
$$;

-- The functions that whoever has access may call.
CREATE OR REPLACE FUNCTION @store@.callable() RETURNS SETOF regprocedure
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT p.oid::regprocedure
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.oid = '@store@'::regnamespace AND p.proowner = n.nspowner AND NOT p.prosecdef
      AND p.prorettype <> 'trigger'::regtype AND p.proname <> ALL (@store@.owners_functions());
END
$$;

CREATE OR REPLACE FUNCTION @store@.grant_access(to_role regrole, access text DEFAULT 'write') RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation text;
    routine regprocedure;
BEGIN
    IF access NOT IN ('read', 'write') OR access IS NULL THEN
        PERFORM @store@.raise_error('invalid_argument', format('access is "%s", not read or write', access),
            'read selects; write ingests, labels and deletes too.');
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA @store@ TO %s', to_role);
    FOREACH relation IN ARRAY @store@.own_relations() LOOP
        EXECUTE format('GRANT SELECT ON @store@.%I TO %s', relation, to_role);
    END LOOP;
    FOR routine IN SELECT r.routine FROM @store@.callable() AS r (routine) LOOP
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', routine, to_role);
    END LOOP;
    IF access = 'write' THEN
        -- By columns: ids, facts and times are the store's, and a collection is for ever.
        EXECUTE format($grants$
            GRANT DELETE, INSERT (collection, external_id, audio, audio_lo, audio_path, metadata),
                UPDATE (external_id, audio, audio_lo, audio_path, metadata) ON @store@.recordings TO %1$s;
            GRANT DELETE, INSERT (collection, name, metadata), UPDATE (name, metadata) ON @store@.speakers TO %1$s;
            GRANT DELETE, INSERT (collection, recording_id, segment_source, parameters, content_hash), UPDATE (parameters)
                ON @store@.runs TO %1$s;
            GRANT DELETE, INSERT (collection, run_id, external_id, source_index, start_time, end_time, channel, speaker_label, text,
                confidence, rejected, rejected_code, speaker_id, label_source, label_score, label_model_id, label_clustering_id, label_confirmed, label_batch, labelled_at),
                UPDATE (external_id, source_index, start_time, end_time, channel, speaker_label, text,
                confidence, rejected, rejected_code, speaker_id, label_source, label_score, label_model_id, label_clustering_id, label_confirmed, label_batch, labelled_at)
                ON @store@.segments TO %1$s;
            GRANT DELETE, INSERT (segment_id, collection, model_id, embedding, speech_s, overlapped_s), UPDATE (embedding, speech_s, overlapped_s)
                ON @store@.embeddings TO %1$s;
            GRANT INSERT (collection, call) ON @store@.label_batches TO %1$s;
            GRANT INSERT, UPDATE, DELETE ON @store@.speaker_embeddings TO %1$s;
            GRANT DELETE, INSERT (collection, run_id, runs, model_id, parameters, names, tree), UPDATE (parameters)
                ON @store@.clusterings TO %1$s;
            GRANT DELETE, INSERT, UPDATE (cluster, probability, representative) ON @store@.cluster_members TO %1$s;
            GRANT DELETE, INSERT (collection, model_id, step, max_segments, runs, segments, error_code), UPDATE (outcomes)
                ON @store@.embedding_claims TO %1$s;
            $grants$, to_role);
    END IF;
END
$$;
COMMENT ON FUNCTION @store@.grant_access(regrole, text) IS
    'Grants a role what it needs to read, or to read and write, everything of this store. For the store''s owner.';

-- An upgrade makes functions and relations that nobody was granted yet: whoever has access gets them too. They have no
-- privileges at all, so nothing that was granted or revoked by hand is touched. (Columns to write are the business of the
-- migration that adds them.)
CREATE OR REPLACE FUNCTION @store@.grant_access_again() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Those of grant_access(): by hand nobody grants an internal function.
    roles CONSTANT text := (
        SELECT string_agg(DISTINCT a.grantee::regrole::text, ', ') FROM pg_proc AS p, aclexplode(p.proacl) AS a
        WHERE p.oid = '@store@.home(text)'::regprocedure AND a.grantee NOT IN (0, p.proowner));
    new record;
BEGIN
    FOR new IN
        SELECT 'SELECT ON' AS privilege, c.oid::regclass::text AS name FROM pg_class AS c
        WHERE c.relnamespace = '@store@'::regnamespace AND c.relname = ANY (@store@.own_relations()) AND c.relacl IS NULL
        UNION ALL
        SELECT 'EXECUTE ON ROUTINE', r.routine::text FROM @store@.callable() AS r (routine) JOIN pg_proc AS p ON p.oid = r.routine
        WHERE p.proacl IS NULL
    LOOP
        EXIT WHEN roles IS NULL;
        EXECUTE format('GRANT %s %s TO %s', new.privilege, new.name, roles);
    END LOOP;
END
$$;

-- In this order: what nobody has revoked yet is new.
DO $do$
BEGIN
    PERFORM @store@.grant_access_again();
    EXECUTE (SELECT format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', string_agg(p.oid::regprocedure::text, ', '))
             FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
             WHERE n.oid = '@store@'::regnamespace AND p.proowner = n.nspowner);
END
$do$;
