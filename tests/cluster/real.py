"""Clustering of composed conversations, by each method: real.py CONNINFO PSQL SPEECH_DIR

SPEECH_DIR has a folder for each reader, with their utterances as audio files. Their voices, in pieces of 2 and 4 seconds,
become conversations: of two, of five, of one alone, with a guest of two words, with parallel runs and copies of the
recording. A segment is right if it is in the cluster that has most of its reader's segments, and that reader has most of
it; a guest of fewer segments than a cluster needs is right as noise.

Figures last, one key=value a line: for each method the mean over the conversations of the segments that are right, in
percent, and the noise on 4 s pieces of two. Exit status 1 if auto is not as good as the best, or below 90.
"""

import sys
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "tools")]
from sql import Psql, bytea  # noqa: E402

METHODS = "hdbscan", "agglomerative", "auto"
LEAST = 3


class Conversations:
    def __init__(self, db, speech):
        self.db, self.speech = db, speech
        self.readers = sorted(folder.name for folder in speech.iterdir() if folder.is_dir())

    def load(self):
        """Every piece of every clip, embedded once."""
        self.db.make_store()
        self.db.run("CREATE TABLE public.voices (n bigint GENERATED ALWAYS AS IDENTITY, reader text, piece_s float8, embedding vector)")
        for reader in self.readers:
            for path in sorted((self.speech / reader).glob("*.flac")):
                self.db.run(f"CREATE TEMP TABLE one AS SELECT {bytea(path.read_bytes())}::bytea AS audio;" + "".join(f"""
                    INSERT INTO voices (reader, piece_s, embedding) SELECT '{reader}', {piece_s}, x.embedding
                    FROM one, audio_info(audio) AS i,
                         LATERAL (SELECT array_agg(s * {piece_s}::float8 ORDER BY s) AS at
                                  FROM generate_series(0, floor(i.duration_s / {piece_s})::int - 1) AS s) AS p,
                         extract_speaker_embeddings(audio, p.at, (SELECT array_agg(a + {piece_s} ORDER BY a) FROM unnest(p.at) AS a)) AS x
                    WHERE p.at IS NOT NULL AND x.embedding IS NOT NULL;""" for piece_s in (1, 2, 4)))

    def compose(self, name, parts, runs=1):
        """A recording of so many pieces of each reader, in turn, with as many runs of the same turns."""
        wanted = " UNION ALL ".join(
            f"(SELECT n, reader, row_number() OVER (ORDER BY n) AS turn, embedding FROM voices "
            f"WHERE reader = '{reader}' AND piece_s = {piece_s} ORDER BY n LIMIT {count})" for reader, piece_s, count in parts)
        self.db.run(f"""
            CREATE TEMP TABLE turns AS SELECT row_number() OVER (ORDER BY turn, reader) AS place, * FROM ({wanted}) AS w;
            INSERT INTO speaker.recordings (external_id) VALUES ('{name}');
            INSERT INTO speaker.runs (recording_id, segment_source, content_hash)
            SELECT id, 'tool ' || run, sha256('{name}') FROM speaker.recordings, generate_series(1, {runs}) AS run WHERE external_id = '{name}';
            INSERT INTO speaker.segments (run_id, source_index, start_time, end_time, speaker_label)
            SELECT u.id, t.place, t.place * 4, t.place * 4 + 4, t.reader FROM turns AS t, speaker.runs AS u
            JOIN speaker.recordings AS r ON r.id = u.recording_id WHERE r.external_id = '{name}';
            INSERT INTO speaker.embeddings (segment_id, model_id, embedding)
            SELECT s.id, 1, t.embedding FROM turns AS t JOIN speaker.segments AS s ON s.source_index = t.place
            JOIN speaker.runs AS u ON u.id = s.run_id JOIN speaker.recordings AS r ON r.id = u.recording_id AND r.external_id = '{name}';""")

    def judge(self, name, method):
        """(percent of segments that are right, percent that are noise)"""
        rows = self.db.rows(f"""SELECT s.speaker_label, coalesce(c.cluster, '') FROM speaker.cluster_unlabeled(
            recording => '{name}', method => '{method}', min_cluster_size => {LEAST}) AS c, unnest(c.segment_ids) AS m (id)
            JOIN speaker.segments AS s ON s.id = m.id""")
        of_reader, of_cluster = {}, {}
        for reader, cluster in rows:
            of_reader.setdefault(reader, Counter())[cluster] += 1
            of_cluster.setdefault(cluster, Counter())[reader] += 1
        right = 0
        for reader, clusters in of_reader.items():
            named = [(count, cluster) for cluster, count in clusters.items() if cluster]
            if sum(clusters.values()) < LEAST:
                right += clusters[""]
            elif named:
                count, cluster = max(named)
                right += count if of_cluster[cluster].most_common(1)[0][0] == reader else 0
        return 100 * right / len(rows), 100 * sum(not cluster for _, cluster in rows) / len(rows)


def main():
    conninfo, psql, speech = sys.argv[1:]
    talk = Conversations(Psql(psql, conninfo), Path(speech))
    talk.load()
    composed = []

    def compose(name, *parts, runs=1):
        composed.append(name)
        talk.compose(name, parts, runs)

    readers = talk.readers
    for n, (one, other) in enumerate(zip(readers, readers[1:] + readers[:1])):
        compose(f"interview of 4 s {n}", (one, 4, 12), (other, 4, 12))
        compose(f"interview of 2 s {n}", (one, 2, 20), (other, 2, 20))
        compose(f"lone voice {n}", (one, 4, 12))
        compose(f"guest of two words {n}", (one, 4, 12), (other, 1, 2))
    for n in range(0, len(readers), 5):
        compose(f"five of 4 s {n}", *[(reader, 4, 10) for reader in readers[n:n + 5]])
        compose(f"three runs {n}", *[(reader, 4, 6) for reader in readers[n:n + 3]], runs=3)
    compose("all", *[(reader, 4, 12) for reader in readers])
    found = {method: {name: talk.judge(name, method) for name in composed} for method in METHODS}
    kinds = sorted({name.rstrip("0123456789 ") for name in composed})
    print(f"{'conversation':24}" + "".join(f"{method:>16}" for method in METHODS))
    for kind in kinds:
        names = [name for name in composed if name.rstrip("0123456789 ") == kind]
        print(f"{kind:24}" + "".join(f"{sum(found[method][name][0] for name in names) / len(names):16.1f}" for method in METHODS))
    right = {method: sum(score for score, _ in found[method].values()) / len(composed) for method in METHODS}
    for method in METHODS:
        interviews = [found[method][name][1] for name in composed if name.startswith("interview of 4 s")]
        print(f"{method}_noise_of_4_s={sum(interviews) / len(interviews):.1f}")
    for method in METHODS[:2]:
        print(f"{method}_clusters_right={right[method]:.1f}")
    print(f"auto_right={right['auto']:.1f}")
    sys.exit(not (right["auto"] >= 90 and right["auto"] >= max(right.values())))


if __name__ == "__main__":
    main()
