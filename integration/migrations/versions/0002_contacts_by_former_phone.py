"""Who had a number before is found by an index: it is asked for every number of every order that comes in."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index(
        "contacts_by_former_phone",
        "contact_points",
        ["store_id", "former_phone"],
        unique=False,
        sqlite_where=sa.text("former_phone IS NOT NULL"),
        postgresql_where=sa.text("former_phone IS NOT NULL"),
    )
