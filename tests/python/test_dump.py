"""A store is dumped and restored as any schema, in every usual way, and a restored one works on. (`make restore` tries more
ways, and compares more.)"""

import subprocess

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from conftest import FIXTURES, INTERVIEW, MEETING

TABLES = (
    "recordings", "speakers", "runs", "segments", "embeddings", "embedding_jobs", "clusterings", "cluster_members",
    "assignments", "models", "migrations", "memberships", "embedding_claims", "speaker_centroids", "tallies",
)
MAY_BE_EMPTY = "memberships", "embedding_claims"


@pytest.fixture
def filled(database):
    """Two recordings, labels of every kind, enrolments, an import, and a second model with embeddings of its own."""
    with psycopg.connect(database.as_owner) as owner:
        owner.execute(
            "INSERT INTO speaker.models (name, version, sha256, dim, utterance_threshold, speaker_threshold, "
            "centroid_threshold, manifest, is_current) VALUES ('tiny', '1', repeat('0', 64), 3, 0.5, 0.5, 0.5, '', true)"
        )
        # One grant beyond those of grant_access(), and what a user may add to tables of their own.
        owner.execute(f"GRANT UPDATE (manifest) ON speaker.models TO {database.role}")
        owner.execute("CREATE INDEX of_mine ON speaker.segments (speaker_label)")
        owner.execute("CREATE POLICY of_mine ON speaker.segments USING (true)")
        owner.execute("CREATE TABLE public.notes (id bigint)")
        owner.execute(
            """CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
               $$ BEGIN INSERT INTO public.notes VALUES (NEW.id); RETURN NULL; END $$;
               CREATE TRIGGER of_mine AFTER INSERT ON speaker.speakers FOR EACH ROW EXECUTE FUNCTION public.note()"""
        )
        owner.execute("SELECT ensure_embedding_indexes()")
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
    """The rows of every table, which must survive to the last bit."""
    with psycopg.connect(database.as_owner) as owner:
        return {table: owner.execute(f"SELECT t::text FROM speaker.{table} AS t ORDER BY 1").fetchall() for table in TABLES}


def objects(database):
    """What a user added."""
    with psycopg.connect(database.as_owner) as owner:
        return owner.execute(
            """SELECT 'index', indexname FROM pg_indexes WHERE schemaname = 'speaker'
               UNION ALL SELECT 'policy', policyname FROM pg_policies WHERE schemaname = 'speaker'
               UNION ALL SELECT 'trigger', tgrelid::regclass || ' ' || tgname || ' ' || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
               UNION ALL SELECT 'owner', relname || ' ' || pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'speaker'::regnamespace AND relkind IN ('r', 'v')
               ORDER BY 1, 2"""
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
            FROM pg_proc AS p WHERE p.pronamespace = 'speaker'::regnamespace
            ORDER BY 1, 2
            """
        ).fetchall()


def nearest_speakers(database):
    """What searches answer, per segment: the speakers in order, and their distances. The names of everything are
    qualified, because nothing is on the search path."""
    with psycopg.connect(make_conninfo(database.as_role, options="-c search_path=")) as connection:
        answers = connection.execute(
            "SELECT e.segment_id, k.speaker, k.embeddings, k.distance FROM speaker.embeddings AS e, "
            "speaker.speaker_knn(e.embedding, 3) AS k WHERE e.model_id = 1 ORDER BY e.segment_id, k.distance"
        ).fetchall()
    return [answer[:3] for answer in answers], [answer[3] for answer in answers]


def plain(source, target, programs, dump):
    subprocess.run([programs / "pg_dump", f"--file={dump}", source.as_owner], check=True)
    command = [programs / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", target.as_owner, "-f", dump]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def pg_restore(target, programs, *arguments):
    subprocess.run([programs / "pg_restore", "--exit-on-error", "-d", target.as_owner, *arguments], check=True, stdout=subprocess.DEVNULL)


def custom(source, target, programs, dump):
    subprocess.run([programs / "pg_dump", "-Fc", f"--file={dump}", source.as_owner], check=True)
    pg_restore(target, programs, dump)


def parallel(source, target, programs, dump):
    subprocess.run([programs / "pg_dump", "-Fd", "-j4", f"--file={dump}", source.as_owner], check=True)
    pg_restore(target, programs, "-j4", dump)


def sections(source, target, programs, dump):
    subprocess.run([programs / "pg_dump", "-Fc", f"--file={dump}", source.as_owner], check=True)
    for section in "pre-data", "data", "post-data":
        pg_restore(target, programs, f"--section={section}", "-j2", dump)


def schema_alone(source, target, programs, dump):
    """Of the store's schema only, into a database that has the extensions, and what the user's trigger needs."""
    with psycopg.connect(target.as_owner) as owner:
        owner.execute("CREATE EXTENSION pg_speaker CASCADE; CREATE TABLE public.notes (id bigint)")
        owner.execute(
            """CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
               $$ BEGIN INSERT INTO public.notes VALUES (NEW.id); RETURN NULL; END $$"""
        )
    subprocess.run([programs / "pg_dump", "-Fc", "-n", "speaker", f"--file={dump}", source.as_owner], check=True)
    pg_restore(target, programs, "-j2", dump)


WAYS = plain, custom, parallel, sections, schema_alone


@pytest.mark.parametrize("way", WAYS)
def test_a_restored_database_is_the_same_and_works_on(filled, databases, programs, tmp_path, way):
    copy = databases()
    way(filled, copy, programs, tmp_path / "dump")

    before, after = rows(filled), rows(copy)
    assert {table for table, content in before.items() if not content} <= set(MAY_BE_EMPTY)
    for table in before:
        assert after[table] == before[table], table
    assert grants(copy) == grants(filled)
    assert objects(copy) == objects(filled)
    speakers, distances = nearest_speakers(copy)
    expected_speakers, expected_distances = nearest_speakers(filled)
    assert len(speakers) == 3 * (24 + 12 + 2 + 1)
    assert (speakers, distances) == (expected_speakers, expected_distances)
    works_on(copy)


def works_on(copy):
    """The next rows do not collide with the restored ones, in any table that numbers its own, and triggers keep what they
    keep."""
    with psycopg.connect(make_conninfo(copy.as_role, options="-c search_path=speaker,public")) as connection:
        run = connection.execute(
            "SELECT max(run_id) FROM ingest_recording('next', %s, %s)", (INTERVIEW.audio, INTERVIEW.segments)
        ).fetchone()[0]
        [(clusters,)] = connection.execute("SELECT count(cluster) FROM cluster_unlabeled(%s)", (run,))
        assert clusters == 3
        assert connection.execute("SELECT label_segment(max(id), 'Newcomer') FROM speaker.segments").fetchone() == (1,)
        # The same content again is a no-op.
        assert connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE status = 'success') FROM ingest_recording('meeting', %s, %s)",
            (MEETING.audio, MEETING.segments)).fetchone() == (24, 24)
    with psycopg.connect(copy.as_owner) as owner:
        kept = owner.execute("SELECT speaker_id, model_id, n FROM speaker.speaker_centroids ORDER BY 1, 2").fetchall()
        assert owner.execute("SELECT speaker.repair_store()").fetchone() == (0,)
        assert owner.execute("SELECT speaker_id, model_id, n FROM speaker.speaker_centroids ORDER BY 1, 2").fetchall() == kept
        # Voice A, B and C, awb, rms, Newcomer, and Imported under two models.
        assert len(kept) == 8
        model = owner.execute(
            """INSERT INTO speaker.models (name, version, sha256, dim, utterance_threshold, speaker_threshold, centroid_threshold, manifest)
               SELECT name, '2', sha256, dim, utterance_threshold, speaker_threshold, centroid_threshold, manifest
               FROM speaker.models WHERE name = 'tiny' RETURNING id"""
        ).fetchone()
        assert model == (3,)


@pytest.mark.parametrize("by", ["restore mode", "disabled triggers"])
def test_data_alone_into_a_new_store(filled, databases, programs, tmp_path, by):
    dump, copy = tmp_path / "dump", databases()
    with psycopg.connect(copy.as_owner) as owner:
        owner.execute("CREATE EXTENSION pg_speaker CASCADE")
        owner.execute("SELECT create_speaker_store()")
        owner.execute("SELECT speaker.grant_access(%s::text::regrole)", [copy.role])
        if by == "restore mode":
            owner.execute("SELECT speaker.begin_restore()")
        else:
            owner.execute("DELETE FROM speaker.models; DELETE FROM speaker.migrations")
    subprocess.run([programs / "pg_dump", "-Fc", "-a", "-n", "speaker", f"--file={dump}", filled.as_owner], check=True)
    pg_restore(copy, programs, *([] if by == "restore mode" else ["--disable-triggers"]), dump)
    with psycopg.connect(copy.as_owner) as owner:
        if by == "restore mode":
            assert owner.execute("SELECT speaker.end_restore()").fetchone() == (0,)
    before, after = rows(filled), rows(copy)
    for table in set(TABLES) - {"tallies", "speaker_centroids"}:
        assert after[table] == before[table], table
    works_on(copy)


def test_extensions_in_a_schema_of_their_own(databases, programs, tmp_path):
    source = databases()
    with psycopg.connect(source.as_owner) as owner:
        owner.execute("CREATE SCHEMA vectors")
        owner.execute("CREATE SCHEMA voices")
        owner.execute("CREATE EXTENSION vector SCHEMA vectors")
        owner.execute("CREATE EXTENSION pg_speaker SCHEMA voices")
        owner.execute("SELECT voices.create_speaker_store('my voices')")
        owner.execute("SET search_path = ''")
        owner.execute("SELECT count(*) FROM \"my voices\".ingest_recording('interview', %s, %s)", (INTERVIEW.audio, INTERVIEW.segments))
        owner.execute("SELECT \"my voices\".label_segment(1, 'Ann')")
        owner.execute("SELECT \"my voices\".label_segment(4, 'Ann')")
    copy = databases()
    plain(source, copy, programs, tmp_path / "dump")
    with psycopg.connect(make_conninfo(copy.as_owner, options="-c search_path=")) as owner:
        answer = owner.execute(
            "SELECT k.speaker, k.embeddings FROM \"my voices\".embeddings AS e, \"my voices\".speaker_knn(e.embedding) AS k WHERE e.segment_id = 1"
        ).fetchone()
        assert answer == ("Ann", 2)
        assert owner.execute("SELECT \"my voices\".label_segment(7, 'Ann')").fetchone() == (1,)
