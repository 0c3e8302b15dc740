"""pg_speaker from Python, as an application uses it: Alembic installs it, SQLAlchemy and psycopg work with it.

SPEAKER_TEST_DSN names the server (`host=... user=...`, a superuser), SPEAKER_TEST_BIN its folder of programs, for pg_dump.
The superuser makes the databases and runs the migrations; everything else is done as a role with no special rights.
"""

import csv
import io
import os
import uuid
import wave
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Engine, create_engine, func, select, text
from sqlalchemy.pool import NullPool

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass(frozen=True)
class Database:
    """A database and the application's role in it."""

    server: str
    name: str
    role: str

    @property
    def as_owner(self):
        return make_conninfo(self.server, dbname=self.name)

    @property
    def as_role(self):
        return make_conninfo(self.server, dbname=self.name, user=self.role)

    def migrate(self, revision):
        """Runs the migrations up or down to a revision, as the superuser: pgvector is no trusted extension."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.set_main_option("app_role", self.role)
        engine = sqlalchemy_engine(self.as_owner, poolclass=NullPool)
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            (command.downgrade if revision == "base" else command.upgrade)(config, revision)


@dataclass(frozen=True)
class Recording:
    """A fixture: its audio, its segments as pyannote writes them, and the voices that really speak."""

    name: str

    @property
    def audio(self):
        return (FIXTURES / f"{self.name}.flac").read_bytes()

    @property
    def segments(self):
        return (FIXTURES / f"{self.name}.pyannote.json").read_text()

    @property
    def truth(self):
        """The voices, by the start of their turn in milliseconds."""
        with (FIXTURES / "truth.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["recording"] == self.name]
        return {milliseconds(row["start"]): row["voice"] for row in rows}


MEETING = Recording("meeting")
INTERVIEW = Recording("interview")


def milliseconds(seconds):
    return round(float(seconds) * 1000)


def sqlalchemy_engine(conninfo, **options) -> Engine:
    return create_engine("postgresql+psycopg://", connect_args=conninfo_to_dict(conninfo), **options)


def ingest(recording):
    """The statement that stores a recording and embeds its segments."""
    columns = ("external_id", "segment_id", "run_id", "status", "error")
    return select(func.ingest_recording(recording.name, recording.audio, recording.segments).table_valued(*columns))


@pytest.fixture(scope="session")
def server():
    dsn = os.environ.get("SPEAKER_TEST_DSN")
    if not dsn:
        pytest.skip("SPEAKER_TEST_DSN is not set")
    return dsn


@pytest.fixture(scope="session")
def programs():
    folder = os.environ.get("SPEAKER_TEST_BIN")
    if not folder:
        pytest.skip("SPEAKER_TEST_BIN is not set")
    return Path(folder)


@pytest.fixture
def databases(server):
    """Makes databases without the extension, which end with the test. They share one role."""
    role = f"speaker_app_{uuid.uuid4().hex[:12]}"
    made = []

    def make():
        database = Database(server, f"{role}_{len(made)}", role)
        admin.execute(f"CREATE DATABASE {database.name} TEMPLATE template0")
        admin.execute(f"ALTER DATABASE {database.name} SET search_path = public, speaker")
        made.append(database)
        return database

    with psycopg.connect(make_conninfo(server, dbname="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        yield make
        for database in made:
            admin.execute(f"DROP DATABASE {database.name} WITH (FORCE)")
        admin.execute(f"DROP ROLE {role}")


@pytest.fixture
def empty_database(databases):
    return databases()


@pytest.fixture
def database(empty_database):
    """A database with the extension, where the role may write."""
    empty_database.migrate("head")
    return empty_database


@pytest.fixture
def engine(database):
    """SQLAlchemy, as the role."""
    engine = sqlalchemy_engine(database.as_role)
    yield engine
    engine.dispose()


@pytest.fixture
def meeting(engine):
    """The run of the meeting, ingested, in which nobody is known yet."""
    with engine.begin() as connection:
        return connection.execute(ingest(MEETING)).first().run_id


@pytest.fixture
def long_recording(engine):
    """A quarter of an hour of speech, stored under the name "long": extraction takes far longer than any test waits
    before it cancels. Stored, because PostgreSQL ignores a cancel while it still reads the statement's parameters."""
    with engine.begin() as connection:
        clip = connection.scalar(select(func.audio_clip(MEETING.audio, None, None)))
        with wave.open(io.BytesIO(clip)) as source:
            parameters, frames = source.getparams(), source.readframes(source.getnframes())
        audio = io.BytesIO()
        with wave.open(audio, "wb") as target:
            target.setparams(parameters)
            target.writeframes(frames * 10)
        connection.execute(
            text("INSERT INTO speaker.recordings (external_id, audio) VALUES ('long', :audio)"), {"audio": audio.getvalue()}
        )
        connection.execute(text("SELECT add_run('long', :segments)"), {"segments": '[{"start": 0, "end": 1000}]'})
