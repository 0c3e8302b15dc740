"""Backfills by several sessions, by clients that are always in a transaction, and by sessions that end in the middle.

`make faults` does the same with sessions that are killed and a server that crashes.
"""

import io
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from conftest import MEETING

LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"


@pytest.fixture
def due(database):
    """Four copies of the meeting, none of whose 96 segments is embedded."""
    with psycopg.connect(database.as_role, autocommit=True) as connection:
        for number in range(4):
            connection.execute(
                "SELECT ingest_recording(%s, %s, %s, embed => false)", [f"meeting {number}", MEETING.audio, MEETING.segments]
            )
    return database


@pytest.fixture
def writes(due):
    """Counts how often each segment is embedded."""
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        owner.execute(
            """CREATE TABLE writes (segment_id bigint);
               CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
               $$ BEGIN INSERT INTO public.writes VALUES (NEW.segment_id); RETURN NULL; END $$;
               CREATE TRIGGER audit AFTER INSERT OR UPDATE ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION audit()"""
        )
        yield lambda: owner.execute("SELECT count(*), count(DISTINCT segment_id) FROM writes").fetchone()


def jobs(database):
    with psycopg.connect(database.as_owner) as owner:
        return dict(owner.execute("SELECT status, count(*) FROM speaker.embedding_jobs GROUP BY status").fetchall())


def backfill(database, **options):
    with psycopg.connect(database.as_role, autocommit=True) as connection:
        notices = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        arguments = ", ".join(f"{name} => %({name})s" for name in options)
        return connection.execute(f"CALL backfill_embeddings({arguments})", options).fetchone(), notices


def with_silence(clip):
    """A WAV file, and as much silence again."""
    longer = io.BytesIO()
    with wave.open(io.BytesIO(clip)) as short, wave.open(longer, "wb") as file:
        file.setparams(short.getparams())
        samples = short.readframes(short.getnframes())
        file.writeframes(samples + bytes(len(samples)))
    return longer.getvalue()


def test_two_sessions_share_a_backfill(due, writes):
    with ThreadPoolExecutor(2) as pool:
        answers = [work.result()[0] for work in [pool.submit(backfill, due, batch_size=10) for _ in range(2)]]
    assert sum(embedded for embedded, _, _ in answers) == 96
    assert all(embedded > 0 for embedded, _, _ in answers)
    assert writes() == (96, 96)
    assert jobs(due) == {"success": 96}


def test_progress_is_told(due):
    answer, notices = backfill(due, batch_size=48)
    assert answer == (96, 0, 0)
    assert [notice.split(",")[0] for notice in notices] == [
        "backfill: 48 of 96", "backfill: 96 of 96", "backfill: 96 embedded"
    ]


def test_a_time_budget_ends_it_and_the_next_call_goes_on(due):
    assert backfill(due, batch_size=10, time_budget="1 ms")[0] == (10, 0, 86)
    assert backfill(due, run_id=1)[0] == (14, 0, 0)
    assert backfill(due)[0] == (72, 0, 0)


def test_a_procedure_that_commits_is_refused_inside_a_transaction(due):
    with psycopg.connect(due.as_role) as connection, pytest.raises(psycopg.errors.ActiveSqlTransaction) as refused:
        connection.execute("CALL backfill_embeddings()")
    assert refused.value.diag.message_detail == "error code: in_transaction"
    assert "embed_due()" in refused.value.diag.message_hint
    assert jobs(due) == {"pending": 96}


def test_embed_due_in_transactions(due, writes):
    """Two sessions at once, one of which changes its mind."""
    with psycopg.connect(due.as_role) as first, psycopg.connect(due.as_role) as second:
        taken = {row[0] for row in first.execute("SELECT segment_id FROM embed_due(20)")}
        others = {row[0] for row in second.execute("SELECT segment_id FROM embed_due(20)")}
        assert len(taken) == len(others) == 20 and not taken & others
        first.rollback()
        second.commit()
        while second.execute("SELECT count(*) FROM embed_due(40)").fetchone()[0]:
            second.commit()
    assert writes() == (96, 96)


def test_a_cancelled_backfill_holds_nothing_and_blames_nobody(due, writes):
    with psycopg.connect(due.as_role, autocommit=True) as session, psycopg.connect(due.as_owner, autocommit=True) as owner:
        threading.Timer(0.4, session.cancel).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            session.execute("CALL backfill_embeddings(50)")
        # The session lives on, without the lease and the gate, and what it had claimed is as it was.
        assert owner.execute(LOCKS).fetchone() == (0,)
        assert jobs(due).keys() <= {"pending", "success"}
        assert owner.execute("SELECT max(crashes) FROM speaker.embedding_jobs").fetchone() == (0,)
        assert owner.execute("SELECT count(*) FROM speaker.embedding_claims").fetchone() == (0,)
        answer = session.execute("CALL backfill_embeddings()").fetchone()
        assert answer[1:] == (0, 0)
    assert jobs(due) == {"success": 96}
    assert writes() == (96, 96)


def test_a_session_that_is_ended_gives_back_what_it_had(due, writes):
    """An administrator, or a shutdown, is no segment's fault, however often."""
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        owner.execute(
            """CREATE FUNCTION ended() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
               BEGIN
                   IF NEW.segment_id = 30 THEN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(1); END IF;
                   RETURN NEW;
               END $$;
               CREATE TRIGGER ended BEFORE INSERT ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION ended()"""
        )
        for _ in range(5):
            with pytest.raises(psycopg.OperationalError):
                backfill(due, batch_size=40)
        assert owner.execute("SELECT max(crashes), count(*) FILTER (WHERE status = 'dead') FROM speaker.embedding_jobs").fetchone() == (0, 0)
        owner.execute("DROP TRIGGER ended ON speaker.embeddings")
        assert owner.execute(LOCKS).fetchone() == (0,)
    assert backfill(due)[0][1:] == (0, 0)
    assert jobs(due) == {"success": 96}
    assert writes() == (96, 96)


def vanish_at(owner, segments):
    """What a session leaves that is killed while it embeds these."""
    with owner.transaction():
        owner.execute("SET LOCAL session_replication_role = replica")
        lease = owner.execute(
            "INSERT INTO speaker.embedding_claims (model_id, step, pid, backend_start, claimed) "
            "VALUES (1, 'backfill', 1, '2000-01-01', %s) RETURNING lease", [segments]
        ).fetchone()[0]
    owner.execute("UPDATE speaker.embedding_jobs SET status = 'running', lease = %s WHERE segment_id = ANY (%s)", [lease, segments])


def test_what_makes_its_session_vanish_again_and_again_is_dead(due):
    """A claim that nobody holds, of a session that is gone. (make faults kills real ones.)"""
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        owner.execute("SET speaker.retry_delay = 0")
        for _ in range(4):
            vanish_at(owner, [30])
            owner.execute("SELECT speaker.ask_ledger('recover', 'default', 1)")
        assert owner.execute("SELECT status, error_code, crashes FROM speaker.embedding_jobs WHERE segment_id = 30").fetchone() == (
            "dead", "session_ended", 4)
        assert backfill(due)[0] == (95, 0, 0)
        # It is due again once it changes.
        owner.execute("UPDATE speaker.segments SET end_time = end_time - 0.1 WHERE id = 30")
    assert jobs(due) == {"success": 95, "pending": 1}
    with psycopg.connect(due.as_role) as connection:
        assert connection.execute("SELECT retry_embeddings()").fetchone() == (0,)


def test_a_suspect_is_tried_alone(due):
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        vanish_at(owner, [1, 2, 3])
        owner.execute("SELECT speaker.ask_ledger('recover', 'default', 1)")
        claims = [owner.execute("SELECT (c).claimed FROM speaker.ask_ledger('backfill', 'default', 1, 50) AS c").fetchone()[0]]
        assert claims == [[1]]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_a_backfill_chooses_its_own_isolation(due, writes, isolation):
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        owner.execute(f"ALTER ROLE {due.role} SET default_transaction_isolation = '{isolation}'")
    with ThreadPoolExecutor(3) as pool:
        answers = [work.result()[0] for work in [pool.submit(backfill, due, batch_size=5) for _ in range(3)]]
    assert sum(embedded for embedded, _, _ in answers) == 96
    assert writes() == (96, 96)


def test_an_open_transaction_elsewhere_stops_nobody(due):
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        # What a session that vanished had: of another run than the one that is embedded meanwhile.
        owner.execute("UPDATE speaker.embedding_jobs SET status = 'running', lease = 999 WHERE segment_id <= 24")
        owner.execute(f"ALTER ROLE {due.role} SET lock_timeout = '2s'")
    with psycopg.connect(due.as_role) as idle:
        idle.execute("SELECT count(*) FROM embed_run(2)")
        assert backfill(due)[0][:2] == (72, 0)
        with psycopg.connect(due.as_role, autocommit=True) as other:
            other.execute("SELECT count(*) FROM ingest_recording('new', %s, '[{\"start\": 0, \"end\": 4}]')", [MEETING.audio])
    assert jobs(due) == {"success": 97}


def test_a_vector_that_is_deleted_is_due(due):
    backfill(due)
    with psycopg.connect(due.as_role, autocommit=True) as connection:
        connection.execute("DELETE FROM speaker.embeddings WHERE segment_id = 7")
        assert connection.execute("SELECT status, source_hash FROM speaker.embedding_jobs WHERE segment_id = 7").fetchone() == ("pending", None)
        assert connection.execute("SELECT segment_id, status FROM embed_due()").fetchall() == [(7, "success")]


def test_a_label_and_a_batch_that_holds_its_segment_do_not_deadlock(due):
    """embed_due has the job, label_segment the segment: neither waits for the other."""
    for _ in range(5):
        with psycopg.connect(due.as_owner, autocommit=True) as owner:
            owner.execute("DELETE FROM speaker.embeddings")
        with psycopg.connect(due.as_role, autocommit=True) as batch, psycopg.connect(due.as_role, autocommit=True) as label:
            label.execute("SELECT load_model('ge2e')")
            with ThreadPoolExecutor(1) as pool:
                work = pool.submit(batch.execute, "SELECT count(*) FROM embed_due(24)")
                time.sleep(0.05)
                label.execute("SELECT label_segment(3, 'Ann')")
                work.result()
    with psycopg.connect(due.as_owner) as owner:
        assert owner.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone() == (0,)


def test_what_the_ledger_counts_is_there(due):
    backfill(due, batch_size=7)
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        owner.execute("DELETE FROM speaker.recordings WHERE id = 2")
        owner.execute("UPDATE speaker.segments SET end_time = end_time - 0.5 WHERE id % 7 = 0")
        counted = owner.execute("SELECT what, sum(n) FROM speaker.tallies GROUP BY 1 HAVING sum(n) <> 0 ORDER BY 1").fetchall()
        there = owner.execute(
            """SELECT status, count(*) FROM speaker.embedding_jobs GROUP BY 1
               UNION ALL SELECT 'segments', count(*) FROM speaker.segments ORDER BY 1""").fetchall()
        assert counted == there
        # Summed up once they are a minute old, in any number.
        owner.execute("UPDATE speaker.tallies SET at = at - interval '2 minutes'")
        owner.execute("SELECT setval(pg_get_serial_sequence('speaker.tallies', 'id'), 25599)")
        owner.execute("SELECT ingest_recording('one more', NULL, '[{\"start\": 0, \"end\": 1}]', embed => false)")
        assert owner.execute("SELECT count(*) < 10 FROM speaker.tallies").fetchone() == (True,)
        assert owner.execute("SELECT repair_store()").fetchone() == (0,)


def test_one_error_of_a_batch_is_its_own(due):
    """An error that PostgreSQL raises, not one of the audio: here, a trigger's."""
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        owner.execute(
            """CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN IF NEW.segment_id = 30 THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
               CREATE TRIGGER poison BEFORE INSERT ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION poison()"""
        )
    assert backfill(due)[0] == (95, 1, 0)
    assert jobs(due) == {"success": 95, "fail": 1}
    with psycopg.connect(due.as_role) as connection:
        [(segment, code, error, attempts, waits)] = connection.execute(
            "SELECT segment_id, error_code, error, attempts, next_attempt_at > now() FROM speaker.embedding_failures"
        ).fetchall()
    assert (segment, code, error, attempts, waits) == (30, "unexpected_error", "P0001: not this one", 1, True)


def test_a_recording_that_breaks_off_spoils_none_of_its_batch(due):
    """Windows of several recordings run together, and the second of the four has lost its second half."""
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        owner.execute("UPDATE speaker.recordings SET audio = substring(audio FOR length(audio) / 2) WHERE id = 2")
        (embedded, failed, remaining), _ = backfill(due)
        assert (embedded + failed, remaining) == (96, 0) and 0 < failed < 24
        [(compared, worst)] = owner.execute(
            """SELECT count(*), max(e.embedding <=> extract_speaker_embedding(r.audio, s.start_time, s.end_time))
               FROM speaker.embeddings AS e
               JOIN speaker.segments AS s ON s.id = e.segment_id
               JOIN speaker.runs AS u ON u.id = s.run_id
               JOIN speaker.recordings AS r ON r.id = u.recording_id"""
        ).fetchall()
        assert compared == embedded and worst < 1e-6
        assert owner.execute("SELECT array_agg(DISTINCT recording) FROM speaker.embedding_failures").fetchone() == (["meeting 1"],)


def test_recordings_of_all_kinds_share_a_batch(due):
    """Good and bad ones in turn: each segment gets the embedding, or the error, that is its own."""
    turns = '[{"start": 1, "end": 4}, {"start": 7, "end": 7.05}, {"start": 5, "end": 8}]'
    names = ["row", "gone", "large object", "forbidden", "other row", "empty", "last"]
    with psycopg.connect(due.as_owner, autocommit=True) as owner, psycopg.connect(due.as_role, autocommit=True) as role:
        role.execute("DELETE FROM speaker.recordings")
        owner.execute("ALTER TABLE speaker.recordings ALTER audio SET STORAGE EXTENDED")
        # Half of it is silence, which PostgreSQL compresses.
        audio = with_silence(role.execute("SELECT audio_clip(%s::bytea, 0, 10)", [MEETING.audio]).fetchone()[0])
        for name in names:
            role.execute("SELECT ingest_recording(%s, %s, %s, embed => false)", [name, audio, turns])
        assert role.execute("SELECT every(pg_column_size(audio) < length(audio)) FROM speaker.recordings").fetchone() == (True,)
        role.execute(
            """UPDATE speaker.recordings SET audio = NULL, audio_lo = lo_from_bytea(0, audio)
               WHERE external_id IN ('gone', 'large object');
               SELECT lo_unlink(audio_lo) FROM speaker.recordings WHERE external_id = 'gone';
               UPDATE speaker.recordings SET audio = NULL WHERE external_id = 'empty'"""
        )
        owner.execute(
            """UPDATE speaker.recordings SET audio = NULL, audio_path = current_setting('data_directory') || '/PG_VERSION'
               WHERE external_id = 'forbidden'"""
        )
        assert backfill(due)[0] == (8, 13, 0)
        found = owner.execute(
            """SELECT r.external_id, array_agg(coalesce(j.error_code, j.status) ORDER BY s.id),
                      max(e.embedding <=> extract_speaker_embedding(%s, s.start_time, s.end_time))
                          FILTER (WHERE e.embedding IS NOT NULL)
               FROM speaker.embedding_jobs AS j
               JOIN speaker.segments AS s ON s.id = j.segment_id
               JOIN speaker.runs AS u ON u.id = s.run_id
               JOIN speaker.recordings AS r ON r.id = u.recording_id
               LEFT JOIN speaker.embeddings AS e ON e.segment_id = s.id
               GROUP BY r.id, r.external_id ORDER BY r.id""", [audio]).fetchall()
    good = ["success", "speech_none", "success"]
    assert [(name, outcome) for name, outcome, _ in found] == [
        ("row", good), ("gone", 3 * ["missing_audio"]), ("large object", good), ("forbidden", 3 * ["files_forbidden"]),
        ("other row", good), ("empty", 3 * ["missing_audio"]), ("last", good)
    ]
    assert max(distance for *_, distance in found if distance is not None) < 1e-6


def test_a_model_that_is_missing_blames_no_segment(due):
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        owner.execute("SET speaker.model_dir = '/nowhere'")
        with pytest.raises(psycopg.errors.UndefinedObject):
            owner.execute("CALL backfill_embeddings()")
    assert jobs(due) == {"pending": 96}
    assert backfill(due)[0] == (96, 0, 0)


@pytest.mark.parametrize("state", ["42501", "53100", "53200", "55P03", "40001", "58030"])
def test_what_is_wrong_with_the_server_or_with_rights_blames_no_segment(due, state):
    with psycopg.connect(due.as_owner, autocommit=True) as owner:
        owner.execute(
            f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN IF NEW.segment_id = 30 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '{state}'; END IF; RETURN NEW; END $$;
                CREATE TRIGGER fail BEFORE INSERT ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION fail()"""
        )
        with pytest.raises(psycopg.Error, match="not now") as error:
            backfill(due)
        assert error.value.sqlstate == state
        assert jobs(due) == {"pending": 96}
        assert owner.execute("SELECT sum(attempts), sum(crashes) FROM speaker.embedding_jobs").fetchone() == (0, 0)
        owner.execute("DROP TRIGGER fail ON speaker.embeddings")
    assert backfill(due)[0] == (96, 0, 0)


def test_bounds_that_change_during_extraction_leave_nothing_stale(due):
    """The embedding is made of the old bounds, and thrown away; the segment is due, and embedded as it is now."""
    with psycopg.connect(due.as_role, autocommit=True) as worker, psycopg.connect(due.as_role, autocommit=True) as editor:
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(worker.execute, "SELECT status FROM embed_run(1) WHERE segment_id = 24")
            # It decodes and embeds for a good while before it writes; the change waits for its job.
            time.sleep(0.1)
            editor.execute("UPDATE speaker.segments SET end_time = end_time - 0.5 WHERE id = 24")
            work.result()
        editor.execute("SELECT count(*) FROM embed_due(1000)")
        assert editor.execute(
            """SELECT e.embedding <=> extract_speaker_embedding(r.audio, s.start_time, s.end_time) < 1e-6
               FROM speaker.embeddings AS e JOIN speaker.segments AS s ON s.id = e.segment_id, speaker.recordings AS r
               WHERE s.id = 24 AND r.id = 1"""
        ).fetchone() == (True,)
