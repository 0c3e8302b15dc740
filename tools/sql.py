"""psql from Python's standard library: scripts in, rows out. For tools that run before any driver is installed."""

import csv
import io
import subprocess
import sys

# Audio in a field is longer than csv expects.
csv.field_size_limit(sys.maxsize)


class Psql:
    def __init__(self, psql, conninfo):
        self.command = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", conninfo]

    def show(self, script):
        """Runs a script and prints what psql prints."""
        subprocess.run([*self.command, "-f", "-"], input=script, text=True, check=True)

    def run(self, script):
        """Runs a script; its output."""
        return subprocess.run([*self.command, "-At", "-f", "-"], input=script, text=True, check=True, stdout=subprocess.PIPE).stdout

    def rows(self, query):
        """Rows of a query, as lists of text; NULL is the empty text."""
        out = self.run(f"COPY ({query}) TO STDOUT (FORMAT csv);")
        return list(csv.reader(io.StringIO(out)))


def literal(text):
    """A text as an SQL literal."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def bytea(data):
    """Bytes as an SQL literal."""
    return f"'\\x{data.hex()}'"
