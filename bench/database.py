"""A database of a benchmark's own."""

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
