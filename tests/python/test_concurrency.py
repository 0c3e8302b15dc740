"""Sessions that label at the same time: no update is lost, and centroids stay what the labels say."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from conftest import INTERVIEW, MEETING


def assert_centroids_are_exact(database):
    """The centroids that triggers kept are those that rebuilding gives."""
    query = "SELECT speaker_id, model_id, n, sum FROM speaker.speaker_centroids ORDER BY speaker_id, model_id"
    with psycopg.connect(database.as_owner) as owner:
        kept = owner.execute(query).fetchall()
        owner.execute("SELECT rebuild_speaker_centroids()")
        rebuilt = owner.execute(query).fetchall()
    assert [centroid[:3] for centroid in kept] == [centroid[:3] for centroid in rebuilt]
    for (*_, kept_sum), (*_, rebuilt_sum) in zip(kept, rebuilt, strict=True):
        assert kept_sum == pytest.approx(rebuilt_sum, abs=1e-12, rel=0)
    return {(speaker, n) for speaker, _, n, _ in kept}


@pytest.fixture
def segments(database, meeting):
    with psycopg.connect(database.as_role) as connection:
        return [segment for (segment,) in connection.execute("SELECT id FROM speaker.segments ORDER BY id")]


def together(*work):
    """Runs functions at once, each in its thread, and gives what each returns."""
    start = threading.Barrier(len(work))

    def begin(function):
        start.wait()
        return function()

    with ThreadPoolExecutor(len(work)) as pool:
        return [answer.result() for answer in [pool.submit(begin, function) for function in work]]


def labels(database, pairs):
    """A session that gives each label in a transaction of its own."""

    def run():
        with psycopg.connect(database.as_role, autocommit=True) as connection:
            return sum(connection.execute("SELECT label_segment(%s, %s)", pair).fetchone()[0] for pair in pairs)

    return run


def test_two_sessions_label_one_new_speaker(database, segments):
    """Both make the speaker, both make the centroid, every label adds to the same row."""
    halves = [[(segment, "Ann") for segment in segments[first::2]] for first in (0, 1)]
    assert together(*(labels(database, half) for half in halves)) == [12, 12]
    [(_, n)] = assert_centroids_are_exact(database)
    assert n == 24


def test_sessions_move_the_same_segments_to_and_fro(database, segments):
    work = [
        labels(database, [(segment, name) for _ in range(3) for segment in order])
        for name, order in (("Ann", segments), ("Ben", segments[::-1]), ("Cleo", segments[12:] + segments[:12]))
    ]
    together(*work)
    assert sum(n for _, n in assert_centroids_are_exact(database)) == 24
    with psycopg.connect(database.as_role) as connection:
        # Each label in the history says what it replaced: the chain of each segment has no gap.
        [(gaps,)] = connection.execute(
            """
            SELECT count(*) FROM (
                SELECT previous_speaker IS DISTINCT FROM lag(speaker) OVER (PARTITION BY segment_id ORDER BY id) AS gap
                FROM speaker.assignments) AS chain
            WHERE gap
            """
        )
        assert gaps == 0


def test_a_label_waits_for_an_open_one(database, segments):
    with psycopg.connect(database.as_role) as first, psycopg.connect(database.as_role) as second:
        first.execute("SELECT label_segment(%s, 'Ann')", segments[:1])
        second.execute("SET lock_timeout = '200ms'")
        second.commit()
        # Another segment, but the same speaker.
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute("SELECT label_segment(%s, 'Ann')", segments[1:2])
        second.rollback()
        first.commit()
        assert second.execute("SELECT label_segment(%s, 'Ann')", segments[1:2]).fetchone() == (1,)
    [(_, n)] = assert_centroids_are_exact(database)
    assert n == 2


def test_a_label_and_a_new_embedding_of_one_segment_do_not_miss_each_other(database, segments):
    """The label reads the embeddings of the segment, the embedding reads its label: the later must see the earlier."""

    def embed():
        with psycopg.connect(database.as_role, autocommit=True) as connection:
            for segment in segments:
                connection.execute("UPDATE speaker.embeddings SET embedding = embedding * embedding WHERE segment_id = %s", [segment])

    together(labels(database, [(segment, "Ann") for segment in segments]), embed)
    [(_, n)] = assert_centroids_are_exact(database)
    assert n == 24


def test_a_rolled_back_label_takes_nothing_along(database, segments):
    def change_of_mind():
        with psycopg.connect(database.as_role) as connection:
            for segment in segments:
                connection.execute("SELECT label_segment(%s, 'Ben')", [segment])
                connection.rollback()

    together(labels(database, [(segment, "Ann") for segment in segments]), change_of_mind)
    [(_, n)] = assert_centroids_are_exact(database)
    assert n == 24


def test_two_sessions_ingest_the_same_recording(database):
    def run():
        with psycopg.connect(database.as_role) as connection:
            return connection.execute(
                "SELECT * FROM ingest_recording('interview', %s, %s)", (INTERVIEW.audio, INTERVIEW.segments)
            ).fetchall()

    first, second = together(run, run)
    assert first == second
    assert len(first) == 12


@pytest.mark.parametrize("isolation", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_a_vector_that_comes_does_not_overlook_other_audio(database, isolation):
    """The segment is due before and after: only the recording tells that there is other audio than the snapshot shows."""
    with psycopg.connect(database.as_role, autocommit=True) as other, psycopg.connect(database.as_role) as client:
        other.execute("SELECT ingest_recording('interview', %s, %s, embed => false)", (INTERVIEW.audio, INTERVIEW.segments))
        client.isolation_level = isolation
        [[segment]] = client.execute("SELECT min(id) FROM speaker.segments")
        other.execute("UPDATE speaker.recordings SET audio = %s", [MEETING.audio])
        with pytest.raises(psycopg.errors.SerializationFailure):
            client.execute(
                "INSERT INTO speaker.embeddings (segment_id, model_id, embedding) VALUES (%s, 1, array_fill(1, ARRAY[256])::vector)", [segment]
            )
        client.rollback()
        assert other.execute("SELECT count(*) FROM speaker.embeddings").fetchone() == (0,)
