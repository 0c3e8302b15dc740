"""Tenants of one store: whatever one of them calls, reads or writes, the other's rows are as if they were not. Through every function,
view and table of the catalog; an answer about what the other has is the answer about what nobody has."""

from contextlib import contextmanager
from dataclasses import dataclass

from answers import WAITED, alike, answer, clip, mixed
from arguments import call, functions
from attempts import FOREIGN
from psycopg import Connection
from tables import reading, writing
from world import MARK, NOBODY, Target, changed, content, role, undone

OWN = "horse"
# In whose store who asks, and with which setting: a member of the own collection, and a pool's role, which says by the setting
# what it is.
SESSIONS = {
    "postgres": (("tenant", None), ("tenant", MARK), ("pool", OWN), ("pool", None)),
    "owner": (("tenant", OWN), ("pool", OWN)),
}


@dataclass(frozen=True)
class Session:
    connection: Connection
    who: str
    setting: str | None
    victim: Target
    own: Target
    before: dict

    def name(self, what):
        return f"{what} as a member {'by setting' if self.who == 'pool' else 'by role'}, set to {self.setting}"


def compare(attempts, session, name, statement, writes=True):
    """statement makes one of a target. The answers about the other and about nobody are alike, and nothing of the other's changed."""
    for way, theirs in mixed(session.victim, session.own).items():
        nobodys = mixed(NOBODY, session.own)[way]
        with undone(session.connection):
            code, said = answer(session.connection, statement(theirs))
            touched = (changed(session.before, content(session.connection, session.victim.collection))
                       if writes and code is None else [])
        with undone(session.connection):
            expected = answer(session.connection, statement(nobodys))
        got = code, alike(said, theirs)
        # The setting may name the other's collection, whatever is asked for.
        expected = expected[0], alike(expected[1], theirs)
        fault = (f"it changed {touched}" if touched else f"it waited: {said}" if code == WAITED
                 else f"{got[0]} {clip(got[1])} and not {expected[0]} {clip(expected[1])}" if got != expected else None)
        attempts.count(FOREIGN, session.who, session.name(f"{name} of {way}"), fault)


def by_functions(attempts, session, every):
    for each in every:
        if each.kind == "p" or not each.callable:
            continue
        compare(attempts, session, each.signature, lambda target: call(each, target), each.volatile)
        if any(name == "collection" and has_default == "true" for name, _, has_default in each.arguments):
            compare(attempts, session, f"{each.signature} without a collection",
                    lambda target: call(each, target, ("collection",)), each.volatile)


def by_backfill(attempts, session):
    """It commits, so what it may embed is there only for it, and is looked at afterwards."""
    for arguments in ("", f"collection => '{session.victim.collection}'", f"run_id => {session.victim.run_id}",
                      f"recording => '{session.victim.recording}'", "dry_run => true"):
        code, said = answer(session.connection, f"CALL speaker.backfill_embeddings({arguments})")
        seen = changed(session.before, content(session.connection, session.victim.collection))
        attempts.count(FOREIGN, session.who, session.name(f"a backfill of {arguments or 'everything'}"),
                       f"it changed {seen}" if seen else f"{code} {said}" if code == WAITED else None)


def setting_up(world, database, owner, own):
    """Memberships, and row security: whatever was there before."""
    with world.connect(database, owner) as connection:
        connection.execute("DELETE FROM speaker.memberships")
        for who, collection in (("victim", MARK), ("tenant", own.collection)):
            connection.execute("INSERT INTO speaker.memberships (member, collection) VALUES (%s, %s)", [role(who), collection])
        connection.execute("INSERT INTO speaker.memberships (member, by_setting) VALUES (%s, true)", [role("pool")])
        connection.execute("SELECT speaker.enable_row_security()")


@contextmanager
def everything_locked(world, database, victim):
    """Every row of the victim's is locked by somebody, and names that it is about to use are taken, while a tenant is at work."""
    with world.connect(database, "postgres") as connection, undone(connection):
        connection.execute(f"SET LOCAL speaker.collection = '{victim.collection}'")
        connection.execute("INSERT INTO speaker.recordings (collection, external_id) VALUES (%s, 'not-yet')", [victim.collection])
        names = connection.execute(
            "SELECT a.attrelid::regclass::text FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid "
            "WHERE c.relnamespace = 'speaker'::regnamespace AND c.relkind = 'r' AND a.attname = 'collection' ORDER BY 1").fetchall()
        for (name,) in names:
            connection.execute(f"SELECT FROM {name} WHERE collection = %s FOR UPDATE", [victim.collection])
        yield


def silence(attempts, session, every):
    """What asks for their collection is refused where it writes: an empty answer would hide that nothing was done."""
    quiet = {"retry_embeddings", "embed_due"}  # These look first, and find nothing to do.
    for each in every:
        if each.kind != "p" and each.public and each.callable and each.volatile and each.name not in quiet:
            with undone(session.connection):
                code, said = answer(session.connection, call(each, session.victim))
            attempts.count(FOREIGN, session.who, session.name(f"{each.signature} is refused"),
                           f"it passed: {clip(said)}" if code is None else None, gain=False)


def tenants(attempts, world, database, owner, victim):
    own = world.fill(database, "tenant", OWN)
    setting_up(world, database, owner, own)
    with world.connect(database, owner) as connection:
        every, before = functions(connection), content(connection, MARK)
    with everything_locked(world, database, victim):
        for who, setting in SESSIONS[owner]:
            settings = {"speaker__collection": setting} if setting else {}
            with world.connect(database, who, lock_timeout="300ms", **settings) as connection:
                session = Session(connection, who, setting, victim, own, before)
                by_functions(attempts, session, every)
                writing(attempts, session, compare)
                reading(attempts, session)
                silence(attempts, session, every)
                by_backfill(attempts, session)
    with world.connect(database, "victim") as connection:
        attempts.check("the victim has all of its rows still", f"{gone}" if (gone := changed(before, content(connection, MARK))) else None)
        seen = connection.execute("SELECT count(*) FROM speaker.segments").fetchone()[0]
        attempts.check("and sees them", None if seen else "it does not")
