"""For tests: a stand-in for the app that records what it is told, and fixtures for a world of one's own.

    from sandbox import testing
    sandbox, stand_in = testing.sandbox, testing.stand_in

gives a test module the fixtures `stand_in` and `sandbox` (a served world that calls it, fast, nothing installed).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from sandbox import Running, Settings, serve

PATIENCE = 60.0

FAST = Settings(
    port=0,
    shopify_first_retry=0.02,
    whatsapp_first_retry=0.02,
    gateway_first_retry=0.02,
    template_review=0.0,
    sent_after=0.0,
    delivered_after=0.01,
    payment_after=0.05,
    cancel_job=0.01,
    answer_withheld=5.0,
    seed=1,
)


@dataclass(frozen=True)
class Told:
    """One request the stand-in received."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def topic(self) -> str | None:
        return self.header("X-Shopify-Topic") or self.header("X-WC-Webhook-Topic")


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after: Callable[[], object] | None = None  # waited for before answering


class StandIn:
    """Answers 200 to everything, the challenge to a webhook verification, or what `answers` says."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.answers: Callable[[Told], Reply | None] = lambda told: None
        self._changed = threading.Condition()
        stand_in = self

        class Request(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                told = Told(self.command, self.path, list(self.headers.items()), self.rfile.read(length))
                with stand_in._changed:
                    stand_in.told.append(told)
                    stand_in._changed.notify_all()
                reply = stand_in.answers(told) or stand_in._usual(told)
                if reply.after is not None:
                    reply.after()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @staticmethod
    def _usual(told: Told) -> Reply:
        challenge = parse_qs(urlsplit(told.path).query).get("hub.challenge", [""])[0]
        return Reply(body=challenge.encode())

    def wait_for(self, wanted: Callable[[Told], bool], count: int = 1) -> list[Told]:
        """The requests that are wanted, once there are `count` of them."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                found = [told for told in self.told if wanted(told)]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                assert left > 0, f"{len(found)} of {count} wanted requests came; all: {self.summary()}"
                self._changed.wait(left)

    def webhooks(self, topic: str, count: int = 1) -> list[Told]:
        return self.wait_for(lambda told: told.topic == topic, count)

    def updates(self, count: int, field: str = "messages") -> list[dict[str, Any]]:
        """The single values of WhatsApp webhooks, flattened out of their batches."""

        def found() -> list[dict[str, Any]]:
            return [
                change["value"]
                for told in self.told
                if told.header("X-Hub-Signature-256")
                for entry in told.json["entry"]
                for change in entry["changes"]
                if change["field"] == field
            ]

        until(lambda: len(found()) >= count, lambda: f"{len(found())} of {count} updates: {found()}")
        return found()

    def statuses(self, count: int) -> list[dict[str, Any]]:
        def found() -> list[dict[str, Any]]:
            return [status for value in self.updates(0) for status in value.get("statuses", ())]

        until(lambda: len(found()) >= count, lambda: f"{len(found())} of {count} statuses: {found()}")
        return found()

    def inbound(self, kind: str) -> dict[str, Any]:
        """The first message of a customer that has this type."""

        def found() -> list[dict[str, Any]]:
            return [one for value in self.updates(0) for one in value.get("messages", ()) if one["type"] == kind]

        until(found, lambda: f"no {kind} message came")
        return found()[0]

    def summary(self) -> list[str]:
        return [f"{told.method} {told.path} {told.topic or ''}" for told in self.told]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def until(true: Callable[[], object], otherwise: Callable[[], str] = lambda: "it did not become true") -> None:
    """Wait for a condition, and fail with a sentence when it does not come."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.005)


def quiet(running: Running) -> None:
    """Wait until nothing is on its way any more."""
    world = running.world
    queues = world.queues().values()
    until(lambda: not world.world.timers.waiting() and not any(queue.waiting() for queue in queues))


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    app = StandIn()
    yield app
    app.stop()


@pytest.fixture
def sandbox(stand_in: StandIn) -> Iterator[Running]:
    running = serve(replace(FAST, app_url=stand_in.url))
    yield running
    running.stop()
