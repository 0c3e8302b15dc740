"""Voice embeddings in the database."""

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None


def upgrade():
    # Where pgvector and pg_speaker are there already, nothing of this needs a superuser.
    op.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_speaker SCHEMA public")
    op.execute("SELECT create_speaker_store()")
    # The application reads and writes as a role that owns nothing.
    role = op.get_context().config.get_main_option("app_role")
    op.execute(text("SELECT speaker.grant_access(CAST(:role AS regrole))").bindparams(role=role))


def downgrade():
    # Refuses as long as there are recordings, speakers or history. Whoever wants to lose them drops the schema.
    op.execute("SELECT downgrade_speaker_store()")
    op.execute("DROP EXTENSION pg_speaker")
    # The extension vector stays: tables of the application may use it.
