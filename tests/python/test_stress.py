"""Everything at once, for some seconds; `make stress` takes minutes."""

import sys
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

sys.path.append(str(Path(__file__).parents[1] / "stress"))
import stress


def test_everything_at_once(server):
    with psycopg.connect(make_conninfo(server, dbname="postgres"), autocommit=True) as admin:
        stress.make_database(admin, "short_stress")
        try:
            figures = stress.stress(make_conninfo(server, dbname="short_stress"), seconds=12, sessions=8, seed=9)
        finally:
            stress.drop_database(admin, "short_stress")
    assert figures["calls"] > 100
    assert {name: figures[name] for name in stress.ZERO} == dict.fromkeys(stress.ZERO, 0)
