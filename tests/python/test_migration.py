"""An Alembic migration installs the extension, removes it, and installs it again."""

import psycopg
import pytest
from sqlalchemy import inspect, select, text

from conftest import MEETING, ingest, sqlalchemy_engine
from models import Speaker


def extensions(database):
    with psycopg.connect(database.as_owner) as owner:
        return {name for (name,) in owner.execute("SELECT extname FROM pg_extension")} - {"plpgsql"}


def objects(database):
    """How much the extension left behind: its schema, functions of any schema that came with it, its roles' rights."""
    with psycopg.connect(database.as_owner) as owner:
        return owner.execute(
            """
            SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'speaker'),
                   (SELECT count(*) FROM pg_proc WHERE probin = '$libdir/pg_speaker' OR proname ~ 'speaker'),
                   (SELECT count(*) FROM pg_shdepend
                    WHERE refobjid = %s::regrole AND dbid = (SELECT oid FROM pg_database WHERE datname = %s))
            """,
            (database.role, database.name),
        ).fetchone()


def test_up_down_up(empty_database):
    database = empty_database
    assert extensions(database) == set()

    database.migrate("head")
    assert extensions(database) == {"vector", "pg_speaker"}
    with psycopg.connect(database.as_owner) as owner:
        owner.execute("CREATE TABLE faces (embedding vector(3))")
    engine = sqlalchemy_engine(database.as_role)
    with engine.begin() as connection:
        assert len(connection.execute(ingest(MEETING)).all()) == 24
        assert "speakers" in inspect(connection).get_table_names(schema="speaker")
    engine.dispose()

    # There are data: no way back by mistake.
    with pytest.raises(Exception, match="has recordings, speakers or history"):
        database.migrate("base")
    with psycopg.connect(database.as_owner) as owner:
        assert owner.execute("SELECT count(*) FROM speaker.segments").fetchone() == (24,)
        owner.execute("DELETE FROM speaker.recordings")

    database.migrate("base")
    assert extensions(database) == {"vector"}
    assert objects(database) == (0, 0, 0)
    with psycopg.connect(database.as_owner) as owner:
        assert owner.execute("SELECT count(*) FROM faces").fetchone() == (0,)

    database.migrate("head")
    engine = sqlalchemy_engine(database.as_role)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM speaker.recordings")) == 0
        # Identities start anew with the tables.
        assert connection.execute(ingest(MEETING)).first().segment_id == 1
    engine.dispose()


def test_the_extension_goes_and_the_data_stay(engine, database):
    with engine.begin() as connection:
        connection.execute(ingest(MEETING))
        connection.execute(text("SELECT label_segment(1, 'Ann')"))
    with psycopg.connect(database.as_owner, autocommit=True) as owner:
        owner.execute("DROP EXTENSION pg_speaker")
        assert owner.execute("SELECT count(*) FROM speaker.embeddings").fetchone() == (24,)
        owner.execute("CREATE EXTENSION pg_speaker SCHEMA public")
    engine.dispose()
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM speaker_knn((SELECT embedding FROM speaker.embeddings WHERE segment_id = 2))")).scalar() == 1
        assert connection.execute(text("SELECT label_segment(2, 'Ann')")).scalar() == 1


def test_the_role_is_an_ordinary_one(engine):
    with engine.begin() as connection:
        rights = connection.execute(text("SELECT rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = current_user"))
        assert rights.one() == (False, False, False)
        assert connection.scalars(select(Speaker)).all() == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT speaker.grant_access(current_user::regrole)",
        "SELECT rebuild_speaker_centroids()",
        "UPDATE speaker.speaker_centroids SET n = 1",
        "DELETE FROM speaker.assignments",
        "DELETE FROM speaker.models",
        "SET speaker.model_dir = '/'",
        "SET speaker.max_audio_bytes = '1GB'",
    ],
)
def test_what_the_role_may_not_do(database, statement):
    with psycopg.connect(database.as_role) as connection:
        # A session knows the settings once the library is loaded.
        connection.execute("SELECT speaker_default_model()")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_a_setting_before_the_library_is_loaded_is_dropped(database):
    with psycopg.connect(database.as_role) as connection:
        connection.execute("SET speaker.model_dir = '/tmp'")
        connection.execute("SELECT speaker_default_model()")
        assert connection.execute("SHOW speaker.model_dir").fetchone() == ("",)
