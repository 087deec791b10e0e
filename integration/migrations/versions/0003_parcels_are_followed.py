"""A scan may come before the store says which order its parcel is of; couriers are asked about parcels in time."""

import sqlalchemy as sa
from alembic import op

from integration import db

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("shipment_events") as table:
        table.alter_column("shipment_id", existing_type=db.Id, nullable=True)
        table.add_column(sa.Column("tracking_number", sa.String(length=64), nullable=False, server_default=""))
    op.create_index(
        "scans_without_shipment",
        "shipment_events",
        ["store_id", "tracking_number"],
        unique=False,
        sqlite_where=sa.text("shipment_id IS NULL"),
        postgresql_where=sa.text("shipment_id IS NULL"),
    )
    op.add_column("shipments", sa.Column("adapter", sa.String(length=32), nullable=False, server_default=""))
    op.add_column("shipments", sa.Column("poll_at", db.Instant(), nullable=True))
    op.create_index(
        "shipments_due",
        "shipments",
        ["store_id", "poll_at"],
        unique=False,
        sqlite_where=sa.text("poll_at IS NOT NULL"),
        postgresql_where=sa.text("poll_at IS NOT NULL"),
    )
    op.execute("UPDATE shipments SET poll_at = CURRENT_TIMESTAMP WHERE tracking_number <> ''")
