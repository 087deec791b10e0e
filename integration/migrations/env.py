"""Alembic's entry: one engine, given by the caller, one transaction per migration."""

from alembic import context

from integration import attempts, upkeep  # noqa: F401  between them they import every table
from integration.db import Base

engine = context.config.attributes["engine"]

with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
