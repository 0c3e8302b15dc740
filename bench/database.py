"""A database of a benchmark's own, and a store in it."""

import contextlib

import psycopg
from psycopg.conninfo import make_conninfo


@contextlib.contextmanager
def temporary(server, name):
    """The conninfo of a new database, which is dropped at the end."""
    with psycopg.connect(server, dbname="postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield make_conninfo(server, dbname=name)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def make_store(connection):
    """The extension and a store, whose names this session finds, and every later one."""
    connection.execute("SET client_min_messages = warning")
    connection.execute("CREATE EXTENSION pg_speaker CASCADE")
    connection.execute("SELECT create_speaker_store()")
    connection.execute(f"ALTER DATABASE {connection.info.dbname} SET search_path = speaker, public")
    connection.execute("SET search_path = speaker, public")
