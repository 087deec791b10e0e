"""The one place where the parts meet. Built once per process; everything that needs more than a session takes it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from . import checkpoints
from .clock import Clock
from .db import Database
from .ports import Registry
from .settings import Settings
from .vault import Vault

DOORS = ("process", "advance", "deliver", "write", "courier", "chores")
"""What a bell can ask for: mail came in; time came; messages, store write-backs, instructions to couriers or upkeep
wait to be done.
"""

Ring = Callable[[str, int], None]


def silence(door: str, store_id: int) -> None:
    """A bell nobody hears: sweeps find the work a little later."""


@dataclass(slots=True)
class House:
    """Settings, clock, database, vault, adapters and the bell of this process."""

    settings: Settings
    clock: Clock
    db: Database
    vault: Vault
    registry: Registry
    ring: Ring = silence
    _hands: ThreadPoolExecutor | None = field(default=None, init=False)

    @classmethod
    def build(cls, settings: Settings, registry: Registry, clock: Clock, *, pool_size: int = 8) -> House:
        checkpoints.arm(settings.chaos)
        return cls(
            settings,
            clock,
            Database(settings.database_url, clock, pool_size=pool_size),
            Vault(settings.encryption_keys),
            registry,
        )

    @property
    def hands(self) -> ThreadPoolExecutor:
        """Threads that wait for vendors, shared by all sends of this process."""
        if self._hands is None:
            self._hands = ThreadPoolExecutor(max_workers=24, thread_name_prefix="hand")
        return self._hands

    def ring_all(self, doors: set[str], store_id: int) -> None:
        for door in doors:
            self.ring(door, store_id)

    def close(self) -> None:
        if self._hands is not None:
            self._hands.shutdown(wait=True)
        self.db.close()


def make_clock(settings: Settings) -> Clock:
    return Clock(settings.clock_file or None)


def vendor_settings(adapter_classes: Any) -> list[Any]:
    """The settings all adapters declare, once each, in their order."""
    seen: dict[str, Any] = {}
    for adapter in adapter_classes:
        for setting in adapter.settings:
            seen.setdefault(setting.name, setting)
    return list(seen.values())
