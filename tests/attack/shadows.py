"""An attacker's schema in front of everything else while functions of the store run: as the attacker, as another writer, as the
owner. Whose rights its functions, operators and types get is told by the traps themselves."""

import psycopg

from arguments import call, functions
from attempts import ESCALATION
from traps import tables, trap
from world import VECTOR, undone

ATTACKER, SCHEMA = "writer", "attack_writer"
PATH = f"SET search_path = {SCHEMA}, pg_catalog, public, speaker, pg_temp"
# Statements that fire every trigger. Their own operators are qualified: the session's path is the attacker's.
IS, AND_HOME = "OPERATOR(pg_catalog.=)", "AND collection OPERATOR(pg_catalog.=) '{home}'"


def statements(victim):
    home = AND_HOME.format(home=victim.collection)
    segment = f"WHERE id {IS} {victim.segment_id} {home}"
    vector = f"WHERE segment_id {IS} {victim.segment_id} {home}"
    into = "INSERT INTO speaker.embedding_claims (collection, model_id, step, max_segments, segments) VALUES"
    return {
        "a recording": f"INSERT INTO speaker.recordings (collection, external_id, audio) VALUES ('{victim.collection}', 'shadow', '\\x00')",
        "other audio": f"UPDATE speaker.recordings SET audio = '\\x00' WHERE id {IS} {victim.recording_id} {home}",
        "a segment": "INSERT INTO speaker.segments (collection, run_id, start_time, end_time, speaker_id) "
                     f"VALUES ('{victim.collection}', {victim.run_id}, 0, 1, {victim.speaker_id})",
        "a label": f"UPDATE speaker.segments SET speaker_id = NULL {segment}",
        "other bounds": f"UPDATE speaker.segments SET end_time = end_time OPERATOR(pg_catalog.+) 0.5 {segment}",
        "a way of labelling": f"UPDATE speaker.segments SET label_score = 2 {segment}",
        "another run": f"UPDATE speaker.segments SET run_id = 1 {segment}",
        "another collection": f"UPDATE speaker.segments SET collection = 'mine' {segment}",
        "a vector": f"UPDATE speaker.embeddings SET embedding = {VECTOR.format(3)} {vector}",
        "no vector": f"DELETE FROM speaker.embeddings {vector}",
        "no segment": f"DELETE FROM speaker.segments {segment}",
        "no recording": f"DELETE FROM speaker.recordings WHERE id {IS} {victim.recording_id} {home}",
        "no speaker": f"DELETE FROM speaker.speakers WHERE id {IS} {victim.speaker_id} {home}",
        "no clustering": f"DELETE FROM speaker.clusterings WHERE id {IS} {victim.clustering_id} {home}",
        **{f"step {step}": f"{into} ('{victim.collection}', 1, '{step}', 10, NULL)"
           for step in ("enqueue", "recover", "backfill", "embed", "retry")},
        "segments by name": f"{into} ('{victim.collection}', 1, 'embed', NULL, '{{{victim.segment_id}}}')",
        "a claim's end": f"DELETE FROM speaker.embedding_claims WHERE lease {IS} {victim.lease} {home}",
        "an enrolment": "SELECT speaker.enroll_speaker('Shadow', r.audio, 0, 3, r.collection) FROM speaker.recordings AS r "
                        f"WHERE r.id {IS} {victim.recording_id}",
        "an ingest": f"SELECT * FROM speaker.ingest_recording('shadow', '\\x00', '[]', collection => '{victim.collection}')",
        "an ingest without audio": "SELECT * FROM speaker.ingest_recording('shadow', NULL, '[{\"start\": 0, \"end\": 1}]', "
                                   f"collection => '{victim.collection}')",
        "a merge": f"SELECT speaker.add_speaker_embedding('Shadow', {VECTOR.format(2)}, '{victim.collection}'), "
                   f"speaker.merge_speakers('Shadow', '{victim.speaker}', '{victim.collection}')",
        "an upgrade": "SELECT public.upgrade_speaker_store('speaker'::pg_catalog.name)",
        "another store": "SELECT public.create_speaker_store('other'::pg_catalog.name)",
        "nothing in segments": "TRUNCATE speaker.segments CASCADE",
        **{f"reading {view}": f"SELECT * FROM speaker.{view}" for view in
           ("status", "backfill_progress", "transcript", "speaker_embeddings", "embedding_failures", "missing_indexes", "error_codes")},
    }


def run(attempts, connection, who, name, statement):
    """Whether it passed; what sprang on the way is a gain."""
    attempts.loots.clear()
    connection.execute("BEGIN")
    try:
        connection.execute(statement)
        passed = True
    except psycopg.Error:
        passed = False
    connection.execute("ROLLBACK")
    attempts.count(ESCALATION, who, f"{name} under another path", "; ".join(attempts.loots) or None)
    return passed


def springs(attempts, connection, who):
    """A trap that cannot be heard catches nothing."""
    for kind, statement in {"operator": "SELECT 1 = 2", "function": "SELECT sha256('\\x00'::pg_catalog.bytea)",
                            "type": "SELECT 'a'::text"}.items():
        attempts.loots.clear()
        with undone(connection):
            connection.execute(statement)
        attempts.check(f"a trap of a {kind} springs for {who}", None if attempts.loots else "it was not heard")


def session(attempts, world, database, who, victim, every):
    with world.connect(database, who) as connection:
        attempts.listen(connection, ATTACKER)
        if who == ATTACKER:
            tables(connection, "pg_temp")
        connection.execute(PATH)
        if who != ATTACKER:
            springs(attempts, connection, who)
        passed = sum(run(attempts, connection, who, function.signature, call(function, victim))
                     for function in every if function.kind != "p")
        passed += sum(run(attempts, connection, who, name, statement) for name, statement in statements(victim).items())
        attempts.loots.clear()
        connection.execute("CALL speaker.backfill_embeddings()")
        attempts.count(ESCALATION, who, "a backfill under another path", "; ".join(attempts.loots) or None)
        # What fails at its first line shows little.
        attempts.check(f"calls of {who} that get to their end", None if passed > 50 else f"only {passed}")


def shadows(attempts, world, database, owner, victim):
    with world.connect(database, ATTACKER) as connection:
        made = trap(connection, SCHEMA, ATTACKER)
        attempts.check("traps are set", None if made > 150 else f"only {made}")
    with world.connect(database, owner) as connection:
        every = functions(connection)
    for who in (ATTACKER, "victim", owner):
        session(attempts, world, database, who, victim, every)
    with world.connect(database, ATTACKER) as connection:
        connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    with world.connect(database, "postgres") as admin:
        admin.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION attack_writer")
