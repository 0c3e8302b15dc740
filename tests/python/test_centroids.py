"""The means of the speakers are what their labels and embeddings say, whatever happened before.

SPEAKER_TEST_CHANGES is how many random changes to make; a million take some minutes.
"""

import os
import random
import threading
import time

import psycopg
import pytest

from test_concurrency import together

CHANGES = int(os.environ.get("SPEAKER_TEST_CHANGES", 20_000))

# Many small transactions of many rows each, until so many rows have changed. 1,000 segments of 12 speakers.
RANDOM_CHANGES = """
DO $$
DECLARE
    run CONSTANT bigint := (SELECT id FROM speaker.runs);
    changed bigint := 0;
    rows bigint;
    pick int;
BEGIN
    PERFORM setseed(0.5);
    WHILE changed < {changes} LOOP
        pick := floor(random() * 10);
        CASE floor(random() * 10)
        WHEN 0 THEN
            INSERT INTO speaker.embeddings (segment_id, model_id, embedding)
            SELECT s.id, 1, v.embedding FROM speaker.segments AS s JOIN vectors AS v ON v.n = 1 + (s.id + pick) % 50
            WHERE s.run_id = run AND s.id % 10 = pick
            ON CONFLICT (segment_id, model_id, collection) DO UPDATE SET embedding = excluded.embedding;
        WHEN 1 THEN
            UPDATE speaker.segments SET speaker_id = (SELECT id FROM speaker.speakers WHERE name = 'Voice ' || 1 + pick)
            WHERE run_id = run AND id % 7 = pick % 7;
        WHEN 2 THEN
            PERFORM speaker.assign(array_agg(s.id), array_agg(p.id), 'manual')
            FROM speaker.segments AS s JOIN speaker.speakers AS p ON p.name = 'Voice ' || 1 + (s.id + pick) % 12
            WHERE s.run_id = run AND s.id % 5 = pick % 5;
            rows := 200;
        WHEN 3 THEN
            UPDATE speaker.segments SET speaker_id = NULL WHERE run_id = run AND id % 11 = pick;
        WHEN 4 THEN
            DELETE FROM speaker.embeddings WHERE segment_id % 13 = pick;
        WHEN 5 THEN
            UPDATE speaker.embeddings AS e SET embedding = v.embedding
            FROM vectors AS v WHERE v.n = 1 + (e.segment_id * 3 + pick) % 50 AND e.segment_id % 3 = pick % 3;
        WHEN 6 THEN
            PERFORM speaker.assign(array_agg(s.id), array_agg(p.id), 'knn', NULL, 1, NULL, false, NULL,
                                   array_agg(nullif(s.id % 3 = 0, s.id % 3 = 1)), speaker.new_batch('default', 'random'))
            FROM speaker.segments AS s JOIN speaker.speakers AS p ON p.name = 'Voice ' || 1 + (s.id + pick) % 12
            WHERE s.run_id = run AND s.id % 6 = pick % 6;
            rows := 170;
        WHEN 7 THEN
            UPDATE speaker.segments SET label_confirmed = NOT label_confirmed WHERE speaker_id IS NOT NULL AND id % 8 = pick % 8;
        WHEN 8 THEN
            SELECT undone INTO rows FROM speaker.label_batches AS b, LATERAL undo_labels(b.id) WHERE b.id % 10 = pick;
        ELSE
            rows := merge_speakers('Voice ' || 1 + pick, 'Voice 12');
            INSERT INTO speaker.speakers (name) VALUES ('Voice ' || 1 + pick);
        END CASE;
        IF rows IS NULL THEN
            GET DIAGNOSTICS rows = ROW_COUNT;
        END IF;
        changed := changed + rows;
        rows := NULL;
        COMMIT;
    END LOOP;
END
$$
"""


@pytest.fixture
def voices(database):
    """1,000 unknown segments of one run with embeddings, and 12 speakers."""
    with psycopg.connect(database.as_role) as connection:
        connection.execute("INSERT INTO speaker.recordings (external_id) VALUES ('voices')")
        connection.execute("INSERT INTO speaker.runs (recording_id, segment_source, content_hash) VALUES (1, 'manual', '')")
        connection.execute("INSERT INTO speaker.speakers (name) SELECT 'Voice ' || i FROM generate_series(1, 12) AS i")
        connection.execute(
            "INSERT INTO speaker.segments (run_id, start_time, end_time) SELECT 1, i, i + 1 FROM generate_series(1, 1000) AS i"
        )
        connection.execute("SELECT setseed(0.25)")
        connection.execute(
            """INSERT INTO speaker.embeddings (segment_id, model_id, embedding)
               SELECT i, 1, (SELECT array_agg(random() - 0.3 + 0 * i * j) FROM generate_series(1, 256) AS j)::real[]::vector
               FROM generate_series(1, 1000) AS i"""
        )
    with psycopg.connect(database.as_owner) as owner:
        owner.execute("CREATE TABLE vectors AS SELECT segment_id AS n, embedding FROM speaker.embeddings WHERE segment_id <= 50")
        owner.execute("GRANT SELECT ON vectors TO PUBLIC")
        owner.execute("ALTER TABLE speaker.speaker_centroids SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)")
    return database


def assert_exact(database):
    """Counts are those of a rebuild, and means too, to 1e-6. Returns the counts."""
    query = "SELECT speaker_id, model_id, n, mean::real[] FROM speaker.speaker_centroids ORDER BY speaker_id, model_id"
    with psycopg.connect(database.as_owner) as owner:
        kept = owner.execute(query).fetchall()
        owner.execute("SELECT rebuild_speaker_centroids()")
        rebuilt = owner.execute(query).fetchall()
        owner.rollback()
    assert [row[:3] for row in kept] == [row[:3] for row in rebuilt]
    for (*_, mean), (*_, anew) in zip(kept, rebuilt, strict=True):
        assert max(abs(a - b) for a, b in zip(mean, anew, strict=True)) < 1e-6
    return {speaker: n for speaker, _, n, _ in kept}


def test_random_changes(voices):
    with psycopg.connect(voices.as_owner, autocommit=True) as connection:
        connection.execute(RANDOM_CHANGES.format(changes=CHANGES))
    assert len(assert_exact(voices)) > 5


def test_many_labels_of_one_speaker_leave_no_bloat_behind(voices):
    """Each label rewrites the mean in place: without a vacuum a search reads hardly more than before."""
    size = "SELECT pg_relation_size('speaker.speaker_centroids')"
    with psycopg.connect(voices.as_role, autocommit=True) as connection:
        connection.execute("SELECT label_segment(1, 'Voice 1')")
        [(before,)] = connection.execute(size)
        for segment in range(2, 502):
            connection.execute("SELECT label_segment(%s, 'Voice 1')", [segment])
        for segment in range(2, 502):
            connection.execute("SELECT unlabel_segment(%s)", [segment])
        # 1,001 versions of a row of 1.1 kB would be a megabyte.
        assert connection.execute(size).fetchone()[0] <= before + 16 * 8192
        answer = connection.execute(
            "SELECT k.embeddings, k.distance FROM speaker.embeddings AS e, speaker_knn(e.embedding) AS k WHERE e.segment_id = 1"
        ).fetchall()
    assert answer == [(1, pytest.approx(0, abs=1e-6))]
    assert_exact(voices)


def test_many_labels_in_one_transaction(voices):
    """Within one transaction no version can go; the search still reads the last one."""
    with psycopg.connect(voices.as_role) as connection:
        for segment in range(1, 501):
            connection.execute("SELECT label_segment(%s, 'Voice 1')", [segment])
        [(n,)] = connection.execute(
            "SELECT k.embeddings FROM speaker.embeddings AS e, speaker_knn(e.embedding) AS k WHERE e.segment_id = 1"
        )
        assert n == 500
    assert list(assert_exact(voices).values()) == [500]


# Single calls, each a transaction of its own. (Several labels in one transaction lock in the caller's order.)
CALLS = [
    ("SELECT label_segment(%s, %s)", lambda: [random.randint(1, 1000), f"Voice {random.randint(1, 12)}"]),
    ("SELECT unlabel_segment(%s)", lambda: [random.randint(1, 1000)]),
    ("SELECT add_speaker_embedding(%s, (SELECT embedding FROM speaker.embeddings WHERE segment_id = %s))",
     lambda: [f"Voice {random.randint(1, 12)}", random.randint(1, 1000)]),
    ("SELECT count(*) FROM identify_speakers(1, threshold => -1)", list),
    ("SELECT confirm_labels(speaker => p.name) FROM speaker.speakers AS p WHERE p.name = %s", lambda: [f"Voice {random.randint(1, 12)}"]),
    ("SELECT undo_labels(max(b.id)) FROM speaker.label_batches AS b HAVING count(*) > 0", list),
    ("SELECT speaker.assign(array_agg(s.id ORDER BY random()), array_agg(p.id), 'manual') FROM speaker.segments AS s "
     "JOIN speaker.speakers AS p ON p.name = 'Voice ' || 1 + (s.id + %s) %% 12 WHERE s.run_id = 1 AND s.id %% 20 = %s",
     lambda: [random.randint(0, 11), random.randint(0, 19)]),
    ("UPDATE speaker.embeddings SET embedding = (SELECT embedding FROM vectors WHERE n = %s) WHERE segment_id = %s",
     lambda: [random.randint(1, 50), random.randint(1, 1000)]),
]


def hammer(voices, call):
    """Eight sessions that make one call after another for five seconds, and how many calls that were."""
    stop = threading.Event()

    def work():
        with psycopg.connect(voices.as_role, autocommit=True) as connection:
            done = 0
            while not stop.is_set():
                done += call(connection)
            return done

    timer = threading.Timer(5, stop.set)
    timer.start()
    try:
        return sum(together(*[work] * 8))
    finally:
        stop.set()
        timer.join()


def test_single_calls_never_deadlock_and_lose_nothing(voices):
    def call(connection):
        statement, arguments = random.choice(CALLS)
        connection.execute(statement, arguments())
        return 1

    assert hammer(voices, call) > 50
    assert_exact(voices)
    with psycopg.connect(voices.as_owner) as owner:
        time.sleep(0.1)
        assert owner.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone() == (0,)


def test_merges_and_labels_never_deadlock(voices):
    """A merge deletes the speaker that others label with: they wait, and make it anew or find it gone."""
    with psycopg.connect(voices.as_role) as connection:
        connection.execute("INSERT INTO speaker.clusterings (run_id, model_id) VALUES (1, 1)")
        connection.execute(
            "INSERT INTO speaker.cluster_members (clustering_id, segment_id, cluster, probability, outlier_score) "
            "SELECT 1, i, chr(65 + i % 20), 1, 0 FROM generate_series(1, 400) AS i"
        )

    def merge():
        return "SELECT merge_speakers(%s, %s)", [f"Voice {n}" for n in random.sample(range(1, 13), 2)]

    def label():
        return "SELECT label_segment(%s, %s, whole_cluster => %s)", [
            random.randint(1, 400), f"Voice {random.randint(1, 12)}", random.random() < 0.5]

    def unlabel():
        return "SELECT speaker.assign(array_agg(id), array_agg(NULL::bigint), 'manual') FROM speaker.segments WHERE id %% 10 = %s", [
            random.randint(0, 9)]

    def call(connection):
        try:
            connection.execute(*random.choices([merge, label, unlabel], [1, 4, 1])[0]())
            return 1
        except psycopg.errors.NoDataFound:
            # Merged away, before the next label makes it anew.
            return 0

    assert hammer(voices, call) > 50
    assert_exact(voices)
