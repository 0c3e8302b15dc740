"""All kinds of sessions share the work while they are killed, ended and cancelled, the server stops as by a power cut, and
some segments are poison."""

import os
import signal
import time

import psycopg

from server import AUDIO, column, value
from work import at_work, left, share

RECORDINGS = 150
FAULTS = {"kill": 20, "restart": 6, "terminate": 15, "cancel": 25}

# What goes wrong at a segment, other than its audio: the server dies, or PostgreSQL raises an error. And now and then one
# that no segment is to blame for.
POISON = """
CREATE TABLE poison (segment_id bigint PRIMARY KEY, kind text);
CREATE FUNCTION poisoned() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    CASE (SELECT kind FROM public.poison WHERE segment_id = NEW.segment_id)
    WHEN 'crash' THEN
        EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
        PERFORM pg_sleep(10);
    WHEN 'error' THEN RAISE EXCEPTION 'something is wrong with this one';
    ELSE
        IF random() < 0.005 THEN
            RAISE EXCEPTION USING MESSAGE = 'something is wrong with the server',
                ERRCODE = (ARRAY['40001', '40P01', '53100', '53200', '55P03'])[1 + floor(random() * 5)];
        END IF;
    END CASE;
    RETURN NEW;
END
$$;
CREATE TRIGGER poisoned BEFORE INSERT ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION poisoned();
"""

# Every committed write of an embedding, and every claim of a backfill.
AUDIT = """
CREATE TABLE writes (segment_id bigint);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN INSERT INTO public.writes VALUES (NEW.segment_id); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TABLE claims (lease int, segment_id bigint, is_suspect boolean);
CREATE FUNCTION audit_claim() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN INSERT INTO public.claims VALUES (NEW.lease, NEW.segment_id, NEW.crashes > 0); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON speaker.embedding_jobs FOR EACH ROW
    WHEN (NEW.status = 'running' AND OLD.status <> 'running') EXECUTE FUNCTION audit_claim();
"""

# By what is the same in every database: ids of recordings that are ingested meanwhile are not.
OUTCOMES = """
    SELECT r.external_id || ' ' || s.start_time || '-' || s.end_time, s.id, j.status, e.embedding::float4[]
    FROM speaker.recordings AS r
    JOIN speaker.runs AS u ON u.recording_id = r.id
    JOIN speaker.segments AS s ON s.run_id = u.id
    LEFT JOIN speaker.embedding_jobs AS j ON j.segment_id = s.id
    LEFT JOIN speaker.embeddings AS e ON e.segment_id = s.id"""


def fill(server, database):
    """The same in every database. Returns the ids of what no session can embed."""
    server.make_store(database, RECORDINGS)
    with server.connect(database) as owner:
        newest = value(owner, "SELECT max(id) FROM speaker.runs")
        bad = AUDIO[:9000] + bytes(len(AUDIO) - 9000)
        for number in range(2):
            owner.execute("INSERT INTO speaker.recordings (external_id, audio) VALUES (%s, %s)", [f"bad{number}", bad])
            owner.execute("SELECT add_run(%s, '[{\"start\": 20, \"end\": 24}]')", [f"bad{number}"])
        owner.execute("SELECT add_run('r0', '[{\"start\": 4.1, \"end\": 4.3}]')")
        return column(owner, "SELECT id FROM speaker.segments WHERE run_id > %s", [newest])


def disturber(server, chance, undisturbed_s, counts):
    def disturb():
        # Spread over half of the time that the work takes.
        faults = [fault for fault, number in FAULTS.items() for _ in range(number)]
        chance.shuffle(faults)
        for fault in faults:
            time.sleep(chance.uniform(0, undisturbed_s / len(faults)))
            if fault == "restart":
                server.crash()
            else:
                hit(server, chance, fault)
            counts[fault] += 1

    return disturb


def hit(server, chance, fault):
    """One of the sessions at work."""
    while True:
        try:
            with server.patient("disturbed") as watcher:
                assert left(watcher), "the work was done before the last fault"
                if working := at_work(watcher):
                    pid = chance.choice(working)
                    if fault == "kill":
                        os.kill(pid, signal.SIGKILL)
                    else:
                        watcher.execute(f"SELECT pg_{fault}_backend(%s)", [pid])
                    return
        except (psycopg.OperationalError, ProcessLookupError):
            pass
        time.sleep(0.05)


def survive(server, chance):
    rejected = fill(server, "undisturbed")
    undisturbed_s = share(server, "undisturbed", chance, lambda: None)
    assert fill(server, "disturbed") == rejected
    with server.connect("disturbed") as owner:
        innocent = sorted(column(owner, "SELECT id FROM speaker.segments") - rejected)
        chosen = chance.sample(innocent, 5)
        owner.execute(POISON + AUDIT)
        for segment, kind in zip(chosen, ["crash", "crash", "error", "error", "error"], strict=True):
            owner.execute("INSERT INTO poison VALUES (%s, %s)", [segment, kind])
    counts = dict.fromkeys(FAULTS, 0)
    took = share(server, "disturbed", chance, disturber(server, chance, undisturbed_s, counts))
    print(f"  undisturbed {undisturbed_s:.0f} s, disturbed {took:.0f} s: {counts}", flush=True)

    poison = rejected | set(chosen)
    with server.connect("disturbed") as owner, server.connect("undisturbed") as reference:
        expected = {key: vector for key, _, _, vector in reference.execute(OUTCOMES)}
        outcomes = {key: (segment, status, vector) for key, segment, status, vector in owner.execute(OUTCOMES)}
        good = {key for key in expected if key not in outcomes or outcomes[key][0] not in poison}
        embedded = {key for key in good if key in outcomes and outcomes[key][2]}
        dead = {segment for segment, status, _ in outcomes.values() if status == "dead"}
        assert dead >= set(chosen), f"poison that is not dead: {set(chosen) - dead}"
        assert value(owner, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        return {
            "kills": counts["kill"],
            "restarts": counts["restart"],
            "items": len(expected),
            "poison": len(poison),
            "suspects": len(column(owner, "SELECT segment_id FROM claims WHERE is_suspect")),
            "suspects_in_company": len(
                column(owner, "SELECT lease FROM claims GROUP BY 1 HAVING bool_or(is_suspect) AND count(*) > 1")
            ),
            "lost": len(good - embedded),
            "duplicated": len(column(owner, "SELECT segment_id FROM writes GROUP BY 1 HAVING count(*) > 1")),
            "stuck": left(owner),
            "innocent_dead": len(dead - poison),
            "vectors_max_diff": max(
                abs(a - b) for key in embedded for a, b in zip(outcomes[key][2], expected[key], strict=True)
            ),
        }
