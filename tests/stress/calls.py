"""What sessions do to a store, a function for each kind of call. Each runs one statement, and notes what it did once that is
committed (truth.py compares). How often it is drawn, and what may go wrong with it when others are at work too, stands above it."""

import json
import random

CALLS = []
PEOPLE = ["Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal"]
# Of ours, where somebody else took away what a call was to work on.
GONE = {"recording_unknown", "run_unknown", "segment_unknown", "speaker_unknown", "cluster_unknown", "batch_unknown"}
UNIQUE, FOREIGN_KEY = "23505", "23503"


def call(often, *may_fail_with):
    def add(function):
        CALLS.append((function, often, frozenset(may_fail_with)))
        return function

    return add


def draw(rng):
    [(function, _, may_fail_with)] = rng.choices(CALLS, [often for _, often, _ in CALLS])
    return function, may_fail_with


def turns(rng, count):
    """Segments one after the other, at times that few other calls choose; now and then one without length."""
    at = [round(n * 0.9 + rng.choice([0, 0.1]), 1) for n in range(count)]
    # What starts later may be stored first.
    rng.shuffle(at)
    return json.dumps([{"start": t, "end": t + rng.choice([0, 0.8, 0.8, 0.8]), "speaker": "S"} for t in at])


def vector(rng):
    return "[" + ",".join(str(round(rng.uniform(-1, 1), 3)) for _ in range(256)) + "]"


# Bringing in ----------------------------------------------------------------------------------------------------------------


@call(10, "recording_differs", "row_hidden")
def ingest(s):
    # Fresh names, which several sessions find at about the same time. Most recordings are elsewhere: no time goes into audio.
    number = s.notes.next_recording(s.rng)
    content = random.Random(number)
    audio = s.clip(content) if number % 4 == 0 else None
    name, segments = f"r{number}", turns(content, content.randint(1, 6))
    rows = s.run("SELECT segment_id, run_id FROM {0}.ingest_recording(%s, %s, %s, embed => %s)", name, audio, segments,
                 s.rng.random() < 0.3)
    for segment, run in rows:
        s.note_run(name, run)
        s.note_segment(run, segment)


@call(6, UNIQUE, *GONE)
def add_run(s):
    name = s.some("recordings", "external_id") or "none"
    [[run]] = s.run("SELECT {0}.add_run(%s, %s, %s)", name, turns(s.rng, s.rng.randint(1, 6)), "manual")
    s.note_run(name, run)


@call(6, UNIQUE, *GONE)
def add_segments(s):
    run = s.some("runs", where="segment_source = 'manual'")
    ids = s.rng.sample("abcdefgh", 3)
    at = s.rng.randint(0, 3)
    segments = [{"id": id, "start": at + n, "end": at + n + 0.9, "speaker": "S"} for n, id in enumerate(ids)]
    for _, segment in s.run("SELECT * FROM {0}.add_segments(%s, %s::jsonb)", run, json.dumps(segments)):
        s.note_segment(run, segment)


@call(4)
def enroll_speaker(s):
    # Few clips and few people: the same clip at once.
    clip = s.rng.choice(s.clips)
    s.run("SELECT {0}.enroll_speaker(%s, %s, 0.5, 3)", s.rng.choice(PEOPLE[:3]), clip)


@call(6)
def add_speaker_embedding(s):
    [[segment]] = s.run("SELECT {0}.add_speaker_embedding(%s, %s)", s.rng.choice(PEOPLE), vector(s.rng))
    s.note("import", 1)


# The ledger -----------------------------------------------------------------------------------------------------------------


@call(6)
def embed_due(s):
    s.run("SELECT * FROM {0}.embed_due(%s)", s.rng.randint(1, 8))


@call(3, *GONE)
def embed_run(s):
    s.run("SELECT * FROM {0}.embed_run(%s)", s.some("runs") or -1)


@call(4, *GONE)
def backfill(s):
    # It commits, and so is nothing for a transaction.
    if not s.makes_transactions:
        s.run("CALL {0}.backfill_embeddings(batch_size => %s, run_id => %s, time_budget => '300 ms')",
              s.rng.randint(1, 20), s.rng.choice([None, None, s.some("runs")]))


@call(3, *GONE)
def retry_embeddings(s):
    if s.rng.random() < 0.5:
        s.run("SELECT {0}.retry_embeddings()")
    else:
        s.run("SELECT {0}.retry_embeddings(run_id => %s)", s.some("runs"))


@call(6, UNIQUE, FOREIGN_KEY)
def insert_embeddings(s):
    # In order, as everything of several rows (LOCKS.md).
    due = sorted(s.several("embedding_jobs", "segment_id", 3, "status <> 'success'"))
    s.run("INSERT INTO {0}.embeddings (segment_id, model_id, embedding) SELECT unnest(%s::bigint[]), 1, %s", due, vector(s.rng))


@call(4)
def replace_embedding(s):
    s.run("UPDATE {0}.embeddings SET embedding = %s WHERE segment_id = %s", vector(s.rng), s.some("embeddings", "segment_id"))


# Who speaks -----------------------------------------------------------------------------------------------------------------


@call(14, *GONE)
def label_segment(s):
    segment = s.some("segments")
    [[changed]] = s.run("SELECT {0}.label_segment(%s, %s, %s)", segment, s.rng.choice(PEOPLE), s.rng.random() < 0.4)
    s.note("label", changed)


@call(4, *GONE)
def unlabel_segment(s):
    segment = s.some("segments", where="speaker_id IS NOT NULL")
    [[changed]] = s.run("SELECT {0}.unlabel_segment(%s)", segment)
    s.note("label", int(changed))


@call(8, *GONE)
def label_cluster(s):
    member = s.row("SELECT clustering_id, cluster FROM {0}.cluster_members WHERE cluster IS NOT NULL ORDER BY random() LIMIT 1")
    [[changed]] = s.run("SELECT {0}.label_cluster(%s, %s, %s)", *(member or (0, "A")), s.rng.choice(PEOPLE))
    s.note("label", changed)


@call(4, *GONE)
def confirm_labels(s):
    what, which = s.rng.choice([("run_id", s.some("runs") or -1), ("speaker", s.rng.choice(PEOPLE)), ("batch", s.some("label_batches") or -1)])
    [[confirmed]] = s.run(f"SELECT confirmed FROM {{0}}.confirm_labels({what} => %s)", which)
    s.note("label", confirmed)


@call(4, *GONE)
def undo_labels(s):
    [[undone]] = s.run("SELECT undone FROM {0}.undo_labels(%s)", s.some("label_batches") or -1)
    s.note("label", undone)


@call(4, *GONE)
def merge_speakers(s):
    [[moved]] = s.run("SELECT {0}.merge_speakers(%s, %s)", *s.rng.sample(PEOPLE, 2))
    s.note("merge", moved)


@call(3, UNIQUE, *GONE)
def rename_speaker(s):
    s.run("SELECT {0}.rename_speaker(%s, %s)", *s.rng.sample(PEOPLE, 2))


@call(5, *GONE)
def identify_speakers(s):
    s.run("SELECT * FROM {0}.identify_speakers(%s, %s)", s.some("runs") or -1, s.rng.choice([0.75, -1]))


@call(4, *GONE)
def cluster_unlabeled(s):
    run = s.rng.choice([0, 0, s.some("runs") or 0])
    s.run("SELECT * FROM {0}.cluster_unlabeled(%s, 2)", run)


@call(2, *GONE)
def extend_clustering(s):
    s.run("SELECT * FROM {0}.extend_clustering(%s)", s.some("clusterings"))


# Changing what is there -----------------------------------------------------------------------------------------------------


@call(6)
def move_segments(s):
    if s.rng.random() < 0.5:
        s.run("UPDATE {0}.segments SET end_time = end_time + 0.1 WHERE id = %s", s.some("segments"))
    else:
        # In order, as everything of several rows (LOCKS.md).
        s.run("""
            WITH mine AS (SELECT id FROM {0}.segments WHERE run_id = %s ORDER BY id FOR UPDATE)
            UPDATE {0}.segments AS t SET start_time = start_time + 0.1, end_time = end_time + 0.2
            FROM mine WHERE t.id = mine.id""", s.some("runs"))


@call(3)
def change_text(s):
    s.run("UPDATE {0}.segments SET text = 'as heard' WHERE id = %s", s.some("segments"))


@call(3)
def change_audio(s):
    audio = s.rng.choice([None, s.clip(s.rng)])
    s.run("UPDATE {0}.recordings SET audio = %s WHERE external_id = %s", audio, s.some("recordings", "external_id"))


@call(2, *GONE)
def refresh_recording(s):
    s.run("SELECT {0}.refresh_recording(%s)", s.some("recordings", "external_id"))


@call(2)
def change_metadata(s):
    s.run("UPDATE {0}.recordings SET metadata = '{{}}' WHERE id = %s", s.some("recordings"))


# Deleting -------------------------------------------------------------------------------------------------------------------


def delete(s, table, ids):
    # Of several rows that others may lock too each is locked in order: a DELETE alone takes them as it finds them (LOCKS.md).
    gone = s.run(f"""
        WITH mine AS (SELECT id FROM {{0}}.{table} WHERE id = ANY (%s) ORDER BY id FOR UPDATE)
        DELETE FROM {{0}}.{table} AS t USING mine WHERE t.id = mine.id RETURNING t.id""", ids)
    s.note_gone(table, [id for (id,) in gone])


@call(5)
def delete_recordings(s):
    gone = s.run("DELETE FROM {0}.recordings WHERE id = ANY (%s) RETURNING id, external_id",
                 s.several("recordings", "id", s.rng.randint(1, 3)))
    s.note_gone("recordings", [id for id, _ in gone])
    s.note_gone("names", [name for _, name in gone])


@call(3)
def delete_runs(s):
    delete(s, "runs", s.several("runs", "id", s.rng.randint(1, 3)))


@call(2)
def delete_speakers(s):
    delete(s, "speakers", s.several("speakers", "id", s.rng.randint(1, 2)))


@call(4)
def delete_segments(s):
    if s.rng.random() < 0.5:
        delete(s, "segments", [s.some("segments")])
    else:
        delete(s, "segments", s.several("segments", "id", 4))


@call(4)
def delete_embeddings(s):
    s.run("""
        WITH mine AS (
            SELECT segment_id, model_id FROM {0}.embeddings WHERE segment_id = ANY (%s) ORDER BY 1, 2 FOR UPDATE)
        DELETE FROM {0}.embeddings AS e USING mine WHERE (e.segment_id, e.model_id) = (mine.segment_id, mine.model_id)""",
          s.several("embeddings", "segment_id", s.rng.randint(1, 4)))


@call(1)
def delete_clustering(s):
    delete(s, "clusterings", [s.some("clusterings")])


# Reading --------------------------------------------------------------------------------------------------------------------


@call(4)
def search(s):
    s.run("SELECT * FROM {0}.speaker_knn(%s), {0}.nearest_segments(%s, 3)", vector(s.rng), vector(s.rng))


@call(2)
def look(s):
    s.run("SELECT (SELECT sum(segments) FROM {0}.status), (SELECT sum(remaining) FROM {0}.backfill_progress), count(*) "
          "FROM {0}.transcript")
