"""The extension's relations as ORM classes: what an application would write to work with them."""

from pgvector.sqlalchemy import Vector
from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Speaker(Base):
    __tablename__ = "speakers"
    __table_args__ = {"schema": "speaker"}

    id: Mapped[int] = mapped_column(primary_key=True)
    collection: Mapped[str] = mapped_column(server_default="default")
    name: Mapped[str]
    segments: Mapped[list["Segment"]] = relationship(back_populates="speaker", order_by="Segment.start_time")


class Recording(Base):
    __tablename__ = "recordings"
    __table_args__ = {"schema": "speaker"}

    id: Mapped[int] = mapped_column(primary_key=True)
    external_id: Mapped[str]
    # Megabytes: only fetched where it is asked for.
    audio: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    duration_s: Mapped[float | None]
    runs: Mapped[list["Run"]] = relationship(back_populates="recording")


class Run(Base):
    __tablename__ = "runs"
    __table_args__ = {"schema": "speaker"}

    id: Mapped[int] = mapped_column(primary_key=True)
    recording_id: Mapped[int] = mapped_column(ForeignKey(Recording.id))
    segment_source: Mapped[str]
    recording: Mapped[Recording] = relationship(back_populates="runs")
    segments: Mapped[list["Segment"]] = relationship(back_populates="run", order_by="Segment.start_time")


class Segment(Base):
    __tablename__ = "segments"
    __table_args__ = {"schema": "speaker"}

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey(Run.id))
    start_time: Mapped[float]
    end_time: Mapped[float]
    speaker_label: Mapped[str | None]
    speaker_id: Mapped[int | None] = mapped_column(ForeignKey(Speaker.id))
    run: Mapped[Run] = relationship(back_populates="segments")
    speaker: Mapped[Speaker | None] = relationship(back_populates="segments")


class Centroid(Base):
    __tablename__ = "speaker_centroids"
    __table_args__ = {"schema": "speaker"}

    speaker_id: Mapped[int] = mapped_column(ForeignKey(Speaker.id), primary_key=True)
    model_id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int]
    mean: Mapped[list[float]] = mapped_column(Vector)


class SpeakerEmbedding(Base):
    """The view that applications query. A view has no primary key; here segment_id is one."""

    __tablename__ = "speaker_embeddings"
    __table_args__ = {"schema": "speaker"}

    segment_id: Mapped[int] = mapped_column(primary_key=True)
    external_id: Mapped[str | None]
    embedding: Mapped[list[float]] = mapped_column(Vector(256))
    speaker_id: Mapped[str | None]
    speaker_label: Mapped[str | None]
    video_id: Mapped[str]
    start_time: Mapped[float]
    end_time: Mapped[float]
