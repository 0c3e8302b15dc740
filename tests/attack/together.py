"""Several changes in one statement: each has triggers of its own, none sees what the others saw, and yet the history ends with what
is, and counts and means are those of what is there. A statement may be refused; then nothing happened."""

from itertools import permutations

import psycopg

from attempts import FORGED
from world import VECTOR, undone

# Of one segment, its recording, its speaker and its vector.
CHANGES = {
    "another label": "UPDATE speaker.segments SET speaker_id = {mallory} WHERE id = {segment}",
    "no label": "UPDATE speaker.segments SET speaker_id = NULL WHERE id = {segment}",
    "other bounds": "UPDATE speaker.segments SET end_time = end_time + 0.25 WHERE id = {segment}",
    "label and bounds": "UPDATE speaker.segments SET speaker_id = {mallory}, end_time = end_time + 0.25 WHERE id = {segment}",
    "no segment": "DELETE FROM speaker.segments WHERE id = {segment}",
    "no run": "DELETE FROM speaker.runs WHERE id = {run}",
    "no recording": "DELETE FROM speaker.recordings WHERE id = {recording}",
    "other audio": "UPDATE speaker.recordings SET audio = '\\x00' WHERE id = {recording}",
    "no speaker": "DELETE FROM speaker.speakers WHERE id = {speaker}",
    "another speaker's name": "UPDATE speaker.speakers SET name = 'Renamed' WHERE id = {speaker}",
    "a vector": "INSERT INTO speaker.embeddings (segment_id, collection, model_id, embedding) "
                f"VALUES ({{segment}}, '{{home}}', 1, {VECTOR.format(1)})",
    "another vector": "UPDATE speaker.embeddings SET embedding = array_cat(ARRAY[9::real], array_fill(1::real, ARRAY[255]))::public.vector "
                      "WHERE segment_id = {segment}",
    "no vector": "DELETE FROM speaker.embeddings WHERE segment_id = {segment}",
    "no clustering": "DELETE FROM speaker.clusterings WHERE id = {clustering}",
}

TRUTH = {
    "the means": """
        SELECT count(*) FROM (
            SELECT s.speaker_id, e.model_id, count(*) AS n, public.speaker_weighted_sum(e.embedding, 1) AS sum
            FROM speaker.segments AS s JOIN speaker.embeddings AS e ON e.segment_id = s.id WHERE s.speaker_id IS NOT NULL GROUP BY 1, 2) AS t
        FULL JOIN speaker.speaker_centroids AS c ON c.speaker_id = t.speaker_id AND c.model_id = t.model_id
        WHERE c.n IS DISTINCT FROM t.n OR EXISTS (SELECT FROM unnest(c.sum, t.sum) AS v (a, b) WHERE abs(a - b) > 1e-5)""",
    "the history": """
        SELECT count(*) FROM speaker.segments AS s
        LEFT JOIN (SELECT DISTINCT ON (a.segment_id) a.segment_id, a.speaker_id FROM speaker.assignments AS a
                   ORDER BY a.segment_id, a.id DESC) AS told ON told.segment_id = s.id
        WHERE told.speaker_id IS DISTINCT FROM s.speaker_id""",
    "the history of what is gone": """
        SELECT count(*) FROM speaker.assignments AS a
        WHERE a.speaker_id IS NOT NULL AND NOT EXISTS (SELECT FROM speaker.segments AS s WHERE s.id = a.segment_id)
          AND NOT EXISTS (SELECT FROM speaker.assignments AS x WHERE x.segment_id = a.segment_id AND x.speaker_id IS NULL)""",
    "names in the history": "SELECT count(*) FROM speaker.assignments WHERE previous_speaker_id IS NOT NULL AND previous_speaker IS NULL",
    "the ledger": """
        SELECT count(*) FROM speaker.embeddings AS e
        FULL JOIN (SELECT * FROM speaker.embedding_jobs WHERE status = 'success') AS j ON j.segment_id = e.segment_id AND j.model_id = e.model_id
        WHERE e.segment_id IS NULL OR j.segment_id IS NULL""",
    "the counts": """
        SELECT (SELECT sum(n) FROM speaker.tallies WHERE what = 'segments') - (SELECT count(*) FROM speaker.segments)
             + (SELECT sum(n) FROM speaker.tallies WHERE what = 'success') - (SELECT count(*) FROM speaker.embeddings)""",
}


def told(connection):
    return {what: connection.execute(query).fetchone()[0] for what, query in TRUTH.items()}


def cases(connection, victim):
    """Segments with a label and a vector, with one of them, and with neither."""
    connection.execute("INSERT INTO speaker.speakers (collection, name) VALUES (%s, 'Mallory')", [victim.collection])
    mallory = connection.execute("SELECT id FROM speaker.speakers WHERE name = 'Mallory'").fetchone()[0]
    rows = connection.execute(
        "SELECT DISTINCT ON (s.speaker_id IS NULL, e.segment_id IS NULL) s.id, s.run_id, u.recording_id, coalesce(s.speaker_id, %s) "
        "FROM speaker.segments AS s JOIN speaker.runs AS u ON u.id = s.run_id LEFT JOIN speaker.embeddings AS e ON e.segment_id = s.id "
        "WHERE s.collection = %s ORDER BY s.speaker_id IS NULL, e.segment_id IS NULL, s.id", [victim.speaker_id, victim.collection]).fetchall()
    return [{"segment": segment, "run": run, "recording": recording, "speaker": speaker, "mallory": mallory, "home": victim.collection,
             "clustering": victim.clustering_id} for segment, run, recording, speaker in rows]


def together(attempts, world, database, owner, victim):
    with world.connect(database, "writer") as connection, undone(connection):
        aims = cases(connection, victim)
        attempts.check("segments of several kinds", None if len(aims) >= 2 else f"{aims}")
        for place, aim in enumerate(aims):
            for names in [(name,) for name in CHANGES] + list(permutations(CHANGES, 2)):
                *before, last = (CHANGES[name].format(**aim) for name in names)
                statement = " ".join(f"WITH first AS ({each})" for each in before) + f" {last}"
                connection.execute("SAVEPOINT statement")
                try:
                    connection.execute(statement)
                    wrong = {what: count for what, count in told(connection).items() if count}
                    fault = f"wrong afterwards: {wrong}" if wrong else None
                except psycopg.Error as error:
                    fault = str(error) if error.sqlstate.startswith("XX") else None
                connection.execute("ROLLBACK TO statement; RELEASE statement")
                attempts.count(FORGED, "writer", f"{' and '.join(names)} of segment {place}", fault)
