"""The first tables."""

import sqlalchemy as sa
from alembic import op

from integration import db

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "install_attempts",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("adapter", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("callback_hash", sa.String(length=64), nullable=False),
        sa.Column("browser_hash", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.Column("expires_at", db.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("callback_hash"),
        sa.UniqueConstraint("state"),
    )
    op.create_table(
        "stores",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("decisions", db.Json(), nullable=False),
        sa.Column("installed_at", db.Instant(), nullable=False),
        sa.Column("uninstalled_at", db.Instant(), nullable=True),
        sa.Column("erased_at", db.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "connections",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("room", sa.String(length=16), nullable=False),
        sa.Column("adapter", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("alias", sa.String(length=255), nullable=True),
        sa.Column("token_hash", sa.String(length=64), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("state", db.Json(), nullable=False),
        sa.Column("health", sa.String(length=16), nullable=False),
        sa.Column("sentence", sa.String(length=500), nullable=False),
        sa.Column("cursor", db.Instant(), nullable=True),
        sa.Column("next_send_at", db.Instant(), nullable=True),
        sa.Column("refreshing_until", db.Instant(), nullable=True),
        sa.Column("connected_at", db.Instant(), nullable=False),
        sa.Column("removed_at", db.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("adapter", "account", name="one_store_per_account"),
    )
    op.create_index("connections_by_alias", "connections", ["adapter", "alias"], unique=False)
    op.create_index("connections_by_token", "connections", ["token_hash"], unique=True)

    op.create_table(
        "customers",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("created_at", db.Instant(), nullable=False),
        sa.Column("redacted_at", db.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("customers_by_external", "customers", ["store_id", "external_id"], unique=False)

    op.create_table(
        "journey_settings",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("journey", sa.String(length=40), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("delays", db.Json(), nullable=False),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "journey", name="one_setting_per_journey"),
    )
    op.create_table(
        "privacy_requests",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("wanted", db.Json(), nullable=False),
        sa.Column("result", db.Json(), nullable=True),
        sa.Column("asked_at", db.Instant(), nullable=False),
        sa.Column("met_at", db.Instant(), nullable=True),
        sa.Column("sentence", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "unknown_words",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("adapter", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("word", sa.String(length=120), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", db.Instant(), nullable=False),
        sa.Column("last_at", db.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "adapter", "kind", "word", name="one_row_per_word"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=True),
        sa.Column("connection_id", db.Id, nullable=True),
        sa.Column("room", sa.String(length=16), nullable=False),
        sa.Column("adapter", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("headers", db.Json(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sentence", sa.String(length=500), nullable=False),
        sa.Column("subjects", db.Json(), nullable=False),
        sa.Column("received_at", db.Instant(), nullable=False),
        sa.Column("processed_at", db.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("adapter", "account", "key", name="one_delivery_per_key"),
    )
    op.create_index("deliveries_by_age", "webhook_deliveries", ["received_at"], unique=False)
    op.create_index(
        "deliveries_waiting",
        "webhook_deliveries",
        ["store_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'received'"),
        postgresql_where=sa.text("state = 'received'"),
    )

    op.create_table(
        "chores",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("connection_id", db.Id, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("due_at", db.Instant(), nullable=False),
        sa.Column("leased_until", db.Instant(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_run_at", db.Instant(), nullable=True),
        sa.Column("last_sentence", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "connection_id", "name", name="one_chore_of_a_kind"),
    )
    op.create_index("chores_due", "chores", ["due_at"], unique=False)

    op.create_table(
        "contact_points",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("customer_id", db.Id, nullable=False),
        sa.Column("phone", sa.String(length=20), nullable=True),
        sa.Column("former_phone", sa.String(length=20), nullable=True),
        sa.Column("user_id", sa.String(length=160), nullable=True),
        sa.Column("channel_id", sa.String(length=40), nullable=True),
        sa.Column("language", sa.String(length=8), nullable=True),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("unreachable_at", db.Instant(), nullable=True),
        sa.Column("next_send_at", db.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "phone", name="one_contact_per_phone"),
        sa.UniqueConstraint("store_id", "user_id", name="one_contact_per_user"),
    )
    op.create_index("ix_contact_points_customer_id", "contact_points", ["customer_id"], unique=False)

    op.create_table(
        "templates",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("connection_id", db.Id, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("code", sa.String(length=12), nullable=False),
        sa.Column("vendor_id", sa.String(length=64), nullable=False),
        sa.Column("wanted", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("category", sa.String(length=16), nullable=False),
        sa.Column("quality", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("changed_at", db.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("connection_id", "name", "code", name="one_template_per_name_and_language"),
    )
    op.create_table(
        "consents",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("contact_point_id", db.Id, nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("evidence", sa.String(length=500), nullable=False),
        sa.Column("at", db.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["contact_point_id"], ["contact_points.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_consents_contact_point_id", "consents", ["contact_point_id"], unique=False)

    op.create_table(
        "conversations",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("contact_point_id", db.Id, nullable=False),
        sa.Column("last_inbound_at", db.Instant(), nullable=True),
        sa.Column("needs_person", sa.String(length=200), nullable=False),
        sa.Column("needs_person_since", db.Instant(), nullable=True),
        sa.Column("referral", db.Json(), nullable=True),
        sa.ForeignKeyConstraint(["contact_point_id"], ["contact_points.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("contact_point_id"),
    )
    op.create_index("conversations_waiting", "conversations", ["store_id", "needs_person"], unique=False)

    op.create_table(
        "orders",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("customer_id", db.Id, nullable=True),
        sa.Column("contact_point_id", db.Id, nullable=True),
        sa.Column("placed_at", db.Instant(), nullable=False),
        sa.Column("changed_at", db.Instant(), nullable=False),
        sa.Column("seen_at", db.Instant(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("total", db.Amount(), nullable=False),
        sa.Column("outstanding", db.Amount(), nullable=True),
        sa.Column("gateway", sa.String(length=200), nullable=False),
        sa.Column("is_cod", sa.Boolean(), nullable=False),
        sa.Column("confirmation", sa.String(length=16), nullable=False),
        sa.Column("payment", sa.String(length=24), nullable=False),
        sa.Column("fulfilment", sa.String(length=24), nullable=False),
        sa.Column("held", sa.String(length=40), nullable=False),
        sa.Column("cancelled_at", db.Instant(), nullable=True),
        sa.Column("removed_at", db.Instant(), nullable=True),
        sa.Column("erased_at", db.Instant(), nullable=True),
        sa.Column("cancel_reason", sa.String(length=40), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("tags", db.Json(), nullable=False),
        sa.Column("locale", sa.String(length=16), nullable=False),
        sa.Column("customer_name", sa.String(length=200), nullable=False),
        sa.Column("address", db.Json(), nullable=False),
        sa.Column("content", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["contact_point_id"], ["contact_points.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "external_id", name="one_order_per_external_id"),
    )
    op.create_index("ix_orders_contact_point_id", "orders", ["contact_point_id"], unique=False)
    op.create_index("ix_orders_customer_id", "orders", ["customer_id"], unique=False)
    op.create_index("orders_by_name", "orders", ["store_id", "name"], unique=False)
    op.create_index("orders_newest", "orders", ["store_id", "placed_at"], unique=False)

    op.create_table(
        "enrollments",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("order_id", db.Id, nullable=False),
        sa.Column("journey", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sentence", sa.String(length=200), nullable=False),
        sa.Column("plan", db.Json(), nullable=False),
        sa.Column("next_due_at", db.Instant(), nullable=True),
        sa.Column("began_at", db.Instant(), nullable=False),
        sa.Column("ended_at", db.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("order_id", "journey", name="one_enrollment_per_order_and_journey"),
    )
    op.create_index(
        "enrollments_due",
        "enrollments",
        ["next_due_at"],
        unique=False,
        sqlite_where=sa.text("next_due_at IS NOT NULL"),
        postgresql_where=sa.text("next_due_at IS NOT NULL"),
    )

    op.create_table(
        "line_items",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("order_id", db.Id, nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("variant", sa.String(length=200), nullable=False),
        sa.Column("sku", sa.String(length=100), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("price", db.Amount(), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_line_items_order_id", "line_items", ["order_id"], unique=False)

    op.create_table(
        "messages",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("conversation_id", db.Id, nullable=False),
        sa.Column("order_id", db.Id, nullable=True),
        sa.Column("touchpoint_id", db.Id, nullable=True),
        sa.Column("outbox_id", db.Id, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("choices", db.Json(), nullable=False),
        sa.Column("template", sa.String(length=128), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("payload", sa.String(length=256), nullable=False),
        sa.Column("context", sa.String(length=160), nullable=False),
        sa.Column("media", db.Json(), nullable=True),
        sa.Column("vendor_id", sa.String(length=160), nullable=True),
        sa.Column("at", db.Instant(), nullable=False),
        sa.Column("seen_at", db.Instant(), nullable=False),
        sa.Column("accepted_at", db.Instant(), nullable=True),
        sa.Column("sent_at", db.Instant(), nullable=True),
        sa.Column("delivered_at", db.Instant(), nullable=True),
        sa.Column("read_at", db.Instant(), nullable=True),
        sa.Column("failed_at", db.Instant(), nullable=True),
        sa.Column("error_code", sa.String(length=24), nullable=False),
        sa.Column("error_text", sa.String(length=300), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "vendor_id", name="one_message_per_vendor_id"),
    )
    op.create_index("ix_messages_outbox_id", "messages", ["outbox_id"], unique=False)
    op.create_index("messages_of_conversation", "messages", ["conversation_id", "at"], unique=False)
    op.create_index("messages_of_order", "messages", ["order_id"], unique=False)

    op.create_table(
        "payments",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("order_id", db.Id, nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("raw_status", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("amount", db.Amount(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("at", db.Instant(), nullable=False),
        sa.Column("seen_at", db.Instant(), nullable=False),
        sa.Column("delivery_id", db.Id, nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_payments_order_id", "payments", ["order_id"], unique=False)

    op.create_table(
        "shipments",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("order_id", db.Id, nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("courier", sa.String(length=100), nullable=False),
        sa.Column("tracking_number", sa.String(length=64), nullable=False),
        sa.Column("tracking_url", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "order_id", "external_id", name="one_shipment_per_external_id"),
    )
    op.create_index("ix_shipments_order_id", "shipments", ["order_id"], unique=False)
    op.create_index("shipments_by_number", "shipments", ["store_id", "tracking_number"], unique=False)

    op.create_table(
        "transitions",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("order_id", db.Id, nullable=False),
        sa.Column("axis", sa.String(length=16), nullable=False),
        sa.Column("was", sa.String(length=40), nullable=False),
        sa.Column("became", sa.String(length=40), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("note", sa.String(length=300), nullable=False),
        sa.Column("delivery_id", db.Id, nullable=True),
        sa.Column("at", db.Instant(), nullable=False),
        sa.Column("seen_at", db.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_transitions_order_id", "transitions", ["order_id"], unique=False)

    op.create_table(
        "shipment_events",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("shipment_id", db.Id, nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("raw_code", sa.String(length=64), nullable=False),
        sa.Column("raw_text", sa.String(length=300), nullable=False),
        sa.Column("location", sa.String(length=120), nullable=False),
        sa.Column("occurred_at", db.Instant(), nullable=False),
        sa.Column("seen_at", db.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["shipment_id"], ["shipments.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("shipment_id", "occurred_at", "status", "raw_code", name="one_row_per_scan"),
    )
    op.create_table(
        "touchpoints",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("key", sa.String(length=160), nullable=False),
        sa.Column("enrollment_id", db.Id, nullable=True),
        sa.Column("order_id", db.Id, nullable=True),
        sa.Column("contact_point_id", db.Id, nullable=True),
        sa.Column("journey", sa.String(length=40), nullable=False),
        sa.Column("step", sa.String(length=40), nullable=False),
        sa.Column("template", sa.String(length=64), nullable=False),
        sa.Column("reply", sa.String(length=64), nullable=False),
        sa.Column("message_class", sa.String(length=16), nullable=False),
        sa.Column("critical", sa.Boolean(), nullable=False),
        sa.Column("prompt", sa.Boolean(), nullable=False),
        sa.Column("free_only", sa.Boolean(), nullable=False),
        sa.Column("answers", sa.Boolean(), nullable=False),
        sa.Column("relevance", db.Json(), nullable=False),
        sa.Column("because", sa.String(length=200), nullable=False),
        sa.Column("due_at", db.Instant(), nullable=False),
        sa.Column("stale_at", db.Instant(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("sentence", sa.String(length=300), nullable=False),
        sa.Column("checks", db.Json(), nullable=False),
        sa.Column("made_at", db.Instant(), nullable=False),
        sa.Column("settled_at", db.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["contact_point_id"], ["contact_points.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["enrollment_id"], ["enrollments.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "key", name="one_touchpoint_per_key"),
    )
    op.create_index("ix_touchpoints_enrollment_id", "touchpoints", ["enrollment_id"], unique=False)
    op.create_index("touchpoints_of_order", "touchpoints", ["order_id"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("id", db.Id, nullable=False),
        sa.Column("store_id", db.Id, nullable=False),
        sa.Column("key", sa.String(length=160), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("touchpoint_id", db.Id, nullable=True),
        sa.Column("order_id", db.Id, nullable=True),
        sa.Column("contact_point_id", db.Id, nullable=True),
        sa.Column("change", db.Json(), nullable=True),
        sa.Column("counts_as", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", db.Instant(), nullable=False),
        sa.Column("attempted_at", db.Instant(), nullable=True),
        sa.Column("leased_until", db.Instant(), nullable=True),
        sa.Column("unknown_at", db.Instant(), nullable=True),
        sa.Column("proof_until", db.Id, nullable=True),
        sa.Column("refused_attempt", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.String(length=24), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("settled_by", sa.String(length=24), nullable=False),
        sa.Column("created_at", db.Instant(), nullable=False),
        sa.Column("settled_at", db.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["contact_point_id"], ["contact_points.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["touchpoint_id"], ["touchpoints.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store_id", "key", name="one_intent_per_key"),
    )
    op.create_index("ix_outbox_touchpoint_id", "outbox", ["touchpoint_id"], unique=False)
    op.create_index(
        "outbox_due",
        "outbox",
        ["store_id", "kind", "due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "outbox_in_flight",
        "outbox",
        ["leased_until"],
        unique=False,
        sqlite_where=sa.text("leased_until IS NOT NULL"),
        postgresql_where=sa.text("leased_until IS NOT NULL"),
    )
    op.create_index("outbox_of_contact", "outbox", ["contact_point_id", "attempted_at"], unique=False)
    op.create_index("outbox_of_order", "outbox", ["order_id"], unique=False)
