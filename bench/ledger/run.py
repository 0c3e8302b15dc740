"""What waits, is tried and is counted, in a small store and in one of a million segments: run.py CONNINFO.

Nothing that a session does again and again may grow with the store. Each size has a database of its own (6 GB for the
larger), which is dropped at the end; calls take turns between the two, so that other work on the machine disturbs both.
Exit status 1 where a step takes more than three times as long in the larger.
"""

import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psycopg

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "knn")]
import data  # noqa: E402
import database  # noqa: E402
import report  # noqa: E402
from report import say  # noqa: E402

SIZES = {"10k": 10_000, "1m": 1_000_000}
# Segments of each recording, and of each speaker.
EACH = 100
# Segments that are due, whatever the size: what a step has to do is the same.
DUE = 1500
BATCH, POLL = 200, 100
LONG, CLUSTER, LARGE_CLUSTER, SMALL = 8_000, 1_000, 16_000, 1_000
MOST_GROWTH = 3
DATABASE = "pg_speaker_bench_ledger"

# Of a thousand segments: 930 are embedded; the others wait for their next time, or for nothing.
FILL = """
INSERT INTO speaker.recordings (id, external_id, sha256, duration_s) OVERRIDING SYSTEM VALUE
SELECT i, 'recording ' || i, sha256(int8send(i)), %(each)s * 4 FROM generate_series(1, %(size)s / %(each)s) AS i;
INSERT INTO speaker.runs (id, recording_id, segment_source, content_hash) OVERRIDING SYSTEM VALUE
SELECT id, id, 'pyannote', sha256 FROM speaker.recordings;
INSERT INTO speaker.speakers (id, name) OVERRIDING SYSTEM VALUE
SELECT i, 'Speaker ' || i FROM generate_series(1, %(size)s / %(each)s) AS i;
INSERT INTO speaker.segments (id, run_id, external_id, source_index, start_time, end_time, text) OVERRIDING SYSTEM VALUE
SELECT i, 1 + (i - 1) / %(each)s, (i - 1) %% %(each)s, (i - 1) %% %(each)s, (i - 1) %% %(each)s * 4,
       (i - 1) %% %(each)s * 4 + 3.5, 'What was said in segment ' || i
FROM generate_series(1, %(size)s) AS i;
-- The same model in its next version, under which nothing is embedded yet.
INSERT INTO speaker.models (name, version, sha256, dim, utterance_threshold, speaker_threshold, centroid_threshold, manifest)
SELECT name, 'next', sha256, dim, utterance_threshold, speaker_threshold, centroid_threshold, manifest FROM speaker.models;
INSERT INTO speaker.embedding_jobs
    (segment_id, model_id, status, error_code, error, attempts, next_attempt_at, source_hash, processed_at)
SELECT i.segment_id, 1, i.status, i.error_code, 'as it was in ' || i.error_code, 1,
       CASE WHEN i.status = 'fail' THEN now() + (1 + random() * 23) * interval '1 hour' END,
       CASE WHEN i.status <> 'missing_audio' THEN i.source_hash END, now() - random() * interval '30 days'
FROM (SELECT s.*, k.* FROM speaker.segment_sources AS s,
          LATERAL (SELECT s.segment_id * 7919 %% 1000 AS place) AS p,
          LATERAL (SELECT CASE WHEN p.place < 930 THEN 'success' WHEN p.place < 950 THEN 'fail' WHEN p.place < 970 THEN 'rejected'
                               WHEN p.place < 990 THEN 'missing_audio' ELSE 'dead' END AS status,
                          CASE WHEN p.place < 930 THEN NULL WHEN p.place < 950 THEN 'unexpected_error' WHEN p.place < 970 THEN 'too_short'
                               WHEN p.place < 990 THEN 'missing_audio' ELSE 'session_ended' END AS error_code) AS k) AS i
WHERE i.segment_id <= %(size)s - %(due)s;
INSERT INTO speaker.embedding_jobs (segment_id, model_id)
SELECT i, 1 FROM generate_series(%(size)s - %(due)s + 1, %(size)s) AS i
UNION ALL SELECT i, 2 FROM generate_series(1, %(size)s) AS i;
-- Most of what is embedded is known.
UPDATE speaker.segments AS s SET speaker_id = 1 + s.id * 104729 %% (%(size)s / %(each)s), label_confirmed = true, label_source = 'knn', labelled_at = now()
FROM speaker.embedding_jobs AS j
WHERE j.segment_id = s.id AND j.model_id = 1 AND j.status = 'success' AND s.id %% 20 <> 0;
"""

# A recording of so many segments that are embedded, in a collection, as an application would bring them.
ADD = """
WITH recording AS (
    INSERT INTO speaker.recordings (collection, external_id) VALUES (%(collection)s, %(name)s) RETURNING id
), run AS (
    INSERT INTO speaker.runs (collection, recording_id, segment_source, content_hash)
    SELECT %(collection)s, id, 'pyannote', '' FROM recording RETURNING id
)
INSERT INTO speaker.segments (collection, run_id, external_id, source_index, start_time, end_time)
SELECT %(collection)s, run.id, i, i, i * 4, i * 4 + 3.5 FROM run, generate_series(1, %(segments)s) AS i
"""
ADD_VECTORS = """
INSERT INTO speaker.embeddings (segment_id, collection, model_id, embedding)
SELECT s.id, s.collection, 1, e.embedding
FROM (SELECT id, collection, row_number() OVER (ORDER BY id) AS place FROM speaker.segments WHERE run_id = %(run)s) AS s
JOIN (SELECT embedding, row_number() OVER () AS place FROM speaker.embeddings LIMIT 8000) AS e ON e.place = 1 + s.place %% 8000
"""
ADD_CLUSTERING = """
WITH clustering AS (
    INSERT INTO speaker.clusterings (run_id, model_id) VALUES (%(run)s, 1) RETURNING id
), members AS (
    INSERT INTO speaker.cluster_members (clustering_id, segment_id, cluster, probability)
    SELECT clustering.id, s.id, CASE WHEN s.place <= %(large)s THEN 'A' ELSE chr(66 + ((s.place - %(large)s - 1) / %(each)s)::int) END, 1
    FROM clustering, (SELECT id, row_number() OVER (ORDER BY id) AS place FROM speaker.segments WHERE run_id = %(run)s) AS s
)
SELECT id FROM clustering
"""


def main():
    server, = sys.argv[1:]
    with contextlib.ExitStack() as stack:
        stores = {name: stack.enter_context(store(server, name, size)) for name, size in SIZES.items()}
        times = measure(stores)
        versions = dict(stores["1m"].connection.execute(
            """SELECT 'PostgreSQL', current_setting('server_version')
               UNION ALL SELECT extname, extversion FROM pg_extension WHERE extname IN ('vector', 'pg_speaker')"""))
    figures = publish({**report.machine(), "numpy": version("numpy"), **versions}, times)
    missed = [name for name in ("claim_growth", "due_growth", "status_growth") if figures[name] > MOST_GROWTH]
    for name in missed:
        print(f"missed: {name}", file=sys.stderr)
    sys.exit(bool(missed))


@contextlib.contextmanager
def store(server, name, size):
    """A store of that size, filled."""
    with database.temporary(server, f"{DATABASE}_{name}") as conninfo, psycopg.connect(conninfo, autocommit=True) as connection:
        say(f"{size:,} segments: filling the store")
        filled = Store(connection, size)
        filled.fill()
        yield filled


@dataclass
class Step:
    """Work to be timed, so many times after the first ones, which read into the cache and make plans."""

    name: str
    work: Callable
    rounds: int = 15
    warm: int = 3
    # Between two of them, not timed.
    undo: Callable = lambda: None


def measure(stores):
    """Seconds of each step in each store, by its name; in turns."""
    times = {name: {} for name in stores}
    for steps in zip(*(store.steps() for store in stores.values()), strict=True):
        for turn in range(steps[0].warm + steps[0].rounds):
            for of, step in zip(times.values(), steps, strict=True):
                started = time.perf_counter()
                step.work()
                seconds = time.perf_counter() - started
                if turn >= step.warm:
                    of.setdefault(step.name, []).append(seconds)
                step.undo()
        say(steps[0].name)
    return times


class Store:
    def __init__(self, connection, size):
        self.connection, self.size = connection, size

    def one(self, statement, parameters=None):
        """The only column of the only row."""
        return self.connection.execute(statement, parameters, prepare=True).fetchone()[0]

    def fill(self):
        """As a restore without triggers does, then all that is derived from repair_store()."""
        connection = self.connection
        database.make_store(connection)
        connection.execute("SET session_replication_role = replica")
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute(FILL, {"size": self.size, "each": EACH, "due": DUE})
        embedded = connection.execute(
            """SELECT s.id, coalesce(s.speaker_id, 1) FROM speaker.segments AS s
               JOIN speaker.embedding_jobs AS j ON j.segment_id = s.id AND j.model_id = 1 WHERE j.status = 'success'""").fetchall()
        with connection.cursor() as cursor:
            data.copy_binary(cursor, "speaker.embeddings", "segment_id, model_id, embedding", self.vectors(embedded))
        connection.execute("RESET session_replication_role")
        connection.execute(
            """SELECT setval(pg_get_serial_sequence('speaker.' || t, 'id'), %s)
               FROM unnest('{recordings,runs,segments,speakers}'::text[]) AS t""", [self.size])
        wrong = self.one("SELECT repair_store()")
        assert wrong == 0, wrong
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")

    def vectors(self, embedded):
        """Rows for COPY: around a direction of each speaker's own."""
        generator = np.random.default_rng(data.SEED)
        centres = data.unit(generator.standard_normal((self.size // EACH, data.DIM), dtype=np.float32))
        for start in range(0, len(embedded), 50_000):
            rows = embedded[start : start + 50_000]
            vectors = data.around(centres[[speaker - 1 for _, speaker in rows]], generator)
            yield from ((data.bigint(segment), data.integer(1), data.vector(vector))
                        for (segment, _), vector in zip(rows, vectors, strict=True))

    # The ledger -------------------------------------------------------------------------------------------------------

    def claim(self, model, runs=None):
        """Takes a batch and gives it back, each a transaction, as a backfill does."""
        lease, claimed = self.connection.execute(
            "SELECT lease, cardinality(claimed) FROM ask_ledger('backfill', 'default', %s, %s, %s)",
            [model, BATCH, runs], prepare=True).fetchone()
        assert claimed == (EACH if runs else BATCH), claimed
        self.connection.execute(
            "SELECT end_claim(c) FROM speaker.embedding_claims AS c WHERE c.lease = %s", [lease], prepare=True)
        self.connection.execute("SELECT speaker_leave_backfill()", prepare=True)

    def embed_due(self, expected):
        """Nothing is extracted: the recordings' audio is kept elsewhere."""
        tried = self.one("SELECT count(*) FROM embed_due(%s)", [POLL])
        assert tried == expected, tried

    def backfill(self):
        self.connection.execute("CALL backfill_embeddings()")

    def steps(self):
        """In their order. What stands between two of them is done when both stores have come there."""
        run = self.size // EACH // 2
        yield Step("claim", lambda: self.claim(1))
        yield Step("claim, everything waits", lambda: self.claim(2))
        yield Step("claim for a run, everything waits", lambda: self.claim(2, [run]))
        yield Step("embed_due", lambda: self.embed_due(POLL), 9)
        # What is left.
        self.backfill()
        yield Step("embed_due, nothing is due", lambda: self.embed_due(0))
        yield Step("backfill, nothing is due", self.backfill)
        yield Step("due segments of a run", lambda: self.one("SELECT count_due('{default}', 1, ARRAY[%s::bigint])", [run]))
        yield Step("segments that the ledger lacks", lambda: self.one("SELECT unlisted('default', 1)"))
        yield Step("status", lambda: self.one("SELECT segments FROM speaker.status WHERE is_current"), 31)
        yield Step("backfill_progress", lambda: self.one("SELECT done FROM speaker.backfill_progress WHERE version <> 'next'"), 31)
        self.add_more()
        yield from self.labels()

    # Labels and deletions ---------------------------------------------------------------------------------------------

    def add(self, name, segments, collection="default"):
        """A recording; its run."""
        self.connection.execute(ADD, {"name": name, "segments": segments, "collection": collection})
        run = self.one("SELECT max(id) FROM speaker.runs")
        self.connection.execute(ADD_VECTORS, {"run": run})
        return run

    def add_more(self):
        connection = self.connection
        for number in range(3):
            # Of the first 80 speakers: others will be deleted.
            connection.execute("UPDATE speaker.segments SET speaker_id = 1 + id %% 80 WHERE run_id = %s", [self.add(f"long {number}", LONG)])
        self.unknown = self.add("unknown", LARGE_CLUSTER + 4 * CLUSTER)
        self.clustering = self.one(ADD_CLUSTERING, {"run": self.unknown, "large": LARGE_CLUSTER, "each": CLUSTER})
        small = self.add("small", SMALL, "small")
        connection.execute("INSERT INTO speaker.speakers (collection, name) SELECT 'small', 'Speaker ' || i FROM generate_series(1, 10) AS i")
        connection.execute(
            """UPDATE speaker.segments AS s SET speaker_id = p.id FROM speaker.speakers AS p
               WHERE s.run_id = %s AND p.collection = 'small' AND p.name = 'Speaker ' || 1 + s.id %% 10""", [small])
        connection.execute("SET maintenance_work_mem = '3GB'")
        connection.execute("SELECT ensure_embedding_indexes()")
        connection.execute("VACUUM ANALYZE")

    def labels(self):
        """In a session that has labelled single segments before, whose plans may not serve thousands."""
        for segment, in self.connection.execute(
                "SELECT id FROM speaker.segments WHERE speaker_id IS NULL AND run_id < %s ORDER BY id LIMIT 30", [self.unknown]).fetchall():
            self.one("SELECT label_segment(%s, 'Speaker 1')", [segment])
        query = self.one("SELECT embedding::text FROM speaker.embeddings WHERE segment_id = 1")
        clusters, speakers, long = iter("BCDE"), iter(range(82, 100)), iter(range(3))
        yield Step("nearest_segments in a small collection", lambda: self.one(
            "SELECT count(*) FROM nearest_segments(%s::vector, 10, collection => 'small')", [query]))
        yield Step("label_cluster of 1,000", lambda: self.label(next(clusters), CLUSTER), 3, 1)
        yield Step("label_cluster of 16,000", lambda: self.label("A", LARGE_CLUSTER), 3, 0, self.unlabel)
        yield Step("a speaker is deleted", lambda: self.connection.execute(
            "DELETE FROM speaker.speakers WHERE name = %s AND collection = 'default'", [f"Speaker {next(speakers)}"]), 9)
        yield Step("a recording of 8,000 is deleted", lambda: self.connection.execute(
            "DELETE FROM speaker.recordings WHERE external_id = %s", [f"long {next(long)}"]), 3, 0)

    def label(self, cluster, expected):
        changed = self.one("SELECT label_cluster(%s, %s, 'Somebody')", [self.clustering, cluster])
        assert changed == expected, changed

    def unlabel(self):
        self.connection.execute("UPDATE speaker.segments SET speaker_id = NULL WHERE run_id = %s", [self.unknown])


def publish(machine, times):
    medians = {size: {name: statistics.median(calls) for name, calls in of.items()} for size, of in times.items()}
    small, large = medians.values()

    def growth(*names):
        return round(max(large[name] / small[name] for name in names), 2)

    def ms(size, name):
        return round(1000 * medians[size][name], 2)

    figures = {f"{key}_{size}_ms": ms(size, name)
               for key, name in {"claim": "claim", "due": "embed_due", "status": "status", "progress": "backfill_progress"}.items()
               for size in SIZES}
    figures |= {
        "claim_backlog_ms": ms("1m", "claim, everything waits"),
        "idle_poll_ms": ms("1m", "backfill, nothing is due"),
        "idle_due_ms": ms("1m", "embed_due, nothing is due"),
        "nearest_small_ms": ms("1m", "nearest_segments in a small collection"),
        "labels_1000_s": round(large["label_cluster of 1,000"], 3),
        "labels_16000_s": round(large["label_cluster of 16,000"], 2),
        "cascade_8000_s": round(large["a recording of 8,000 is deleted"], 2),
        "speaker_delete_ms": ms("1m", "a speaker is deleted"),
        "claim_growth": growth("claim"),
        "due_growth": growth("embed_due"),
        "status_growth": growth("status", "backfill_progress"),
    }
    rows = [[name, *(report.quantity(1000 * medians[size][name], "ms") for size in SIZES), f"{growth(name):.2f}"] for name in small]
    table = report.table(["", *(f"{size:,} segments" for size in SIZES.values()), "growth"], rows)
    report.publish("ledger", machine, table, figures, {
        "setting": {"dim": data.DIM, "due": DUE, "batch": BATCH, "poll": POLL, "segments_of_a_recording": EACH},
        "times_ms": {size: {name: [round(1000 * seconds, 3) for seconds in calls] for name, calls in of.items()}
                     for size, of in times.items()},
    })
    return figures


if __name__ == "__main__":
    main()
