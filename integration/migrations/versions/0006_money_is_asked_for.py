"""Money is asked for and proven: intents, what customers claim, the pictures they send, and statements to compare."""

import sqlalchemy as sa
from alembic import op

from integration import db

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index(
        "deliveries_not_understood",
        "webhook_deliveries",
        ["store_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'not_understood'"),
        postgresql_where=sa.text("state = 'not_understood'"),
    )
    op.add_column("orders", sa.Column("received", db.Amount(), nullable=False, server_default="0"))
    op.add_column("payments", sa.Column("intent_id", db.Id, nullable=True))
    op.add_column("payments", sa.Column("sentence", sa.String(length=200), nullable=False, server_default=""))
    op.create_table(
        "payment_intents",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("order_id", db.Id, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=60), nullable=False),
        sa.Column("connection_id", db.Id, nullable=True),
        sa.Column("reference", sa.String(length=24), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("amount", db.Amount(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("sentence", sa.String(length=200), nullable=False),
        sa.Column("gateway_id", sa.String(length=128), nullable=False),
        sa.Column("url", sa.String(length=1000), nullable=False),
        sa.Column("created_at", db.Instant(), nullable=False),
        sa.Column("opened_at", db.Instant(), nullable=True),
        sa.Column("opening_at", db.Instant(), nullable=True),
        sa.Column("expires_at", db.Instant(), nullable=False),
        sa.Column("poll_at", db.Instant(), nullable=True),
        sa.Column("withdraw", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "reference", name="one_intent_per_reference"),
    )
    op.create_index("ix_payment_intents_order_id", "payment_intents", ["order_id"], unique=False)
    op.create_index("intents_by_token", "payment_intents", ["token"], unique=True)
    op.create_index("intents_by_gateway_id", "payment_intents", ["store_id", "name", "gateway_id"], unique=False)
    op.create_index(
        "intents_due",
        "payment_intents",
        ["store_id", "poll_at"],
        unique=False,
        sqlite_where=sa.text("poll_at IS NOT NULL"),
        postgresql_where=sa.text("poll_at IS NOT NULL"),
    )
    op.create_table(
        "statement_lines",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("wallet", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("amount", db.Amount(), nullable=False),
        sa.Column("at", db.Instant(), nullable=True),
        sa.Column("sender", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("note", sa.String(length=300), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("seen_at", db.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "wallet", "key", name="one_row_per_line"),
    )
    op.create_index("lines_by_time", "statement_lines", ["store_id", "wallet", "seen_at"], unique=False)
    op.create_table(
        "claims",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("order_id", db.Id, nullable=False),
        sa.Column("intent_id", db.Id, nullable=True),
        sa.Column("message_id", db.Id, nullable=True),
        sa.Column("wallet", sa.String(length=32), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("paid_key", sa.String(length=64), nullable=True),
        sa.Column("amount", db.Amount(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("finding", sa.String(length=12), nullable=False),
        sa.Column("why", sa.String(length=300), nullable=False),
        sa.Column("line_id", db.Id, nullable=True),
        sa.Column("made_at", db.Instant(), nullable=False),
        sa.Column("decided_at", db.Instant(), nullable=True),
        sa.Column("decided_by", sa.String(length=120), nullable=False),
        sa.Column("note", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(["intent_id"], ["payment_intents.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "paid_key", name="one_payment_per_transaction"),
    )
    op.create_index("ix_claims_order_id", "claims", ["order_id"], unique=False)
    op.create_index("claims_by_key", "claims", ["store_id", "key"], unique=False)
    op.create_index("claims_by_state", "claims", ["store_id", "state"], unique=False)
    op.create_table(
        "pictures",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("message_id", db.Id, nullable=False),
        sa.Column("claim_id", db.Id, nullable=True),
        sa.Column("media_id", sa.String(length=160), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("sentence", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("likeness", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("seen_at", db.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["claim_id"], ["claims.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_id", name="one_picture_per_message"),
    )
    op.create_index("pictures_by_state", "pictures", ["store_id", "state"], unique=False)
