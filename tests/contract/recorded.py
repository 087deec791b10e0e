"""Fixtures of every adapter, found by walking: a recorded request, and beside it the facts it must become.

    tests/fixtures/<room>/<adapter>/credentials.json            settings and account it is read with
    tests/fixtures/<room>/<adapter>/<event>__<variant>.json     headers and body_raw, as recorded
    tests/fixtures/<room>/<adapter>/<event>__<variant>.facts.json

What begins with `inquiry__` is an answer to a question of ours, which nobody signs.

`python -m tests.contract.recorded` writes the facts files that are missing, to be read by eye before a commit.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters import discover
from integration.clock import Clock
from integration.errors import NotUnderstood
from integration.ports import ROOMS, Account, AdapterConfig, WebhookRequest
from integration.settings import Settings

FIXTURES = Path(__file__).parent.parent / "fixtures"


@dataclass(frozen=True)
class Recorded:
    """One recorded request of one adapter."""

    room: str
    adapter: str
    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def asked_for(self) -> bool:
        return self.name.startswith("inquiry__")

    @property
    def request(self) -> WebhookRequest:
        raw = json.loads(self.path.read_text())
        headers = {name.lower(): value for name, value in raw["headers"]}
        return WebhookRequest(headers, raw["body_raw"].encode())

    @property
    def facts_path(self) -> Path:
        return self.path.with_suffix("").with_suffix(".facts.json")

    @property
    def facts(self) -> Any:
        return json.loads(self.facts_path.read_text())

    def __str__(self) -> str:
        return f"{self.adapter}/{self.name}"


def adapters() -> list[tuple[str, str]]:
    """Every (room, adapter) there is."""
    return [(room, name) for room, named in discover().items() for name in named]


def recordings(room: str, adapter: str) -> list[Recorded]:
    """The requests recorded for an adapter's webhooks."""
    folder = FIXTURES / room / adapter
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name == "credentials.json" or path.name.endswith(".facts.json"):
            continue
        raw = json.loads(path.read_text())
        if isinstance(raw, dict) and raw.get("path") == "/wh":
            found.append(Recorded(room, adapter, path))
    return found


def everything() -> list[Recorded]:
    return [recorded for room, name in adapters() for recorded in recordings(room, name)]


def build(room: str, name: str) -> tuple[Any, Account]:
    """An adapter with the settings and account of its fixtures."""
    adapter = discover()[room][name]
    told = json.loads((FIXTURES / room / name / "credentials.json").read_text())
    base = {"SECRET_KEY": "contract-secret-key", "ENCRYPTION_KEYS": "A" * 43 + "="}
    settings = Settings.from_env(adapter.settings, base | told["settings"])
    config = AdapterConfig(settings.vendor, Clock(), "https://dastak.example.test")
    return adapter(config), Account(told["account"]["name"], told["account"]["credentials"])


def plain(value: Any) -> Any:
    """A fact as JSON: what differs from its default, times in ISO, amounts as text."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = {f.name: plain(getattr(value, f.name)) for f in fields(value) if getattr(value, f.name) != _default(f)}
        return {"fact": type(value).__name__} | shown
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def understood(adapter: Any, request: WebhookRequest) -> Any:
    """The facts of a request as JSON, or why there are none."""
    try:
        return plain(adapter.parse(request))
    except NotUnderstood as fault:
        return {"not_understood": str(fault)}


if __name__ == "__main__":
    for recorded in everything():
        if not recorded.facts_path.exists() or "--again" in sys.argv:
            adapter, _ = build(recorded.room, recorded.adapter)
            text = json.dumps(understood(adapter, recorded.request), indent=1, ensure_ascii=False)
            recorded.facts_path.write_text(text + "\n")
            print(f"wrote {recorded.facts_path.name}: read it before you commit it")
    print(f"{len(everything())} recordings in {', '.join(ROOMS)}")
