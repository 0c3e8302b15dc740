"""What pg_dump keeps of an extension that owns tables, and that a restored database works on."""

import subprocess

import psycopg
import pytest

from conftest import INTERVIEW, MEETING

TABLES = (
    "models", "recordings", "runs", "segments", "embeddings", "embedding_jobs", "speakers", "clusterings",
    "cluster_members", "assignments", "speaker_centroids",
)


def fill(connection):
    """Two recordings, labels from a cluster and by hand, an enrolment, an import, and a second model."""
    connection.execute("INSERT INTO speaker.models SELECT (jsonb_populate_record(m, '{\"id\": 1000, \"version\": \"2\"}')).* "
                       "FROM speaker.models AS m WHERE id = 1")
    for recording in (MEETING, INTERVIEW):
        connection.execute("SELECT count(*) FROM ingest_recording(%s, %s, %s)",
                           (recording.name, recording.audio, recording.segments))
    connection.execute("SELECT label_cluster(clustering_id, cluster, 'Voice ' || cluster) FROM cluster_unlabeled(1) WHERE cluster <> 'D'")
    connection.execute("SELECT count(*) FROM identify_speakers(2)")
    connection.execute("SELECT enroll_speaker('Enrolled', %s, 0, 4)", (MEETING.audio,))
    connection.execute("SELECT add_speaker_embedding('Imported', embedding) FROM speaker.embeddings WHERE segment_id = 1")
    connection.execute("SELECT unlabel_segment(min(id)) FROM speaker.segments WHERE speaker_id IS NOT NULL")


def picture(database):
    """Everything that must survive: rows, answers and grants."""
    with psycopg.connect(database.as_owner) as connection:
        rows = {
            table: connection.execute(f"SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)), '[]') FROM speaker.{table} AS t").fetchone()
            for table in TABLES
        }
        answers = connection.execute(
            "SELECT s.id, k.speaker, k.distance, k.embeddings FROM speaker.segments AS s "
            "JOIN speaker.embeddings AS e ON e.segment_id = s.id, speaker_knn(e.embedding, 3) AS k "
            "WHERE e.model_id = 1 ORDER BY s.id, k.distance").fetchall()
        grants = connection.execute(
            "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'speaker'::regnamespace ORDER BY 1").fetchall()
    return rows, answers, grants


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_a_restored_database_is_the_same_and_works_on(database, databases, programs, tmp_path, form):
    with psycopg.connect(database.as_role) as connection, psycopg.connect(database.as_owner) as owner:
        owner.execute("GRANT INSERT ON speaker.models TO " + database.role)
        owner.commit()
        fill(connection)
    before = picture(database)
    assert len(before[0]["speaker_centroids"][0]) == 5

    dump = tmp_path / "dump"
    restored = databases()
    subprocess.run([programs / "pg_dump", f"--format={form}", f"--file={dump}", database.as_owner], check=True)
    restore = [programs / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", restored.as_owner, "-f", dump]
    if form == "custom":
        restore = [programs / "pg_restore", "--exit-on-error", "-d", restored.as_owner, dump]
    subprocess.run(restore, check=True, stdout=subprocess.DEVNULL)

    rows, answers, grants = picture(restored)
    for table in set(TABLES) - {"speaker_centroids", "models"}:
        assert rows[table] == before[0][table], table
    # Models that come with the extension are made by it, at another time.
    assert [(m["id"], m["sha256"]) for m in rows["models"][0]] == [(m["id"], m["sha256"]) for m in before[0]["models"][0]]
    # The sums are made anew, in another order: the last digits may differ.
    for old, new in zip(before[0]["speaker_centroids"][0], rows["speaker_centroids"][0], strict=True):
        assert (old["speaker_id"], old["model_id"], old["n"]) == (new["speaker_id"], new["model_id"], new["n"])
        assert new["sum"] == pytest.approx(old["sum"], abs=1e-12)
    assert [row[:2] + row[3:] for row in answers] == [row[:2] + row[3:] for row in before[1]]
    assert [row[2] for row in answers] == pytest.approx([row[2] for row in before[1]], abs=1e-6)
    assert grants == before[2]

    # The next rows do not collide with the restored ones, in any table that numbers its own.
    with psycopg.connect(restored.as_role) as connection:
        run = connection.execute("SELECT max(run_id) FROM ingest_recording('next', %s, %s)",
                                 (INTERVIEW.audio, INTERVIEW.segments)).fetchone()[0]
        found = connection.execute("SELECT count(*) FROM cluster_unlabeled(%s)", (run,)).fetchone()[0]
        assert found > 0
        assert connection.execute("SELECT label_segment(max(id), 'Newcomer') FROM speaker.segments").fetchone() == (1,)
