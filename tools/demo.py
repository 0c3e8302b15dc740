"""The main job, step by step, as psql shows it: demo.py CONNINFO PSQL FOLDER

FOLDER has recordings and beside each its segments, if there are any: NAME.flac (or .wav, .mp3, ...) with
NAME.whisper.json, NAME.pyannote.json or NAME.rttm. A recording without segments is cut into pieces of 4 s. The recordings
are taken in the order of `order.txt` if there is one, else of their names. In each the voices that are known by then are
recognised; the others are grouped and named, except in the last. A file that is no audio is told, and left out.
"""

import json
import math
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from sql import Psql, bytea, literal

AUDIO = {".wav", ".flac", ".mp3", ".m4a", ".mp4", ".m4b", ".mov", ".aac", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".mkv",
         ".mka", ".webm"}
SOURCES = {".whisper.json": "whisper", ".pyannote.json": "pyannote", ".rttm": "pyannote"}
# Long enough to know a voice by, short enough to have one voice only, mostly.
PIECE_S = 4


@dataclass
class Recording:
    file: Path
    name: str
    # As a diarizer or transcriber wrote them, if one did.
    segments: str | None
    source: str


def readable(name):
    """A file's name as text, whatever its bytes are."""
    return os.fsencode(name).decode(errors="replace")


def recordings(folder):
    """In their order."""
    files = sorted(file for file in folder.iterdir()
                   if file.suffix.lower() in AUDIO and not file.name.startswith(".") and file.is_file())
    order = folder / "order.txt"
    if order.exists():
        places = order.read_text(errors="replace").split()
        files.sort(key=lambda file: places.index(file.stem) if file.stem in places else len(places))
    stems = [file.stem for file in files]
    for file in files:
        beside = ((file.with_name(file.stem + end), source) for end, source in SOURCES.items())
        segments, source = next(((path.read_text(encoding="utf-8-sig", errors="replace"), source) for path, source in beside if path.exists()), (None, "manual"))
        # The same name in two formats is two recordings.
        yield Recording(file, readable(file.stem if stems.count(file.stem) == 1 else file.name), segments, source)


def pieces(duration_s):
    """The segments of a recording that nobody has diarized: all of it, but for a rest of less than a second."""
    starts = [start for start in range(0, math.ceil(duration_s), PIECE_S) if start == 0 or duration_s - start >= 1]
    return json.dumps([{"start": start, "end": min(start + PIECE_S, duration_s)} for start in starts])


class Demo:
    def __init__(self, db):
        self.db = db

    def step(self, title, query):
        """A query and its answer."""
        query = textwrap.dedent(query).strip()
        print(f"\n-- {title}\n{query};\n", flush=True)
        self.db.show(f"\\pset null '(unknown)'\n{query};")

    def upload(self, recording):
        """Whether it is there now, with segments."""
        name = literal(recording.name)
        try:
            audio = bytea(recording.file.read_bytes())
        except OSError as error:
            wrong = str(error)
        else:
            # audio_info raises what is wrong with it.
            wrong = self.db.error_of(f"""
                BEGIN;
                INSERT INTO upload VALUES ({name}, {audio}, {literal(recording.segments)});
                SELECT a.* FROM upload, audio_info(audio) AS a WHERE name = {name};
                COMMIT;""")
        if wrong:
            print(f"\n-- {readable(recording.file.name)} is left out\n{wrong}", flush=True)
        elif recording.segments is None:
            [[duration_s]] = self.db.rows(f"SELECT a.duration_s FROM upload, audio_info(audio) AS a WHERE name = {name}")
            self.db.run(f"UPDATE upload SET segments = {literal(pieces(float(duration_s)))} WHERE name = {name}")
        return not wrong

    def ingest(self, recording):
        """Its run; None if its segments cannot be read."""
        name = literal(recording.name)
        try:
            self.step(
                f"{readable(recording.file.name)} goes in, with its segments; every segment is embedded, nobody is known",
                f"""
                SELECT status, count(*) AS segments, min(error) AS error
                FROM upload, ingest_recording(name, audio, segments, {literal(recording.source)})
                WHERE name = {name}
                GROUP BY status""")
        except subprocess.CalledProcessError:
            # psql has said why.
            print(f"\n-- {readable(recording.file.name)} is left out", flush=True)
            return None
        [[run]] = self.db.rows(
            f"SELECT max(u.id) FROM speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id WHERE r.external_id = {name}")
        return run

    def recognise(self, run):
        self.step(
            "the known are recognised; a voice under the threshold stays unknown",
            f"""
            SELECT external_id AS segment, speaker, round(similarity::numeric, 2) AS similarity, nearest
            FROM identify_speakers({run})""")

    def name_voices(self, run, recording, names):
        """Cluster by cluster. Where no voice comes back often enough to be one, the longest segment tells one voice."""
        # Pieces that nobody diarized have several voices at times: density leaves those out.
        method = ", method => 'hdbscan'" if recording.segments is None else ""
        self.step(
            "unknown voices, grouped; listen to the representative, then name the cluster",
            f"SELECT clustering_id, cluster, segments, round(seconds::numeric, 1) AS seconds, representative\nFROM cluster_unlabeled({run}{method})")
        clusters = self.db.rows(
            f"SELECT c.clustering_id, c.cluster FROM speaker.cluster_members AS c JOIN speaker.clusterings AS g ON g.id = c.clustering_id "
            f"WHERE g.run_id = {run} AND c.representative ORDER BY length(c.cluster), c.cluster")
        for clustering, cluster in clusters:
            speaker = next(names)
            self.step(f"cluster {cluster} is {speaker}",
                      f"SELECT label_cluster({clustering}, '{cluster}', '{speaker}') AS labelled")
        if clusters:
            return
        longest = self.db.rows(
            f"SELECT s.id FROM speaker.segments AS s JOIN speaker.embeddings AS e ON e.segment_id = s.id "
            f"WHERE s.run_id = {run} AND s.speaker_id IS NULL ORDER BY s.end_time - s.start_time DESC, s.id LIMIT 1")
        for [segment] in longest:
            speaker = next(names)
            self.step(f"too few of each voice to make a group; who speaks in the longest segment is {speaker}",
                      f"SELECT label_segment({segment}, '{speaker}') AS labelled")

    def who_spoke_when(self, recording):
        self.step(
            f"who spoke when in {readable(recording.file.name)}",
            f"""
            SELECT to_char(start_time, 'FM999990.0') AS start, to_char(end_time, 'FM999990.0') AS "end", speaker, coalesce(left(text, 60), '') AS text
            FROM speaker.transcript
            WHERE recording = {literal(recording.name)}
            ORDER BY start_time""")

    def anyone(self):
        """Whether somebody is known."""
        return self.db.rows("SELECT 1 FROM speaker.speakers LIMIT 1") != []

    def show(self, recording, names):
        """All of one recording, and whether it went in. With names those who are unknown get one, else they stay unknown."""
        run = self.ingest(recording)
        if run is None:
            return False
        if self.anyone():
            self.recognise(run)
        if names:
            self.name_voices(run, recording, names)
        self.who_spoke_when(recording)
        return True


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
    db.make_store()
    db.run("CREATE TABLE public.upload (name text PRIMARY KEY, audio bytea, segments text)")
    if not Path(folder).is_dir():
        sys.exit(f"there is no folder {folder}")
    found = [recording for recording in recordings(Path(folder)) if demo.upload(recording)]
    if not found:
        sys.exit(f"there is no audio in {folder} that can be read: {' '.join(sorted(AUDIO))}")
    names = speaker_names()
    went_in = [demo.show(recording, names if place == 1 or place < len(found) else None) for place, recording in enumerate(found, 1)]
    if not any(went_in):
        sys.exit("no recording went in")
    demo.step(
        "everyone who is known",
        """
        SELECT s.name, c.n AS segments
        FROM speaker.speakers AS s JOIN speaker.speaker_centroids AS c ON c.speaker_id = s.id
        ORDER BY s.id""")
    print("`make psql` opens this database.")


if __name__ == "__main__":
    main()
