"""Faults strike as they say: on the wire, at their rate, on their side."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from sandbox import Running, testing
from sandbox.testing import StandIn, quiet, until

sandbox, stand_in = testing.sandbox, testing.stand_in

NUMBER, TOKEN = "100000000000011", "sandbox-token-shopify"
ALI = "+923007654321"
# One call per vendor that changes nothing, and what a healthy answer to it is.
CALLS = {
    "shopify": ("POST", "/shopify/dastak-demo.myshopify.com/admin/api/2026-07/graphql.json", 401),
    "woocommerce": ("GET", "/woo/wp-json/", 200),
    "whatsapp": ("GET", f"/graph/v26.0/{NUMBER}", 200),
}


@pytest.fixture
def hand(sandbox: Running):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=sandbox.url, timeout=20, headers=headers) as client:
        yield client


def fault(hand: httpx.Client, target: str, mode: str, **more: object) -> None:
    assert hand.post("/control/faults", json={"target": target, "mode": mode, **more}).status_code == 201


def call(hand: httpx.Client, vendor: str) -> httpx.Response:
    method, path, _ = CALLS[vendor]
    return hand.request(method, path, json={"query": "{shop{name}}"} if method == "POST" else None)


@pytest.mark.parametrize("vendor", CALLS)
def test_an_error_500_is_the_vendors_own(hand: httpx.Client, vendor):
    fault(hand, vendor, "error_500")
    answers = [call(hand, vendor) for _ in range(30)]
    assert {answer.status_code for answer in answers} <= {500, 503}
    kinds = Counter(answer.headers["Content-Type"].partition(";")[0] for answer in answers)
    assert set(kinds) == {"application/json", "text/html"}
    for answer in answers:
        if vendor == "whatsapp" and "json" in answer.headers["Content-Type"]:
            assert answer.json()["error"]["code"] in (131000, 2)
    hand.delete("/control/faults")
    assert call(hand, vendor).status_code == CALLS[vendor][2]


@pytest.mark.parametrize("vendor", CALLS)
def test_being_throttled_is_said_in_the_vendors_words(hand: httpx.Client, vendor):
    fault(hand, f"{vendor}.api", "throttle_429")
    answers = [call(hand, vendor) for _ in range(20)]
    if vendor == "shopify":
        assert {answer.status_code for answer in answers} == {200, 429}
        graphql = next(answer.json() for answer in answers if answer.status_code == 200)
        assert graphql["errors"][0]["extensions"]["code"] == "THROTTLED"
    else:
        assert {answer.status_code for answer in answers} == {429}
    if vendor == "whatsapp":
        assert {answer.json()["error"]["code"] for answer in answers} <= {130429, 80007, 4}
    else:
        assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 429)


def test_a_count_ends_a_fault_and_a_rate_is_a_share(hand: httpx.Client):
    fault(hand, "whatsapp", "error_500", count=2)
    assert [call(hand, "whatsapp").status_code for _ in range(4)][2:] == [200, 200]
    assert hand.get("/control/faults").json()["faults"] == []
    fault(hand, "whatsapp", "error_500", rate=0.5)
    share = sum(call(hand, "whatsapp").status_code == 200 for _ in range(200))
    assert 60 < share < 140
    hand.delete("/control/faults")
    fault(hand, "whatsapp", "error_500", rate=0)
    assert call(hand, "whatsapp").status_code == 200


def prepare_send(hand: httpx.Client) -> dict[str, object]:
    hand.post("/graph/v26.0/100000000000001/subscribed_apps")
    hand.post(f"/control/phones/{ALI}/send", json={"text": "Hi", "to": NUMBER})
    return {
        "messaging_product": "whatsapp",
        "to": ALI,
        "type": "text",
        "text": {"body": "Hello"},
        "biz_opaque_callback_data": "outbox-9",
    }


def shown(hand: httpx.Client) -> int:
    messages = hand.get(f"/control/phones/{ALI}").json()["messages"]
    return sum(message["from"] == "business" for message in messages)


def test_a_timeout_after_accept_did_what_was_asked(hand: httpx.Client, stand_in: StandIn):
    body = prepare_send(hand)
    fault(hand, "whatsapp", "timeout_after_accept")
    with pytest.raises(httpx.ReadTimeout):
        hand.post(f"/graph/v26.0/{NUMBER}/messages", json=body, timeout=0.3)
    assert shown(hand) == 1
    assert {status["biz_opaque_callback_data"] for status in stand_in.statuses(2)} == {"outbox-9"}
    log = hand.get("/control/log", params={"vendor": "whatsapp"}).json()["log"]
    assert any("answer withheld" in entry["outcome"] for entry in log)


def test_garbage_is_200_and_half_of_it_was_done(hand: httpx.Client):
    body = prepare_send(hand)
    fault(hand, "whatsapp", "garbage", count=30)
    answers = [hand.post(f"/graph/v26.0/{NUMBER}/messages", json=body) for _ in range(30)]
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        with pytest.raises(ValueError, match=r"."):
            answer.json()
    pages = sum("html" in answer.headers["Content-Type"] for answer in answers)
    assert 5 < pages < 25
    assert shown(hand) == 30 - pages


def test_a_dropped_call_did_nothing_and_got_no_answer(hand: httpx.Client, sandbox: Running):
    body = prepare_send(hand)
    fault(hand, "whatsapp.api", "drop", count=1)
    with httpx.Client(base_url=sandbox.url, headers=hand.headers) as fresh, pytest.raises(httpx.NetworkError) as cut:
        try:
            fresh.post(f"/graph/v26.0/{NUMBER}/messages", json=body)
        except httpx.RemoteProtocolError as error:
            raise httpx.NetworkError(str(error)) from error
    assert cut
    assert shown(hand) == 0
    assert hand.post(f"/graph/v26.0/{NUMBER}/messages", json=body).status_code == 200


def install(hand: httpx.Client) -> None:
    hand.post("/control/stores", json={"store": "shopify", "action": "install"})


def test_a_dropped_webhook_is_lost_for_ever(hand: httpx.Client, sandbox: Running, stand_in: StandIn):
    install(hand)
    fault(hand, "shopify", "drop", count=1)
    hand.post("/control/orders", json={})
    quiet(sandbox)
    assert stand_in.told == []
    log = hand.get("/control/log", params={"vendor": "shopify"}).json()["log"]
    assert log[-1]["outcome"] == "fault: dropped"


def test_a_duplicated_webhook_is_the_same_one(hand: httpx.Client, sandbox: Running, stand_in: StandIn):
    install(hand)
    fault(hand, "shopify.webhooks", "duplicate", count=1)
    hand.post("/control/orders", json={})
    first, second = stand_in.webhooks("orders/create", 2)
    assert first.body == second.body
    assert first.header("X-Shopify-Webhook-Id") == second.header("X-Shopify-Webhook-Id")


def test_a_reordered_webhook_is_overtaken(hand: httpx.Client, sandbox: Running, stand_in: StandIn):
    install(hand)
    fault(hand, "shopify", "reorder", count=1)
    names = [hand.post("/control/orders", json={}).json()["name"] for _ in range(3)]
    told = [one.json["name"] for one in stand_in.webhooks("orders/create", 3)]
    assert sorted(told) == names
    assert told[-1] == names[0]


def test_a_delayed_webhook_comes_late(hand: httpx.Client, stand_in: StandIn):
    install(hand)
    fault(hand, "shopify", "delay", count=1)
    started = time.monotonic()
    hand.post("/control/orders", json={})
    stand_in.webhooks("orders/create")
    assert time.monotonic() - started > 1.9


# The same on the server that `python -m sandbox` runs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def granian(stand_in: StandIn, tmp_path: Path):
    port = free_port()
    env = os.environ | {
        "SANDBOX_PORT": str(port),
        "APP_URL": stand_in.url,
        "SANDBOX_DATA": str(tmp_path / "world"),
        "CLOCK_FILE": str(tmp_path / "clock"),
    }
    command = [sys.executable, "-m", "sandbox"]
    process = subprocess.Popen(command, env=env, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/control/health").json()["ready"]
        except httpx.TransportError:
            return False

    until(answers)
    yield port, process, tmp_path
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def test_the_real_server_cuts_lines_asks_for_the_challenge_and_saves_at_the_end(granian, stand_in: StandIn):
    port, process, folder = granian
    stand_in.wait_for(lambda told: "hub.challenge" in told.path)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}) as hand:
        fault(hand, "whatsapp.api", "drop", count=1)
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        line.request("GET", f"/graph/v26.0/{NUMBER}", headers={"Authorization": f"Bearer {TOKEN}"})
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            line.getresponse().read()
        line.close()
        assert hand.get(f"/graph/v26.0/{NUMBER}").status_code == 200
        name = hand.post("/control/orders", json={"store": "shopify"}).json()["name"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    database = sqlite3.connect(folder / "world" / "world.sqlite3")
    kept = database.execute("SELECT record FROM records WHERE shelf = 'shopify_orders'").fetchall()
    database.close()
    assert len(kept) == 1
    assert name in kept[0][0].decode()
