"""What is dumped, replicated and upgraded: stores in which every table has rows, of every kind that there is.

Two stores in a database, one of them with row security, and beside and upon them what a user makes: indexes, triggers,
policies, views, a table of their own. They belong to an ordinary role, or were made by the superuser.
"""

import json
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

FIXTURES = Path(__file__).parents[2] / "fixtures"
STORE, ARCHIVE = "speaker", "archive"


@dataclass(frozen=True)
class Roles:
    """The store's owner, the application, who only reads, two tenants, and one with a grant by hand."""

    owner: str
    app: str
    reader: str
    tenant_a: str
    tenant_b: str
    auditor: str

    @classmethod
    def of(cls, prefix):
        return cls(*(f"{prefix}_{name}" for name in ("owner", "app", "reader", "tenant_a", "tenant_b", "auditor")))

    def all(self):
        return tuple(self.__dict__.values())

    def make(self, admin):
        for role in self.all():
            admin.execute(f"CREATE ROLE {role} LOGIN")
        # A recording of the application is a file of the server.
        admin.execute(f"GRANT pg_read_server_files TO {self.app}")


@dataclass(frozen=True)
class Database:
    server: str
    name: str
    roles: Roles
    # The store was made by the superuser, who owns the database.
    by_superuser: bool = False
    # The names of the first store's schema, as SQL has it, and of the extension's.
    store: str = STORE
    extension: str = "public"

    def of(self, role):
        return make_conninfo(self.server, dbname=self.name, user=role)

    @property
    def as_admin(self):
        return make_conninfo(self.server, dbname=self.name)

    def admin(self, autocommit=True):
        return psycopg.connect(self.as_admin, autocommit=autocommit)

    def owner(self, autocommit=True):
        """Who may do what the store's owner may."""
        return psycopg.connect(self.as_admin if self.by_superuser else self.of(self.roles.owner), autocommit=autocommit)

    def role(self, role, store=None, autocommit=True):
        connection = psycopg.connect(self.of(role), autocommit=autocommit)
        connection.execute(f"SET search_path = {store or self.store}, {self.extension}, public")
        return connection

    def app(self, store=None, autocommit=True):
        return self.role(self.roles.app, store, autocommit)

    def like(self, **other):
        return replace(self, **other)


def audio(name):
    return (FIXTURES / f"{name}.flac").read_bytes()


def turns(name, count=None):
    """The segments of a recording as pyannote writes them; the first ones only where that is enough."""
    segments = json.loads((FIXTURES / f"{name}.pyannote.json").read_text())
    return json.dumps(segments[:count])


def value(connection, query, parameters=None):
    return connection.execute(query, parameters).fetchone()[0]


def make_stores(database):
    """Both stores, empty, with what the roles need."""
    roles = database.roles
    with database.owner() as owner:
        for store in (STORE, ARCHIVE):
            owner.execute("SELECT create_speaker_store(%s)", [store])
            owner.execute(f"SELECT {store}.grant_access('{roles.app}'), {store}.grant_access('{roles.reader}', 'read')")
        for tenant in (roles.tenant_a, roles.tenant_b):
            owner.execute(f"SELECT speaker.grant_access('{tenant}')")


# Whatever a user may hang on the tables of a store.
USERS_OWN = """
CREATE SCHEMA mine;
CREATE TABLE mine.audit (segment_id bigint, collection text);
CREATE FUNCTION mine.audited() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    $$ BEGIN INSERT INTO mine.audit VALUES (NEW.id, NEW.collection); RETURN NULL; END $$;
CREATE FUNCTION mine.untouched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION mine.refused() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'this trigger is disabled'; END $$;
CREATE TRIGGER my_audit AFTER INSERT ON speaker.segments FOR EACH ROW EXECUTE FUNCTION mine.audited();
CREATE TRIGGER my_always BEFORE UPDATE ON speaker.speakers FOR EACH ROW EXECUTE FUNCTION mine.untouched();
ALTER TABLE speaker.speakers ENABLE ALWAYS TRIGGER my_always;
CREATE TRIGGER my_disabled BEFORE INSERT ON speaker.recordings FOR EACH ROW EXECUTE FUNCTION mine.refused();
ALTER TABLE speaker.recordings DISABLE TRIGGER my_disabled;
CREATE TRIGGER my_replica BEFORE INSERT ON speaker.runs FOR EACH ROW EXECUTE FUNCTION mine.untouched();
ALTER TABLE speaker.runs ENABLE REPLICA TRIGGER my_replica;

CREATE INDEX my_labels_idx ON speaker.segments (lower(speaker_label)) WHERE speaker_label IS NOT NULL;
CREATE UNIQUE INDEX my_names_idx ON speaker.speakers (collection, lower(name));
CREATE STATISTICS speaker.my_statistics ON run_id, speaker_id FROM speaker.segments;
ALTER TABLE speaker.segments ALTER COLUMN text SET STATISTICS 500, SET (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON COLUMN speaker.speakers.metadata IS 'What our own application knows of a person.';

CREATE TABLE speaker.notes (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, collection text NOT NULL, segment_id bigint NOT NULL, note text,
    FOREIGN KEY (segment_id, collection) REFERENCES speaker.segments (id, collection) ON DELETE CASCADE);
CREATE VIEW speaker.my_names WITH (security_invoker = true) AS
    SELECT s.id, p.name FROM speaker.segments AS s JOIN speaker.speakers AS p ON p.id = s.speaker_id;
CREATE VIEW mine.spoken AS SELECT t.recording, t.speaker, count(*) AS n FROM speaker.transcript AS t GROUP BY 1, 2;
CREATE MATERIALIZED VIEW mine.voices AS SELECT e.video_id, count(*) AS n FROM speaker.speaker_embeddings AS e GROUP BY 1;
CREATE POLICY my_readers ON speaker.speakers FOR SELECT TO {reader} USING (name <> 'Ann');
GRANT USAGE ON SCHEMA mine TO {reader};
GRANT SELECT ON mine.spoken, mine.voices, speaker.my_names TO {reader};

-- Grants beyond those of grant_access(), and fewer.
GRANT USAGE ON SCHEMA speaker TO {auditor};
GRANT SELECT ON speaker.recordings TO {auditor};
GRANT UPDATE (manifest) ON speaker.models TO {auditor} WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION speaker.rebuild_speaker_centroids() TO {app};
REVOKE EXECUTE ON FUNCTION speaker.speaker_knn(vector, int, text, text, text) FROM {reader};
REVOKE SELECT ON speaker.runs FROM {reader};
"""


def furnish(database):
    """What a user hangs on the store, and row security: the parts of a store that are not data."""
    with database.owner() as owner:
        owner.execute(USERS_OWN.format(**database.roles.__dict__))
        owner.execute("SELECT speaker.enable_row_security()")


def add_indexes(database):
    with database.owner() as owner:
        owner.execute("SELECT speaker.ensure_embedding_indexes()")


def prepare(database):
    """What a superuser does for a database that will have stores."""
    with database.admin() as admin:
        admin.execute("SET client_min_messages = warning")
        admin.execute("CREATE EXTENSION pg_speaker CASCADE")
        admin.execute(f"GRANT CREATE ON DATABASE {database.name} TO {database.roles.owner}")


def fill(database, file, kill=True):
    """A database with stores and everything in them. `file`: a copy of the interview that the server can read. kill: one
    of the server's sessions is killed, in the middle of its work."""
    prepare(database)
    make_stores(database)
    with database.owner() as owner:
        owner.execute(
            "INSERT INTO speaker.models (name, version, sha256, dim, utterance_threshold, speaker_threshold, "
            "centroid_threshold, manifest) VALUES ('tiny', '1', repeat('0', 64), 3, 0.5, 0.5, 0.5, ''), "
            "('tiny', '2', repeat('1', 64), 3, 0.5, 0.5, 0.5, '')"
        )
        owner.execute("SELECT speaker.use_model('tiny', '1'), speaker.use_model('tiny', '2')")
        owner.execute("UPDATE speaker.models SET speaker_threshold = 0.66 WHERE name = 'ge2e'")
    with database.app() as app:
        add_recordings(app, file)
        add_labels(app)
        add_another_collection(app)
    add_failures(database)
    with database.app(ARCHIVE) as app:
        app.execute("SELECT ingest_recording('old', %s, %s)", [audio("interview"), turns("interview", 3)])
        app.execute("SELECT label_segment(min(id), 'Old') FROM segments")
        app.execute("SELECT add_speaker_embedding('Older', embedding) FROM embeddings ORDER BY segment_id LIMIT 1")
    furnish(database)
    add_indexes(database)
    with database.owner() as owner:
        roles = database.roles
        owner.execute(
            f"INSERT INTO speaker.memberships (member, collection) VALUES ('{roles.app}', 'default'), ('{roles.app}', 'b'), "
            f"('{roles.app}', 'c'), ('{roles.tenant_a}', 'default'), ('{roles.tenant_b}', 'b'), ('{roles.reader}', 'default')"
        )
        owner.execute("INSERT INTO speaker.memberships (member, by_setting) VALUES ('pool', true)")
        owner.execute(
            "INSERT INTO speaker.notes (collection, segment_id, note) "
            "SELECT collection, id, 'note ' || id FROM speaker.segments ORDER BY id LIMIT 5"
        )
        owner.execute("REFRESH MATERIALIZED VIEW mine.voices")
    if kill:
        leave_a_claim(database)
    with database.admin() as admin:
        admin.execute("VACUUM ANALYZE")


def add_recordings(app, file):
    """Audio of every kind, and runs of several sources."""
    app.execute("SELECT ingest_recording('meeting', %s, %s)", [audio("meeting"), turns("meeting")])
    app.execute(
        "SELECT ingest_recording('interview', %s, %s, parameters => %s)",
        [audio("interview"), turns("interview"), '{"num_speakers": 2}'],
    )
    # A second run of the same recording, of another source.
    whisper = (FIXTURES / "interview.whisper.json").read_text()
    app.execute("SELECT embed_run(add_run('interview', %s, 'whisper'))", [whisper])
    # Audio that was taken away once it was embedded, that never was here, in a large object, in a file.
    app.execute("SELECT ingest_recording('taken', %s, %s)", [audio("interview"), turns("interview", 2)])
    app.execute("UPDATE recordings SET audio = NULL WHERE external_id = 'taken'")
    app.execute("SELECT ingest_recording('elsewhere', NULL, %s)", [turns("interview", 2)])
    app.execute("INSERT INTO recordings (external_id, audio_lo) SELECT 'object', lo_from_bytea(0, %s)", [audio("interview")])
    app.execute("INSERT INTO recordings (external_id, audio_path, metadata) VALUES ('file', %s, '{\"a\": 1}')", [str(file)])
    for name in ("object", "file"):
        app.execute("SELECT embed_run(add_run(%s, %s))", [name, turns("interview", 2)])
    # Due.
    app.execute("SELECT ingest_recording('due', %s, %s, embed => false)", [audio("meeting"), turns("meeting", 3)])
    app.execute("INSERT INTO runs (recording_id, segment_source, content_hash) SELECT id, 'manual', '\\x00' FROM recordings LIMIT 1")


def add_labels(app):
    """Labels from every source, speakers that are gone, and two clusterings."""
    meeting = value(app, "SELECT u.id FROM runs AS u JOIN recordings AS r ON r.id = u.recording_id WHERE external_id = 'meeting'")
    interview = value(app, "SELECT min(u.id) FROM runs AS u JOIN recordings AS r ON r.id = u.recording_id WHERE external_id = 'interview'")
    app.execute("SELECT * FROM cluster_unlabeled(%s)", [meeting])
    for cluster, name in (("A", "Ann"), ("B", "Bob"), ("C", "Cem")):
        app.execute("SELECT label_cluster(max(id), %s, %s) FROM clusterings", [cluster, name])
    app.execute("SELECT * FROM identify_speakers(%s)", [interview])
    for name in ("Dora", "Eve", "Fay"):
        app.execute("SELECT label_segment(min(id), %s) FROM segments WHERE speaker_id IS NULL AND rejected IS NULL", [name])
    for voice in ("awb", "rms"):
        app.execute("SELECT enroll_speaker(%s, %s)", [voice, audio(f"enrol/{voice}")])
    app.execute("SELECT add_speaker_embedding('Imported', embedding) FROM embeddings ORDER BY segment_id LIMIT 1")
    app.execute("SELECT add_speaker_embedding('Imported', '[3,0,4]', model => 'tiny')")
    app.execute("SELECT merge_speakers('Dora', 'Ann')")
    app.execute("DELETE FROM speakers WHERE name = 'Eve'")
    app.execute("SELECT rename_speaker('Fay', 'Faye')")
    app.execute("SELECT unlabel_segment(min(id)) FROM segments WHERE speaker_id IS NOT NULL")
    app.execute("DELETE FROM segments WHERE id = (SELECT max(s.id) FROM segments AS s WHERE s.label_source = 'knn')")
    app.execute("SELECT * FROM cluster_unlabeled(min_cluster_size => 2)")
    app.execute("SELECT extend_clustering(min(id)) FROM clusterings")


def add_another_collection(app):
    app.execute("SELECT ingest_recording('interview', %s, %s, collection => 'b')", [audio("interview"), turns("interview", 4)])
    app.execute("SELECT label_segment(min(id), 'Ann', collection => 'b') FROM segments WHERE collection = 'b'")


POISON = """
CREATE FUNCTION public.poisoned() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poisoned'; END $$;
CREATE TRIGGER poisoned BEFORE INSERT ON speaker.embeddings FOR EACH ROW EXECUTE FUNCTION public.poisoned();
"""


def add_failures(database):
    """Rejected, failed and waiting, and dead; collection c has work that is due."""
    with database.app() as app:
        # Too short to be embedded, and empty.
        app.execute("SELECT embed_run(add_run('meeting', %s))", ['[{"start": 4.1, "end": 4.2}, {"start": 900, "end": 901}]'])
    with database.admin() as admin:
        admin.execute(POISON)
    with database.app() as app:
        for name, attempts in (("waiting", 3), ("dead", 1)):
            run = value(app, "SELECT add_run('meeting', %s)", [f'[{{"start": 0, "end": {attempts}.5, "speaker": "{name}"}}]'])
            app.execute(f"SET speaker.max_attempts = {attempts}; SET speaker.retry_delay = '1d'")
            app.execute("CALL backfill_embeddings(run_id => %s)", [run])
    with database.admin() as admin:
        admin.execute("DROP FUNCTION public.poisoned() CASCADE")
    with database.app() as app:
        app.execute("SELECT ingest_recording('other', %s, %s, collection => 'c', embed => false)", [audio("meeting"), turns("meeting", 2)])


def leave_a_claim(database):
    """A session that is killed leaves what it had claimed behind, in the middle of the work. The server ends all its other
    sessions and starts again."""
    with database.app() as app, database.admin() as witness:
        app.execute("INSERT INTO embedding_claims (collection, model_id, step, max_segments) VALUES ('c', model_id(), 'backfill', 1)")
        assert value(app, "SELECT count(*) FROM embedding_jobs WHERE status = 'running'") == 1
        os.kill(app.info.backend_pid, signal.SIGKILL)
        until_raises(lambda: witness.execute("SELECT"))
    until(lambda: database.admin().close())


def until_raises(call):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            call()
        except psycopg.OperationalError:
            return
        time.sleep(0.05)
    raise AssertionError("a session survived")


def until(call):
    deadline = time.monotonic() + 60
    while True:
        try:
            return call()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
