"""Search at the size of a million embeddings: bench.py CONNINFO OUT.

Fills a database of its own (about 4 GB, dropped at the end), measures and checks, and writes OUT/results.{json,md,svg}.
The figures come last, one key=value a line.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo

import data

EMBEDDINGS, SPEAKERS, UNKNOWN = 1_000_000, 10_000, 5_000
DATABASE = "pg_speaker_bench_knn"
# What applications have today: one flat table, and an average over all of it.
NAIVE = """SELECT speaker_id, AVG(embedding <=> %s::vector) FROM flat WHERE speaker_id IS NOT NULL
           GROUP BY speaker_id ORDER BY 2 LIMIT 5"""
OURS = "SELECT speaker_id, distance FROM speaker_knn(%s::vector, 5)"


def main():
    server, out = sys.argv[1:]
    with psycopg.connect(server, dbname="postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {DATABASE}")
        try:
            with psycopg.connect(server, dbname=DATABASE, autocommit=True) as connection:
                results = measure(connection, make_conninfo(server, dbname=DATABASE))
        finally:
            admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    write(results, Path(out))
    for name, value in results["figures"].items():
        print(f"{name}={value}")


def measure(connection, conninfo):
    generator = np.random.default_rng(data.SEED)
    say("making voices")
    vectors, owner = data.voices(SPEAKERS, EMBEDDINGS, generator)
    queries = data.around(vectors[generator.choice(EMBEDDINGS, 200, replace=False)], generator)
    say("filling the database")
    fill(connection, vectors, owner)
    versions = connection.execute(
        "SELECT current_setting('server_version'), string_agg(extname || ' ' || extversion, ', ' ORDER BY extname) FROM pg_extension"
    ).fetchone()

    say("timing the flat table and speaker_knn")
    timed = {"naive": [], "naive, one process": [], "speaker_knn": []}
    for round_ in range(7):
        query = text(queries[round_])
        timed["naive"].append(clock(connection, NAIVE, query))
        connection.execute("SET max_parallel_workers_per_gather = 0")
        timed["naive, one process"].append(clock(connection, NAIVE, query))
        connection.execute("RESET max_parallel_workers_per_gather")
        # The first reads into the cache what the others pushed out of it.
        clock(connection, OURS, query)
        timed["speaker_knn"] += [clock(connection, OURS, text(q)) for q in queries[:50]]
    naive, one_process, ours = (statistics.median(times) for times in timed.values())
    difference, order = compare(connection, queries[:10])

    say("labelling 10,000 times without a vacuum")
    label(conninfo)
    bloated = statistics.median(clock(connection, OURS, text(q)) for q in queries[:50])
    bloated_difference, bloated_order = compare(connection, queries[10:20])

    say("identifying a run")
    run = connection.execute("SELECT max(id) FROM speaker.runs").fetchone()
    started = time.perf_counter()
    answers = connection.execute("SELECT count(*) FROM identify_speakers(%s, assign => false)", run).fetchone()[0]
    identify = time.perf_counter() - started
    assert answers == UNKNOWN, answers

    say("building the index")
    connection.execute("SET maintenance_work_mem = '3GB'")
    started = time.perf_counter()
    connection.execute("SELECT ensure_embedding_indexes()")
    build = time.perf_counter() - started
    say("searching segments")
    recall, index_alone, fewest, nearest = recall_of(connection, vectors, queries)

    figures = {
        "knn_naive_ms": round(naive * 1000, 1),
        "knn_naive_one_process_ms": round(one_process * 1000, 1),
        "knn_ms": round(ours * 1000, 2),
        "knn_bloated_ms": round(bloated * 1000, 2),
        "nearest_ms": round(nearest * 1000, 2),
        "index_build_s": round(build, 1),
        "nearest_recall_of_index_alone": round(index_alone, 4),
        "nearest_fewest_rows": fewest,
        "knn_same_order": int(order and bloated_order),
        "knn_max_abs_diff": f"{max(difference, bloated_difference):.2e}",
        "knn_speedup": round(naive / ours, 1),
        "knn_speedup_one_process": round(one_process / ours, 1),
        "nearest_recall": round(recall, 4),
        "identify_5000_s": round(identify, 2),
    }
    return {
        "figures": figures,
        "setting": {"embeddings": EMBEDDINGS, "speakers": SPEAKERS, "dim": data.DIM, "kappa": data.KAPPA, "seed": data.SEED},
        "versions": versions,
        "times_ms": {name: [round(t * 1000, 3) for t in times] for name, times in timed.items()},
    }


def fill(connection, vectors, owner):
    """As a restore without triggers does, then the means from rebuild_speaker_centroids()."""
    known = EMBEDDINGS - UNKNOWN
    connection.execute("CREATE EXTENSION pg_speaker CASCADE")
    connection.execute("SET session_replication_role = replica")
    connection.execute("INSERT INTO speaker.recordings (id, external_id) VALUES (1, 'known'), (2, 'unknown')")
    connection.execute("INSERT INTO speaker.runs (id, recording_id, segment_source, content_hash) VALUES (1, 1, 'manual', ''), (2, 2, 'manual', '')")
    connection.execute("INSERT INTO speaker.speakers (id, name) SELECT i, 'Speaker ' || i FROM generate_series(1, %s) AS i", [SPEAKERS])
    with connection.cursor() as cursor:
        data.copy_binary(
            cursor, "speaker.segments", "id, run_id, start_time, end_time, speaker_id",
            ((data.bigint(i + 1), data.bigint(1 if i < known else 2), data.double(i), data.double(i + 1),
              data.bigint(int(owner[i]) + 1) if i < known else None) for i in range(EMBEDDINGS)),
        )
        # Stored as embedding stores them; dim is generated.
        data.copy_binary(
            cursor, "speaker.embeddings", "segment_id, model_id, embedding",
            ((data.bigint(i + 1), data.integer(1), data.vector(vectors[i])) for i in range(EMBEDDINGS)),
        )
    connection.execute("RESET session_replication_role")
    connection.execute("SELECT rebuild_speaker_centroids()")
    connection.execute("ALTER TABLE speaker.speaker_centroids SET (autovacuum_enabled = false)")
    connection.execute("CREATE TABLE flat (external_id bigint, embedding vector(256), speaker_id text)")
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


def recall_of(connection, vectors, queries, k=10):
    """The share of the exact k nearest that nearest_segments() finds, and that the index finds on its own; the fewest rows
    of nearest_segments(), and its median time."""
    known = vectors[: EMBEDDINGS - UNKNOWN]
    hits, index_hits, fewest, times = 0, 0, k, []
    connection.execute("SET hnsw.ef_search = 200")
    for query in queries:
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
    asked = k * len(queries)
    return hits / asked, index_hits / asked, fewest, statistics.median(times)


def clock(connection, query, embedding):
    started = time.perf_counter()
    connection.execute(query, [embedding], prepare=True).fetchall()
    return time.perf_counter() - started


def text(values):
    return "[" + ",".join(map(str, values)) + "]"


def say(what):
    print(f"{time.strftime('%X')} {what}", flush=True)


def write(results, out):
    figures = results["figures"]
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    rows = "".join(f"| {name} | {value} |\n" for name, value in figures.items())
    (out / "results.md").write_text(f"| figure | value |\n| --- | --- |\n{rows}")
    bars = [("average over the flat table", figures["knn_naive_ms"]), ("the same, one process", figures["knn_naive_one_process_ms"]),
            ("speaker_knn", figures["knn_ms"]), ("speaker_knn after 10,000 labels", figures["knn_bloated_ms"])]
    (out / "results.svg").write_text(svg(bars))


def svg(bars):
    """Bars on a logarithmic scale of milliseconds, from 1 to 10,000."""
    rows = []
    for row, (name, value) in enumerate(bars):
        y, width = 40 + 36 * row, 100 * float(np.log10(max(value, 1)))
        rows.append(f'<text x="230" y="{y + 16}" text-anchor="end">{name}</text>'
                    f'<rect x="240" y="{y}" width="{width:.1f}" height="22" fill="#4477aa"/>'
                    f'<text x="{246 + width:.1f}" y="{y + 16}">{value} ms</text>')
    return ('<svg xmlns="http://www.w3.org/2000/svg" width="720" height="200" font-family="sans-serif" font-size="13">'
            '<rect width="720" height="200" fill="white"/><text x="20" y="22">Five nearest speakers of 10,000, a million '
            'embeddings (median, logarithmic)</text>' + "".join(rows) + "</svg>\n")


if __name__ == "__main__":
    main()
