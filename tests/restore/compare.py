"""Whether two databases have the same stores: the rows of every table, the answers of every function and view that
answers, and the objects of the catalog; and whether a store works on."""

import hashlib
import re
from itertools import zip_longest
from os.path import commonprefix

import psycopg

from source import ARCHIVE, audio, turns, value

# Rows ---------------------------------------------------------------------------------------------------------------------

TABLES = "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'm') ORDER BY 1"


def line(row):
    return " | ".join(map(str, row))


def short(text):
    """Megabytes of audio as their hash."""
    return text if text is None or len(text) < 5000 else hashlib.sha256(text.encode()).hexdigest()


def rows(connection, store):
    contents = {}
    for (table,) in connection.execute(TABLES, [store]).fetchall():
        if table == "tallies":
            # Changes of counts, which are summed up now and then.
            query = f"SELECT (collection, model_id, what, sum(n))::text FROM {store}.tallies GROUP BY collection, model_id, what HAVING sum(n) <> 0"
        else:
            query = f"SELECT t::text FROM {store}.{table} AS t"
        contents[f"{store}.{table}"] = sorted(short(row) for (row,) in connection.execute(query).fetchall())
    return contents


def sequences(connection, store):
    names = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'S' ORDER BY 1", [store]
    ).fetchall()
    return {
        f"{store}.{name}": [line(connection.execute(f"SELECT last_value, is_called FROM {store}.{name}").fetchone())]
        for (name,) in names
    }


# Answers ------------------------------------------------------------------------------------------------------------------

# Of the store {store}. What depends on the time is left out.
ANSWERS = {
    "speaker_knn": """SELECT e.segment_id, e.model_id, k.* FROM embeddings AS e JOIN models AS m ON m.id = e.model_id,
        speaker_knn(e.embedding, 3, e.collection, m.name) AS k WHERE m.is_current""",
    "nearest_segments": """SELECT e.segment_id, e.model_id, known, k.*
        FROM embeddings AS e JOIN models AS m ON m.id = e.model_id, (VALUES (true), (false)) AS v (known),
             nearest_segments(e.embedding, 4, known, e.collection, m.name) AS k WHERE m.is_current""",
    "identify_speakers": """SELECT u.id, i.* FROM runs AS u, identify_speakers(u.id, assign => false) AS i""",
    "clusters": "SELECT k.* FROM clusterings AS c, clusters(c.id) AS k",
    "segment_clip": """SELECT external_id, sha256(segment_clip(segment_id, 0.1))
        FROM (SELECT DISTINCT ON (r.id) r.external_id, s.id AS segment_id
              FROM segments AS s JOIN runs AS u ON u.id = s.run_id JOIN recordings AS r ON r.id = u.recording_id
              WHERE s.rejected IS NULL AND num_nonnulls(r.audio, r.audio_lo, r.audio_path) = 1 ORDER BY r.id, s.id) AS x""",
    "recording_facts": "SELECT r.external_id, f.* FROM recordings AS r, recording_facts(r.audio, NULL, NULL) AS f",
    "parse_segments": "SELECT * FROM parse_segments('[{\"start\": 1, \"end\": 2}]')",
    "model_id": "SELECT model_id(), model_id('tiny') FROM models WHERE name = 'tiny'",
    "my_collections": "SELECT unnest(my_collections())",
    "transcript": "SELECT * FROM transcript",
    "speaker_embeddings": "SELECT * FROM speaker_embeddings",
    "status": "SELECT * FROM status",
    "backfill_progress": """SELECT model, version, total, done, remaining, running, failed, rejected, missing_audio, dead, percent
        FROM backfill_progress""",
    "embedding_failures": "SELECT * FROM embedding_failures",
    "missing_indexes": "SELECT * FROM missing_indexes",
    "segment_sources": "SELECT * FROM segment_sources",
    "error_codes": "SELECT * FROM error_codes",
}

# Of the extension alone.
COMPUTED = {
    "audio_info": "SELECT i.* FROM recordings AS r, audio_info(r.audio) AS i WHERE r.external_id = 'interview'",
    "audio_clip": "SELECT sha256(audio_clip(audio, 1, 2)) FROM recordings WHERE external_id = 'interview'",
    "extract_speaker_embedding": "SELECT extract_speaker_embedding(audio, 0, 4) FROM recordings WHERE external_id = 'interview'",
    "extract_speaker_embeddings": """SELECT e.* FROM recordings AS r, extract_speaker_embeddings(r.audio, '{0}', '{4}') AS e
        WHERE r.external_id = 'interview'""",
    "verify_speakers": """SELECT v.* FROM recordings AS a, recordings AS b, verify_speakers(a.audio, b.audio) AS v
        WHERE a.external_id LIKE 'enrolment:%' AND b.external_id LIKE 'enrolment:%'""",
    "speaker_similarity": "SELECT speaker_similarity(a.embedding, b.embedding) FROM embeddings AS a JOIN embeddings AS b USING (model_id) WHERE a.segment_id = 1",
    "speaker_centroid": "SELECT speaker_centroid(embedding ORDER BY segment_id) FROM embeddings WHERE model_id = 1",
    "hdbscan": "SELECT h.* FROM hdbscan((SELECT array_agg(embedding ORDER BY segment_id) FROM embeddings WHERE model_id = 1), 3) AS h",
}


def answer(connection, query):
    """Its rows, or who may not read them."""
    try:
        return read(connection, query)
    except psycopg.errors.InsufficientPrivilege as error:
        return [str(error)]


def read(connection, query):
    return sorted(short(line(row)) for row in connection.execute(query).fetchall())


def answers(database, store, queries=ANSWERS):
    with database.app(store) as app:
        return {f"{store}: {name}": read(app, query) for name, query in queries.items()}


def nearest_by_index(database):
    """By the index of ensure_embedding_indexes(), which serves small tables only if told to."""
    with database.owner(autocommit=False) as owner:
        owner.execute(f"SET LOCAL search_path = {database.store}, public; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        owner.execute("SET LOCAL hnsw.ef_search = 400")
        query = """SELECT segment_id FROM embeddings WHERE model_id = 1
                   ORDER BY embedding::vector(256) <=> (SELECT embedding::vector(256) FROM embeddings
                                                       WHERE model_id = 1 ORDER BY segment_id LIMIT 1) LIMIT 10"""
        plan = "\n".join(line for (line,) in owner.execute("EXPLAIN " + query).fetchall())
        assert "embeddings_hnsw_1" in plan, plan
        # In this order.
        return [" ".join(str(segment) for (segment,) in owner.execute(query).fetchall())]


def seen_by(database, role):
    """What a role sees, table by table and view by view."""
    seen = {}
    with database.role(role) as connection:
        relations = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'v') "
            "AND relname NOT IN ('error_codes', 'backfill_progress', 'tallies') ORDER BY 1",
            [database.store],
        ).fetchall()
        for (relation,) in relations:
            seen[f"{relation} seen by {role}"] = answer(connection, f"SELECT t::text FROM {relation} AS t")
        connection.execute("SET speaker.collection = 'b'")
        seen[f"segments of b seen by {role}"] = answer(connection, "SELECT * FROM segments")
    return seen


# Objects ------------------------------------------------------------------------------------------------------------------

# Grants, a row each. MAINTAIN came with PostgreSQL 17.
ACL = """(SELECT array_agg(format('%%s=%%s%%s/%%s', a.grantee::regrole, a.privilege_type, CASE WHEN a.is_grantable THEN '*' END,
                                 a.grantor::regrole) ORDER BY a.grantee::regrole::text, a.privilege_type, a.grantor::regrole::text)
          FROM aclexplode({acl}) AS a WHERE a.privilege_type <> 'MAINTAIN')"""

OBJECTS = {
    "schemas": f"""SELECT oid::regnamespace, nspowner::regrole, {ACL.format(acl='nspacl')} FROM pg_namespace
        WHERE oid::regnamespace::text = ANY (%(schemas)s)""",
    "relations": f"""SELECT c.oid::regclass, relkind, relowner::regrole, reloptions, relrowsecurity, relforcerowsecurity, relreplident,
                            relpersistence, am.amname, obj_description(c.oid, 'pg_class'), {ACL.format(acl='relacl')}
        FROM pg_class AS c LEFT JOIN pg_am AS am ON am.oid = relam
        WHERE relnamespace::regnamespace::text = ANY (%(schemas)s)""",
    "columns": f"""SELECT c.oid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attstorage,
                          CASE WHEN attstattarget > 0 THEN attstattarget END, pg_get_expr(adbin, adrelid),
                          col_description(c.oid, attnum), {ACL.format(acl='attacl')}
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace::regnamespace::text = ANY (%(schemas)s) AND attnum > 0 AND NOT attisdropped AND relkind <> 'i'""",
    # In 18 NOT NULL is a constraint, too.
    "constraints": """SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint
        WHERE connamespace::regnamespace::text = ANY (%(schemas)s) AND contype <> 'n'""",
    "indexes": """SELECT pg_get_indexdef(indexrelid), indisvalid, indisreplident, indisclustered FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
        WHERE relnamespace::regnamespace::text = ANY (%(schemas)s)""",
    "triggers": """SELECT pg_get_triggerdef(t.oid), tgenabled FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid
        WHERE relnamespace::regnamespace::text = ANY (%(schemas)s) AND NOT tgisinternal""",
    "policies": """SELECT polrelid::regclass, polname, polpermissive, polroles::regrole[], polcmd, pg_get_expr(polqual, polrelid),
                          pg_get_expr(polwithcheck, polrelid)
        FROM pg_policy JOIN pg_class AS c ON c.oid = polrelid WHERE relnamespace::regnamespace::text = ANY (%(schemas)s)""",
    "views": """SELECT c.oid::regclass, pg_get_viewdef(c.oid) FROM pg_class AS c
        WHERE relnamespace::regnamespace::text = ANY (%(schemas)s) AND relkind IN ('v', 'm')""",
    "functions": f"""SELECT p.oid::regprocedure, pg_get_functiondef(p.oid), proowner::regrole, obj_description(p.oid, 'pg_proc'),
                            {ACL.format(acl='proacl')}
        FROM pg_proc AS p WHERE pronamespace::regnamespace::text = ANY (%(schemas)s)""",
    "types": f"""SELECT t.oid::regtype, typowner::regrole, obj_description(t.oid, 'pg_type'), {ACL.format(acl='typacl')} FROM pg_type AS t
        WHERE typnamespace::regnamespace::text = ANY (%(schemas)s) AND typelem = 0""",
    "statistics": """SELECT stxname, stxowner::regrole, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
        WHERE stxnamespace::regnamespace::text = ANY (%(schemas)s)""",
    # Nothing of a store is a member of an extension.
    "members": """SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend AS d
        WHERE deptype = 'e' AND (pg_identify_object(classid, objid, objsubid)).schema = ANY (%(schemas)s)""",
    "extensions": "SELECT extname, extversion, extnamespace::regnamespace FROM pg_extension WHERE extname <> 'plpgsql'",
}


def objects(connection, schemas):
    connection.execute("SET search_path = ''")
    found = {
        kind: sorted(line(row) for row in connection.execute(query, {"schemas": schemas}).fetchall())
        for kind, query in OBJECTS.items()
    }
    connection.execute("RESET search_path")
    return found


# All of it ----------------------------------------------------------------------------------------------------------------


def snapshot(database, renamed=()):
    """Everything, as lists of lines: {part: {name: lines}}. renamed: pairs of a pattern and what to read in its place."""
    with database.admin(autocommit=False) as admin:
        admin.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        taken = {
            "rows": rows(admin, database.store) | rows(admin, ARCHIVE) | rows(admin, "mine"),
            "sequences": sequences(admin, database.store) | sequences(admin, ARCHIVE),
            "objects": objects(admin, [database.store, ARCHIVE, "mine"]),
        }
    seen = {}
    for role in (database.roles.tenant_a, database.roles.tenant_b, database.roles.reader, database.roles.auditor):
        seen |= seen_by(database, role)
    taken["answers"] = {
        **answers(database, database.store),
        **answers(database, database.store, COMPUTED),
        **answers(database, ARCHIVE),
        **seen,
        "by index": nearest_by_index(database),
    }
    for pattern, text in renamed:
        taken = {
            part: {
                re.sub(pattern, text, name): sorted(re.sub(pattern, text, line) for line in lines)
                for name, lines in contents.items()
            }
            for part, contents in taken.items()
        }
    return taken


def lines_of(taken):
    return sum(len(lines) for lines in taken.values())


def differences(actual, expected, but=()):
    """Lines that only one of them has. but: names whose differences are known and said where this is called."""
    found = []
    for part in expected:
        for name in sorted(expected[part].keys() | actual[part].keys()):
            if name in but:
                continue
            a, e = actual[part].get(name), expected[part].get(name)
            if a == e:
                continue
            only_a, only_e = sorted(set(a or ()) - set(e or ())), sorted(set(e or ()) - set(a or ()))
            found.append(f"{part} {name}: {len(only_e)} lines are missing, {len(only_a)} are new")
            for missing, new in zip_longest(only_e[:3], only_a[:3], fillvalue=""):
                # From shortly before where they part.
                parted = max(len(commonprefix([missing, new])) - 60, 0)
                found += [f"    {mark} {line[:80]} ... {line[parted:parted + 200]}" for mark, line in (("-", missing), ("+", new)) if line]
    return found


# Whether it works on --------------------------------------------------------------------------------------------------------

COUNTS = "SELECT (SELECT count(*) FROM recordings), (SELECT count(*) FROM runs), (SELECT count(*) FROM segments), (SELECT count(*) FROM embeddings), (SELECT count(*) FROM embedding_jobs), (SELECT count(*) FROM assignments)"

WRONG_TALLIES = """
    WITH counted AS (
        SELECT collection, NULL::int AS model_id, 'segments' AS what, count(*) AS n FROM segments GROUP BY 1
        UNION ALL SELECT collection, model_id, status, count(*) FROM embedding_jobs GROUP BY 1, 2, 3
        UNION ALL SELECT collection, model_id, 'speakers', count(*) FROM speaker_centroids GROUP BY 1, 2
    ), kept AS (SELECT collection, model_id, what, sum(n) AS n FROM tallies GROUP BY 1, 2, 3 HAVING sum(n) <> 0)
    SELECT * FROM counted AS c FULL JOIN kept AS k
      ON c.collection = k.collection AND c.model_id IS NOT DISTINCT FROM k.model_id AND c.what = k.what
    WHERE c.n IS DISTINCT FROM k.n"""


def means(connection):
    return {
        (speaker, model): (n, sums)
        for speaker, model, n, sums in connection.execute("SELECT speaker_id, model_id, n, sum FROM speaker_centroids").fetchall()
    }


def derived_is_right(database, store, when):
    """Problems of what triggers keep: means, counts and ledger against what they are made from."""
    found = []
    with database.owner(autocommit=False) as owner:
        owner.execute(f"SET LOCAL search_path = {store}, public")
        if wrong := owner.execute(WRONG_TALLIES).fetchall():
            found.append(f"{when}: tallies are wrong: {wrong[:3]}")
        kept = means(owner)
        if wrong := value(owner, "SELECT repair_store()"):
            found.append(f"{when}: {wrong} rows of the ledger are wrong")
        owner.execute("SELECT rebuild_speaker_centroids()")
        made = means(owner)
        if kept.keys() != made.keys():
            found.append(f"{when}: means are of other speakers: {sorted(kept.keys() ^ made.keys())}")
        for key in kept.keys() & made.keys():
            (n, sums), (n_made, sums_made) = kept[key], made[key]
            if n != n_made or any(abs(a - b) > 1e-9 for a, b in zip(sums, sums_made, strict=True)):
                found.append(f"{when}: the mean of {key} is wrong: {n} embeddings, {n_made} made anew")
        owner.rollback()
    return found


def expect(found, name, error, connection, query, parameters=None):
    """A statement that has to fail in this way."""
    try:
        connection.execute(query, parameters)
        found.append(f"{name}: no error")
    except psycopg.Error as raised:
        if not isinstance(raised, error):
            found.append(f"{name}: {raised.sqlstate} {raised}")


def works(database):
    """Problems of a store that was restored: what an application does next, and whether it is done right."""
    store, roles = database.store, database.roles
    found = derived_is_right(database, store, "at first")
    with database.app(store) as app:
        # The same content again changes nothing, and answers with the same segments.
        before = app.execute(COUNTS).fetchone()
        known = app.execute(
            "SELECT s.id FROM segments AS s JOIN runs AS u ON u.id = s.run_id JOIN recordings AS r ON r.id = u.recording_id "
            "WHERE r.external_id = 'meeting' AND u.id = (SELECT min(id) FROM runs WHERE recording_id = r.id) ORDER BY s.source_index"
        ).fetchall()
        again = app.execute("SELECT segment_id FROM ingest_recording('meeting', %s, %s)", [audio("meeting"), turns("meeting")]).fetchall()
        app.execute("SELECT enroll_speaker('rms', %s)", [audio("enrol/rms")])
        if again != known or app.execute(COUNTS).fetchone() != before:
            found.append(f"the same content again is not a no-op: {before} became {app.execute(COUNTS).fetchone()}")

        # New rows are numbered on.
        tables = ("recordings", "runs", "segments", "assignments", "speakers", "clusterings")
        newest = [value(app, f"SELECT max(id) FROM {table}") for table in tables]
        ingested = app.execute(
            "SELECT segment_id, status FROM ingest_recording('after', %s, %s)", [audio("meeting"), turns("meeting", 5)]
        ).fetchall()
        segments = [segment for segment, _ in ingested]
        if [status for _, status in ingested] != ["success"] * 5:
            found.append(f"new segments: {ingested}")
        app.execute("SELECT label_segment(%s, 'Newcomer')", [segments[0]])
        app.execute("SELECT label_segment(%s, 'Bob')", [segments[1]])
        app.execute("SELECT label_segment(min(id), 'Newcomer') FROM segments WHERE speaker_id IS NULL AND rejected IS NULL")
        app.execute("SELECT * FROM cluster_unlabeled(min_cluster_size => 2)")
        app.execute("SELECT extend_clustering(min(id)) FROM clusterings")
        for table, old in zip(tables, newest, strict=True):
            if value(app, f"SELECT count(*) FROM {table} WHERE id > %s", [old]) == 0:
                found.append(f"nothing in {table} is numbered on from {old}")
        if value(app, "SELECT count(*) FROM assignments WHERE segment_id = %s AND speaker = 'Newcomer' AND assigned_by = session_user", [segments[0]]) != 1:
            found.append("a new label is not in the history, or more than once")
    found += derived_is_right(database, store, "after labels")

    # A backfill, which takes back what was claimed when the other database was dumped.
    with database.app(store) as app:
        # One of them is an import's under another model, which has no audio.
        due = value(app, "SELECT count(*) - 1 FROM embedding_jobs WHERE status IN ('pending', 'running') AND model_id = model_id()")
        embedded, failed, remaining = app.execute("CALL backfill_embeddings()").fetchone()
        if (embedded, failed, remaining) != (due, 1, 0) or due == 0:
            found.append(f"a backfill of {due} embeds {embedded}, {failed} fail, {remaining} are left")
        app.execute("SELECT retry_embeddings('unexpected_error')")
        embedded, failed, remaining = app.execute("CALL backfill_embeddings()").fetchone()
        if (embedded, failed, remaining) != (2, 0, 0):
            found.append(f"what had failed, tried again: {embedded} embedded, {failed} failed, {remaining} left")
        left = app.execute("SELECT DISTINCT status FROM embedding_jobs WHERE model_id = model_id() ORDER BY 1").fetchall()
        if left != [("missing_audio",), ("rejected",), ("success",)]:
            found.append(f"after backfills the ledger has {left}")
    found += derived_is_right(database, store, "after backfills")

    # Constraints, and what is the store's alone.
    with database.app(store) as app:
        errors = psycopg.errors
        expect(found, "a run of no recording", errors.ForeignKeyViolation, app,
               "INSERT INTO runs (recording_id, segment_source, content_hash) VALUES (987654321, 'manual', '')")
        expect(found, "history by hand", errors.InsufficientPrivilege, app, "DELETE FROM assignments")
        expect(found, "another name twice", errors.UniqueViolation, app, "INSERT INTO speakers (name) VALUES ('bob')")
    with database.owner() as owner:
        if value(owner, "SELECT count(*) FROM mine.audit WHERE segment_id = ANY (%s)", [segments]) != 5:
            found.append("the user's trigger did not fire once for each segment")
        expect(found, "an id by hand", psycopg.errors.GeneratedAlways, owner, f"INSERT INTO {store}.speakers (id, name) VALUES (1, 'x')")
        expect(found, "another collection", psycopg.Error, owner, f"UPDATE {store}.speakers SET collection = 'x'")
    with database.role(roles.tenant_a, store) as tenant:
        expect(found, "a tenant in another's collection", psycopg.errors.InsufficientPrivilege, tenant,
               "INSERT INTO speakers (collection, name) VALUES ('b', 'Intruder')")
        tenant.execute("SELECT label_segment(%s, 'Bob')", [segments[2]])

    # What goes, goes with everything that hangs on it.
    with database.app(store) as app:
        app.execute("DELETE FROM recordings WHERE external_id = 'after'")
        app.execute("SELECT merge_speakers('Newcomer', 'Bob')")
        app.execute("DELETE FROM speakers WHERE name = 'Cem'")
        if value(app, "SELECT count(*) FROM assignments WHERE source = 'deletion' AND segment_id = ANY (%s)", [segments]) != 3:
            found.append("deleted labels are not in the history")
    found += derived_is_right(database, store, "after deletions")

    # Nothing is missing, so an upgrade changes nothing.
    with database.owner() as owner:
        before = objects(owner, [database.store, ARCHIVE, "mine"])
        owner.execute(f"SELECT {database.extension}.upgrade_speaker_store(%s)", [store.strip('"')])
        after = objects(owner, [database.store, ARCHIVE, "mine"])
    return found + differences({"upgraded": after}, {"upgraded": before})
