"""Bring the database up to date, or begin a new migration.

python -m integration.migrations               up to date
python -m integration.migrations new "words"   a new file: what the models have and the history has not
"""

import sys
import tempfile
from pathlib import Path

from alembic import command

from ..clock import Clock
from ..db import Database
from ..settings import database_url
from . import config, upgrade


def bring_up_to_date() -> None:
    database = Database(database_url(dotenv=Path(".env")), Clock())
    upgrade(database)
    print(f"{database.engine.url.render_as_string(hide_password=True)} is up to date")


def begin(words: str) -> None:
    """Compare the models with a database that the history made; the difference is the new file. Read it."""
    number = 1 + sum(1 for _ in (Path(__file__).parent / "versions").glob("[0-9]*.py"))
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.sqlite3", Clock())
        upgrade(database)
        command.revision(config(database.engine), words, autogenerate=True, rev_id=f"{number:04d}")
        database.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            bring_up_to_date()
        case ["new", words]:
            begin(words)
        case _:
            sys.exit(__doc__)
