"""Vendors. Each file speaks one vendor's wire format: wire format in, facts out; intent in, wire format out.

`load` walks the rooms and takes each module's `ADAPTER`. Adding a vendor touches its own file and its fixtures, nothing
else. A broken adapter stops the boot: one that is silently missing would lose its vendor's mail.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

from integration.clock import Clock
from integration.house import House, make_clock, vendor_settings
from integration.ports import ROOMS, AdapterConfig, Registry
from integration.settings import Settings

ADAPTERS_DIR = Path(__file__).parent


def discover() -> dict[str, dict[str, Any]]:
    """The adapter classes by room and name. Raises whatever a broken module raises."""
    found: dict[str, dict[str, Any]] = {room: {} for room in ROOMS}
    for room in ROOMS:
        for module in pkgutil.iter_modules([str(ADAPTERS_DIR / room)]):
            adapter = importlib.import_module(f"{__name__}.{room}.{module.name}").ADAPTER
            if adapter.name != module.name:
                raise RuntimeError(f"adapters/{room}/{module.name}.py calls itself {adapter.name!r}")
            found[room][adapter.name] = adapter
    return found


def load(settings: Settings, clock: Clock) -> Registry:
    """Every adapter, built with the settings it declared."""
    config = AdapterConfig(
        settings=settings.vendor,
        clock=clock,
        public_url=settings.public_url,
        trusted_origins=settings.trusted_store_origins,
        send_timeout=settings.send_lease / 2,
    )
    return Registry(
        {room: {name: adapter(config) for name, adapter in named.items()} for room, named in discover().items()}
    )


def declared_settings() -> list[Any]:
    return vendor_settings(adapter for named in discover().values() for adapter in named.values())


def build_house(*, pool_size: int = 8, dotenv: Path | None = Path(".env")) -> House:
    """Settings from the environment, every adapter, a database: what each process starts from."""
    settings = Settings.from_env(declared_settings(), dotenv=dotenv)
    clock = make_clock(settings)
    return House.build(settings, load(settings, clock), clock, pool_size=pool_size)
