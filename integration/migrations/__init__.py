"""The schema's history, one file per change, each safe while the release before it still runs.

`python -m integration.migrations` brings the database of DATABASE_URL up to date; it is Procfile's release step.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from ..db import Database


def config(engine: Engine) -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.attributes["engine"] = engine
    return settings


def upgrade(db: Database, revision: str = "head") -> None:
    """Run what is missing. Harmless when nothing is."""
    command.upgrade(config(db.engine), revision)
