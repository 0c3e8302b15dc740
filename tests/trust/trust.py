"""Whether labels can be trusted, on real speech and all through SQL: trust.py CONNINFO PSQL [SPEECH_DIR]

SPEECH_DIR has a folder for each reader, with ten of their utterances as audio files: LibriSpeech test-other, 10 readers x 10
utterances. Each is extracted once, whole and its first seconds; the experiments work with these vectors.

The takeover: a reader is enrolled with one utterance, and then a stranger comes in five recordings, of two utterances each,
which are identified one after the other. Every utterance enrols its reader, against every other reader. A takeover is one
after which most of the reader's own utterances are not recognised any more, or most of the stranger's are called the reader,
and it was not so before the first recording. The same with labels that are confirmed at once shows that it can happen.

Tables first, which docs/decisions/013-trust.md has; the figures last, one key=value a line, percentages without the sign.
Exit status 1 if one of them is missed.
"""

import itertools
import json
import random
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2] / "tools")]
from sql import Psql, bytea  # noqa: E402

SPEECH = Path(__file__).parents[3] / "shared/audio/librispeech-test-other"
SEED = 20261127
UTTERANCES, RECORDINGS = 10, 5
# The first seconds of an utterance, read with their pauses; what is left of them after these were taken out is what counts.
CROPS = (1, 1.5, 2, 3, 4, 6)
# Seconds of speech, from and to.
BANDS = ((0.6, 1), (1, 1.5), (1.5, 2), (2, 3), (3, 5), (5, 100))

MARGINS = (0, 0.02, 0.05, 0.1, 0.15, 0.2)

TO_MEET = {
    "takeovers": lambda value: value == 0,
    "own_still_recognised": lambda value: value >= FIGURES["own_recognised_alone"],
    "undo_exact": lambda value: value == 1,
    "takeovers_confirmed_at_once": lambda value: value > 0,
}
FIGURES = {}

FUNCTIONS = """
CREATE FUNCTION named(of_recording text, who text, but_not int, OUT n int) LANGUAGE plpgsql AS $$
BEGIN
    SELECT count(*) INTO n FROM speaker.identify_speakers(recording => of_recording, assign => false)
    WHERE speaker = who AND external_id <> but_not::text;
END $$;
-- All of it is undone at the end; what it has found stays.
CREATE FUNCTION takeover(enrolled int, stranger text, OUT alone int, OUT still int, OUT named_before int, OUT named_after int)
LANGUAGE plpgsql AS $$
DECLARE
    who text;
    voice vector;
BEGIN
    SELECT reader, embedding INTO who, voice FROM clips WHERE n = enrolled AND seconds IS NULL;
    PERFORM speaker.add_speaker_embedding(who, voice);
    alone := named(who, who, enrolled);
    named_before := named(stranger, who, -1);
    FOR day IN 1 .. {recordings} LOOP
        PERFORM count(*) FROM speaker.identify_speakers(recording => stranger || ' day ' || day);
    END LOOP;
    still := named(who, who, enrolled);
    named_after := named(stranger, who, -1);
    RAISE EXCEPTION 'undone';
EXCEPTION WHEN raise_exception THEN
    IF SQLERRM <> 'undone' THEN
        RAISE;
    END IF;
END $$;
-- Whatever the store has of labels, and the means to the tenth place.
CREATE FUNCTION labels(OUT digest text) LANGUAGE plpgsql AS $$
BEGIN
    SELECT md5(string_agg(x.line, chr(10) ORDER BY x.line)) INTO digest
    FROM (SELECT s::text AS line FROM speaker.segments AS s
          UNION ALL
          SELECT c.speaker_id || ' ' || c.model_id || ' ' || c.n || ' ' || (
              SELECT string_agg(round(v::numeric, 9)::text, ' ' ORDER BY place) FROM unnest(c.sum) WITH ORDINALITY AS u (v, place))
          FROM speaker.speaker_centroids AS c) AS x;
END $$;
"""


def load(db, speech):
    """Every utterance and its first seconds as vectors, and a recording of all of each reader, and five of two."""
    readers = sorted(folder.name for folder in speech.iterdir() if folder.is_dir())
    files = [(reader, file) for reader in readers for file in sorted((speech / reader).glob("*.flac"))[:UTTERANCES]]
    db.run("CREATE TABLE public.clips (n int, reader text, seconds float8, speech_s float8, embedding vector)")
    ends = ", ".join(["NULL", *map(str, CROPS)])
    for n, (reader, file) in enumerate(files):
        db.run(f"""INSERT INTO clips
            SELECT {n}, '{reader}', (ARRAY[{ends}]::float8[])[e.ordinal], e.speech_s, e.embedding
            FROM extract_speaker_embeddings({bytea(file.read_bytes())}, array_fill(0::float8, ARRAY[{len(CROPS) + 1}]),
                                            ARRAY[{ends}]::float8[]) AS e WHERE e.error_code IS NULL""")
    for reader in readers:
        own = [n for n, (name, _) in enumerate(files) if name == reader]
        size = UTTERANCES // RECORDINGS
        parts = {reader: own} | {f"{reader} day {day + 1}": own[day * size:(day + 1) * size] for day in range(RECORDINGS)}
        for name, of_it in parts.items():
            turns = json.dumps([{"id": str(n), "start": at, "end": at + 1} for at, n in enumerate(of_it)])
            db.run(f"""INSERT INTO speaker.recordings (external_id) VALUES ('{name}');
                SELECT speaker.add_run('{name}', '{turns}', 'manual') AS run \\gset
                INSERT INTO speaker.embeddings (segment_id, model_id, embedding, speech_s)
                SELECT s.id, model_id(), c.embedding, c.speech_s
                FROM speaker.segments AS s JOIN clips AS c ON c.n = s.external_id::int AND c.seconds IS NULL
                WHERE s.run_id = :run""")
    return readers, len(files)


def takeovers(db, setting):
    """How many there were, and of 100 own utterances how many were recognised before and after."""
    rows = db.run(f"""SET speaker.confirm_automatic_labels = {setting};
        SELECT c.n, r.reader, t.* FROM clips AS c, (SELECT DISTINCT reader FROM clips) AS r, LATERAL takeover(c.n, r.reader) AS t
        WHERE c.seconds IS NULL AND r.reader <> c.reader ORDER BY 1, 2""")
    rows = [row.split("|") for row in rows.splitlines()]
    alone, still, before, after = np.array([row[2:] for row in rows], dtype=int).T
    others = UTTERANCES - 1
    lost = (2 * still < others) & (2 * alone >= others)
    named = (2 * after > UTTERANCES) & (2 * before <= UTTERANCES)
    return int((lost | named).sum()), 100 * alone.mean() / others, 100 * still.mean() / others, len(rows)


def undo(db):
    """Everybody is enrolled, and every recording identified in a call each; then the labels, and that they were confirmed, are
    taken back from the last call to the first."""
    db.run("SELECT count(speaker.add_speaker_embedding(reader, embedding)) FROM clips WHERE n % 10 = 0 AND seconds IS NULL")
    states, batches = [], []
    for call in [
        "SELECT max(batch_id), count(batch_id) FROM speaker.identify_speakers(recording => '{0}')",
        "SELECT batch_id, confirmed FROM speaker.confirm_labels(recording => '{0}')",
    ]:
        for (recording,) in db.rows("SELECT external_id FROM speaker.recordings WHERE external_id ~ '^[0-9]+$' ORDER BY 1"):
            states.append(db.run("SELECT labels()"))
            batches.append(db.run(call.format(recording)).strip().split("|"))
    moved = len(set(states)) == len(states)
    taken = [db.run(f"SELECT left_alone FROM speaker.undo_labels({batch})").strip() == "0" and db.run("SELECT labels()") == state
             for (batch, _), state in zip(batches[::-1], states[::-1], strict=True)]
    print(f"undone: {sum(taken)} of {len(taken)} calls, {sum(int(n) for _, n in batches)} labels and confirmations")
    return int(moved and all(taken))


def gates(db):
    """Errors by the seconds of speech in what is compared, and in what somebody was enrolled with."""
    rows = db.rows("SELECT n, reader, coalesce(seconds, 0), speech_s, embedding FROM clips ORDER BY 1, 3")
    threshold = float(db.rows("SELECT speaker_threshold FROM speaker.models WHERE is_current")[0][0])
    numbers, readers = np.array([int(row[0]) for row in rows]), np.array([row[1] for row in rows])
    whole, speech = np.array([float(row[2]) == 0 for row in rows]), np.array([float(row[3]) for row in rows])
    vectors = np.array([json.loads(row[4]) for row in rows])
    names = sorted(set(readers))

    def trials(enrolled_from, queries, count, margin=0.0):
        """Half of the readers enrolled with some utterances each, the other half strangers: all 252 halves, each with new draws."""
        draw = random.Random(SEED)
        tries, accepted, missed, mistaken = [0, 0], 0, 0, 0
        for known in itertools.combinations(names, len(names) // 2):
            means, taken = [], set()
            for name in known:
                # An utterance enrols once, by whichever of its crops.
                among = sorted(set(numbers[enrolled_from & (readers == name)]))
                if len(among) < count:
                    return None
                chosen = draw.sample(among, count)
                taken |= set(chosen)
                means.append(vectors[[draw.choice(list(np.flatnonzero(enrolled_from & (numbers == n)))) for n in chosen]].mean(0))
            asked = queries & ~np.isin(numbers, list(taken))
            scores = vectors[asked] @ np.array(means).T
            ordered = np.sort(scores, 1)
            is_named = (ordered[:, -1] >= threshold) & (ordered[:, -1] - ordered[:, -2] >= margin)
            stranger, named = ~np.isin(readers[asked], known), np.array(known)[scores.argmax(1)]
            tries[0] += stranger.sum()
            tries[1] += (~stranger).sum()
            accepted += (stranger & is_named).sum()
            missed += (~stranger & ~is_named).sum()
            mistaken += (~stranger & is_named & (named != readers[asked])).sum()
        return 100 * accepted / tries[0], 100 * missed / tries[1], 100 * mistaken / tries[1]

    def table(title, first, lines):
        print(f"\n{title}: strangers accepted / not recognised / taken for another, percent")
        print(f"| {first} | vectors | 1 enrolled | 2 enrolled | 5 enrolled |\n| --- | --- | --- | --- | --- |")
        for name, enrolled_from, queries, counted, *margin in lines:
            cells = [trials(enrolled_from, queries, count, *margin) if counted.any() else None for count in (1, 2, 5)]
            shown = " | ".join("" if cell is None else " / ".join(f"{rate:.2f}" for rate in cell) for cell in cells)
            print(f"| {name} | {counted.sum()} | {shown} |")

    bands = [(f"{least} to {most}", (speech >= least) & (speech < most)) for least, most in BANDS]
    table("What is compared", "seconds of speech", [(name, whole, band, band) for name, band in bands])
    table("What somebody was enrolled with", "seconds of speech", [(name, band, whole, band) for name, band in bands])
    table("How far the second is behind", "margin", [(margin, whole, whole, whole, margin) for margin in MARGINS])
    print()


def main():
    conninfo, psql, *speech = sys.argv[1:]
    speech = Path(speech[0]) if speech and speech[0] else SPEECH
    if not speech.is_dir():
        sys.exit(f"there is no speech in {speech}; SPEECH_DIR names another folder")
    db = Psql(psql, conninfo)
    db.make_store()
    readers, FIGURES["utterances"] = load(db, speech)
    db.run(FUNCTIONS.format(recordings=RECORDINGS))
    gates(db)
    FIGURES["takeovers"], FIGURES["own_recognised_alone"], FIGURES["own_still_recognised"], FIGURES["trials"] = takeovers(db, "off")
    FIGURES["takeovers_confirmed_at_once"], _, FIGURES["own_still_recognised_confirmed_at_once"], _ = takeovers(db, "on")
    FIGURES["undo_exact"] = undo(db)
    missed = [key for key, holds in TO_MEET.items() if not holds(FIGURES[key])]
    for key in missed:
        print(f"missed: {key}")
    for key, value in FIGURES.items():
        print(f"{key}={value:.2f}" if isinstance(value, float) else f"{key}={value}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
