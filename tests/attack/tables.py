"""Tables and views of a store, as a tenant reads and writes them."""

import re

from answers import answer, clip
from arguments import column
from attempts import FOREIGN
from world import undone

RELATIONS = ("SELECT relname, relkind FROM pg_class WHERE relnamespace = 'speaker'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname")
# A function that tells what it is shown, and costs nothing: the planner would ask it first.
LEAK = ("CREATE FUNCTION pg_temp.leak(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS "
        "$$BEGIN RAISE NOTICE 'leak %', $1; RETURN true; END$$")
COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), has_column_privilege(c.oid, a.attnum, 'INSERT'),
       has_column_privilege(c.oid, a.attnum, 'UPDATE'), a.attname = ANY ('{collection, segment_id, clustering_id, run_id, recording_id}')
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'speaker'::regnamespace AND c.relkind = 'r' ORDER BY c.relname, a.attnum
"""
# Keys by which a row of theirs can be named, in the order in which one is looked for.
KEYS = {"recordings": ("id", "recording_id"), "runs": ("id", "run_id"), "segments": ("id", "segment_id"), "speakers": ("id", "speaker_id"),
        "clusterings": ("id", "clustering_id"), "embedding_claims": ("lease", "lease"), "embeddings": ("segment_id", "segment_id"),
        "cluster_members": ("clustering_id", "clustering_id")}
# What a row need not say, and cannot together with the rest.
LEFT_OUT = ("audio_lo", "audio_path", "rejected", "rejected_code", "error_code", "tree", "max_segments")


def insertion(table, columns, target, parents=None):
    values = {name: column(name, kind, target) for name, kind in columns if name not in LEFT_OUT}
    if table == "embedding_claims":
        values |= {"step": "'embed'"}
    if table == "cluster_members":
        values |= {"cluster": "'B'"}
    return f"INSERT INTO speaker.{table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"


def writing(attempts, session, compare):
    """Every column that may be written, of the other's rows, and of one's own with what is the other's in it."""
    tables = {}
    for table, name, kind, insertable, updatable, _ in session.connection.execute(COLUMNS).fetchall():
        inserted, updated = tables.setdefault(table, ([], []))
        if insertable:
            inserted.append((name, kind))
        if updatable:
            updated.append((name, kind))
    for table, (inserted, updated) in tables.items():
        if inserted:
            compare(attempts, session, f"INSERT {table}", lambda target: insertion(table, inserted, target))
            compare(attempts, session, f"INSERT {table} ON CONFLICT",
                    lambda target: insertion(table, inserted, target) + " ON CONFLICT DO NOTHING")
        for name, kind in updated:
            compare(attempts, session, f"UPDATE {table}.{name} of all",
                    lambda target: f"UPDATE speaker.{table} SET {name} = {column(name, kind, target)} WHERE collection = '{target.collection}'")
        if table in KEYS:
            key, attribute = KEYS[table]
            for verb in ("DELETE FROM speaker.{}", "SELECT FROM speaker.{}", "SELECT ctid FROM ONLY speaker.{}"):
                compare(attempts, session, f"{verb.format(table)} by its key",
                        lambda target: f"{verb.format(table)} WHERE {key} = {getattr(target, attribute)}", verb.startswith("D"))
            compare(attempts, session, f"locking {table} by its key",
                    lambda target: f"SELECT FROM speaker.{table} WHERE {key} = {getattr(target, attribute)} FOR KEY SHARE", False)
    compare(attempts, session, "a recording that is about to be", lambda target:
            f"INSERT INTO speaker.recordings (collection, external_id) VALUES ('{target.collection}', 'not-yet')")
    compare(attempts, session, "a speaker by MERGE", lambda target:
            f"MERGE INTO speaker.speakers AS s USING (VALUES (1)) AS v ON s.name = '{target.speaker}' WHEN MATCHED THEN UPDATE SET metadata = '{{}}' "
            f"WHEN NOT MATCHED THEN INSERT (collection, name) VALUES ('{target.collection}', '{target.speaker}')")


def reading(attempts, session):
    """Nothing that a session reads, or is told on the way, has anything of the other's in it."""
    connection, victim = session.connection, session.victim
    ids = "|".join(str(getattr(victim, of)) for of in ("recording_id", "run_id", "segment_id", "speaker_id", "clustering_id", "lease"))
    marks = re.compile(rf"{victim.collection}|{victim.speaker}|\b(?:{ids})\b")
    connection.execute(LEAK)
    for name, kind in connection.execute(RELATIONS).fetchall():
        ways = {
            "": f"SELECT * FROM speaker.{name}", " by a cursor": f"SELECT t FROM speaker.{name} AS t OFFSET 0",
            " by a function that tells": f"SELECT count(*) FROM speaker.{name} AS t WHERE pg_temp.leak(t::text)",
            " as JSON": f"SELECT jsonb_agg(t) FROM speaker.{name} AS t",
        }
        if kind == "r":
            ways |= {" by a sample": f"SELECT * FROM speaker.{name} TABLESAMPLE SYSTEM (100)",
                     " by what was analysed": f"SELECT s.* FROM pg_stats AS s WHERE s.schemaname = 'speaker' AND s.tablename = '{name}'"}
        for way, statement in ways.items():
            with undone(connection):
                code, said = answer(connection, statement)
            seen = re.findall(marks, said)
            attempts.count(FOREIGN, session.who, session.name(f"{name}{way}"), f"{seen} in {clip(said)}" if seen else None)
    counting(attempts, session)
    connection.execute("DROP FUNCTION pg_temp.leak(anyelement)")


def counting(attempts, session):
    """Views that count, count what is seen."""
    for view, counted in (("status", "segments"), ("backfill_progress", "total")):
        with undone(session.connection):
            told, seen = session.connection.execute(
                f"SELECT (SELECT max({counted}) FROM speaker.{view}), (SELECT count(*) FROM speaker.segments)").fetchone()
        attempts.count(FOREIGN, session.who, session.name(f"{view} counts"), f"{told} of {seen}" if told != seen else None)
