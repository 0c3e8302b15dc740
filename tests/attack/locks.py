"""Locks: nobody takes those of leases and of the gate by SQL, nor makes others wait at them, nor lets go of what others hold."""

import time

import psycopg

from attempts import DENIED, ESCALATION
from world import role

ADVISORY = ("pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared",
            "pg_try_advisory_lock", "pg_try_advisory_lock_shared", "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared")
HELD = "SELECT classid::bigint, objid::bigint, objsubid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = %s ORDER BY 1, 2, 3, 4"
CLAIM = ("INSERT INTO speaker.embedding_claims (collection, model_id, step, max_segments) VALUES ('{}', 1, 'backfill', 10) RETURNING lease")


def held(connection, pid):
    return connection.execute(HELD, [pid]).fetchall()


def by_sql(attempts, stranger, locks):
    """What SQL takes with the very numbers of a lock is another lock: it is there at once, though that one is held."""
    for ledger, key, kind, _ in locks:
        for function in ADVISORY:
            for arguments in (f"{ledger}, {key}", f"{ledger}::bigint << 32 | {key}", f"{key}, {ledger}", f"{ledger}, {kind}"):
                try:
                    stranger.execute(f"SELECT {function}({arguments})")
                    fault = None
                except psycopg.Error as error:
                    fault = str(error)
                attempts.count(ESCALATION, "stranger", f"{function}({arguments})", fault)
    mine = {kind for _, _, kind, _ in held(stranger, stranger.info.backend_pid)}
    attempts.check("kinds of locks that SQL takes", None if mine == {1, 2} else f"{mine}")


def by_functions(attempts, connection, who, ledger, lease):
    """The extension's own, by those whose ledger it is not."""
    for call in (f"speaker_enter_backfill({ledger}, true)", f"speaker_enter_backfill({ledger}, false)", f"speaker_enter_embedding({ledger})",
                 f"speaker_hold_lease({ledger}, {lease})", f"speaker_hold_lease({ledger}, 1)",
                 "speaker_hold_lease(0, 1)", "speaker_enter_backfill(1259, true)"):
        attempts.escalate(connection, who, call, f"SELECT {call}", DENIED)


def letting_go(attempts, connection, who, admin, busy, ledger, lease):
    """Whoever lets go lets go of one's own."""
    before = held(admin, busy.info.backend_pid)
    connection.execute("SELECT speaker_leave_backfill()")
    connection.execute(f"SELECT speaker_leave_embedding({ledger})")
    lost = connection.execute(f"SELECT speaker_lease_is_lost({ledger}, {lease})").fetchone()[0]
    fault = "it was lost" if lost or held(admin, busy.info.backend_pid) != before else None
    attempts.count(ESCALATION, who, "letting go of another session's lease", fault)


def own_ledger(attempts, world, database, admin, locks):
    """A table of one's own, of the same name, is a ledger of its own, and a session's end has no more rights than its owner."""
    with world.connect(database, "stranger") as connection:
        connection.execute("CREATE TABLE attack_stranger.embedding_claims (lease int, pid int, backend_start timestamptz)")
        connection.execute("CREATE TABLE attack_stranger.told (who text)")
        connection.execute(
            "CREATE FUNCTION attack_stranger.tell() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN INSERT INTO attack_stranger.told VALUES (current_user); RETURN OLD; END$$")
        connection.execute("CREATE TRIGGER tell BEFORE DELETE ON attack_stranger.embedding_claims "
                           "FOR EACH ROW EXECUTE FUNCTION attack_stranger.tell()")
        connection.execute("INSERT INTO attack_stranger.embedding_claims VALUES (1, pg_backend_pid(), speaker_backend_start())")
        connection.execute("SELECT speaker_enter_backfill('attack_stranger.embedding_claims'::regclass, true)")
        connection.execute("SELECT speaker_hold_lease('attack_stranger.embedding_claims'::regclass, 1)")
        met = {lock[:3] for lock in held(admin, connection.info.backend_pid)} & {lock[:3] for lock in locks}
        attempts.count(ESCALATION, "stranger", "a ledger of one's own", f"{met}" if met else None)
    told = "SELECT array_agg(who) FROM attack_stranger.told"
    deadline = time.monotonic() + 5
    while not (who := admin.execute(told).fetchone()[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    attempts.count(ESCALATION, "stranger", "the end of a session", None if who == [role("stranger")] else f"the trigger ran as {who}")
    admin.execute("DROP TABLE attack_stranger.embedding_claims, attack_stranger.told")


def locks(attempts, world, database, owner, victim):
    with (world.connect(database, "victim") as busy, world.connect(database, "stranger", lock_timeout="1s") as stranger,
          world.connect(database, "writer", lock_timeout="1s") as writer, world.connect(database, "postgres", lock_timeout="1s") as admin):
        busy.execute("SELECT speaker.ingest_recording('due', NULL, '[{\"start\": 0, \"end\": 1}]', collection => %s, embed => false)",
                     [victim.collection])
        ledger = admin.execute("SELECT 'speaker.embedding_claims'::regclass::oid").fetchone()[0]
        lease = busy.execute(CLAIM.format(victim.collection)).fetchone()[0]
        taken = held(admin, busy.info.backend_pid)
        attempts.check("a claim has a lease and the gate", None if {lock[2] for lock in taken} == {3, 4} else f"{taken}")
        by_sql(attempts, stranger, taken)
        for who, connection in {"writer": writer, "stranger": stranger}.items():
            by_functions(attempts, connection, who, ledger, lease)
            letting_go(attempts, connection, who, admin, busy, ledger, lease)
        own_ledger(attempts, world, database, admin, taken)
        busy.execute("DELETE FROM speaker.embedding_claims WHERE lease = %s", [lease])
        busy.execute("SELECT speaker_leave_backfill()")
        # While a stranger has all the locks of these numbers that SQL can take, a backfill goes on.
        try:
            busy.execute("SET lock_timeout = '1s'")
            busy.execute(f"CALL speaker.backfill_embeddings(collection => '{victim.collection}')")
            fault = None
        except psycopg.Error as error:
            fault = str(error)
        attempts.count(ESCALATION, "stranger", "stopping backfills", fault)
        busy.execute("DELETE FROM speaker.recordings WHERE external_id = 'due'")
