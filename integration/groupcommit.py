"""One commit shared by concurrent requests: durable before every 200, at a fraction of a commit each.

A single writer thread takes what is waiting, inserts it in one transaction and only then lets the requests go. When a
batch fails it is retried row by row, so that one bad row cannot fail its neighbours.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Insert, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from .db import Database

_MOST = 256


class _Waiting:
    __slots__ = ("done", "fault", "rows")

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows
        self.done = threading.Lock()
        self.done.acquire()
        self.fault: Exception | None = None


class GroupCommit:
    """Inserts into one table, ignoring rows whose unique key is already there."""

    def __init__(
        self, db: Database, table: Table, before: Callable[[], None], after: Callable[[list[dict[str, Any]]], None]
    ) -> None:
        self._db = db
        self._statement = _insert_ignoring(db, table)
        self._before, self._after = before, after
        self._queue: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._start = threading.Lock()
        self._threads: list[threading.Thread] = []

    def put(self, rows: Sequence[dict[str, Any]]) -> None:
        """Returns when the rows are committed. Raises what the database raised when they could not be."""
        if not self._threads:
            self._begin()
        waiting = _Waiting(rows)
        self._queue.put(waiting)
        waiting.done.acquire()
        if waiting.fault is not None:
            raise waiting.fault

    def _begin(self) -> None:
        with self._start:
            if not self._threads:
                self._threads = [threading.Thread(target=self._write, name="group-commit", daemon=True)]
                if self._db.is_sqlite:
                    self._threads.append(threading.Thread(target=self._fold, name="checkpoint", daemon=True))
                for thread in self._threads:
                    thread.start()

    def _write(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < _MOST:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            try:
                self._insert([row for waiting in batch for row in waiting.rows])
            except Exception:
                for waiting in batch:
                    try:
                        self._insert(waiting.rows)
                    except Exception as fault:
                        waiting.fault = fault
            for waiting in batch:
                waiting.done.release()
            self._after([row for waiting in batch if waiting.fault is None for row in waiting.rows])

    def _insert(self, rows: Sequence[dict[str, Any]]) -> None:
        with self._db.receiving() as connection:
            connection.execute(self._statement, list(rows))
            self._before()

    def _fold(self) -> None:
        """Fold the write-ahead log in the background: done inline it would cost the slowest requests three times as
        much.
        """
        pause = threading.Event()
        while not pause.wait(0.25):
            self._db.checkpoint()


def insert_ignoring(db: Database, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows in one transaction of their own, leaving out those whose unique key is already there."""
    with db.receiving() as connection:
        connection.execute(_insert_ignoring(db, table), list(rows))


def _insert_ignoring(db: Database, table: Table) -> Insert:
    insert = sqlite_insert if db.is_sqlite else postgresql_insert
    return insert(table).on_conflict_do_nothing()
