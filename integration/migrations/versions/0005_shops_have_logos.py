"""A shop's logo is kept here: the page on which customers follow a parcel loads nothing from anywhere else."""

import sqlalchemy as sa
from alembic import op

from integration import db

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "logos",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", name="one_logo_per_store"),
    )
