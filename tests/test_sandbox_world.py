"""The world itself: its clock, its memory, its doors, its log and its faults."""

from __future__ import annotations

import struct
from dataclasses import replace

import httpx
import pytest

from sandbox import Running, Settings, serve, testing
from sandbox.gateways import GATEWAYS
from sandbox.testing import FAST, Reply, StandIn, until

sandbox, stand_in = testing.sandbox, testing.stand_in


@pytest.fixture
def control(sandbox: Running):
    with httpx.Client(base_url=sandbox.url, timeout=60) as client:
        yield client


def test_the_clock_file_holds_the_offset_as_a_little_endian_float(tmp_path, stand_in: StandIn):
    file = tmp_path / "clock"
    running = serve(replace(FAST, app_url=stand_in.url, clock_file=file))
    try:
        control = httpx.Client(base_url=running.url)
        assert control.get("/control/clock").json()["offset_seconds"] == 0
        assert not file.exists()
        moved = control.post("/control/clock", json={"advance": "1h30m"}).json()
        assert moved["offset_seconds"] == 5400
        assert struct.unpack("<d", file.read_bytes()) == (5400.0,)
        control.post("/control/clock", json={"advance": "2d"})
        assert struct.unpack("<d", file.read_bytes()) == (5400.0 + 2 * 86400,)
        with file.open("r+b") as other_hand:
            other_hand.write(struct.pack("<d", 60.0))
        assert control.get("/control/clock").json()["offset_seconds"] == 60
        assert control.post("/control/clock", json={"reset": True}).json()["offset_seconds"] == 0
        control.close()
    finally:
        running.stop()


@pytest.mark.parametrize("advance", ["soon", "", "-1h", "5", "1w", None, 3, {}, "9" * 30 + "d"])
def test_the_clock_refuses_what_is_no_duration(control: httpx.Client, advance):
    answer = control.post("/control/clock", json={"advance": advance})
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_clock_does_not_leave_its_calendar(control: httpx.Client):
    assert control.post("/control/clock", json={"advance": "99999d"}).status_code == 400


def test_a_world_survives_its_process_with_what_was_not_delivered(tmp_path, stand_in: StandIn):
    settings = replace(FAST, app_url=stand_in.url, data=tmp_path / "world", shopify_first_retry=30.0)
    stand_in.answers = lambda told: Reply(503)
    first = serve(settings)
    control = httpx.Client(base_url=first.url)
    control.post("/control/stores", json={"store": "shopify", "action": "install"})
    order = control.post("/control/orders", json={"store": "shopify", "note": "نوٹ & more"}).json()
    until(lambda: any(told.topic == "orders/create" for told in stand_in.told))
    until(lambda: first.world.shopify.webhooks.queue.waiting() == 1)
    control.close()
    first.stop()

    stand_in.answers = lambda told: None
    refused = stand_in.webhooks("orders/create")[0]
    second = serve(settings)
    try:
        kept = httpx.get(f"{second.url}/control/orders/{order['order_id']}").json()
        assert kept["note"] == "نوٹ & more"
        again = stand_in.webhooks("orders/create", 2)[1]
        assert again.header("X-Shopify-Webhook-Id") == refused.header("X-Shopify-Webhook-Id")
        assert again.body == refused.body
        newer = httpx.post(f"{second.url}/control/orders", json={"store": "shopify"}).json()
        assert newer["name"] == "#1002"
    finally:
        second.stop()


def test_two_worlds_in_one_process_know_nothing_of_each_other(sandbox: Running, stand_in: StandIn):
    other = serve(replace(FAST, app_url=stand_in.url))
    try:
        httpx.post(f"{sandbox.url}/control/orders", json={"store": "woocommerce"})
        assert httpx.get(f"{sandbox.url}/control/orders").json()["total"] == 1
        assert httpx.get(f"{other.url}/control/orders").json()["total"] == 0
    finally:
        other.stop()


def test_a_reset_can_keep_the_connections(control: httpx.Client, sandbox: Running):
    control.post("/control/stores", json={"store": "shopify", "action": "install"})
    control.post("/control/orders", json={"store": "shopify"})
    control.post("/control/reset", json={"keep_connections": True})
    assert control.get("/control/orders").json()["total"] == 0
    assert control.get("/control/stores").json()["shopify"][0]["installed"] is True
    assert control.post("/control/orders", json={}).json()["name"] == "#1002"
    control.post("/control/reset")
    assert control.get("/control/stores").json()["shopify"][0]["installed"] is False
    assert control.post("/control/orders", json={}).json()["name"] == "#1001"


def test_only_this_machine_is_answered(control: httpx.Client, sandbox: Running):
    assert control.get("/control/health", headers={"Host": "evil.example"}).status_code == 403
    assert control.get("/", headers={"Host": "evil.example:8100"}).status_code == 403
    foreign = sandbox.world.app.test_client().get("/control/health", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert foreign.status_code == 403
    assert (
        control.get("/control/health", headers={"Host": f"localhost:{httpx.URL(sandbox.url).port}"}).status_code == 200
    )


def test_no_other_sites_page_may_move_the_world(control: httpx.Client, sandbox: Running):
    for origin in ("https://evil.example", "http://127.0.0.1:1", "null"):
        answer = control.post("/control/orders", json={}, headers={"Origin": origin})
        assert answer.status_code == 403, origin
    assert control.post("/control/orders", json={}, headers={"Origin": sandbox.url}).status_code == 201


def test_health_says_what_is_ready_and_what_waits(control: httpx.Client):
    health = control.get("/control/health").json()
    assert health["ready"] is True
    assert health["idle"] is True
    vendors = ("shopify", "woocommerce", "whatsapp", "leopards", "shiprocket", "trax", *GATEWAYS)
    assert health["queues"] == dict.fromkeys(vendors, 0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"store": "magento"}, "Stores: shopify, woocommerce"),
        ({"payment": "barter"}, "Payments: cod"),
        ({"items": [{"sku": "X"}]}, "KHS-01"),
        ({"items": [{"sku": "KHS-01", "quantity": 0}]}, "quantity"),
        ({"items": "KHS-01"}, "items"),
        ({"customer": "Ali"}, "customer"),
        ({"shop": "nobody.myshopify.com"}, "dastak-demo.myshopify.com"),
    ],
)
def test_an_impossible_order_is_refused_with_what_exists(control: httpx.Client, body, said):
    answer = control.post("/control/orders", json=body)
    assert answer.status_code in (400, 404)
    assert said in answer.json()["error"]


def test_what_is_not_json_is_refused(control: httpx.Client):
    for body in (b"{", b"[]", b'"x"', b"\xff\xfe"):
        assert control.post("/control/orders", content=body).status_code == 400


def test_a_store_order_can_be_paid_by_name_of_control(control: httpx.Client):
    order = control.post("/control/orders", json={"store": "woocommerce", "payment": "jazzcash"}).json()
    assert control.get(f"/control/orders/{order['order_id']}").json()["payment_status"] == "pending"
    paid = control.post("/control/payments", json={"order_id": order["order_id"], "outcome": "paid"})
    assert paid.json()["payment_status"] == "paid"


def test_settings_come_from_the_environment():
    settings = Settings.from_env(
        {
            "SANDBOX_PORT": "8123",
            "APP_URL": "http://127.0.0.1:9000/",
            "SHOPIFY_API_SECRET": "new-secret, old-secret",
            "CLOCK_FILE": "var/clock",
        }
    )
    assert settings.url == "http://127.0.0.1:8123"
    assert settings.app_url == "http://127.0.0.1:9000"
    assert settings.shopify_api_secret == "new-secret"
    assert settings.shopify_api_secrets == ("new-secret", "old-secret")
    with pytest.raises(SystemExit):
        Settings.from_env({"SANDBOX_PORT": "many"})


def test_the_log_shows_calls_without_secrets(control: httpx.Client, sandbox: Running):
    control.post(
        "/shopify/dastak-demo.myshopify.com/admin/oauth/access_token",
        data={"client_id": "x", "client_secret": "hunter2-hunter2", "subject_token": "ey.abc.def"},
    )
    control.get("/graph/v26.0/100000000000011?access_token=sandbox-token-shopify&fields=id")
    control.get("/woo/wp-json/wc/v3/orders?consumer_secret=cs_secret&per_page=1")
    text = control.get("/control/log").text
    for secret in ("hunter2-hunter2", "ey.abc.def", "sandbox-token-shopify", "cs_secret"):
        assert secret not in text
    log = control.get("/control/log", params={"vendor": "whatsapp", "limit": 1}).json()
    assert [entry["vendor"] for entry in log["log"]] == ["whatsapp"]
    assert log["log"][0]["status"] == 200
    assert control.get("/control/log", params={"since": log["last"]}).json()["log"] == []
    assert control.get("/control/log", params={"vendor": "dhl"}).status_code == 400


def test_faults_are_listed_and_refused_with_what_exists(control: httpx.Client):
    exists = control.get("/control/faults").json()
    assert {
        "error_500",
        "throttle_429",
        "timeout_after_accept",
        "drop",
        "duplicate",
        "reorder",
        "delay",
        "garbage",
    } == (set(exists["modes"]))
    for body in (
        {},
        {"target": "dhl", "mode": "drop"},
        {"target": "whatsapp", "mode": "boom"},
        {"target": "whatsapp.webhooks", "mode": "error_500"},
        {"target": "whatsapp.api", "mode": "duplicate"},
        {"target": "whatsapp", "mode": "drop", "rate": 2},
        {"target": "whatsapp", "mode": "drop", "rate": True},
        {"target": "whatsapp", "mode": "drop", "count": 0},
        {"target": "whatsapp", "mode": "drop", "count": "3"},
    ):
        assert control.post("/control/faults", json=body).status_code == 400, body
    made = control.post("/control/faults", json={"target": "whatsapp", "mode": "drop", "rate": 0.5, "count": 3})
    assert made.status_code == 201
    fault = made.json()["fault"]
    assert (fault["target"], fault["rate"], fault["count"]) == ("whatsapp", 0.5, 3)
    assert control.delete(f"/control/faults/{fault['id']}").json()["removed"] == 1
    control.post("/control/faults", json={"target": "shopify.api", "mode": "garbage"})
    assert control.delete("/control/faults").json()["faults"] == []
