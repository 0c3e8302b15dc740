"""What a physical standby answers, and what it refuses: every public function of the store and of the extension is in one
of these lists. What reads is compared with the primary's answers elsewhere."""

import psycopg

from compare import ANSWERS, COMPUTED
from source import ARCHIVE, audio, turns

READ_ONLY = "25006"
# A store with data is no place to restore into: that is said first.
NOT_EMPTY = "55000"

# By the application, then by the owner.
WRITES = {
    "ingest_recording": ["SELECT ingest_recording('meeting', %(audio)s, %(turns)s)", "SELECT ingest_recording('x', NULL, %(turns)s::jsonb)"],
    "add_run": ["SELECT add_run('meeting', %(turns)s)"],
    "add_segments": ["SELECT add_segments(1, %(turns)s)", "SELECT add_segments(1, %(turns)s::jsonb)"],
    "embed_run": ["SELECT embed_run(1)"],
    "embed_due": ["SELECT embed_due()"],
    "backfill_embeddings": ["CALL backfill_embeddings()", "CALL backfill_embeddings(recording => 'due')"],
    "retry_embeddings": ["SELECT retry_embeddings()"],
    "refresh_recording": ["SELECT refresh_recording('object')", "SELECT refresh_recording('meeting')"],
    "label_segment": ["SELECT label_segment(1, 'Ann')", "SELECT label_segment(1, 'Nobody yet', true)"],
    "unlabel_segment": ["SELECT unlabel_segment(1)"],
    "rename_speaker": ["SELECT rename_speaker('Ann', 'Anna')"],
    "merge_speakers": ["SELECT merge_speakers('Ann', 'Bob')"],
    "enroll_speaker": ["SELECT enroll_speaker('awb', %(audio)s)"],
    "add_speaker_embedding": ["SELECT add_speaker_embedding('Ann', embedding) FROM embeddings WHERE model_id = 1"],
    "identify_speakers": ["SELECT i.* FROM runs AS u, identify_speakers(u.id) AS i"],
    "cluster_unlabeled": ["SELECT cluster_unlabeled()"],
    "extend_clustering": ["SELECT extend_clustering(min(id)) FROM clusterings"],
    "label_cluster": ["SELECT label_cluster(min(id), 'A', 'Ann') FROM clusterings"],
    "confirm_labels": ["SELECT confirm_labels(speaker => 'Ann')"],
    "undo_labels": ["SELECT undo_labels(min(id)) FROM label_batches"],
    "add_segment_embedding": ["SELECT add_segment_embedding(segment_id, embedding) FROM embeddings WHERE model_id = 1"],
}
OWNERS_WRITES = {
    "register_model": ["SELECT register_model('ge2e')"],
    "register_external_model": ["SELECT register_external_model('elsewhere', '1', 4, 0.7)"],
    "use_model": ["SELECT use_model('tiny', '1')"],
    "ensure_embedding_indexes": [f"SELECT {ARCHIVE}.ensure_embedding_indexes()"],
    "rebuild_speaker_centroids": ["SELECT rebuild_speaker_centroids()"],
    "repair_store": ["SELECT repair_store()"],
    "end_restore": ["SELECT end_restore()"],
    "enable_row_security": ["SELECT enable_row_security()"],
    "disable_row_security": ["SELECT disable_row_security()"],
    "grant_access": ["SELECT grant_access('pg_monitor')"],
    "create_speaker_store": ["SELECT create_speaker_store('another')"],
    "upgrade_speaker_store": ["SELECT upgrade_speaker_store()"],
    "downgrade_speaker_store": ["SELECT downgrade_speaker_store()"],
}
OWNERS_REFUSED = {
    "begin_restore": ["SELECT begin_restore()"],
}
# What only reads, beside what is compared.
READS = {
    "load_model": ["SELECT load_model(NULL)"],
    "backfill_embeddings": ["CALL backfill_embeddings(dry_run => true)"],
}

PUBLIC = """
    SELECT DISTINCT proname FROM pg_proc AS p
    WHERE obj_description(p.oid, 'pg_proc') IS NOT NULL
      AND (p.pronamespace = 'speaker'::regnamespace
           OR p.proname !~ '^speaker_(?!centroid$|similarity$)' AND EXISTS (
               SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
               WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND e.extname = 'pg_speaker'))"""


def raised_by(connection, queries, parameters):
    for query in queries:
        try:
            connection.execute(query, parameters)
            yield query, None
        except psycopg.Error as error:
            yield query, f"{error.sqlstate} {error}".splitlines()[0]


def writes(database):
    """How many statements that write were refused, and what is wrong."""
    wrong = []
    refused = 0
    parameters = {"audio": audio("interview"), "turns": turns("interview", 2)}
    with database.app() as app, database.owner() as owner:
        owner.execute("SET search_path = speaker, public")
        known = {*ANSWERS, *COMPUTED, *WRITES, *OWNERS_WRITES, *OWNERS_REFUSED, *READS}
        if unknown := {name for (name,) in owner.execute(PUBLIC).fetchall()} - known:
            wrong.append(f"not tried on a standby: {sorted(unknown)}")
        for connection, calls, expected in ((app, WRITES, READ_ONLY), (owner, OWNERS_WRITES, READ_ONLY), (owner, OWNERS_REFUSED, NOT_EMPTY)):
            for queries in calls.values():
                for query, raised in raised_by(connection, queries, parameters):
                    refused += 1
                    if raised is None or not raised.startswith(expected):
                        wrong.append(f"{query}: {raised or 'no error'}")
        for queries in READS.values():
            for query, raised in raised_by(app, queries, parameters):
                if raised:
                    wrong.append(f"{query}: {raised}")
        for query in ("INSERT INTO speakers (name) VALUES ('x')", "DELETE FROM recordings", "UPDATE segments SET speaker_id = NULL"):
            for _, raised in raised_by(app, [query], None):
                refused += 1
                if not (raised or "").startswith(READ_ONLY):
                    wrong.append(f"{query}: {raised or 'no error'}")
    return refused, wrong
