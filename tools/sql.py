"""psql from Python's standard library: scripts in, rows out. For tools that run before any driver is installed."""

import csv
import io
import re
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

    def make_store(self):
        """The extension and a store, whose names every later session finds."""
        self.run(r"""
            SET client_min_messages = warning;
            CREATE EXTENSION pg_speaker CASCADE;
            SELECT create_speaker_store();
            SELECT format('ALTER DATABASE %I SET search_path = speaker, public', current_database()) \gexec
            """)

    def error_of(self, script):
        """Runs a script; what was wrong with it, or None."""
        done = subprocess.run([*self.command, "-f", "-"], input=script, text=True, capture_output=True)
        return re.sub(r"^psql:\S+ ", "", done.stderr.strip()) if done.returncode else None


def literal(text):
    """A text as an SQL literal."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def bytea(data):
    """Bytes as an SQL literal."""
    return f"'\\x{data.hex()}'"
