"""Roles that try to get what is not theirs: attack.py CONNINFO SERVER_FOLDER

A role wants to be the owner of a store or a superuser (escalations), to see or change what another tenant has (foreign
rows), or to write history that did not happen (forged). In a store that a superuser made, and in one of an ordinary role.
Prints what went wrong, its figures last, and fails where one is missed.
"""

import sys
import traceback
from pathlib import Path

from attempts import Attempts
from catalogue import catalogue
from escalation import escalation
from files import files
from history import history
from install import install
from locks import locks
from shadows import shadows
from tenants import tenants
from together import together
from world import MARK, World

ENOUGH = 100


def attack(world, attempts, folder):
    for owner in ("postgres", "owner"):
        database = world.make_store(f"attack_{owner}", owner)
        victim = world.fill(database, "victim", MARK)
        catalogue(attempts, world, database)
        history(attempts, world, database, victim)
        together(attempts, world, database, owner, victim)
        escalation(attempts, world, database, owner, victim)
        shadows(attempts, world, database, owner, victim)
        locks(attempts, world, database, owner, victim)
        tenants(attempts, world, database, owner, victim)
    files(attempts, world, "attack_owner", folder)
    install(attempts, world)


def main():
    world, attempts = World(sys.argv[1]), Attempts()
    world.make_roles()
    try:
        attack(world, attempts, Path(sys.argv[2]) / "attack")
    except Exception:
        traceback.print_exc()
        attempts.failures.append("the suite did not get to its end")
    finally:
        world.end()
    for failure in attempts.failures:
        print(failure)
    print(f"{attempts.passed()} passed, {len(attempts.failures)} failed")
    print(f"roles={len(attempts.roles)}")
    print(f"attempts={attempts.made()}")
    for kind, gains in attempts.gains.items():
        print(f"{kind}={gains}")
    sys.exit(bool(attempts.failures) or any(attempts.gains.values()) or attempts.made() < ENOUGH)


main()
