"""Customers hear of each parcel: journeys begin per parcel or day, a parcel has a page, an answer may be awaited; parcels
are booked here.
"""

import secrets

import sqlalchemy as sa
from alembic import op

from integration import db

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("shipments", sa.Column("token", sa.String(length=32), nullable=False, server_default=""))
    op.add_column("shipments", sa.Column("reference", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("shipments", sa.Column("label_url", sa.String(length=500), nullable=False, server_default=""))
    op.add_column("shipments", sa.Column("looked_at", db.Instant(), nullable=True))
    op.add_column("shipments", sa.Column("booked_at", db.Instant(), nullable=True))
    shipments = sa.table("shipments", sa.column("id", db.Id), sa.column("token", sa.String))
    connection = op.get_bind()
    for number in connection.scalars(sa.select(shipments.c.id)).all():
        named = shipments.update().where(shipments.c.id == number).values(token=secrets.token_urlsafe(16))
        connection.execute(named)
    op.create_index("shipments_by_token", "shipments", ["token"], unique=True)

    with op.batch_alter_table("enrollments") as table:
        table.add_column(sa.Column("occasion", sa.String(length=64), nullable=False, server_default=""))
        table.add_column(sa.Column("shipment_id", db.Id, nullable=True))
        table.create_foreign_key("enrollment_of_shipment", "shipments", ["shipment_id"], ["id"], ondelete="CASCADE")
        table.drop_constraint("one_enrollment_per_order_and_journey", type_="unique")
        table.create_unique_constraint("one_enrollment_per_occasion", ["order_id", "journey", "occasion"])
    with op.batch_alter_table("touchpoints") as table:
        table.add_column(sa.Column("shipment_id", db.Id, nullable=True))
        table.add_column(sa.Column("given", db.Json(), nullable=False, server_default="{}"))
        table.create_foreign_key("touchpoint_of_shipment", "shipments", ["shipment_id"], ["id"], ondelete="CASCADE")
    op.add_column("conversations", sa.Column("awaits", db.Json(), nullable=True))

    op.create_table(
        "served_cities",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("connection_id", db.Id, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("served_cities_of_connection", "served_cities", ["store_id", "connection_id"], unique=False)
    op.create_table(
        "courier_words",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("adapter", sa.String(length=32), nullable=False),
        sa.Column("word", sa.String(length=300), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "adapter", "word", name="one_meaning_per_word"),
    )
    connection.execute(
        sa.text(
            "INSERT INTO chores (store_id, connection_id, name, due_at, failures, last_sentence)"
            " SELECT store_id, id, 'cities', CURRENT_TIMESTAMP, 0, '' FROM connections"
            " WHERE room = 'couriers' AND removed_at IS NULL"
        )
    )
