"""Bring the database up to date."""

from pathlib import Path

from ..clock import Clock
from ..db import Database
from ..settings import database_url
from . import upgrade

if __name__ == "__main__":
    database = Database(database_url(dotenv=Path(".env")), Clock())
    upgrade(database)
    print(f"{database.engine.url.render_as_string(hide_password=True)} is up to date")
