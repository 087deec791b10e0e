"""The world the fake vendors share: what exists (shelves of records), its clock, its dice, its log, its faults.

One lock guards all records; whoever changes one says so (`put`, `touch`) and a saver writes the changed ones to
SQLite twice a second, so a restart finds the same stores, orders and conversations. No state lives outside a World:
a test process may hold many.
"""

from __future__ import annotations

import heapq
import random
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.log import Log
from sandbox.settings import Settings

Record = dict[str, Any]


class Shelf:
    """A named collection of records that remembers which of them changed since the last save."""

    def __init__(self, name: str, records: Iterable[tuple[str, Record]] = ()) -> None:
        self.name = name
        self._records: dict[str, Record] = dict(records)
        self.changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __getitem__(self, key: str) -> Record:
        return self._records[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def values(self) -> list[Record]:
        return list(self._records.values())

    def items(self) -> list[tuple[str, Record]]:
        return list(self._records.items())

    def put(self, key: str, record: Record) -> Record:
        self._records[key] = record
        self.changed.add(key)
        return record

    def touch(self, key: str) -> None:
        self.changed.add(key)

    def drop(self, key: str) -> None:
        if self._records.pop(key, None) is not None:
            self.changed.add(key)

    def clear(self) -> None:
        self.changed.update(self._records)
        self._records.clear()


class Timers:
    """Things that happen by themselves after some machine seconds. One thread, in order of their time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._condition = threading.Condition()
        self._running = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="sandbox-timers", daemon=True)
        self._thread.start()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        with self._condition:
            self._number += 1
            heapq.heappush(self._heap, (time.monotonic() + seconds, self._number, act))
            self._condition.notify()

    def waiting(self) -> int:
        with self._condition:
            return len(self._heap) + self._running

    def clear(self) -> None:
        with self._condition:
            self._heap.clear()

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._heap.clear()
            self._condition.notify()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._stopped and (not self._heap or self._heap[0][0] > time.monotonic()):
                    wait = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._condition.wait(wait)
                if self._stopped:
                    return
                act = heapq.heappop(self._heap)[2]
                self._running += 1
            try:
                act()
            except Exception:  # one broken act must not stop the world's time
                traceback.print_exc()
            finally:
                with self._condition:
                    self._running -= 1


class World:
    SAVE_EVERY = 0.5

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = Clock(settings.clock_file)
        self.dice = random.Random(settings.seed)
        self.lock = threading.RLock()
        self.log = Log(self.clock)
        self.faults = Faults(self.dice)
        self.timers = Timers()
        self._shelves: dict[str, Shelf] = {}
        self._database = self._open()
        self._stopped = threading.Event()
        self._saver = threading.Thread(target=self._keep_saving, name="sandbox-saver", daemon=True)
        if self._database is not None:
            self._saver.start()

    def shelf(self, name: str) -> Shelf:
        with self.lock:
            if name not in self._shelves:
                self._shelves[name] = Shelf(name, self._stored(name))
            return self._shelves[name]

    def next_number(self, of: str, first: int = 1) -> int:
        """The next number of a sequence that survives a restart."""
        with self.lock:
            counters = self.shelf("counters")
            record = counters.get(of) or {"last": first - 1}
            number = int(record["last"]) + 1
            counters.put(of, {"last": number})
            return number

    def names(self) -> list[str]:
        """The shelves that exist, those stored but not read yet included."""
        with self.lock:
            stored = self._database.execute("SELECT DISTINCT shelf FROM records") if self._database else ()
            return sorted({*self._shelves, *(name for (name,) in stored)})

    def clear(self, names: Iterable[str] | None = None) -> None:
        """Forget all records, or those of the named shelves."""
        with self.lock:
            for name in list(self._shelves) if names is None else names:
                self.shelf(name).clear()

    def save(self) -> None:
        if self._database is None:
            return
        with self.lock:
            gone: list[tuple[str, str]] = []
            kept: list[tuple[str, str, bytes]] = []
            for shelf in self._shelves.values():
                for key in shelf.changed:
                    record = shelf.get(key)
                    if record is None:
                        gone.append((shelf.name, key))
                    else:
                        kept.append((shelf.name, key, orjson.dumps(record)))
                shelf.changed.clear()
        if gone or kept:
            with self._database:
                self._database.executemany("DELETE FROM records WHERE shelf = ? AND key = ?", gone)
                self._database.executemany(
                    "INSERT INTO records (shelf, key, record) VALUES (?, ?, ?) "
                    "ON CONFLICT (shelf, key) DO UPDATE SET record = excluded.record",
                    kept,
                )

    def close(self) -> None:
        self.timers.stop()
        self._stopped.set()
        if self._database is not None:
            self._saver.join(timeout=2)
            self.save()
            self._database.close()
            self._database = None
        self.clock.close()

    def _open(self) -> sqlite3.Connection | None:
        if self.settings.data is None:
            return None
        self.settings.data.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.settings.data / "world.sqlite3", check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(
            "CREATE TABLE IF NOT EXISTS records "
            "(number INTEGER PRIMARY KEY, shelf TEXT, key TEXT, record BLOB, UNIQUE (shelf, key))"
        )
        return database

    def _stored(self, name: str) -> list[tuple[str, Record]]:
        if self._database is None:
            return []
        rows = self._database.execute("SELECT key, record FROM records WHERE shelf = ? ORDER BY number", (name,))
        return [(key, orjson.loads(record)) for key, record in rows]

    def _keep_saving(self) -> None:
        while not self._stopped.wait(self.SAVE_EVERY):
            self.save()
