"""Search at the size of a million embeddings, and at smaller ones: run.py CONNINFO.

Each size has a database of its own (4 GB for the largest), which is dropped when it is done.
"""

import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psycopg

import data

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import database  # noqa: E402
import report  # noqa: E402
from report import say  # noqa: E402

SIZES = 1_000, 10_000, 100_000, 1_000_000
PER_SPEAKER = 100
# One embedding in so many belongs to nobody yet.
UNKNOWN = 200
DATABASE = "pg_speaker_bench_knn"
# What applications have today: one flat table, and an average over all of it.
NAIVE = """SELECT speaker_id, AVG(embedding <=> %s::vector) FROM flat WHERE speaker_id IS NOT NULL
           GROUP BY speaker_id ORDER BY 2 LIMIT 5"""
OURS = "SELECT speaker_id, distance FROM speaker_knn(%s::vector, 5)"


def main():
    server, = sys.argv[1:]
    times = {}
    for size in SIZES:
        with database.temporary(server, DATABASE) as conninfo, psycopg.connect(conninfo, autocommit=True) as connection:
            voices = Voices(size)
            say(f"{size:,} embeddings: filling the database")
            fill(connection, voices)
            say("timing the flat table and speaker_knn")
            times[size] = race(connection, voices)
            if size == SIZES[-1]:
                others = examine(connection, conninfo, voices)
                server_versions = dict(connection.execute(
                    """SELECT 'PostgreSQL', current_setting('server_version')
                       UNION ALL SELECT extname, extversion FROM pg_extension WHERE extname IN ('vector', 'pg_speaker')"""))
    machine = {**report.machine(), "numpy": version("numpy"), **server_versions}
    publish(machine, times, figures(times[SIZES[-1]], others))


class Voices:
    """Embeddings, the speaker (from 0) of each, and embeddings to search with."""

    def __init__(self, size):
        generator = np.random.default_rng(data.SEED)
        self.size, self.speakers, self.known = size, size // PER_SPEAKER, size - size // UNKNOWN
        self.vectors, self.owner = data.voices(self.speakers, size, generator)
        self.queries = data.around(self.vectors[generator.choice(size, 200, replace=False)], generator)


def race(connection, voices):
    """Seconds of each call, in turns."""
    times = {"average over the flat table": [], "the same, one process": [], "speaker_knn": []}
    naive, one_process, ours = times.values()
    for query in map(text, voices.queries[:7]):
        naive.append(clock(connection, NAIVE, query))
        connection.execute("SET max_parallel_workers_per_gather = 0")
        one_process.append(clock(connection, NAIVE, query))
        connection.execute("RESET max_parallel_workers_per_gather")
        # The first reads into the cache what the others pushed out of it.
        clock(connection, OURS, query)
        ours += [clock(connection, OURS, text(other)) for other in voices.queries[:50]]
    return times


def examine(connection, conninfo, voices):
    """Exactness, before and after many labels, identification of a run, and search for segments."""
    difference, order = compare(connection, voices.queries[:10])
    say("labelling 10,000 times without a vacuum")
    label(conninfo)
    bloated = statistics.median(clock(connection, OURS, text(query)) for query in voices.queries[:50])
    bloated_difference, bloated_order = compare(connection, voices.queries[10:20])

    say("identifying a run")
    run = connection.execute("SELECT max(id) FROM speaker.runs").fetchone()
    started = time.perf_counter()
    answers, = connection.execute("SELECT count(*) FROM identify_speakers(%s, assign => false)", run).fetchone()
    identify = time.perf_counter() - started
    assert answers == voices.size - voices.known, answers

    say("building the index")
    connection.execute("SET maintenance_work_mem = '3GB'")
    started = time.perf_counter()
    connection.execute("SELECT ensure_embedding_indexes()")
    build = time.perf_counter() - started
    say("searching segments")
    recall, index_alone, fewest, nearest = recall_of(connection, voices)
    return {
        "knn_bloated_ms": round(bloated * 1000, 2),
        "nearest_ms": round(nearest * 1000, 2),
        "index_build_s": round(build, 1),
        "nearest_recall_of_index_alone": round(index_alone, 4),
        "nearest_fewest_rows": fewest,
        "identify_5000_s": round(identify, 2),
        "knn_same_order": int(order and bloated_order),
        "knn_max_abs_diff": f"{max(difference, bloated_difference):.2e}",
        "nearest_recall": round(recall, 4),
    }


def figures(times, others):
    naive, one_process, ours = map(statistics.median, times.values())
    return {
        "knn_naive_ms": round(naive * 1000, 1),
        "knn_naive_one_process_ms": round(one_process * 1000, 1),
        "knn_ms": round(ours * 1000, 2),
        "knn_speedup_one_process": round(one_process / ours, 1),
        **others,
        "knn_speedup": round(naive / ours, 1),
    }


def fill(connection, voices):
    """As a restore without triggers does, then all that is derived from repair_store()."""
    database.make_store(connection)
    connection.execute("SET session_replication_role = replica")
    connection.execute("INSERT INTO speaker.recordings (id, external_id) OVERRIDING SYSTEM VALUE VALUES (1, 'known'), (2, 'unknown')")
    connection.execute(
        """INSERT INTO speaker.runs (id, recording_id, segment_source, content_hash) OVERRIDING SYSTEM VALUE
           VALUES (1, 1, 'manual', ''), (2, 2, 'manual', '')""")
    connection.execute(
        """INSERT INTO speaker.speakers (id, name) OVERRIDING SYSTEM VALUE
           SELECT i, 'Speaker ' || i FROM generate_series(1, %s) AS i""", [voices.speakers])
    with connection.cursor() as cursor:
        data.copy_binary(
            cursor, "speaker.segments", "id, run_id, start_time, end_time, speaker_id, label_confirmed",
            ((data.bigint(i + 1), data.bigint(1 if i < voices.known else 2), data.double(i), data.double(i + 1),
              *((data.bigint(int(voices.owner[i]) + 1), data.boolean(True)) if i < voices.known else (None, None))) for i in range(voices.size)),
        )
        # Stored as embedding stores them; dim is generated.
        data.copy_binary(
            cursor, "speaker.embeddings", "segment_id, model_id, embedding",
            ((data.bigint(i + 1), data.integer(1), data.vector(voices.vectors[i])) for i in range(voices.size)),
        )
    connection.execute("RESET session_replication_role")
    connection.execute("SELECT repair_store()")
    connection.execute("ALTER TABLE speaker.speaker_centroids SET (autovacuum_enabled = false)")
    connection.execute("CREATE TABLE public.flat (external_id bigint, embedding vector(256), speaker_id text)")
    connection.execute(
        """INSERT INTO flat SELECT e.segment_id, e.embedding, p.name FROM speaker.embeddings AS e
           JOIN speaker.segments AS s ON s.id = e.segment_id LEFT JOIN speaker.speakers AS p ON p.id = s.speaker_id
           ORDER BY e.segment_id"""
    )
    connection.execute("VACUUM ANALYZE")


def compare(connection, queries):
    """The largest difference to the average over every embedding, and whether the order is the same."""
    largest, same = 0.0, True
    for query in queries:
        naive = connection.execute(
            """SELECT s.speaker_id, avg(e.embedding <=> %s::vector) FROM speaker.embeddings AS e
               JOIN speaker.segments AS s ON s.id = e.segment_id
               WHERE s.speaker_id IS NOT NULL GROUP BY 1 ORDER BY 2, 1 LIMIT 5""", [text(query)]).fetchall()
        ours = connection.execute(OURS, [text(query)]).fetchall()
        same = same and [speaker for speaker, _ in naive] == [speaker for speaker, _ in ours]
        largest = max(largest, *(abs(a[1] - b[1]) for a, b in zip(naive, ours, strict=True)))
    return largest, same


def label(conninfo):
    """10,000 labels of one speaker, each a transaction: given to the unknown segments, and taken back again."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        segments = [row[0] for row in connection.execute("SELECT id FROM speaker.segments WHERE speaker_id IS NULL ORDER BY id")]
        for segment in segments:
            connection.execute("SELECT label_segment(%s, 'Speaker 1')", [segment], prepare=True)
        for segment in segments:
            connection.execute("SELECT unlabel_segment(%s)", [segment], prepare=True)


def recall_of(connection, voices, k=10):
    """The share of the exact k nearest that nearest_segments() finds, and that the index finds on its own; the fewest rows
    of nearest_segments(), and its median time."""
    known = voices.vectors[:voices.known]
    hits, index_hits, fewest, times = 0, 0, k, []
    connection.execute("SET hnsw.ef_search = 200")
    for query in voices.queries:
        similarity = known @ query
        exact = set((np.argpartition(-similarity, k)[:k] + 1).tolist())
        started = time.perf_counter()
        found = connection.execute("SELECT segment_id FROM nearest_segments(%s::vector, %s)", [text(query), k]).fetchall()
        times.append(time.perf_counter() - started)
        hits += len(exact & {row[0] for row in found})
        fewest = min(fewest, len(found))
        alone = connection.execute(
            "SELECT segment_id FROM speaker.embeddings WHERE model_id = 1 ORDER BY embedding::vector(256) <=> %s::vector(256) LIMIT %s",
            [text(query), k]).fetchall()
        index_hits += len(exact & {row[0] for row in alone})
    asked = k * len(voices.queries)
    return hits / asked, index_hits / asked, fewest, statistics.median(times)


def clock(connection, query, embedding):
    started = time.perf_counter()
    connection.execute(query, [embedding], prepare=True).fetchall()
    return time.perf_counter() - started


def text(values):
    return "[" + ",".join(map(str, values)) + "]"


def publish(machine, times, figures):
    medians = {name: [(size, 1000 * statistics.median(times[size][name])) for size in SIZES] for name in times[SIZES[0]]}
    report.plot_log_log(HERE / "time.svg", "Five nearest speakers, a hundred embeddings each", "embeddings", "milliseconds", medians)
    rows = [[name, *(report.quantity(ms, "ms") for _, ms in points)] for name, points in medians.items()]
    table = report.table(["", *(f"{size:,}" for size in SIZES)], rows)
    report.publish("knn", machine, f"{table}\n![time against n](knn/time.svg)\n", figures, {
        "setting": {"dim": data.DIM, "kappa": data.KAPPA, "seed": data.SEED, "embeddings_of_a_speaker": PER_SPEAKER},
        "times_ms": {size: {name: [round(1000 * seconds, 3) for seconds in calls] for name, calls in of.items()}
                     for size, of in times.items()},
    })


if __name__ == "__main__":
    main()
