"""Time, in two kinds that must never be mixed.

`now()` is *domain* time: when an order was placed, when a reminder is due. The sandbox may move it.
`machine()` is the machine's own time: leases, back-off between two attempts, waiting for evidence of a send.
Were a lease on domain time, moving the clock by a day would declare every send in flight lost and send it again.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

_OFFSET = struct.Struct("<d")


class Clock:
    """Domain time = machine time + an offset in seconds, kept in an 8-byte file shared by all processes.

    Production has no such file and no offset. The file holds one little-endian float64.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._shared: mmap.mmap | None = None
        if path is not None:
            self._shared = _map(Path(path))

    def now(self) -> datetime:
        """Domain time, aware, UTC."""
        return datetime.fromtimestamp(time.time() + self.offset, UTC)

    def machine(self) -> datetime:
        """Machine time, aware, UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    @property
    def offset(self) -> float:
        return _OFFSET.unpack_from(self._shared)[0] if self._shared is not None else 0.0


def move(path: str | os.PathLike[str], by: timedelta) -> None:
    """Move the shared clock forward (or back). For tests; in `make run` the sandbox writes the same file."""
    clock = Clock(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.pwrite(descriptor, _OFFSET.pack(clock.offset + by.total_seconds()), 0)
    finally:
        os.close(descriptor)


def _map(path: Path) -> mmap.mmap:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_size < _OFFSET.size:
            os.pwrite(descriptor, _OFFSET.pack(0.0), 0)
        return mmap.mmap(descriptor, _OFFSET.size, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
