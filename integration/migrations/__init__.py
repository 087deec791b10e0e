"""The schema's history, one file per change, each safe while the release before it still runs.

`python -m integration.migrations` brings the database of DATABASE_URL up to date; it is Procfile's release step.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from ..db import Base, Database


def config(engine: Engine) -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.attributes["engine"] = engine
    return settings


def upgrade(db: Database, revision: str = "head") -> None:
    """Run what is missing. Harmless when nothing is."""
    command.upgrade(config(db.engine), revision)
    if db.is_sqlite:
        with db.operator_writing() as session:
            _describe_tables(session.connection())


def _describe_tables(connection: Connection) -> None:
    """Tell SQLite's planner that a store has many rows and what else names few.

    It knows nothing of a table that was never analysed and takes `store_id = ?` for as good as a key; every lookup by
    ids, which the session scopes, then reads all of a store's rows. ANALYZE of an empty table tells nothing, so the
    figures are stated: rows of the table, then rows per value of the index's columns from the first on.
    """
    connection.exec_driver_sql("ANALYZE sqlite_schema")  # looks at no row, and makes the table
    connection.exec_driver_sql("DELETE FROM sqlite_stat1")
    for table in Base.metadata.tables:
        for _, index, unique, _, partial in connection.exec_driver_sql(f"PRAGMA index_list({table})").all():
            columns = [row[2] for row in connection.exec_driver_sql(f"PRAGMA index_info({index})")]
            rows, of_store = (1_000, 100) if partial else (1_000_000, 100_000)
            figures = [rows]
            for place, column in enumerate(columns, 1):
                figures.append(
                    of_store if column == "store_id" and place == 1 else 1 if unique and place == len(columns) else 10
                )
            told = (table, index, " ".join(map(str, figures)))
            connection.exec_driver_sql("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", told)
