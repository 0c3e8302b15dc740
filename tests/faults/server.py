"""A server that is killed and starts again, and a store in it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg

FIXTURES = Path(__file__).parents[2] / "fixtures"
AUDIO, SEGMENTS = (FIXTURES / "meeting.flac").read_bytes(), (FIXTURES / "meeting.pyannote.json").read_text()


class Server:
    def __init__(self, tool, programs, folder):
        self.tool = [tool, programs, folder]
        self("start")
        self.conninfo = subprocess.check_output([*self.tool, "conninfo"], text=True).strip()

    def __call__(self, *command):
        subprocess.run([*self.tool, *command], check=True, stdout=subprocess.DEVNULL)

    def connect(self, database, **options):
        return psycopg.connect(f"{self.conninfo} dbname={database} connect_timeout=5", autocommit=True, **options)

    def patient(self, database):
        """A connection, as soon as there is one to be had."""
        while True:
            try:
                return self.connect(database)
            except psycopg.OperationalError:
                time.sleep(0.1)

    def postmaster(self):
        return int(Path(f"{self.tool[2]}/data/postmaster.pid").read_text().splitlines()[0])

    def stop(self):
        # A server that is asked to stop while it recovers may not: by then there is nothing left to save.
        os.kill(self.postmaster(), signal.SIGQUIT)

    def crash(self):
        """Stops in immediate mode, as a power cut would, and starts again."""
        self.stop()
        while Path(f"{self.tool[2]}/data/postmaster.pid").exists():
            time.sleep(0.05)
        self("start")

    def make_store(self, database, recordings):
        """A database with a store, and this many recordings of 24 segments that are due."""
        self("createdb", database)
        with self.connect(database) as owner:
            owner.execute("SET client_min_messages = warning; CREATE EXTENSION pg_speaker CASCADE")
            owner.execute("SELECT create_speaker_store()")
            owner.execute(f"ALTER DATABASE {database} SET search_path = public, speaker")
            owner.execute(f"ALTER DATABASE {database} SET speaker.retry_delay = 1")
            owner.execute(f"ALTER DATABASE {database} SET speaker.max_attempts = 3")
        with self.connect(database) as owner:
            for number in range(recordings):
                owner.execute("SELECT ingest_recording(%s, %s, %s, embed => false)", [f"r{number}", AUDIO, SEGMENTS])


def column(connection, query, parameters=None):
    return {row[0] for row in connection.execute(query, parameters)}


def value(connection, query, parameters=None):
    return connection.execute(query, parameters).fetchone()[0]
