"""What ends a call and no server: a cancel, a timeout, the end of the session, or an error that is no segment's fault. It
gives back what it had claimed as it was: of each segment the whole row of the ledger is compared, unless it was embedded
before.

First one call at a time, in each kind of work and by each kind of interruption, over segments that are due in every way that
there is, some of them one attempt or one crash from being dead; meanwhile, now and then, somebody else is about to change
some of them. Then all sessions at once, with a trigger that writes down whoever is blamed.
"""

import threading
import time

import psycopg

from server import AUDIO, SEGMENTS, column, value
from work import at_work, share

RECORDINGS = 5
ROUNDS = 3  # Of each kind, in each kind of work.

CALLS = {
    "backfill": ("CALL backfill_embeddings(batch_size => 20)", []),
    "embed_due": ("SELECT * FROM embed_due(60)", []),
    "embed_run": ("SELECT * FROM embed_run(3)", []),
    "ingest": ("SELECT * FROM ingest_recording('new', %s, %s)", [AUDIO, SEGMENTS]),
}

# What a trigger of the user raises: conflicts of transactions, a deadlock, locks, a full disk, no memory, a failing disk.
ERRORS = ["40001", "40P01", "55P03", "53100", "53200", "58030"]
# What has the time to come while somebody else has locks.
TIMED = {"cancel": "57014", "terminate": "57P01", "statement_timeout": "57014"}
KINDS = TIMED | {"lock_timeout": "55P03"} | {error: error for error in ERRORS}

# Raises at every vector from the one that is said.
RAISE = """
CREATE SEQUENCE vectors;
CREATE TABLE to_raise (state text, at bigint);
CREATE FUNCTION raising() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    said record;
BEGIN
    SELECT * INTO said FROM public.to_raise WHERE at <= nextval('public.vectors');
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = said.state, MESSAGE = 'raised by a trigger of the user';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER raising BEFORE INSERT ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION raising();
"""

# All segments are due: new, failed before, without audio when they were tried, suspects. One step from being dead.
RESET = """
TRUNCATE to_raise;
DELETE FROM speaker.recordings WHERE external_id = 'new';
DELETE FROM speaker.embeddings;
UPDATE speaker.embedding_jobs AS j
SET status = (ARRAY['pending', 'fail', 'missing_audio', 'pending', 'fail'])[w.way],
    status_before = NULL, lease = NULL,
    error_code = (ARRAY[NULL, 'unexpected_error', 'audio_unreadable', NULL, 'unexpected_error'])[w.way],
    error = CASE WHEN w.way IN (2, 3, 5) THEN 'what was wrong before' END,
    attempts = (ARRAY[0, 2, 1, 0, 1])[w.way],
    crashes = CASE WHEN w.way = 4 AND j.segment_id % 8 = 3 THEN 3 ELSE 0 END,
    next_attempt_at = CASE WHEN w.way IN (1, 4) THEN '-infinity'
                           ELSE timestamptz '2020-01-01' + j.segment_id * interval '1 s' END,
    source_hash = CASE WHEN w.way IN (2, 3, 5) THEN s.source_hash END,
    processed_at = CASE WHEN w.way IN (2, 3, 5) THEN timestamptz '2020-01-01' END
FROM speaker.segment_sources AS s, LATERAL (SELECT s.segment_id % 5 + 1 AS way) AS w
WHERE s.segment_id = j.segment_id;
"""

JOBS = """SELECT j.segment_id, j::text, j.status, j.attempts, j.crashes, e.segment_id IS NOT NULL
          FROM speaker.embedding_jobs AS j LEFT JOIN speaker.embeddings AS e USING (segment_id)"""

BLAME = """
CREATE TABLE blamed (segment_id bigint, at timestamptz, before text, after text);
CREATE FUNCTION blame() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.blamed VALUES (NEW.segment_id, clock_timestamp(), OLD::text, NEW::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER blame AFTER UPDATE ON speaker.embedding_jobs FOR EACH ROW
    WHEN (NEW.crashes > OLD.crashes OR NEW.attempts > OLD.attempts AND NEW.status <> 'success' OR NEW.status = 'dead')
    EXECUTE FUNCTION blame();
"""


def jobs(connection):
    return {row[0]: row[1:] for row in connection.execute(JOBS).fetchall()}


def changed(before, after):
    """Segments whose job is another, and not because they were embedded."""
    new = (None, None, 0, 0, False)

    def embedded(segment):
        _, *now = after[segment]
        return now == ["success", before.get(segment, new)[2] + 1, 0, True]

    return before.keys() - after.keys() | {
        segment for segment in after if after[segment] != before.get(segment) and not embedded(segment)
    }


class Interrupter:
    def __init__(self, server, chance):
        self.server, self.chance = server, chance
        self.owner = server.connect("interrupted")
        self.owner.execute(RAISE)
        self.seconds = {name: self.undisturbed(call) for name, call in CALLS.items()}

    def undisturbed(self, call):
        self.owner.execute(RESET)
        started = time.monotonic()
        with self.server.connect("interrupted") as session:
            session.execute(*call)
        return time.monotonic() - started

    def prepare(self, session, kind, delay):
        """What has to be said before a call, so that it ends in this way."""
        if kind == "statement_timeout":
            session.execute("SELECT set_config('statement_timeout', %s, false)", [f"{max(int(delay * 1000), 1)}ms"])
        elif kind == "lock_timeout":
            session.execute("SET lock_timeout = '50ms'")
        elif kind not in TIMED:
            self.owner.execute(
                "INSERT INTO to_raise SELECT %s, last_value + %s FROM vectors", [kind, self.chance.randint(1, 20)]
            )

    def meanwhile(self, pid, kind, delay, neighbour, edits_at, done):
        """What happens while the call runs."""
        if edits_at is not None:
            if done.wait(edits_at):
                return
            try:
                # Bounds that are taken back in the end.
                neighbour.execute("UPDATE speaker.segments SET end_time = end_time - 0.01 WHERE id % 4 > 0")
            except psycopg.errors.LockNotAvailable:
                neighbour.execute("ROLLBACK")
        if kind in ("cancel", "terminate"):
            if done.wait(delay - (edits_at or 0)):
                return
            self.owner.execute(f"SELECT pg_{kind}_backend(%s)", [pid])

    def call(self, name, kind):
        """One call: the SQLSTATE that it ended with, and which segments are another than they were."""
        self.owner.execute(RESET)
        before = jobs(self.owner)
        delay = self.chance.uniform(0, self.seconds[name])
        edits_at = self.chance.uniform(0, delay) if kind in TIMED and self.chance.random() < 0.5 else None
        with self.server.connect("interrupted") as neighbour, self.server.connect("interrupted") as session:
            neighbour.execute("SET lock_timeout = '100ms'; BEGIN")
            if kind == "lock_timeout":
                neighbour.execute("LOCK speaker.embeddings IN EXCLUSIVE MODE")
            self.prepare(session, kind, delay)
            pid = session.info.backend_pid
            done = threading.Event()
            thread = threading.Thread(target=self.meanwhile, args=(pid, kind, delay, neighbour, edits_at, done))
            thread.start()
            try:
                session.execute(*CALLS[name])
                state = None
            except psycopg.Error as error:
                state = error.sqlstate
            done.set()
            thread.join()
            while session.closed and value(self.owner, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]):
                time.sleep(0.01)
            neighbour.execute("ROLLBACK")
            # As the next backfill begins.
            self.owner.execute("SELECT ask_ledger('recover', 'default', model_id())")
        return state, changed(before, jobs(self.owner))


def one_by_one(interrupter):
    """How many calls were interrupted, and the segments that it was not the same for afterwards."""
    interrupted, harmed, dead = 0, 0, 0
    for name in CALLS:
        for kind, expected in KINDS.items():
            ended = 0
            for _ in range(ROUNDS * 10):
                state, wrong = interrupter.call(name, kind)
                assert state in (None, expected), f"{name}, {kind}: ended with {state}"
                ended += state is not None
                harmed += len(wrong)
                dead += value(interrupter.owner, "SELECT count(*) FROM embedding_jobs WHERE status = 'dead'")
                if wrong:
                    print(f"  {name}, {kind}: {len(wrong)} segments are not as they were: {sorted(wrong)[:5]}", flush=True)
                if ended == ROUNDS:
                    break
            assert ended == ROUNDS, f"{name}, {kind}: only {ended} calls were interrupted"
            interrupted += ended
    return interrupted, harmed, dead


def shows_what_harms(interrupter):
    """The comparison sees what an ordinary error does to a segment: one is dead by it, or failed once more."""
    state, wrong = interrupter.call("backfill", "P0001")
    assert state is None and wrong, "an error of a segment went unseen"


def all_at_once(server, chance):
    """Interruptions without end, as long as the work takes. How many there were, who was blamed and who is dead."""
    counts = {"cancel": 0, "terminate": 0}
    with server.connect("interrupted") as owner:
        owner.execute(RESET + "DROP TRIGGER raising ON speaker.embeddings;" + BLAME)

        def disturb():
            while len(column(owner, "SELECT segment_id FROM embedding_jobs WHERE status = 'success'")) < RECORDINGS * 24:
                if working := at_work(owner):
                    kind = chance.choice(sorted(counts))
                    owner.execute(f"SELECT pg_{kind}_backend(%s)", [chance.choice(working)])
                    counts[kind] += 1
                time.sleep(chance.uniform(0, 0.4))

        share(server, "interrupted", chance, disturb)
        blamed = owner.execute("SELECT segment_id, before, after FROM blamed").fetchall()
        for segment, before, after in blamed[:5]:
            print(f"  {segment} was blamed: {before} became {after}", flush=True)
        dead = value(owner, "SELECT count(*) FROM embedding_jobs WHERE status = 'dead'")
    return sum(counts.values()), len({segment for segment, _, _ in blamed}), dead


def interrupt(server, chance):
    server.make_store("interrupted", RECORDINGS)
    interrupter = Interrupter(server, chance)
    shows_what_harms(interrupter)
    calls, harmed, dead = one_by_one(interrupter)
    interrupter.owner.close()
    at_once, blamed, dead_at_once = all_at_once(server, chance)
    return {
        "interruptions": calls + at_once,
        "suspects_after_cancel": harmed + blamed,
        "healthy_dead": dead + dead_at_once,
    }
