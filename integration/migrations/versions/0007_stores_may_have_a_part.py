"""Of an order's money the store may have had a part before any was proven here."""

import sqlalchemy as sa
from alembic import op

from integration import db

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("orders", sa.Column("elsewhere", db.Amount(), nullable=False, server_default="0"))
