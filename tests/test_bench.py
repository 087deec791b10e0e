"""The instruments: what is sent is what vendors send, the load counts what was answered, a goal is met or it is not."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest

import run
from adapters import discover
from bench import chaos, orders, report
from bench.load import Load, fire
from integration.checkpoints import LABELS
from integration.ports import WebhookRequest
from servers import free_port


@pytest.fixture
def answering() -> Iterator[int]:
    """The instant channel, which answers everything with 200. Its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.graph", str(port)], cwd=run.ROOT)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
    yield port
    process.terminate()
    process.wait(10)


def test_an_order_of_the_load_is_one_that_the_adapter_understands() -> None:
    head, body = orders.request(7).split(b"\r\n\r\n", 1)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert 2_300 <= len(body) <= 2_700
    assert int(headers["Content-Length"]) == len(body)
    assert headers["X-Shopify-Hmac-SHA256"].encode() == orders.signature(body)
    request = WebhookRequest({name.lower(): value for name, value in headers.items()}, body)
    shopify = discover()["stores"]["shopify"]
    assert shopify.__new__(shopify).delivery_key(request) == orders.webhook_id(7)
    assert json.loads(body)["name"] == "#1007"


def test_a_volley_repeats_a_tenth_and_numbers_the_rest_in_a_row() -> None:
    shots = list(orders.volley(500, 2_000))
    counts = Counter(shot.number for shot in shots)
    assert len(shots) == 2_000
    assert sorted(counts) == list(range(500, 500 + len(counts)))
    assert 0.05 < 1 - len(counts) / len(shots) < 0.15
    assert len({shot.wire for shot in shots}) == len(counts)


@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_the_load_counts_what_was_answered_and_remembers_what_was_acknowledged(answering: int, rate: float) -> None:
    shots = fire(Load(port=answering, first=0, requests=100, connections=2, seconds=0.5, warm=0.0, rate=rate))
    sent = {shot.number for shot in orders.volley(0, 100)}
    assert {number for first, last in shots.acknowledged for number in range(first, last + 1)} == sent
    assert shots.statuses == {"200": 100}
    assert (shots.counted, shots.broken) == (100, 0)
    assert 0 < shots.p50 <= shots.p99 <= shots.worst


def test_a_goal_is_met_missed_or_not_measured() -> None:
    assert report.Goal("more", 3.0, 3.0).met
    assert report.Goal("more", 3.0, 2.9).met is False
    assert report.Goal("less", 8.0, 8.1, at_least=False).met is False
    assert report.Goal("less", 8.0, None, at_least=False).met is None
    assert {goal.met for goal in report.goals({})} == {None}


def test_what_was_lost_or_doubled_anywhere_is_counted() -> None:
    kept = {"dastak sqlite": {"acknowledged": 9, "missing": 1, "twice": 2}, "node + bullmq": {"jobs missing": 4}}
    found = {
        "ingest": {"kept, one process": kept},
        "burst": {"orders": 10, "80 per second": {"missing": 3, "doubled": 0}},
        "drain": {"sqlite": {"1000": {"failed": 5}, "growth": {"median": 1.0}}},
    }
    assert report.lost(found) == 1 + 2 + 3 + 5


def test_a_storm_ends_processes_only_at_points_that_there_are() -> None:
    """A label that does not exist keeps every process from booting, and the storm would be a calm."""
    named = {
        label
        for part in ("integration", "worker.py")
        for path in ([run.ROOT / part] if part.endswith(".py") else sorted((run.ROOT / part).rglob("*.py")))
        for label in re.findall(r'reached\("([\w.]+)"\)', path.read_text())
    }
    assert named == set(LABELS)
    assert set(chaos.CHECKPOINTS) <= named
