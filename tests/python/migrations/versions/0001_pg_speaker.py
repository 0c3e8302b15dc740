"""Voice embeddings in the database."""

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None


def upgrade():
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.execute("CREATE EXTENSION pg_speaker")
    # The application reads and writes as a role that owns nothing.
    role = op.get_context().config.get_main_option("app_role")
    op.execute(text("SELECT speaker.grant_access(CAST(:role AS regrole))").bindparams(role=role))


def downgrade():
    # !!! THIS DELETES DATA, AND NO UPGRADE BRINGS IT BACK !!!
    # The tables belong to the extension: with it go every recording, segment, embedding, speaker and label, and the
    # whole history of who labelled what. Take a dump first (pg_dump keeps these rows), and keep it.
    op.execute("DROP EXTENSION pg_speaker")
    # The extension vector stays: tables of the application may use it.
