"""What was said between an adapter and its vendor, as files, and a vendor that says its part of it over real HTTP.

    tests/fixtures/couriers/parcels.json                      the parcel that is booked, by country
    tests/fixtures/payments/asked.json                        what a customer is asked to pay, by country
    tests/fixtures/<room>/<adapter>/exchanges/<call>__<variant>.json

Each holds the call's input where it differs from the usual (`parcel`, `booked`, `advice`, `asked`, `reference`,
`gateway_id`, `query`, `credentials`), the `exchanges` in their order (a request as it must arrive, the answer to it),
and what comes of it: a `result`, or an `error` with its class and what it says. `{server}` stands for the vendor's own
origin. The result of an inquiry is the facts that its answer states.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pypdf import PdfReader, PdfWriter

from adapters import discover
from integration.clock import Clock
from integration.ports import Account, AdapterConfig, Advice, Booked, Parcel, PaymentAsked, Piece, WebhookRequest
from integration.settings import Settings
from integration.values import Address, Money

from .recorded import FIXTURES, understood

COURIERS = FIXTURES / "couriers"
NOW = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
"""When everything here was said: in Pakistan and India it is the 22nd already."""


class StandingClock(Clock):
    def now(self) -> datetime:
        return NOW


@dataclass(frozen=True)
class Exchange:
    """One call of one adapter, with all that is said for it."""

    room: str
    adapter: str
    path: Path

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    @property
    def call(self) -> str:
        return self.path.stem.split("__")[0]

    def __str__(self) -> str:
        return f"{self.adapter}/{self.path.stem}"


def exchanges(*calls: str, room: str = "couriers") -> list[Exchange]:
    """Those recorded of these calls, of every adapter of a room; of all calls when none is named."""
    found = [
        Exchange(room, name, path)
        for name in discover()[room]
        for path in sorted((FIXTURES / room / name / "exchanges").glob("*.json"))
    ]
    return [exchange for exchange in found if not calls or exchange.call in calls]


# -- the vendor ------------------------------------------------------------------------------------------------------


class FakeVendor:
    """A server on loopback that answers what it was told to, in that order, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                fake.asked.append(_as_asked(self.command, self.path, body, dict(self.headers.items())))
                fake.speak(self)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_: Any) -> None:
                """Tests are silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def speak(self, handler: BaseHTTPRequestHandler) -> None:
        answer = self.answers.pop(0) if self.answers else {"status": 599, "text": "nothing was to be asked here"}
        if answer.get("hangs_up"):
            handler.close_connection = True
            return
        if "pdf" in answer:
            body = a_pdf(answer["pdf"])
        elif "text" in answer:
            body = answer["text"].encode()
        else:
            body = json.dumps(answer.get("body")).replace("{server}", self.origin).encode() if "body" in answer else b""
        handler.send_response(answer["status"])
        for name, value in answer.get("headers", {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def fake_vendor() -> Iterator[FakeVendor]:
    vendor = FakeVendor()
    yield vendor
    vendor.close()


def _as_asked(method: str, path: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    parts = urlsplit(path)
    query: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        query[name] = value if name not in query else [*_listed(query[name]), value]
    asked: dict[str, Any] = {"method": method, "path": parts.path}
    if query:
        asked["query"] = query
    if body:
        form = "form-urlencoded" in headers.get("Content-Type", "")
        asked["body"] = dict(parse_qsl(body.decode(), keep_blank_values=True)) if form else json.loads(body)
    return asked | {"headers": {name.lower(): value for name, value in headers.items()}}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def a_pdf(pages: int) -> bytes:
    """A PDF of so many empty pages."""
    writer, paper = PdfWriter(), BytesIO()
    for _ in range(pages):
        writer.add_blank_page(width=72, height=72)
    writer.write(paper)
    return paper.getvalue()


# -- the adapter -----------------------------------------------------------------------------------------------------


def build(exchange: Exchange, origin: str) -> tuple[Any, Account]:
    """The adapter, speaking to that origin with the vendor's own paths, and its account."""
    cls = discover()[exchange.room][exchange.adapter]
    recorded = json.loads((FIXTURES / exchange.room / exchange.adapter / "credentials.json").read_text())
    base = {"SECRET_KEY": "contract-secret-key", "ENCRYPTION_KEYS": "A" * 43 + "="}
    moved = {
        setting.name: origin + urlsplit(setting.default).path
        for setting in cls.settings
        if str(setting.default).startswith("http")
    }
    settings = Settings.from_env(cls.settings, base | moved)
    config = AdapterConfig(settings.vendor, StandingClock(), "https://dastak.example.test", trusted_origins=(origin,))
    given = recorded.get("booking", recorded["account"]["credentials"]) | exchange.told.get("credentials", {})
    return cls(config), Account("acc", {name: value for name, value in given.items() if value is not None})


def perform(exchange: Exchange, adapter: Any, account: Account, origin: str) -> Any:
    """The call, with its result as JSON."""
    told = json.loads(exchange.path.read_text().replace("{server}", origin))
    booked = [Booked(**one) for one in told.get("booked", [])]
    calls: dict[str, Callable[[], Any]] = {
        "book": lambda: adapter.book(account, parcel_of(exchange)),
        "cancel": lambda: adapter.cancel(account, booked[0]),
        "labels": lambda: len(PdfReader(BytesIO(adapter.labels(account, booked))).pages),
        "cities": lambda: adapter.cities(account),
        "find": lambda: adapter.find(account, told["reference"]),
        "advise": lambda: adapter.advise(account, booked[0], _advice(told["advice"])),
        "refresh": lambda: adapter.refresh(account),
        "proof": lambda: adapter.proof(account, booked[0]),
        "checkout": lambda: adapter.checkout(account, asked_of(exchange)),
        "inquire": lambda: _stated(adapter, adapter.inquire(account, *_named(told))),
        "find_checkout": lambda: adapter.find_checkout(account, _named(told)[0]),
        "withdraw": lambda: adapter.withdraw(account, *_named(told)),
        "go_on": lambda: adapter.go_on(account, told["query"], USUAL_RETURN),
    }
    return _plain(calls[exchange.call]())


def parcel_of(exchange: Exchange) -> Parcel:
    """The usual parcel of the adapter's country, with what the exchange says otherwise."""
    country = discover()["couriers"][exchange.adapter].regions[0]
    told = json.loads((COURIERS / "parcels.json").read_text())[country] | exchange.told.get("parcel", {})
    return Parcel(
        **told
        | {
            "address": Address(**told["address"]),
            "collect": Money(Decimal(told["collect"][0]), told["collect"][1]),
            "value": Money(Decimal(told["value"][0]), told["value"][1]),
            "weight": Decimal(told["weight"]),
            "items": tuple(Piece(**item | {"price": Decimal(item["price"])}) for item in told["items"]),
            "at": datetime.fromisoformat(told["at"]),
        }
    )


USUAL_RETURN = "https://dastak.example.test/pay/back"
"""Where a checkout comes back to that goes on from here."""


def asked_of(exchange: Exchange) -> PaymentAsked:
    """What a customer of the adapter's country is usually asked to pay, with what the exchange says otherwise."""
    country = discover()[exchange.room][exchange.adapter].regions[0]
    told = json.loads((FIXTURES / exchange.room / "asked.json").read_text())[country] | exchange.told.get("asked", {})
    times = {name: datetime.fromisoformat(told[name]) for name in ("at", "expires_at")}
    return PaymentAsked(**told | times | {"amount": Money(Decimal(told["amount"][0]), told["amount"][1])})


def _named(told: dict[str, Any]) -> tuple[str, str]:
    return told.get("reference", "1001-1"), told.get("gateway_id", "")


def _stated(adapter: Any, request: WebhookRequest | None) -> Any:
    return understood(adapter, request) if request is not None else None


def _advice(told: dict[str, Any]) -> Advice:
    return Advice(**told | {"on": date.fromisoformat(told["on"]) if told.get("on") else None})


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: found for f in fields(value) if (found := getattr(value, f.name))}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
