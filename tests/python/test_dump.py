"""What pg_dump keeps of an extension that owns tables, and that a restored database works on."""

import subprocess

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from conftest import FIXTURES, INTERVIEW, MEETING

TABLES = (
    "recordings", "speakers", "runs", "segments", "embeddings", "embedding_jobs", "clusterings", "cluster_members",
    "assignments",
)


@pytest.fixture
def filled(database):
    """Two recordings, labels of every kind, enrolments, an import, and a second model with embeddings of its own."""
    with psycopg.connect(database.as_owner) as owner:
        owner.execute(
            "INSERT INTO speaker.models (name, version, sha256, dim, utterance_threshold, speaker_threshold, "
            "centroid_threshold, manifest) VALUES ('tiny', '1', repeat('0', 64), 3, 0.5, 0.5, 0.5, '')"
        )
        # One grant beyond those of grant_access().
        owner.execute(f"GRANT UPDATE (manifest) ON speaker.models TO {database.role}")
    with psycopg.connect(database.as_role) as connection:
        runs = [
            connection.execute(
                "SELECT max(run_id) FROM ingest_recording(%s, %s, %s)", (recording.name, recording.audio, recording.segments)
            ).fetchone()[0]
            for recording in (MEETING, INTERVIEW)
        ]
        connection.execute(
            "SELECT label_cluster(clustering_id, cluster, 'Voice ' || cluster) FROM cluster_unlabeled(%s) WHERE cluster <> 'D'",
            runs[:1],
        )
        connection.execute("SELECT count(*) FROM identify_speakers(%s)", runs[1:])
        for voice in ("awb", "rms"):
            connection.execute("SELECT enroll_speaker(%s, %s)", (voice, (FIXTURES / f"enrol/{voice}.flac").read_bytes()))
        connection.execute("SELECT add_speaker_embedding('Imported', embedding) FROM speaker.embeddings WHERE segment_id = 1")
        connection.execute("SELECT add_speaker_embedding('Imported', '[3,0,4]', model => 'tiny')")
        connection.execute("SELECT unlabel_segment(min(id)) FROM speaker.segments WHERE speaker_id IS NOT NULL")
    return database


def rows(database):
    """The rows of every table whose content must survive to the last bit."""
    with psycopg.connect(database.as_owner) as owner:
        contents = {
            table: owner.execute(f"SELECT t::text FROM speaker.{table} AS t ORDER BY 1").fetchall() for table in TABLES
        }
        # The models that come with the extension are made by it, at another time.
        contents["models"] = owner.execute("SELECT m::text FROM speaker.models AS m WHERE id >= 1000").fetchall()
        return contents


def centroids(database):
    with psycopg.connect(database.as_owner) as owner:
        return owner.execute(
            "SELECT speaker_id, model_id, n, sum FROM speaker.speaker_centroids ORDER BY speaker_id, model_id"
        ).fetchall()


def grants(database):
    """Rights on the schema, its relations, their columns and its functions."""
    with psycopg.connect(database.as_owner) as owner:
        return owner.execute(
            """
            SELECT 'schema', nspname, nspacl::text FROM pg_namespace WHERE nspname = 'speaker'
            UNION ALL
            SELECT 'relation', c.oid::regclass::text, relacl::text FROM pg_class AS c WHERE relnamespace = 'speaker'::regnamespace
            UNION ALL
            SELECT 'column', attrelid::regclass || '.' || attname, attacl::text
            FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
            WHERE relnamespace = 'speaker'::regnamespace AND attacl IS NOT NULL
            UNION ALL
            SELECT 'function', p.oid::regprocedure::text, proacl::text
            FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
            ORDER BY 1, 2
            """
        ).fetchall()


def nearest_speakers(database):
    """What searches answer, per segment: the speakers in order, and their distances. The names of everything are
    qualified, because nothing is on the search path."""
    with psycopg.connect(make_conninfo(database.as_role, options="-c search_path=")) as connection:
        answers = connection.execute(
            "SELECT e.segment_id, k.speaker, k.embeddings, k.distance FROM speaker.embeddings AS e, "
            "public.speaker_knn(e.embedding, 3) AS k WHERE e.model_id = 1 ORDER BY e.segment_id, k.distance"
        ).fetchall()
    return [answer[:3] for answer in answers], [answer[3] for answer in answers]


def restored(source, target, programs, dump, form):
    """A dump of `source`, restored into `target`."""
    subprocess.run([programs / "pg_dump", f"--format={form}", f"--file={dump}", source.as_owner], check=True)
    if form == "plain":
        command = [programs / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", target.as_owner, "-f", dump]
    else:
        command = [programs / "pg_restore", "--exit-on-error", "-d", target.as_owner, dump]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return target


def assert_close(actual, expected):
    """Sums are made anew by triggers, in another order: the last digits may differ."""
    assert [centroid[:3] for centroid in actual] == [centroid[:3] for centroid in expected]
    for (*_, actual_sum), (*_, expected_sum) in zip(actual, expected, strict=True):
        assert actual_sum == pytest.approx(expected_sum, abs=1e-12, rel=0)


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_a_restored_database_is_the_same_and_works_on(filled, databases, programs, tmp_path, form):
    copy = restored(filled, databases(), programs, tmp_path / "dump", form)

    before, after = rows(filled), rows(copy)
    assert all(before.values())
    for table in before:
        assert after[table] == before[table], table
    # Voice A, B and C, awb, rms, and Imported under two models.
    assert len(centroids(filled)) == 7
    assert_close(centroids(copy), centroids(filled))
    assert grants(copy) == grants(filled)
    speakers, distances = nearest_speakers(copy)
    expected_speakers, expected_distances = nearest_speakers(filled)
    assert len(speakers) == 3 * (24 + 12 + 2 + 1)
    assert speakers == expected_speakers
    assert distances == pytest.approx(expected_distances, abs=1e-6)

    # The next rows do not collide with the restored ones, in any table that numbers its own.
    with psycopg.connect(copy.as_role) as connection:
        run = connection.execute(
            "SELECT max(run_id) FROM ingest_recording('next', %s, %s)", (INTERVIEW.audio, INTERVIEW.segments)
        ).fetchone()[0]
        [(clusters,)] = connection.execute("SELECT count(cluster) FROM cluster_unlabeled(%s)", (run,))
        assert clusters == 3
        assert connection.execute("SELECT label_segment(max(id), 'Newcomer') FROM speaker.segments").fetchone() == (1,)
    with psycopg.connect(copy.as_owner) as owner:
        model = owner.execute(
            "INSERT INTO speaker.models SELECT (jsonb_populate_record(m, "
            "jsonb_build_object('version', '2', 'id', nextval('speaker.models_id_seq')))).* "
            "FROM speaker.models AS m WHERE name = 'tiny' RETURNING id"
        ).fetchone()
        assert model == (1001,)


def test_a_parallel_restore(filled, databases, programs, tmp_path):
    """pg_restore --jobs does not wait for what foreign keys of extensions refer to, so they are off while rows come
    back. Then no trigger keeps the centroids, and rebuild_speaker_centroids() makes them anew."""
    copy = databases()
    dump = tmp_path / "dump"
    subprocess.run([programs / "pg_dump", "--format=custom", f"--file={dump}", filled.as_owner], check=True)
    restore = [programs / "pg_restore", "--exit-on-error", "-d", copy.as_owner]
    subprocess.run([*restore, "--schema-only", dump], check=True)
    subprocess.run([*restore, "--data-only", "--disable-triggers", "--jobs=2", dump], check=True)
    assert rows(copy) == rows(filled)
    assert centroids(copy) == []
    with psycopg.connect(copy.as_owner) as owner:
        assert owner.execute("SELECT rebuild_speaker_centroids()").fetchone() == (7,)
    assert_close(centroids(copy), centroids(filled))


def test_extensions_in_a_schema_of_their_own(databases, programs, tmp_path):
    source = databases()
    with psycopg.connect(source.as_owner) as owner:
        owner.execute("CREATE SCHEMA vectors")
        owner.execute("CREATE SCHEMA voices")
        owner.execute("CREATE EXTENSION vector SCHEMA vectors")
        owner.execute("CREATE EXTENSION pg_speaker SCHEMA voices")
        owner.execute("SET search_path = ''")
        owner.execute("SELECT count(*) FROM voices.ingest_recording('interview', %s, %s)", (INTERVIEW.audio, INTERVIEW.segments))
        owner.execute("SELECT voices.label_segment(1, 'Ann')")
        owner.execute("SELECT voices.label_segment(4, 'Ann')")
    copy = restored(source, databases(), programs, tmp_path / "dump", "plain")
    assert rows(copy) == rows(source)
    assert_close(centroids(copy), centroids(source))
    with psycopg.connect(make_conninfo(copy.as_owner, options="-c search_path=")) as owner:
        answer = owner.execute(
            "SELECT k.speaker, k.embeddings FROM speaker.embeddings AS e, voices.speaker_knn(e.embedding) AS k WHERE e.segment_id = 1"
        ).fetchone()
        assert answer == ("Ann", 2)
