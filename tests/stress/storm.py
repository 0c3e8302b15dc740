"""Sessions that call everything at once, and what they noted."""

import random
import re
import threading
import time
from collections import Counter, deque

import psycopg

import calls

ISOLATIONS = ["read committed", "repeatable read", "serializable"]
DEADLOCK, CANCELLED = "40P01", "57014"
# What a snapshot cannot see may also meet a key.
CONFLICTS = {"40001", "23505", "23503"}


class Notes:
    """What was committed in one store."""

    def __init__(self, schema):
        self.schema = schema
        self.sums = Counter()
        # The run of each segment, and the recording's name of each run.
        self.segments, self.runs = {}, {}
        self.gone = {table: set() for table in ("recordings", "names", "runs", "speakers", "segments", "clusterings")}
        self.recordings = 0

    def next_recording(self, rng):
        if rng.random() < 0.4:
            self.recordings += 1
        return max(self.recordings - rng.choice([0, 0, 1, 2]), 0)


class Storm:
    def __init__(self, as_writer, as_admin, schemas, clips, seed, say=print):
        self.as_writer, self.as_admin, self.clips, self.say = as_writer, as_admin, clips, say
        self.stores = [Notes(schema) for schema in schemas]
        self.rng = random.Random(seed)
        self.lock = threading.Lock()
        self.counts = Counter()
        self.sessions = []

    def rage(self, count, seconds, isolations):
        """So many sessions for so long, in turn of these isolations."""
        until = time.monotonic() + seconds
        seeds = [self.rng.random() for _ in range(count)]
        self.sessions = [Session(self, n, seeds[n], isolations[n % len(isolations)], until) for n in range(count)]
        for session in self.sessions:
            session.thread.start()
        with psycopg.connect(self.as_admin, autocommit=True) as canceller:
            while time.monotonic() < until:
                time.sleep(self.rng.uniform(0.02, 0.2))
                victim = self.rng.choice(self.sessions)
                if victim.is_cancelled:
                    canceller.execute("SELECT pg_cancel_backend(%s)", [victim.pid])
        for session in self.sessions:
            session.thread.join(60)
            self.counts["silent"] += session.thread.is_alive()

    def failed(self, session, error, may_fail_with):
        state, code = error.sqlstate, error.diag.source_function
        with self.lock:
            if state == DEADLOCK:
                self.deadlock(session, error)
            elif state in CONFLICTS and session.isolation != "read committed":
                self.counts["serialization_failures"] += 1
            elif state == CANCELLED and session.is_cancelled:
                self.counts["cancelled"] += 1
            elif {state, code} & may_fail_with:
                self.counts["refused"] += 1
            else:
                self.counts["unexpected_errors"] += 1
                self.say(f"UNEXPECTED {session.isolation}: {session.done[-1]}\n  {state} {code} {error}\n  {error.diag.context}")

    def deadlock(self, session, error):
        pids = {int(pid) for pid in re.findall(r"[Pp]rocess (\d+)", error.diag.message_detail)}
        part = [other for other in self.sessions if other.pid in pids]
        alone = not any(other.makes_transactions for other in part)
        self.counts["deadlocks_single_call" if alone else "deadlocks_transactions"] += 1
        if alone:
            # Whoever was not the victim may have gone on since.
            doing = "\n  ".join(f"{other.pid} {other.isolation}: {' <- '.join(reversed(other.done))}" for other in part)
            self.say(f"DEADLOCK\n  {doing}\n  {error.diag.message_detail}\n  {error.diag.context}")


class Session:
    def __init__(self, storm, number, seed, isolation, until):
        self.storm, self.isolation, self.until = storm, isolation, until
        self.rng = random.Random(seed)
        self.clips = storm.clips
        # One in four is cancelled, by others or by its timeout; one in four makes transactions of several calls.
        self.is_cancelled, self.makes_transactions = number % 4 == 1, number % 4 == 3
        options = "-c default_transaction_isolation=" + isolation.replace(" ", "\\ ")
        if number % 8 == 1:
            options += " -c statement_timeout=60ms"
        self.connection = psycopg.connect(storm.as_writer, options=options, autocommit=True)
        # To find what to call: not part of it.
        self.reader = psycopg.connect(storm.as_writer, autocommit=True)
        self.pid = self.connection.info.backend_pid
        self.done, self.pending, self.notes = deque(maxlen=3), [], storm.stores[0]
        self.thread = threading.Thread(target=self.work, daemon=True)

    def run(self, statement, *arguments):
        statement = statement.format(self.notes.schema)
        self.done.append(f"{' '.join(statement.split())} {[a if len(str(a)) < 60 else '...' for a in arguments]}")
        answer = self.connection.execute(statement, arguments)
        with self.storm.lock:
            self.storm.counts["calls"] += 1
        return answer.fetchall() if answer.description else []

    # What there is at the moment ---------------------------------------------------------------------------------------------

    def row(self, query, *arguments):
        return self.reader.execute(query.format(self.notes.schema), arguments).fetchone()

    def several(self, table, column, count, where="true"):
        query = f"SELECT {column} FROM {self.notes.schema}.{table} WHERE {where} ORDER BY random() LIMIT {count}"
        return [value for (value,) in self.reader.execute(query)]

    def some(self, table, column="id", where="true"):
        found = self.several(table, column, 1, where)
        return found[0] if found else None if column == "external_id" else 0

    def clip(self, rng):
        return rng.choice(self.clips)

    # What is so once it is committed -------------------------------------------------------------------------------------------

    def note(self, what, number):
        self.pending.append(lambda notes: notes.sums.update({what: number}))

    def note_run(self, name, run):
        self.pending.append(lambda notes: notes.runs.update({run: name}))

    def note_segment(self, run, segment):
        self.pending.append(lambda notes: notes.segments.update({segment: run}))

    def note_gone(self, table, ids):
        self.pending.append(lambda notes: notes.gone[table].update(ids))

    def committed(self):
        with self.storm.lock:
            for note in self.pending:
                note(self.notes)

    # ----------------------------------------------------------------------------------------------------------------------------

    def work(self):
        while time.monotonic() < self.until:
            self.turn()
        # It answers still.
        self.connection.execute("SELECT 1")
        self.connection.close()
        self.reader.close()

    def turn(self):
        self.pending, self.notes = [], self.rng.choice(self.storm.stores)
        may_fail_with = frozenset()
        try:
            if self.makes_transactions:
                with self.connection.transaction():
                    for _ in range(self.rng.randint(2, 4)):
                        call, may_fail_with = calls.draw(self.rng)
                        call(self)
            else:
                call, may_fail_with = calls.draw(self.rng)
                call(self)
        except psycopg.Error as error:
            self.storm.failed(self, error, may_fail_with)
        else:
            with self.storm.lock:
                for note in self.pending:
                    note(self.notes)
