"""History, ledger, counts and means: nobody writes them but the store, and what it writes are facts."""

from attempts import DENIED, FORGED
from world import MARK, VECTOR, content, role, undone

# Nobody writes these tables, and these columns of any.
KEPT = ("assignments", "embedding_jobs", "speaker_centroids", "tallies", "models", "migrations", "memberships")
FACTS = ("id", "created_at", "created_by", "sha256", "named_by", "container", "codec", "sample_rate", "channels", "duration_s", "lease",
         "pid", "backend_start", "claimed", "changed", "dim")
GENERATED = ("42501", "428C9")


def columns(connection):
    return connection.execute(
        "SELECT c.relname, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid "
        "WHERE c.relnamespace = 'speaker'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum"
    ).fetchall()


def kept_columns(attempts, connection, who):
    every = columns(connection)
    for table, column in every:
        if table in KEPT or column in FACTS:
            attempts.forge(connection, who, f"UPDATE {table}.{column}", f"UPDATE speaker.{table} SET {column} = DEFAULT", GENERATED)
            attempts.forge(connection, who, f"INSERT {table}.{column}",
                           f"INSERT INTO speaker.{table} ({column}) OVERRIDING SYSTEM VALUE SELECT {column} FROM speaker.{table} LIMIT 1", GENERATED)
        # Nobody moves a row to another collection, not even with the rights to write it.
        if column == "collection":
            attempts.forge(connection, who, f"UPDATE {table}.collection", f"UPDATE speaker.{table} SET collection = 'mine'")
    for table in sorted({table for table, _ in every}):
        attempts.forge(connection, who, f"TRUNCATE {table}", f"TRUNCATE speaker.{table} CASCADE")
        attempts.forge(connection, who, f"triggers of {table} off", f"ALTER TABLE speaker.{table} DISABLE TRIGGER ALL")
        if table in KEPT:
            attempts.forge(connection, who, f"DELETE {table}", f"DELETE FROM speaker.{table}")


def sequences(attempts, connection, who):
    names = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'speaker'::regnamespace AND relkind = 'S'").fetchall()
    for (name,) in names:
        for what in (f"nextval('speaker.{name}')", f"setval('speaker.{name}', 1)", f"last_value FROM speaker.{name}"):
            attempts.forge(connection, who, what, f"SELECT {what}")
        attempts.forge(connection, who, f"{name} anew", f"ALTER SEQUENCE speaker.{name} RESTART WITH 1")


def by_hand(attempts, connection, who, victim):
    """All the other statements that write."""
    row = f"'{victim.collection}', {victim.segment_id}, 'Ben', 'manual', 'chief_auditor', '1999-01-01'"
    into = "speaker.assignments (collection, segment_id, speaker, source, assigned_by, assigned_at)"
    for name, statement, codes in [
        ("history by COPY", "COPY speaker.assignments (collection, segment_id, source, assigned_by, assigned_at) FROM STDIN\n"
         f"{victim.collection}\t{victim.segment_id}\tmanual\tchief_auditor\t1999-01-01\n", DENIED),
        ("ids by COPY", f"COPY speaker.recordings (id, collection, external_id) FROM STDIN\n5000\t{MARK}\tsquat\n", DENIED),
        ("history by MERGE", f"MERGE INTO speaker.assignments AS a USING (VALUES ({row})) AS v (c, s, n, w, b, t) ON a.segment_id = v.s "
         "WHEN MATCHED THEN UPDATE SET assigned_by = v.b "
         "WHEN NOT MATCHED THEN INSERT (collection, segment_id, source, assigned_by, assigned_at) VALUES (v.c, v.s, v.w, v.b, now())", DENIED),
        ("history deleted by MERGE", "MERGE INTO speaker.assignments AS a USING (VALUES (1)) AS v ON true WHEN MATCHED THEN DELETE", DENIED),
        ("history by a CTE", f"WITH made AS (INSERT INTO {into} VALUES ({row}) RETURNING id) SELECT count(*) FROM made", DENIED),
        ("history by ON CONFLICT", f"INSERT INTO {into} VALUES ({row}) ON CONFLICT (id, collection) DO UPDATE SET assigned_by = 'x'", DENIED),
        ("a hash by ON CONFLICT", "INSERT INTO speaker.recordings (collection, external_id) "
         f"VALUES ('{victim.collection}', '{victim.recording}') ON CONFLICT (collection, external_id) DO UPDATE SET sha256 = sha256('x')", DENIED),
        ("a job by ON CONFLICT", f"INSERT INTO speaker.embedding_jobs (segment_id, collection, model_id) "
         f"VALUES ({victim.segment_id}, '{victim.collection}', 1) "
         "ON CONFLICT (segment_id, model_id, collection) DO UPDATE SET status = 'pending'", DENIED),
        ("a run of another recording", f"UPDATE speaker.runs SET recording_id = {victim.recording_id}", DENIED),
        ("a segment of another run", f"UPDATE speaker.segments SET run_id = {victim.run_id}", DENIED),
        ("a member of another clustering", "UPDATE speaker.cluster_members SET clustering_id = 1", DENIED),
        ("replication's role", "SET session_replication_role = replica", DENIED),
        ("replication's role by a function", "SELECT set_config('session_replication_role', 'replica', false)", DENIED),
        ("another's session", f"SET SESSION AUTHORIZATION {role('victim')}", DENIED),
        ("another's role", f"SET ROLE {role('victim')}", DENIED),
        ("another's role by a function", f"SELECT set_config('role', '{role('victim')}', false)", DENIED),
    ]:
        attempts.forge(connection, who, name, statement, codes)


def labels(attempts, connection, victim):
    """How a label came about: beside it nothing is written, and a claim is its session's."""
    stated = "label_source = 'knn', label_score = 1, labelled_at = '1999-01-01'"
    fixed = ("42501", "55000", "0A000", "23514")
    segment = f"WHERE id = {victim.segment_id}"
    outcome = f"ARRAY[({victim.segment_id}, NULL, NULL, NULL, NULL, 'rejected', 'forged', 'forged')::speaker.outcome]"
    claim = ("INSERT INTO speaker.embedding_claims (collection, model_id, step, segments) VALUES ('{}', 1, 'embed', '{{}}')"
             .format(victim.collection))
    for name, statements, codes in [
        ("how it was labelled", f"UPDATE speaker.segments SET {stated} {segment}", fixed),
        ("how it was labelled, by ON CONFLICT", "MERGE INTO speaker.segments AS s USING (VALUES (1)) AS v ON "
         f"s.id = {victim.segment_id} WHEN MATCHED THEN UPDATE SET {stated}", fixed),
        ("when it was labelled", f"UPDATE speaker.segments SET labelled_at = NULL {segment}", fixed),
        ("an outcome of another session's claim", f"UPDATE speaker.embedding_claims SET outcomes = {outcome} WHERE lease = {victim.lease}", DENIED),
        ("an outcome of what was not claimed", [claim, f"UPDATE speaker.embedding_claims SET outcomes = {outcome} "
         "WHERE pid = pg_backend_pid()"], (None,)),
        ("an outcome of a kind that there is not", [claim, "UPDATE speaker.embedding_claims SET outcomes = "
         f"ARRAY[({victim.segment_id}, NULL, NULL, NULL, NULL, 'success!', NULL, NULL)::speaker.outcome] WHERE pid = pg_backend_pid()"], ("22023",)),
        ("a claim of another session", ["SELECT 1", "UPDATE speaker.embedding_claims SET pid = pg_backend_pid()"], DENIED),
        ("a vector of another dimension", "UPDATE speaker.embeddings SET embedding = '[1,2,3]'", ("23503",)),
        ("a vector under another model", f"INSERT INTO speaker.embeddings (segment_id, collection, model_id, embedding) "
         f"VALUES ({victim.segment_id}, '{victim.collection}', 99, {VECTOR.format(1)})", ("23503",)),
        ("a speaker of another collection", [
            "INSERT INTO speaker.speakers (collection, name) VALUES ('mine', 'Mallory')",
            f"UPDATE speaker.segments SET speaker_id = (SELECT id FROM speaker.speakers WHERE name = 'Mallory') {segment}"], ("23503",)),
    ]:
        attempts.forge(connection, "writer", name, statements, codes)


def running_claim(attempts, world, database, victim):
    """While another session is at work, nobody takes its claim away."""
    with world.connect(database, "victim") as busy, world.connect(database, "writer") as thief:
        lease = busy.execute(
            "INSERT INTO speaker.embedding_claims (collection, model_id, step, max_segments) "
            "SELECT %s, 1, 'backfill', 10 FROM (SELECT speaker.ingest_recording('due', NULL, '[{\"start\": 0, \"end\": 1}]', "
            "collection => %s, embed => false)) AS i RETURNING lease", [victim.collection, victim.collection]).fetchone()[0]
        attempts.forge(thief, "writer", "the claim of a session at work", f"DELETE FROM speaker.embedding_claims WHERE lease = {lease}")
        attempts.forge(thief, "writer", "recovering what is not lost", ["SELECT 1",
                       f"SELECT speaker.ask_ledger('recover', '{victim.collection}', 1)"], (None, "42501"))
        busy.execute("DELETE FROM speaker.embedding_claims WHERE lease = %s", [lease])
        busy.execute("SELECT speaker_leave_backfill()")
        busy.execute("DELETE FROM speaker.recordings WHERE external_id = 'due'")


def facts(attempts, connection, who, victim, group=None):
    """Every way to label leaves history, and in it who, when and which role are facts."""
    speaker = f"(SELECT id FROM speaker.speakers WHERE name = 'Mallory' AND collection = '{victim.collection}')"
    stated = "label_source, label_score, labelled_at"
    ways = {
        "UPDATE": f"UPDATE speaker.segments SET speaker_id = {speaker}, label_source = 'knn', labelled_at = '1999-01-01' WHERE id = {victim.segment_id}",
        "MERGE": f"MERGE INTO speaker.segments AS s USING (VALUES (1)) AS v ON s.id = {victim.segment_id} "
                 f"WHEN MATCHED THEN UPDATE SET speaker_id = {speaker}, labelled_at = '2999-01-01'",
        "INSERT": f"INSERT INTO speaker.segments (collection, run_id, external_id, start_time, end_time, speaker_id, {stated}) "
                  f"VALUES ('{victim.collection}', {victim.run_id}, 'forged', 1, 2, {speaker}, 'merge', 7, '1999-01-01')",
        "ON CONFLICT": f"INSERT INTO speaker.segments (collection, run_id, external_id, start_time, end_time) "
                       f"SELECT collection, run_id, external_id, 1, 2 FROM speaker.segments WHERE id = {victim.segment_id} "
                       f"ON CONFLICT (run_id, external_id, collection) DO UPDATE SET speaker_id = {speaker}, labelled_at = '1999-01-01'",
        "COPY": f"COPY speaker.segments (collection, run_id, external_id, start_time, end_time, speaker_id, labelled_at) FROM STDIN\n"
                f"{victim.collection}\t{victim.run_id}\tcopied\t1\t2\tSPEAKER\t1999-01-01\n",
        "taking it back": f"UPDATE speaker.segments SET speaker_id = NULL, labelled_at = '1999-01-01' WHERE id = {victim.segment_id}",
        "deleting the segment": f"DELETE FROM speaker.segments WHERE id = {victim.segment_id}",
        "deleting the recording": f"DELETE FROM speaker.recordings WHERE id = {victim.recording_id}",
        "deleting the speaker": f"DELETE FROM speaker.speakers WHERE id = {victim.speaker_id}",
    }
    for way, statement in ways.items():
        with undone(connection):
            if group:
                connection.execute(f"SET LOCAL ROLE {role(group)}")
            made = connection.execute("INSERT INTO speaker.speakers (collection, name) VALUES (%s, 'Mallory') RETURNING id", [victim.collection]).fetchone()[0]
            newest = connection.execute("SELECT coalesce(max(id), 0) FROM speaker.assignments").fetchone()[0]
            before = connection.execute("SELECT count(*), md5(string_agg(a::text, ',' ORDER BY id)) FROM speaker.assignments AS a").fetchone()
            if statement.startswith("COPY"):
                command, rows = statement.replace("SPEAKER", str(made)).split("\n", 1)
                with connection.cursor().copy(command) as copy:
                    copy.write(rows)
            else:
                connection.execute(statement)
            after = connection.execute("SELECT count(*), md5(string_agg(a::text, ',' ORDER BY id)) FROM speaker.assignments AS a WHERE id <= %s", [newest]).fetchone()
            rows = connection.execute(
                "SELECT assigned_by = session_user AND assigned_role IS NOT DISTINCT FROM %s AND assigned_at BETWEEN now() AND clock_timestamp() "
                "FROM speaker.assignments WHERE id > %s", [role(group) if group else None, newest]).fetchall()
        fault = ("what was there changed" if before != after else "it left no history" if not rows
                 else "who, when or which role is not a fact" if not all(row[0] for row in rows) else None)
        attempts.count(FORGED, who, f"a label by {way}", fault)


def means(attempts, connection):
    """A vector that is put in by hand weighs no more than any other, and is a success of the ledger."""
    with undone(connection):
        connection.execute("UPDATE speaker.embeddings SET embedding = array_fill(1000::real, ARRAY[256])::public.vector")
        drift = connection.execute(
            "SELECT count(*) FROM speaker.speaker_centroids AS c WHERE c.n <> "
            "(SELECT count(*) FROM speaker.segments AS s JOIN speaker.embeddings AS e ON e.segment_id = s.id WHERE s.speaker_id = c.speaker_id) "
            "OR abs(c.sum[1] - c.n / 16.0) > 1e-4").fetchone()[0]
    attempts.count(FORGED, "writer", "a long vector", f"{drift} means are not those of their vectors" if drift else None)


def history(attempts, world, database, victim):
    before = None
    for who in ("writer", "reader"):
        with world.connect(database, who) as connection:
            before = before or content(connection)
            kept_columns(attempts, connection, who)
            sequences(attempts, connection, who)
            by_hand(attempts, connection, who, victim)
    with world.connect(database, "writer") as connection:
        labels(attempts, connection, victim)
        facts(attempts, connection, "writer", victim)
        means(attempts, connection)
    with world.connect(database, "member") as connection:
        facts(attempts, connection, "member", victim, group="group")
    running_claim(attempts, world, database, victim)
