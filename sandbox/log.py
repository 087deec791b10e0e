"""What every fake vendor received and sent: each API call with its answer, each webhook with its outcome.

Bounded in memory. Bodies are kept as they came and masked when someone reads them, because most are never read;
no token, secret or signature is ever shown in clear.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from sandbox.clock import Clock

KEPT = 5000
LONGEST_BODY = 4000
SECRET_NAMES = re.compile(
    r"token|secret|signature|securehash|hashedreq|^sig$|^code$|^hmac$|^pin$|password|consumer_key|^nonce$|oauth_nonce|authorization",
    re.I,
)
HARMLESS_NAMES = frozenset({"subject_token_type", "requested_token_type", "csrf_token_name"})


def masked(value: Any, name: str = "") -> Any:
    """The value with everything secret in it replaced, however deep it sits."""
    if isinstance(value, dict):
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, name) for inner in value]
    if isinstance(value, str) and value and name not in HARMLESS_NAMES and SECRET_NAMES.search(name):
        return "***"
    return value


def masked_query(query: str) -> str:
    return urlencode([(key, masked(value, key)) for key, value in parse_qsl(query, keep_blank_values=True)], safe="*")


def readable(body: bytes, content_type: str) -> Any:
    """A request body as the log shows it: parsed where it can be, masked always, never long."""
    if not body:
        return None
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(masked_query(body[:LONGEST_BODY].decode("utf-8", "replace"))))
    if len(body) <= LONGEST_BODY:
        try:
            return masked(orjson.loads(body))
        except ValueError:
            pass
    return f"{len(body)} bytes of {content_type or 'nothing declared'}"


class Log:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._last = 0

    def add(self, vendor: str, direction: str, what: str, outcome: str, **details: Any) -> None:
        """`direction` is "api" (they called us) or "webhook" (we called them)."""
        entry = {
            "at": self._clock.now().isoformat(timespec="milliseconds"),
            "vendor": vendor,
            "direction": direction,
            "what": what,
            "outcome": outcome,
            **details,
        }
        with self._lock:
            self._last += 1
            entry["n"] = self._last
            self._entries.append(entry)

    def read(
        self, vendor: str | None = None, since: int = 0, limit: int = 200, bodies: bool = True
    ) -> list[dict[str, Any]]:
        """The newest `limit` entries after number `since`, oldest first."""
        with self._lock:
            found = [entry for entry in self._entries if entry["n"] > since]
        if vendor:
            found = [entry for entry in found if entry["vendor"] == vendor]
        return [self._shown(entry, bodies) for entry in found[-limit:]] if limit else []

    @property
    def last(self) -> int:
        return self._last

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    @staticmethod
    def _shown(entry: dict[str, Any], body: bool) -> dict[str, Any]:
        shown = {key: value for key, value in entry.items() if key not in ("body", "content_type", "query")}
        if entry.get("query"):
            shown["query"] = masked_query(entry["query"])
        if body and entry.get("body"):
            shown["body"] = readable(entry["body"], entry.get("content_type", ""))
        return shown
