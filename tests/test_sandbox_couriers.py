"""The couriers of the sandbox: each in its own shape, with its own way of saying no. It knows nothing of the app."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from sandbox import Running
from sandbox.couriers import COURIERS, KEY, PASSWORD, TOKEN
from sandbox.testing import StandIn, sandbox, stand_in, until

__all__ = ["sandbox", "stand_in"]

AT = "2026-11-21T12:00:00+05:00"
ASKED: dict[str, dict[str, Any]] = {
    "tcs": {"method": "GET", "url": "tcs/tracking/api/Tracking/GetDynamicTrackDetail", "params": {"consignee": "N1"},
            "headers": {"Authorization": f"Bearer {TOKEN}"}},
    "leopards": {"method": "POST", "url": "leopards/trackBookedPacket/format/json/",
                 "json": {"api_key": KEY, "api_password": PASSWORD, "track_numbers": "N1"}},
    "shiprocket": {"method": "POST", "url": "shiprocket/courier/track/awbs", "json": {"awbs": ["N1"]},
                   "headers": {"Authorization": f"Bearer {TOKEN}"}},
    "postex": {"method": "GET", "url": "postex/v1/track-order/N1", "headers": {"token": KEY}},
    "trax": {"method": "GET", "url": "trax/shipment/track", "params": {"tracking_number": "N1", "type": "1"},
             "headers": {"Authorization": KEY}},
}  # fmt: skip


@pytest.fixture
def http(sandbox: Running) -> httpx.Client:
    return httpx.Client(base_url=sandbox.url, trust_env=False)


def _scan(http: httpx.Client, courier: str, **said: str) -> httpx.Response:
    return http.post("/control/scans", json={"courier": courier, "tracking_number": "N1", "at": AT, **said})


@pytest.mark.parametrize("courier", COURIERS)
def test_a_parcel_is_unknown_until_it_is_scanned_and_then_told_in_the_couriers_shape(
    http: httpx.Client, courier: str
) -> None:
    asked = dict(ASKED[courier])
    asked["url"] = f"/couriers/{asked['url']}"
    before = http.request(**asked)
    assert before.status_code == 200
    assert "Rider Picked" not in before.text
    assert _scan(http, courier, text="Rider Picked", location="LAHORE").status_code == 201
    after = http.request(**asked)
    assert "Rider Picked" in after.text or "RIDER PICKED" in after.text
    assert "N1" in after.text


@pytest.mark.parametrize("courier", COURIERS)
def test_wrong_keys_are_refused_in_the_couriers_way(http: httpx.Client, courier: str) -> None:
    _scan(http, courier, text="Rider Picked")
    asked = {name: value for name, value in ASKED[courier].items() if name != "headers"}
    if courier == "leopards":
        asked["json"] = {**asked["json"], "api_password": "wrong"}
    answer = http.request(**{**asked, "url": f"/couriers/{asked['url']}"})
    assert answer.status_code == (401 if courier in ("shiprocket", "postex") else 200)
    assert "Rider Picked" not in answer.text


@pytest.mark.parametrize(("courier", "status"), [("leopards", 202), ("shiprocket", 200), ("trax", 200)])
def test_a_courier_that_pushes_does_so_with_the_key_it_was_given(
    sandbox: Running, stand_in: StandIn, http: httpx.Client, courier: str, status: int
) -> None:
    address = f"{stand_in.url}/webhooks/couriers/{courier}/t"
    told = {"courier": courier, "push_url": address, "push_key": "k"}
    assert http.post("/control/couriers", json=told).status_code == 200
    _scan(http, courier, code="AC", text="Out for Delivery")
    until(lambda: any(e["direction"] == "webhook" for e in http.get("/control/log").json()["log"]))
    log = http.get("/control/log", params={"vendor": courier}).json()["log"]
    [entry] = [entry for entry in log if entry["direction"] == "webhook"]
    assert entry["outcome"].startswith("delivered" if status == 200 else "refused")  # the stand-in says 200 to all


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/control/scans", {"courier": "ups"}, "There is no courier"),
        ("/control/scans", {"courier": "tcs", "tracking_number": "N1"}, "own words"),
        ("/control/scans", {"courier": "tcs", "tracking_number": "N1", "text": "x", "at": "noon"}, "a time like"),
        ("/control/couriers", {"courier": "tcs", "push_url": "http://127.0.0.1:1"}, "pushes nothing"),
    ],
)
def test_an_impossible_scan_is_refused_with_what_exists(
    http: httpx.Client, path: str, body: dict[str, str], said: str
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
