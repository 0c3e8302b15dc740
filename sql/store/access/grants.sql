-- Who may do what. Tables are read and written with the caller's own rights; derived tables, ledger and history by triggers only.

-- Functions that are the store's owner's alone, beside all functions of triggers.
CREATE OR REPLACE FUNCTION @store@.owners_functions() RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY[
        -- Care.
        'owners_functions', 'grant_access', 'grant_access_again', 'enable_row_security', 'disable_row_security', 'register_model',
        'use_model', 'ensure_embedding_indexes', 'rebuild_speaker_centroids', 'repair_store', 'begin_restore', 'end_restore',
        -- Steps of triggers.
        'check_table', 'apply_centroid_deltas', 'forget_stale', 'give_back', 'recover', 'enqueue'];
END
$$;

CREATE OR REPLACE FUNCTION @store@.grant_access(to_role regrole, access text DEFAULT 'write') RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    routine regprocedure;
BEGIN
    IF access NOT IN ('read', 'write') OR access IS NULL THEN
        PERFORM @store@.raise_error('invalid_argument', format('access is "%s", not read or write', access),
            'read selects; write ingests, labels and deletes too.');
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA @store@ TO %s', to_role);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA @store@ TO %s', to_role);
    FOR routine IN
        SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = '@store@'::regnamespace AND NOT p.prosecdef AND p.prorettype <> 'trigger'::regtype
          AND p.proname <> ALL (@store@.owners_functions())
    LOOP
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
            GRANT DELETE, INSERT (collection, run_id, external_id, source_index, start_time, end_time, speaker_label, text,
                confidence, rejected, speaker_id, label_source, label_score, label_model_id, label_clustering_id, labelled_at),
                UPDATE (external_id, source_index, start_time, end_time, speaker_label, text,
                confidence, rejected, speaker_id, label_source, label_score, label_model_id, label_clustering_id, labelled_at)
                ON @store@.segments TO %1$s;
            GRANT DELETE, INSERT (segment_id, collection, model_id, embedding, speech_s), UPDATE (embedding, speech_s, created_at)
                ON @store@.embeddings TO %1$s;
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

-- An upgrade makes functions that nobody was granted yet.
CREATE OR REPLACE FUNCTION @store@.grant_access_again() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM @store@.grant_access(a.grantee::regrole, CASE WHEN bool_or(a.privilege_type = 'DELETE') THEN 'write' ELSE 'read' END)
    FROM pg_class AS c, aclexplode(c.relacl) AS a
    WHERE c.oid = '@store@.recordings'::regclass AND a.grantee NOT IN (0, c.relowner) AND a.privilege_type IN ('SELECT', 'DELETE')
    GROUP BY a.grantee;
END
$$;

REVOKE ALL ON ALL ROUTINES IN SCHEMA @store@ FROM PUBLIC;
DO $do$ BEGIN PERFORM @store@.grant_access_again(); END $do$;
