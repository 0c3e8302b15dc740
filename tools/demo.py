"""The main job, step by step, as psql shows it: demo.py CONNINFO PSQL FOLDER

FOLDER has recordings and beside each its segments: NAME.flac (or .wav, .mp3, ...) with NAME.whisper.json,
NAME.pyannote.json or NAME.rttm. A recording without segments is cut into pieces of 4 s. The recordings are taken in the
order of `order.txt` if there is one, else of their names; all but the last are clustered and labelled, the last is
recognised.
"""

import sys
import textwrap
from pathlib import Path

from sql import Psql, bytea, literal

AUDIO = {".wav", ".flac", ".mp3", ".m4a", ".mp4", ".aac", ".ogg", ".aiff", ".mkv", ".webm"}
SOURCES = {".whisper.json": "whisper", ".pyannote.json": "pyannote", ".rttm": "pyannote"}
PIECE_S = 4


def recordings(folder):
    """(file, segments, source) of each recording."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in AUDIO)
    order = folder / "order.txt"
    if order.exists():
        places = order.read_text().split()
        files.sort(key=lambda file: places.index(file.stem) if file.stem in places else len(places))
    if not files:
        sys.exit(f"{folder} has no audio files")
    for file in files:
        beside = ((file.with_name(file.stem + end), source) for end, source in SOURCES.items())
        segments, source = next(((path.read_text(), source) for path, source in beside if path.exists()), (None, "manual"))
        yield file, segments, source


class Demo:
    def __init__(self, db):
        self.db = db

    def step(self, title, query):
        """A query and its answer."""
        query = textwrap.dedent(query).strip()
        print(f"\n-- {title}\n{query};\n", flush=True)
        self.db.show(f"\\pset null '(unknown)'\n{query};")

    def ingest(self, file, segments, source):
        name = literal(file.stem)
        self.db.run(f"INSERT INTO upload VALUES ({name}, {bytea(file.read_bytes())}, {literal(segments)})")
        if segments is None:
            self.db.run(f"""
                UPDATE upload SET segments = (
                    SELECT jsonb_agg(jsonb_build_object('start', s, 'end', least(s + {PIECE_S}, duration_s)))
                    FROM audio_info(audio), generate_series(0, duration_s - 1, {PIECE_S}) AS s)
                WHERE name = {name}""")
        self.step(
            f"{file.name} goes in, with its segments; every segment is embedded, nobody is known",
            f"""
            SELECT status, count(*) AS segments, min(error) AS error
            FROM upload, ingest_recording(name, audio, segments, {literal(source)})
            WHERE name = {name}
            GROUP BY status""")
        [[run]] = self.db.rows(f"SELECT max(u.id) FROM speaker.runs u JOIN speaker.recordings r ON r.id = u.recording_id WHERE r.external_id = {name}")
        return run

    def who_spoke_when(self, file):
        self.step(
            f"who spoke when in {file.name}",
            f"""
            SELECT to_char(start_time, 'FM990.0') AS start, to_char(end_time, 'FM990.0') AS "end", speaker, left(text, 60) AS text
            FROM speaker.transcript
            WHERE recording = {literal(file.stem)}
            ORDER BY start_time""")

    def label_clusters(self, run, names):
        self.step(
            "unknown voices, grouped; listen to the representative, then name the cluster",
            f"SELECT clustering_id, cluster, segments, round(seconds::numeric, 1) AS seconds, representative\nFROM cluster_unlabeled({run})")
        clusters = self.db.rows(
            f"SELECT c.clustering_id, c.cluster FROM speaker.cluster_members c JOIN speaker.clusterings g ON g.id = c.clustering_id "
            f"WHERE g.run_id = {run} AND c.representative ORDER BY length(c.cluster), c.cluster")
        for clustering, cluster in clusters:
            speaker = next(names)
            self.step(f"cluster {cluster} is {speaker}",
                      f"SELECT label_cluster({clustering}, '{cluster}', '{speaker}') AS labelled")


def speaker_names():
    yield from ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gail", "Hugo")
    number = 9
    while True:
        yield f"Speaker {number}"
        number += 1


def main():
    conninfo, psql, folder = sys.argv[1:]
    db = Psql(psql, conninfo)
    demo = Demo(db)
    found = list(recordings(Path(folder)))
    names = speaker_names()
    db.run("SET client_min_messages = warning; CREATE EXTENSION pg_speaker CASCADE;"
           "CREATE TABLE upload (name text PRIMARY KEY, audio bytea, segments text);")
    for file, segments, source in found[: max(1, len(found) - 1)]:
        run = demo.ingest(file, segments, source)
        demo.label_clusters(run, names)
        demo.who_spoke_when(file)
    if len(found) > 1:
        file, segments, source = found[-1]
        run = demo.ingest(file, segments, source)
        demo.step(
            "the known are recognised; a voice under the threshold stays unknown",
            f"""
            SELECT external_id AS segment, speaker, round(similarity::numeric, 2) AS similarity, nearest
            FROM identify_speakers({run})""")
        demo.who_spoke_when(file)
    demo.step(
        "everyone who is known",
        """
        SELECT s.name, c.n AS segments
        FROM speaker.speakers AS s JOIN speaker.speaker_centroids AS c ON c.speaker_id = s.id
        ORDER BY s.id""")
    print("`make psql` opens this database.")


if __name__ == "__main__":
    main()
