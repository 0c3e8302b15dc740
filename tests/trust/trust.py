"""Whether strangers take over people who are known: trust.py CONNINFO PSQL SPEECH_DIR

SPEECH_DIR has a folder for each reader, with their utterances as audio files. Every reader in turn is enrolled with one
clip, the one that some piece of a stranger is nearest to; then five recordings of every other reader are identified, one after the other; then the reader's own recordings
are. A takeover: more of a stranger's last recording than half has the reader's name, or fewer of the reader's own clips
are recognised than right after the enrolment. The same with labels that are confirmed at once shows that it can fail.

Figures last, one key=value a line; percentages without the sign. Exit status 1 if one of them is missed.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "tools")]
from sql import Psql, bytea  # noqa: E402

DAYS = 5
# A stranger's recording is cut into pieces as a diarizer would; short pieces are taken for others more often.
PIECE_S = 3

TO_MEET = {
    "takeovers": lambda f: f["takeovers"] == 0,
    "own_still_recognised": lambda f: f["own_still_recognised"] >= f["own_recognised_alone"],
    "undo_exact": lambda f: f["undo_exact"] == 1,
    "takeovers_confirmed_at_once": lambda f: f["takeovers_confirmed_at_once"] > 0,
}


class Trust:
    def __init__(self, db, speech):
        self.db, self.speech = db, speech

    def load(self):
        """Each clip whole and in pieces, embedded once: the experiment is about labels."""
        self.db.make_store()
        self.db.run("""CREATE TABLE public.voices (reader text, clip int, piece int, embedding vector, speech_s float8)""")
        self.readers = sorted(folder.name for folder in self.speech.iterdir() if folder.is_dir())
        for reader in self.readers:
            for clip, path in enumerate(sorted((self.speech / reader).glob("*.flac"))):
                self.db.run(f"""CREATE TEMP TABLE one AS SELECT {bytea(path.read_bytes())}::bytea AS audio;
                    INSERT INTO voices SELECT '{reader}', {clip}, x.ordinal - 1, x.embedding, x.speech_s
                    FROM one, audio_info(audio) AS i,
                         LATERAL (SELECT array_agg(s ORDER BY s) AS starts FROM generate_series(0, floor(i.duration_s / {PIECE_S})::int - 1) AS s) AS p,
                         extract_speaker_embeddings(audio, 0::float8 || (SELECT array_agg(s * {PIECE_S}) FROM unnest(p.starts) AS s),
                             NULL::float8 || (SELECT array_agg((s + 1) * {PIECE_S}) FROM unnest(p.starts) AS s)) AS x
                    WHERE x.embedding IS NOT NULL;
                    DROP TABLE one;""")

    def recording(self, name, reader, clip, pieces):
        """SQL that makes a recording of a clip of its pieces, or of the whole clip, and identifies it."""
        return f"""
            INSERT INTO speaker.recordings (external_id) VALUES ('{name}');
            INSERT INTO speaker.runs (recording_id, segment_source, content_hash)
            SELECT id, 'trust', sha256('{name}') FROM speaker.recordings WHERE external_id = '{name}';
            INSERT INTO speaker.segments (run_id, source_index, start_time, end_time)
            SELECT u.id, v.piece, v.piece, v.piece + 1 FROM voices AS v, speaker.runs AS u JOIN speaker.recordings AS r ON r.id = u.recording_id
            WHERE r.external_id = '{name}' AND v.reader = '{reader}' AND v.clip = {clip} AND v.piece {'> 0' if pieces else '= 0'};
            INSERT INTO speaker.embeddings (segment_id, model_id, embedding, speech_s)
            SELECT s.id, 1, v.embedding, v.speech_s FROM speaker.segments AS s JOIN speaker.runs AS u ON u.id = s.run_id
            JOIN speaker.recordings AS r ON r.id = u.recording_id
            JOIN voices AS v ON v.reader = '{reader}' AND v.clip = {clip} AND v.piece = s.source_index
            WHERE r.external_id = '{name}';
            SELECT FROM speaker.identify_speakers(recording => '{name}');"""

    def tempting(self, reader):
        """The clip of a reader that is nearest to some piece of a stranger."""
        return int(self.db.rows(f"""SELECT a.clip FROM voices AS a, voices AS b
            WHERE a.reader = '{reader}' AND a.piece = 0 AND b.reader <> '{reader}' AND b.piece > 0 AND b.clip < {DAYS}
            ORDER BY speaker_similarity(a.embedding, b.embedding) DESC LIMIT 1""")[0][0])

    def own(self, reader, enrolled, when):
        """How many of the reader's other clips are recognised, without a trace; of how many."""
        clips = int(self.db.rows(f"SELECT count(DISTINCT clip) FROM voices WHERE reader = '{reader}'")[0][0])
        self.db.run("".join(f"""
            INSERT INTO found SELECT '{reader}', '{when}', count(*) FROM speaker.speaker_knn(
                (SELECT embedding FROM voices WHERE reader = '{reader}' AND clip = {clip} AND piece = 0), 1)
            WHERE similarity >= (SELECT speaker_threshold FROM speaker.models) AND speaker = '{reader}';""" for clip in range(clips) if clip != enrolled))
        return clips - 1

    def experiment(self, confirmed):
        """(takeovers, own clips recognised at first, and afterwards, of how many)"""
        self.db.run("DROP TABLE IF EXISTS found; CREATE TABLE found (reader text, at text, n int)")
        takeovers = tried = 0
        for reader in self.readers:
            enrolled = self.tempting(reader)
            self.db.run(f"""DELETE FROM speaker.recordings; DELETE FROM speaker.speakers;
                SELECT FROM speaker.add_speaker_embedding('{reader}',
                    (SELECT embedding FROM voices WHERE reader = '{reader}' AND clip = {enrolled} AND piece = 0));""")
            tried += self.own(reader, enrolled, "first")
            strangers = [other for other in self.readers if other != reader]
            self.db.run(f"SET speaker.confirm_automatic_labels = {'on' if confirmed else 'off'};" + "".join(
                self.recording(f"{other} {day}", other, day, pieces=True) for other in strangers for day in range(DAYS)))
            taken = self.db.rows(f"""SELECT count(*) FROM (
                SELECT FROM speaker.transcript WHERE recording LIKE '% {DAYS - 1}' GROUP BY recording
                HAVING avg((speaker IS NOT NULL)::int) > 0.5) AS x""")
            self.own(reader, enrolled, "last")
            [[first, last]] = self.db.rows(f"""SELECT sum(n) FILTER (WHERE at = 'first'), sum(n) FILTER (WHERE at = 'last')
                FROM found WHERE reader = '{reader}'""")
            takeovers += int(taken[0][0]) + (int(last) < int(first))
        [[first, last]] = self.db.rows("SELECT sum(n) FILTER (WHERE at = 'first'), sum(n) FILTER (WHERE at = 'last') FROM found")
        return takeovers, 100 * int(first) / tried, 100 * int(last) / tried

    def undo(self):
        """1 if a whole batch that was confirmed at once is taken back: labels and means are as before, all else too."""
        first, second = self.readers[:2]
        self.db.run(f"""DELETE FROM speaker.recordings; DELETE FROM speaker.speakers;
            SELECT FROM speaker.add_speaker_embedding('{first}', (SELECT embedding FROM voices WHERE reader = '{first}' AND clip = 0 AND piece = 0));
            SELECT FROM speaker.add_speaker_embedding('{second}', (SELECT embedding FROM voices WHERE reader = '{second}' AND clip = 0 AND piece = 0));
            SET speaker.confirm_automatic_labels = on;{self.recording('day', first, 1, pieces=True)}
            SELECT FROM speaker.label_segment((SELECT min(segment_id) FROM speaker.transcript WHERE recording = 'day'), '{second}');
            SELECT FROM speaker.undo_labels((SELECT max(id) FROM speaker.label_batches));""")
        # As it was: somebody has labelled one segment of it by hand, and all others are unknown.
        state = """SELECT s.id, s.speaker_id, s.label_source = 'manual', s.label_confirmed FROM speaker.segments AS s ORDER BY s.id"""
        means = "SELECT c.speaker_id, c.n, t.place, round(t.value::numeric, 9) FROM speaker.speaker_centroids AS c, unnest(c.sum) WITH ORDINALITY AS t (value, place) ORDER BY 1, 3"
        before, sums = self.db.rows(state), self.db.rows(means)
        self.db.run("SELECT FROM speaker.identify_speakers(recording => 'day'); "
                    "SELECT FROM speaker.confirm_labels(recording => 'day');")
        changed = self.db.rows(state) != before and self.db.rows(means) != sums
        self.db.run("""SELECT FROM speaker.undo_labels((SELECT max(id) FROM speaker.label_batches));
            SELECT FROM speaker.undo_labels((SELECT max(id) - 1 FROM speaker.label_batches));""")
        return int(changed and self.db.rows(state) == before and self.db.rows(means) == sums)


def main():
    conninfo, psql, speech = sys.argv[1:]
    trust = Trust(Psql(psql, conninfo), Path(speech))
    trust.load()
    figures = {}
    figures["takeovers"], figures["own_recognised_alone"], figures["own_still_recognised"] = trust.experiment(confirmed=False)
    figures["takeovers_confirmed_at_once"], _, _ = trust.experiment(confirmed=True)
    figures["undo_exact"] = trust.undo()
    missed = [name for name, met in TO_MEET.items() if not met(figures)]
    for name, value in figures.items():
        print(f"{name}={round(value, 2)}")
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
