"""What a client sees when something goes wrong, and that its connection works on."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from conftest import FIXTURES, INTERVIEW, MEETING, ingest

EMBED = "SELECT extract_speaker_embedding(%(audio)s, %(start)s, %(end)s)"
# Statement, arguments, what psycopg makes of the SQLSTATE, our own code, a word of the hint.
ERRORS = {
    "empty audio": ("SELECT extract_speaker_embedding('')", {}, errors.ZeroLengthCharacterString, "audio_empty", "NULL means"),
    "no audio": ("SELECT audio_info('no audio')", {}, errors.InvalidBinaryRepresentation, "audio_unknown_format", "FLAC"),
    "beyond the end": (EMBED, {"start": 4000, "end": 8000}, errors.SubstringError, "segment_beyond_end", "milliseconds"),
    "no length": (EMBED, {"start": 8, "end": 4}, errors.InvalidParameterValue, "segment_empty", "after the start"),
    "no speech": (EMBED, {"start": 4.1, "end": 4.45}, errors.NoDataFound, "speech_none", "Check the times"),
    "too short": (EMBED, {"start": 0, "end": 0.4}, errors.DataException, "speech_too_short", "speaker.min_speech"),
    "no such model": (
        "SELECT extract_speaker_embedding('a', model => 'none')", {}, errors.UndefinedObject, "model_unknown", "speaker.models"
    ),
    "no direction": ("SELECT speaker_similarity('[0,0]', '[0,1]')", {}, errors.InvalidParameterValue, "vector_invalid", "not all zero"),
    "no segments": (
        "SELECT ingest_recording('a', NULL, 'no segments')", {}, errors.InvalidTextRepresentation, "segments_invalid", "as it is"
    ),
    "no such run": ("SELECT identify_speakers(9)", {}, errors.NoDataFound, "run_unknown", "speaker.runs"),
    "no such segment": ("SELECT label_segment(9, 'Ann')", {}, errors.NoDataFound, "segment_unknown", "speaker.segments"),
    "no such cluster": ("SELECT label_cluster(9, 'A', 'Ann')", {}, errors.NoDataFound, "cluster_unknown", "clusterings"),
    "other dimensions": ("SELECT speaker_knn('[1,2,3]')", {}, errors.DataException, "vector_dimensions", "256 dimensions"),
}


@pytest.fixture
def connection(database):
    with psycopg.connect(database.as_role, autocommit=True) as connection:
        yield connection


def test_each_error_has_sqlstate_and_hint(connection):
    pid = connection.info.backend_pid
    for name, (statement, arguments, kind, code, hint) in ERRORS.items():
        if arguments:
            arguments = {"audio": MEETING.audio, **arguments}
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement, arguments)
        diagnostics = caught.value.diag
        assert type(caught.value) is kind, name
        assert hint in (diagnostics.message_hint or ""), name
        assert diagnostics.source_function == code, name
    assert connection.info.backend_pid == pid
    assert connection.execute("SELECT vector_dims(extract_speaker_embedding(%s, 0, 4))", [MEETING.audio]).fetchone() == (256,)


def test_other_content_under_the_same_name(connection):
    connection.execute("SELECT ingest_recording('show', %s, %s)", (INTERVIEW.audio, INTERVIEW.segments))
    for audio, segments, what in ((MEETING.audio, INTERVIEW.segments, "audio"), (INTERVIEW.audio, MEETING.segments, "segments")):
        with pytest.raises(errors.UniqueViolation, match=f"with other {what}"):
            connection.execute("SELECT ingest_recording('show', %s, %s)", (audio, segments))


def test_sqlalchemy_wraps_the_error_and_the_session_works_on(engine):
    with engine.connect() as connection:
        with pytest.raises(DBAPIError) as caught:
            connection.execute(select(func.audio_info(b"no audio")))
        assert isinstance(caught.value.orig, errors.InvalidBinaryRepresentation)
        assert caught.value.orig.sqlstate == "22P03"
        connection.rollback()
        assert len(connection.execute(ingest(INTERVIEW)).all()) == 12


def test_a_savepoint_saves_what_came_before_the_error(connection):
    with connection.transaction():
        connection.execute("SELECT ingest_recording('show', %s, %s)", (INTERVIEW.audio, INTERVIEW.segments))
        with pytest.raises(errors.CheckViolation), connection.transaction():
            connection.execute("SELECT label_segment(1, 'Ann')")
            connection.execute("SELECT label_segment(2, 'unknown')")
        connection.execute("SELECT label_segment(3, 'Ben')")
    assert connection.execute("SELECT name FROM speaker.speakers").fetchall() == [("Ben",)]
    assert connection.execute("SELECT n FROM speaker.speaker_centroids").fetchall() == [(1,)]


def contents(connection):
    tables = (
        "recordings", "speakers", "runs", "segments", "embeddings", "embedding_jobs", "speaker_centroids", "clusterings",
        "cluster_members", "assignments",
    )
    return {table: connection.execute(f"SELECT count(*) FROM speaker.{table}").fetchone()[0] for table in tables}


def test_a_rollback_leaves_nothing(connection):
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT ingest_recording('meeting', %s, %s)", (MEETING.audio, MEETING.segments))
        connection.execute("SELECT label_cluster(clustering_id, cluster, cluster) FROM cluster_unlabeled(1)")
        connection.execute("SELECT enroll_speaker('Ann', %s)", [(FIXTURES / "enrol/awb.flac").read_bytes()])
        assert all(contents(connection).values())
    assert not any(contents(connection).values())


def test_an_enrolment_that_fails_leaves_nothing(connection):
    with pytest.raises(errors.DataException):
        connection.execute("SELECT enroll_speaker('Ann', %s, 0, 0.4)", [MEETING.audio])
    assert not any(contents(connection).values())


LONG_WORK = {
    "extraction": "SELECT extract_speaker_embedding(audio) FROM speaker.recordings",
    "verification": "SELECT verify_speakers(audio, audio) FROM speaker.recordings",
    "enrolment": "SELECT enroll_speaker('Ann', audio) FROM speaker.recordings",
    "embedding a run": "SELECT embed_run(id) FROM speaker.runs",
    "labelling": "SELECT label_segment(id, 'Ann') FROM speaker.segments",
}


@pytest.mark.parametrize("statement", LONG_WORK.values(), ids=LONG_WORK)
def test_a_timeout_in_mid_work(engine, database, long_recording, statement):
    embed = select(func.extract_speaker_embedding(MEETING.audio, 0, 4))
    with engine.connect() as connection, psycopg.connect(database.as_role, autocommit=True) as observer:
        before = contents(observer)
        expected = connection.scalar(embed)
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        connection.execute(text("SET LOCAL statement_timeout = '300ms'"))
        with pytest.raises(OperationalError) as caught:
            connection.execute(text(statement))
        assert isinstance(caught.value.orig, errors.QueryCanceled)
        connection.rollback()
        # The same backend, with its model, gives the same answer, and nothing was stored.
        assert connection.scalar(text("SELECT pg_backend_pid()")) == pid
        assert connection.scalar(embed) == expected
        assert contents(observer) == before


@pytest.mark.parametrize(
    ("order", "kind"),
    [("SELECT pg_cancel_backend(%s)", errors.QueryCanceled), ("SELECT pg_terminate_backend(%s)", errors.AdminShutdown)],
    ids=["cancelled", "terminated"],
)
def test_a_signal_in_mid_work(database, long_recording, order, kind):
    """Termination is also what a fast shutdown of the server sends to every backend."""
    with (
        psycopg.connect(database.as_role) as connection,
        psycopg.connect(database.as_owner, autocommit=True) as owner,
        ThreadPoolExecutor() as pool,
    ):
        pid = connection.info.backend_pid
        work = pool.submit(connection.execute, LONG_WORK["extraction"])
        while owner.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() != ("active",):
            time.sleep(0.01)
        time.sleep(0.2)
        owner.execute(order, [pid])
        with pytest.raises(kind):
            work.result()
