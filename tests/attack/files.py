"""Files of the server and large objects: read with the rights of who asks and of who named them, and within speaker.audio_dir."""

import os
import shutil
import subprocess
import sys

import psycopg

from attempts import DENIED, ESCALATION
from world import FIXTURES, role, undone

READER = "pool"  # May read files of the server, within audio_dir.
SEGMENTS = '[{"start": 0, "end": 2}]'
# Two names change places, again and again, in a process of their own.
SWAP = """
import ctypes, sys
swap = ctypes.CDLL(None).renameat2
one, other = (name.encode() for name in sys.argv[1:])
while swap(-100, one, -100, other, 2) == 0:
    pass
"""
LOOK = """
CREATE FUNCTION pg_temp.look(path text, secret bytea, OUT hits int, OUT tries int) LANGUAGE plpgsql AS $$
DECLARE
    got bytea;
    until timestamptz := clock_timestamp() + interval '2 seconds';
BEGIN
    hits := 0;
    tries := 0;
    WHILE clock_timestamp() < until LOOP
        tries := tries + 1;
        BEGIN
            SELECT f.sha256 INTO got FROM speaker.recording_facts(NULL, NULL, path) AS f;
            hits := hits + (got = secret)::int;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
END $$
"""
OUTSIDE = ("42501", "22023", "58P01", "58030", "23514")


def lay_out(folder):
    """Inside and outside of audio_dir, and ways from the one to the other."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("audio/in", "audio-of-others", "secret"):
        (folder / name).mkdir(parents=True)
    for name in ("secret/f", "audio-of-others/f"):
        shutil.copy(FIXTURES / "enrol/awb.flac", folder / name)
    shutil.copy(FIXTURES / "enrol/rms.flac", folder / "audio/f")
    (folder / "audio/in/f").write_bytes(bytes(20))
    (folder / "audio/link").symlink_to(folder / "secret/f")
    (folder / "audio/out").symlink_to(folder / "secret")
    (folder / "audio/relative").symlink_to("../secret/f")
    os.mkfifo(folder / "audio/pipe")
    for name, folders, names in os.walk(folder):
        os.chmod(name, 0o755)
        for each in names:
            if not os.path.islink(f"{name}/{each}"):
                os.chmod(f"{name}/{each}", 0o644)
    return folder / "audio"


def ways_out(audio):
    return {
        "another folder": f"{audio.parent}/secret/f", "up": f"{audio}/../secret/f", "up and down": f"{audio}/in/../../secret/f",
        "a folder with a longer name": f"{audio}-of-others/f", "a link": f"{audio}/link", "a relative link": f"{audio}/relative",
        "a link to a folder": f"{audio}/out/f", "a pipe": f"{audio}/pipe", "a folder": f"{audio}/in", "a device": "/dev/zero",
        "the server's own": "/proc/self/environ", "a descriptor": "/proc/self/fd/0", "passwords": "/etc/passwd",
        "by a root": f"/proc/self/root{audio.parent}/secret/f", "relative": "secret/f", "by itself": f"{audio}/./../secret/f",
    }


def paths(attempts, connection, who, ways, codes):
    for way, path in ways.items():
        for name, statement in {
            "facts": f"SELECT * FROM speaker.recording_facts(NULL, NULL, '{path}')",
            "facts of the extension": f"SELECT * FROM speaker_recording_facts(NULL, NULL, '{path}', NULL)",
            "a clip": f"SELECT speaker_recording_clip(NULL, NULL, '{path}', NULL, 0, 1)",
            "a recording": f"INSERT INTO speaker.recordings (external_id, audio_path) VALUES ('spy', '{path}')",
        }.items():
            attempts.escalate(connection, who, f"{name} of {way}", statement, codes)


def exchanged(attempts, connection, folder, audio):
    """While a folder inside and a link that leads out change places."""
    swapper = subprocess.Popen([sys.executable, "-c", SWAP, str(audio / "in"), str(audio / "out")])
    try:
        connection.execute(LOOK)
        hits, tries = connection.execute("SELECT * FROM pg_temp.look(%s, sha256(%s))", [
            f"{audio}/in/f", (folder / "secret/f").read_bytes()]).fetchone()
    finally:
        alive = swapper.poll() is None
        swapper.kill()
        swapper.wait()
    attempts.count(ESCALATION, READER, "a folder that changes places", f"read from outside {hits} times" if hits else None)
    attempts.check("the folders changed places all the while", None if alive and tries > 100 else f"{tries} looks, alive: {alive}")


def embeds(world, database):
    """The nightly work of somebody who may read everything: how many vectors it made of a recording."""
    with world.connect(database, "postgres") as admin:
        admin.execute("SELECT speaker.retry_embeddings()")
        admin.execute("CALL speaker.backfill_embeddings()")
        return admin.execute(
            "SELECT count(*) FROM speaker.embeddings AS e JOIN speaker.segments AS s ON s.id = e.segment_id JOIN speaker.runs AS u "
            "ON u.id = s.run_id JOIN speaker.recordings AS r ON r.id = u.recording_id WHERE r.external_id = 'spy'").fetchone()[0]


def named_before(attempts, world, database, what, source, give, take):
    """Who might read it, named it, and may no more: nobody reads it for that role."""
    with world.connect(database, "postgres") as admin:
        admin.execute(give)
        with world.connect(database, READER) as connection:
            connection.execute(f"INSERT INTO speaker.recordings (external_id, {source[0]}) VALUES ('spy', {source[1]})")
            connection.execute("SELECT speaker.add_run('spy', %s)", [SEGMENTS])
            segment = connection.execute("SELECT max(id) FROM speaker.segments").fetchone()[0]
            admin.execute(take)
            made = embeds(world, database)
            attempts.count(ESCALATION, READER, f"{what} that it may not read any more, embedded", f"{made} vectors" if made else None)
            for name, statement in {
                "a clip": f"SELECT speaker.segment_clip({segment})", "another look": "SELECT speaker.refresh_recording('spy')",
            }.items():
                attempts.escalate(connection, READER, f"{name} of {what}", statement)
        admin.execute(give)
        with world.connect(database, "writer") as connection:
            attempts.escalate(connection, "writer", f"a clip of {what} of another", f"SELECT speaker.segment_clip({segment})")
            with undone(connection):
                made = connection.execute(
                    "SELECT count(*) FROM speaker.segments AS s, speaker.embed_run(s.run_id) AS e WHERE s.id = %s AND e.status = 'success'",
                    [segment]).fetchone()[0]
            attempts.count(ESCALATION, "writer", f"vectors of {what} of another", f"{made} vectors" if made else None)
        attempts.check(f"{what} is embedded where all may read it", None if embeds(world, database) else "it is not")
        admin.execute("DELETE FROM speaker.recordings WHERE external_id = 'spy'")
        admin.execute(take)


def large_objects(attempts, world, database):
    audio = (FIXTURES / "enrol/awb.flac").read_bytes()
    with world.connect(database, "postgres") as admin, world.connect(database, "writer") as connection:
        oid = admin.execute("SELECT lo_from_bytea(0, %s)", [audio]).fetchone()[0]
        own = connection.execute("SELECT lo_from_bytea(0, %s)", [audio]).fetchone()[0]
        into = "INSERT INTO speaker.recordings (external_id, audio_lo) VALUES"
        for name, statements in {
            "a recording": f"{into} ('spy', {oid})",
            "a recording by ON CONFLICT": [f"{into} ('spy', {own})",
                                           f"{into} ('spy', {own}) ON CONFLICT (collection, external_id) DO UPDATE SET audio_lo = {oid}"],
            "an update": [f"{into} ('spy', {own})", f"UPDATE speaker.recordings SET audio_lo = {oid} WHERE external_id = 'spy'"],
            "an update with a name": [f"{into} ('spy', {own})", f"UPDATE speaker.recordings SET audio_lo = {oid}, named_by = 'postgres'"],
            "a recording by COPY": f"COPY speaker.recordings (external_id, audio_lo) FROM STDIN\nspy\t{oid}\n",
            "facts": f"SELECT * FROM speaker.recording_facts(NULL, {oid}, NULL)",
            "facts in another's name": f"SELECT * FROM speaker_recording_facts(NULL, {oid}, NULL, 'postgres')",
            "a clip in another's name": f"SELECT speaker_recording_clip(NULL, {oid}, NULL, 'postgres', 0, 1)",
            "itself": f"SELECT lo_get({oid})",
        }.items():
            attempts.escalate(connection, "writer", f"{name} of a large object", statements)
        named_before(attempts, world, database, "a large object", ("audio_lo", oid),
                     f"GRANT SELECT ON LARGE OBJECT {oid} TO {role(READER)}", f"REVOKE SELECT ON LARGE OBJECT {oid} FROM {role(READER)}")


def files(attempts, world, database, folder):
    audio = lay_out(folder)
    grant, revoke = (f"{verb} pg_read_server_files {to} {role(READER)}" for verb, to in (("GRANT", "TO"), ("REVOKE", "FROM")))
    with world.connect(database, "postgres") as admin:
        admin.execute("SELECT speaker.disable_row_security()")
        admin.execute("SELECT speaker_default_model()")
        admin.execute(f"ALTER DATABASE {database} SET speaker.audio_dir = '{audio}'")
        try:
            with world.connect(database, "writer") as connection:
                paths(attempts, connection, "writer", {"a file inside": f"{audio}/f"} | ways_out(audio), DENIED + ("23514",))
            admin.execute(grant)
            with world.connect(database, READER) as connection:
                with undone(connection):
                    seen = connection.execute(f"SELECT sha256 FROM speaker.recording_facts(NULL, NULL, '{audio}/f')").fetchone()
                attempts.check("a file inside is read", None if seen else "it is not")
                paths(attempts, connection, READER, ways_out(audio), OUTSIDE)
                exchanged(attempts, connection, folder, audio)
            named_before(attempts, world, database, "a file", ("audio_path", f"'{audio}/f'"), grant, revoke)
            large_objects(attempts, world, database)
        finally:
            admin.execute(revoke)
            shutil.rmtree(folder, ignore_errors=True)
