"""Unknown voices become named people, over SQLAlchemy."""

import json

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import column, func, select, text
from sqlalchemy.orm import Session

from conftest import FIXTURES, INTERVIEW, MEETING, ingest, milliseconds
from models import Centroid, Recording, Run, Segment, Speaker, SpeakerEmbedding


def cluster_unlabeled(run):
    return select(
        func.cluster_unlabeled(run).table_valued("clustering_id", "cluster", "segments", "representative", "segment_ids")
    )


def identify_speakers(run):
    return select(func.identify_speakers(run).table_valued("segment_id", "speaker", "similarity", "nearest"))


def speakers_of(session, recording):
    """Who speaks in a recording, by the start of the turn in milliseconds."""
    rows = session.execute(
        select(SpeakerEmbedding.start_time, SpeakerEmbedding.speaker_id).where(SpeakerEmbedding.video_id == recording.name)
    )
    return {milliseconds(start): speaker for start, speaker in rows}


def test_from_unknown_voices_to_named_people(engine):
    with Session(engine) as session:
        rows = session.execute(ingest(MEETING)).all()
        assert [row.status for row in rows] == ["success"] * 24
        assert set(speakers_of(session, MEETING).values()) == {None}

        # Someone listens to each cluster's representative and says who that is.
        clusters = session.execute(cluster_unlabeled(rows[0].run_id)).all()
        assert [cluster.cluster for cluster in clusters] == ["A", "B", "C", "D"]
        for cluster in clusters:
            turn = session.get(Segment, cluster.representative)
            voice = MEETING.truth[milliseconds(turn.start_time)]
            assert session.scalar(func.label_cluster(cluster.clustering_id, cluster.cluster, voice)) == cluster.segments
        assert speakers_of(session, MEETING) == MEETING.truth
        session.commit()

    with Session(engine) as session:
        run = session.execute(ingest(INTERVIEW)).first().run_id
        answers = session.execute(identify_speakers(run)).all()
        session.commit()
        # f5 is a stranger, and stays unknown.
        expected = {start: None if voice == "f5" else voice for start, voice in INTERVIEW.truth.items()}
        assert speakers_of(session, INTERVIEW) == expected
        assert len(answers) == 12
        assert {answer.speaker for answer in answers} == {"rms", "slt", None}

    with Session(engine) as session:
        history = session.execute(text("SELECT source, assigned_by = current_user, count(*) FROM speaker.assignments GROUP BY 1, 2"))
        assert set(history) == {("cluster", True, 24), ("knn", True, 8)}


def test_segments_as_text_and_as_json(database):
    """psycopg sends a str as a literal of unknown type, for which there are two functions."""
    with psycopg.connect(database.as_role) as connection:
        as_text = connection.execute(
            "SELECT * FROM ingest_recording(%s, %s, %s)", ("interview", INTERVIEW.audio, INTERVIEW.segments)
        ).fetchall()
        # The same content, in another form: a no-op that answers the same.
        as_json = connection.execute(
            "SELECT * FROM ingest_recording(recording => %s, audio => %s, segments => %s)",
            ("interview", INTERVIEW.audio, Jsonb(json.loads(INTERVIEW.segments))),
        ).fetchall()
        assert as_json == as_text
        assert connection.execute("SELECT count(*) FROM speaker.runs").fetchone() == (1,)


def test_relations_through_the_orm(engine, meeting):
    with Session(engine) as session:
        run = session.get(Run, meeting)
        assert run.recording.external_id == "meeting"
        assert len(run.segments) == 24
        first, second = run.segments[:2]
        assert (first.speaker, first.speaker_label) == (None, "SPEAKER_00")

        # Objects of the ORM alone, no function: the centroid follows all the same.
        ann = Speaker(name="Ann", segments=[first, second])
        session.add(ann)
        session.flush()
        assert session.scalars(select(Centroid)).one().n == 2
        second.speaker = None
        session.flush()
        session.expire_all()
        centroid = session.scalars(select(Centroid)).one()
        embedding = session.get(SpeakerEmbedding, first.id)
        assert (centroid.speaker_id, centroid.n) == (ann.id, 1)
        assert centroid.mean == pytest.approx(embedding.embedding, abs=1e-6)
        assert embedding.speaker_id == "Ann"

        recording = session.scalars(select(Recording)).one()
        assert recording.audio == MEETING.audio
        session.delete(ann)
        session.commit()
        assert session.scalars(select(Centroid)).all() == []
        assert session.get(Segment, first.id).speaker is None


def test_embeddings_are_pgvector_values(engine, meeting):
    with Session(engine) as session:
        rows = session.scalars(select(SpeakerEmbedding).order_by(SpeakerEmbedding.start_time)).all()
        assert len(rows) == 24
        for row in rows:
            assert len(row.embedding) == 256
            assert sum(value * value for value in row.embedding) == pytest.approx(1, abs=1e-6)

        # pgvector's operators on the mapped column, with a value that came from it.
        first = rows[0]
        nearest = session.scalars(
            select(SpeakerEmbedding)
            .where(SpeakerEmbedding.segment_id != first.segment_id)
            .order_by(SpeakerEmbedding.embedding.cosine_distance(first.embedding))
            .limit(5)
        )
        truth = MEETING.truth
        voices = {truth[milliseconds(row.start_time)] for row in nearest}
        assert voices == {truth[milliseconds(first.start_time)]}

        # And the extension's own functions on it.
        session.scalar(func.label_segment(first.segment_id, "Ann"))
        knn = func.speaker_knn(SpeakerEmbedding.embedding).table_valued(column("speaker"), column("similarity")).lateral()
        answer = session.execute(
            select(knn.c.speaker, knn.c.similarity)
            .select_from(SpeakerEmbedding)
            .join(knn, text("true"))
            .where(SpeakerEmbedding.segment_id == first.segment_id)
        ).one()
        assert answer.speaker == "Ann"
        assert answer.similarity == pytest.approx(1, abs=1e-6)


def test_enrolment(engine, meeting):
    with Session(engine) as session:
        for voice in ("awb", "rms"):
            clip = (FIXTURES / "enrol" / f"{voice}.flac").read_bytes()
            first = session.scalar(func.enroll_speaker(voice, clip))
            assert session.scalar(func.enroll_speaker(voice, clip)) == first
        answers = session.execute(identify_speakers(meeting)).all()
        truth = MEETING.truth
        for answer in answers:
            voice = truth[milliseconds(session.get(Segment, answer.segment_id).start_time)]
            if answer.speaker is not None:
                assert answer.speaker == voice
        assert {answer.speaker for answer in answers} == {"awb", "rms", None}
