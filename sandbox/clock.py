"""The shared clock: domain time is machine time plus an offset that anyone on this machine can move.

The offset lives in an eight-byte file (a little-endian float64, seconds) that the app reads as well, so a test or a
demo moves store, phones and app together. Without a file the offset is this process's own.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import struct
import time
from datetime import UTC, datetime
from pathlib import Path

from sandbox.errors import Refusal

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?[smhd])+")
PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
FURTHEST = 20 * 365 * 86400  # beyond this, timestamps of the vendors would stop making sense


def seconds_of(duration: object) -> float:
    """`24h`, `90m`, `1h30m` in seconds."""
    if not isinstance(duration, str) or not DURATION.fullmatch(duration.strip().lower()):
        raise Refusal('A duration looks like "24h", "90m", "2d" or "1h30m" (units s, m, h, d).')
    return sum(float(number) * UNITS[unit] for number, unit in PART.findall(duration.strip().lower()))


class Clock:
    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._fd: int | None = None
        self._own_offset = 0.0
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)

    def offset(self) -> float:
        if self._file is None:
            return self._own_offset
        if self._fd is None:
            with contextlib.suppress(FileNotFoundError):
                self._fd = os.open(self._file, os.O_RDWR)
            if self._fd is None:
                return 0.0
        raw = os.pread(self._fd, 8, 0)
        value = struct.unpack("<d", raw)[0] if len(raw) == 8 else 0.0
        return value if math.isfinite(value) else 0.0

    def time(self) -> float:
        """Domain time as seconds since the epoch."""
        return time.time() + self.offset()

    def now(self) -> datetime:
        """Domain time, aware, UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def advance(self, seconds: float) -> None:
        self._set(self.offset() + seconds)

    def reset(self) -> None:
        self._set(0.0)

    def _set(self, offset: float) -> None:
        if not math.isfinite(offset) or abs(offset) > FURTHEST:
            raise Refusal("The clock can be moved by at most twenty years.")
        if self._file is None:
            self._own_offset = offset
            return
        if self._fd is None:
            self._fd = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(self._fd, struct.pack("<d", offset), 0)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
