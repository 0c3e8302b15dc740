"""Runs a document's SQL and compares what it shows: doctest.py FILE.md PSQL CONNINFO

The ```sql blocks of the file run in order, in one psql session on a new database, from the repository's root. A ```text
block that is the next fence after one is its expected output, up to spaces at the ends of lines; psql's standard output
comes first, then its standard error. A block without one passes if it raises no error.

The database goes afterwards, and the roles that the document made.
"""

import difflib
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^(```+)[ \t]*([\w-]*)[^\n]*\n(.*?)^\1[ \t]*$", re.M | re.S)
# What a block without an expected output may say on standard error. Roles are the whole server's: whoever has followed
# the document there by hand has made them already.
HARMLESS = re.compile(r'(NOTICE|INFO):  |ERROR:  role "\w+" already exists$')


def examples(text):
    """(line, SQL, expected output or None) of each ```sql block."""
    found, after_sql = [], False
    for fence in FENCE.finditer(text):
        language, body = fence[2], fence[3]
        if language == "sql":
            found.append([text.count("\n", 0, fence.start()) + 1, body, None])
        elif language == "text" and after_sql:
            found[-1][2] = body
        after_sql = language == "sql"
    return found


def tidy(output):
    """Without spaces at the ends of lines, which editors cut, and empty lines around."""
    return "\n".join(line.rstrip() for line in output.splitlines()).strip("\n")


class Server:
    def __init__(self, psql, conninfo):
        self.command = [psql, "-X", "-q", conninfo]
        # Messages, times and column widths of any machine.
        self.env = {**os.environ, "LC_ALL": "C.UTF-8", "PGTZ": "UTC", "PGCLIENTENCODING": "UTF8", "COLUMNS": "200"}

    def psql(self, script, database="postgres", *options, **settings):
        return subprocess.run([*self.command, *options], input=script, text=True, cwd=ROOT,
                              env={**self.env, "PGDATABASE": database}, **settings)

    def query(self, script):
        done = self.psql(script, "postgres", "-At", "-v", "ON_ERROR_STOP=1", check=True, stdout=subprocess.PIPE)
        return done.stdout.split("\n")[:-1]

    def run(self, blocks):
        """(standard output, standard error) of each block; shorter if the session ended early."""
        roles = "SELECT quote_ident(rolname) FROM pg_roles"
        database, mark = f"doctest_{os.getpid()}", uuid.uuid4().hex
        before = set(self.query(roles))
        self.query(f"CREATE DATABASE {database}")
        try:
            script = "".join(f"{block}\n\\echo {mark}\n\\warn {mark}\n" for block in blocks)
            done = self.psql(script, database, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        finally:
            self.query(f"DROP DATABASE {database}")
            for role in set(self.query(roles)) - before:
                self.query(f"DROP ROLE {role}")
        return list(zip(done.stdout.split(mark)[:-1], done.stderr.split(mark)[:-1]))


def judge(expected, out, err):
    """What is wrong with a block, or None."""
    if expected is None:
        lines = [line for line in err.splitlines() if line and not HARMLESS.match(line)]
        return "\n".join(lines) or None
    shown, got = tidy(expected), tidy(out + err)
    if shown == got:
        return None
    return "\n".join(difflib.unified_diff(shown.splitlines(), got.splitlines(), "in the document", "from psql", lineterm=""))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    document, psql, conninfo = sys.argv[1:]
    blocks = examples(Path(document).read_text(encoding="utf-8"))
    outputs = Server(psql, conninfo).run([sql for _, sql, _ in blocks])
    failed = 0
    for place, (line, sql, expected) in enumerate(blocks):
        wrong = judge(expected, *outputs[place]) if place < len(outputs) else "the session had ended"
        if wrong:
            failed += 1
            print(f"{document}:{line}\n{sql.rstrip()}\n{wrong}\n")
    print(f"{len(blocks) - failed} passed, {failed} failed")
    # A document without examples tests nothing.
    sys.exit(failed > 0 or not blocks)


if __name__ == "__main__":
    main()
