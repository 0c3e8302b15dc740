"""One attempt after the other: who tried what, and what it got.

An attempt is right where it is refused with the code that is expected, or passes and has changed nothing. Whatever it
gets is a gain, counted by its kind; an unexpected answer without a gain is a failure all the same.
"""

import re
from collections import Counter

import psycopg

from world import changed, content, definitions, role

ESCALATION, FOREIGN, FORGED = "escalations", "foreign_rows", "forged"
DENIED = ("42501",)

# Code of an attacker: it tells in whose session and with whose rights it runs, and takes what it can.
LOOT = """
    RAISE WARNING 'loot % of %', current_user, session_user;
    BEGIN EXECUTE 'RESET ROLE'; RAISE WARNING 'loot % of %', current_user, session_user; EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN EXECUTE 'ALTER ROLE {attacker} SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
"""


def loot(attacker):
    return LOOT.format(attacker=role(attacker))


class Attempts:
    def __init__(self):
        self.run = Counter()
        self.gains = Counter({ESCALATION: 0, FOREIGN: 0, FORGED: 0})
        self.roles = set()
        self.failures = []
        self.loots = []

    def made(self):
        """Attempts; an assertion is none."""
        return sum(self.run[kind] for kind in self.gains)

    def passed(self):
        return max(0, sum(self.run.values()) - len(self.failures))

    def listen(self, connection, attacker):
        """From now on what an attacker's code gets in this session is noticed."""
        def heard(notice):
            told = re.match(r"loot (\S+) of (\S+)", notice.message_primary or "")
            if told and told[1] != role(attacker):
                self.loots.append(f"runs as {told[1]} in a session of {told[2]}")

        connection.add_notice_handler(heard)
        return connection

    def count(self, kind, who, name, fault=None, gain=True):
        """An attempt was made; fault says what is wrong with how it ended, gain whether the attacker got something."""
        self.run[kind] += 1
        self.roles.add(who)
        if fault:
            self.gains[kind] += bool(gain)
            self.failures.append(f"{kind}: {who}: {name}: {fault}")

    def check(self, name, fault):
        """Something that has to be so, of which nobody tries anything."""
        self.run["assertions"] += 1
        if fault:
            self.failures.append(f"{name}: {fault}")

    def attempt(self, kind, connection, who, name, statements, codes=DENIED, state=content):
        """Runs statements in a transaction that is undone. The last is the attempt, those before it its preparation: they
        have to work. codes: the SQLSTATEs with which it may be refused; None among them: it may pass, and change nothing."""
        *preparation, last = [statements] if isinstance(statements, str) else statements
        self.loots.clear()
        connection.execute("BEGIN")
        try:
            for statement in preparation:
                connection.execute(statement)
            connection.execute("SAVEPOINT attempt")
            try:
                execute(connection, last)
            except psycopg.Error as error:
                fault = None if error.sqlstate in codes else f"{error.sqlstate} {first_line(error)} instead of {codes}"
                gain = False
            else:
                after = state(connection)
                connection.execute("ROLLBACK TO attempt")
                difference = changed(state(connection), after)
                gain = bool(difference) or None not in codes
                fault = f"it passed, and changed {difference}" if gain else None
        finally:
            if not connection.closed:
                connection.execute("ROLLBACK")
        if self.loots:
            fault, gain = "; ".join(self.loots), True
        self.count(kind, who, name, fault, gain)

    def forge(self, connection, who, name, statements, codes=DENIED):
        self.attempt(FORGED, connection, who, name, statements, codes)

    def escalate(self, connection, who, name, statements, codes=DENIED):
        self.attempt(ESCALATION, connection, who, name, statements, codes, state=lambda c: definitions(c) | content(c))


def execute(connection, statement):
    if statement.startswith("COPY") and "FROM STDIN" in statement:
        command, rows = statement.split("\n", 1)
        with connection.cursor().copy(command) as copy:
            copy.write(rows)
    else:
        connection.execute(statement)


def first_line(error):
    return str(error).split("\n", 1)[0]
