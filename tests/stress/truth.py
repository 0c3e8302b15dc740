"""What must be so after a storm, whatever came in which order."""

import time

# Derived, and counted anew: rows that differ.
CENTROIDS = """
    SELECT count(*) FROM (
        SELECT s.speaker_id, e.model_id, count(*) AS n, speaker_weighted_sum(e.embedding, 1::float8) AS sum
        FROM {0}.segments AS s JOIN {0}.embeddings AS e ON e.segment_id = s.id
        WHERE s.speaker_id IS NOT NULL AND s.label_confirmed GROUP BY 1, 2) AS made
    FULL JOIN {0}.speaker_centroids AS kept USING (speaker_id, model_id)
    WHERE made.n IS DISTINCT FROM kept.n
       OR (SELECT max(abs(x - y)) FROM unnest(made.sum, kept.sum) AS u (x, y)) > 1e-9"""
TALLIES = """
    SELECT count(*) FROM (
        SELECT 0 AS model_id, 'segments' AS what, count(*) AS n FROM {0}.segments
        UNION ALL SELECT model_id, status, count(*) FROM {0}.embedding_jobs GROUP BY 1, 2
        UNION ALL SELECT model_id, 'speakers', count(*) FROM {0}.speaker_centroids GROUP BY 1) AS made
    FULL JOIN (SELECT coalesce(model_id, 0) AS model_id, what, sum(n) AS n FROM {0}.tallies GROUP BY 1, 2) AS kept
      USING (model_id, what)
    WHERE coalesce(made.n, 0) <> coalesce(kept.n, 0)"""
# Segments whose state is not what their audio, their bounds and their vector say.
LEDGER = """
    SELECT s.id, j.status, j.error_code, j.error, j.attempts, j.crashes, j.processed_at, o.has_audio, e.segment_id IS NOT NULL AS has_vector,
           j.source_hash IS DISTINCT FROM o.source_hash AS is_stale
    FROM {0}.segments AS s
    JOIN {0}.segment_sources AS o ON o.segment_id = s.id
    LEFT JOIN {0}.embedding_jobs AS j ON j.segment_id = s.id
    LEFT JOIN {0}.embeddings AS e ON e.segment_id = s.id
    WHERE CASE j.status
        WHEN 'success' THEN e.segment_id IS NULL OR j.source_hash IS DISTINCT FROM o.source_hash
        WHEN 'rejected' THEN e.segment_id IS NOT NULL OR s.rejected IS NULL AND j.error_code NOT LIKE 'speech%' AND j.error_code NOT LIKE 'segment%'
        WHEN 'missing_audio' THEN e.segment_id IS NOT NULL OR o.has_audio
        ELSE true END
       OR j.crashes <> 0"""
# Labels that do not follow from the one before, and segments that do not have the last one.
HISTORY = """
    SELECT count(*) FROM (
        SELECT segment_id, previous_speaker_id IS DISTINCT FROM lag(speaker_id) OVER one AS is_gap, speaker_id,
               row_number() OVER (PARTITION BY segment_id ORDER BY id DESC) = 1 AS is_last
        FROM {0}.assignments WINDOW one AS (PARTITION BY segment_id ORDER BY id)) AS a
    FULL JOIN (SELECT id AS segment_id, speaker_id FROM {0}.segments) AS s USING (segment_id)
    WHERE a.is_gap OR a.segment_id IS NULL AND s.speaker_id IS NOT NULL
       OR a.is_last AND s.segment_id IS NOT NULL AND a.speaker_id IS DISTINCT FROM s.speaker_id"""
EFFECTS = """
    SELECT count(*) FILTER (WHERE source IN ('manual', 'cluster', 'confirm', 'undo')), count(*) FILTER (WHERE source = 'merge'),
           count(*) FILTER (WHERE source = 'import')
    FROM {0}.assignments"""


def settle(owner, schema, seconds=60):
    """Finishes what is due, and counts what cannot be."""
    until = time.monotonic() + seconds
    while owner.execute(f"CALL {schema}.backfill_embeddings()").fetchone()[2] and time.monotonic() < until:
        pass
    owner.execute(f"SELECT {schema}.retry_embeddings()")
    owner.execute(f"CALL {schema}.backfill_embeddings()")
    [[left]] = owner.execute(f"""
        SELECT (SELECT count(*) FROM {schema}.embedding_jobs WHERE status IN ('pending', 'running', 'fail'))
             + (SELECT count(*) FROM {schema}.embedding_claims)
             + (SELECT count(*) FROM {schema}.embed_due(100))""")
    [[locks]] = owner.execute("""
        SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (
            SELECT oid FROM pg_database WHERE datname = current_database())""")
    return left + locks


def drift(owner, schema, say):
    wrong = {name: owner.execute(query.format(schema)).fetchone()[0] for name, query in (("centroids", CENTROIDS), ("tallies", TALLIES))}
    return report(say, f"DRIFT in {schema}", wrong)


def report(say, what, wrong):
    for name, number in wrong.items():
        if number:
            say(f"{what}: {name} {number}")
    return sum(wrong.values())


def lost(owner, notes, say):
    """Effects of committed calls that are not there, and states that say what is not so."""

    def ids(table):
        return {id for (id,) in owner.execute(f"SELECT id FROM {notes.schema}.{table}")}

    runs, segments, gone = ids("runs"), ids("segments"), notes.gone
    wrong = owner.execute(LEDGER.format(notes.schema)).fetchall()
    for row in wrong[:5]:
        say(f"LEDGER of {notes.schema}: {row}")
    missing = {
        "ledger": len(wrong),
        "history": owner.execute(HISTORY.format(notes.schema)).fetchone()[0],
        "runs": len({run for run, name in notes.runs.items() if name not in gone["names"]} - gone["runs"] - runs),
        # Whoever adds to a run may know of it before its maker has noted it, but not now.
        "segments": len({s for s, run in notes.segments.items() if notes.runs[run] not in gone["names"] and run not in gone["runs"]}
                        - gone["segments"] - segments),
        "deletions": sum(len(ids(table) & gone[table]) for table in gone if table != "names"),
    }
    known = owner.execute(EFFECTS.format(notes.schema)).fetchone()
    for what, number in zip(("label", "merge", "import"), known, strict=True):
        missing[what] = abs(number - notes.sums[what])
    return report(say, f"LOST in {notes.schema}", missing)
