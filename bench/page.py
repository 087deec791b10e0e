"""(d) The page on which a customer follows a parcel: how soon its largest part is painted.

Chromium opens it with nothing cached, over and over, in English and in Urdu, whose letters take longer to set; once as
this machine is and once as on a plain phone with a plain network (a quarter of the processor's speed, 1.6 Mbit/s,
150 ms there and back). The time is the browser's own: largest contentful paint, from the start of the navigation.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from integration.orders import LineItem, Order, Shipment, ShipmentEvent

from .machine import Referee
from .stage import Stage, open_store, port, web_command

LANGUAGES = ("en", "ur")
PHONE: ViewportSize = {"width": 360, "height": 800}

_LCP = """() => new Promise(tell => new PerformanceObserver(
    seen => tell(seen.getEntries().at(-1).startTime)).observe({type: 'largest-contentful-paint', buffered: true}))"""

_WAY = (
    ("booked", "", 50), ("picked_up", "LAHORE", 44), ("in_transit", "LAHORE HUB", 40), ("in_transit", "MULTAN", 30),
    ("in_transit", "SUKKUR", 22), ("at_destination", "KARACHI", 8), ("out_for_delivery", "KARACHI", 2),
)  # fmt: skip


class NoBrowser(Exception):
    """There is no Chromium here."""


@dataclass(frozen=True, slots=True)
class Device:
    """What the page is opened on. `slower` divides the processor's speed; the network is as it is where `rate` is 0."""

    name: str
    slower: int = 1
    rate: int = 0
    """Bytes a second."""
    delay: int = 0
    """Milliseconds there and back."""


DEVICES = (Device("this machine"), Device("a plain phone", slower=4, rate=200_000, delay=150))


def measure(stage: Stage, referee: Referee, *, loads: int) -> dict[str, Any]:
    """Median, p95 and worst of so many loads, per device and language; milliseconds."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise NoBrowser("install the package `chromium`, or name one in CHROMIUM")
    url, number = stage.database("sqlite"), port()
    token = _parcel(stage, url)
    redis = stage.redis()
    env = stage.environment(url, PORT=str(number), REDIS_URL=redis.url)
    found: dict[str, Any] = {"loads": loads}
    with (
        stage.serving("page", web_command(number, 1), env, port=number),
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]) as browser,
    ):
        for device in DEVICES:
            found[device.name] = {}
            for language in LANGUAGES:
                print(f"  the customer's page in {language} on {device.name}, {loads} loads", flush=True)
                address = f"http://127.0.0.1:{number}/t/{token}?lang={language}"
                _open(browser, device, address)  # the server has imported, the fonts are found
                taken = referee.measure(partial(_opened, browser, device, address, loads))
                found[device.name][language] = {
                    **_told(taken.result),
                    "steal": taken.disturbance.steal,
                    "others": taken.disturbance.others,
                    "attempts": taken.attempts,
                }
    return found


def _told(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "median": round(ordered[len(ordered) // 2], 1),
        "p95": round(ordered[int(len(ordered) * 0.95)], 1),
        "worst": round(ordered[-1], 1),
    }


def _opened(browser: Browser, device: Device, address: str, loads: int) -> list[float]:
    return [_open(browser, device, address) for _ in range(loads)]


def _open(browser: Browser, device: Device, address: str) -> float:
    """One load by somebody who was never here. Milliseconds."""
    context = browser.new_context(viewport=PHONE)
    try:
        page = context.new_page()
        tools = context.new_cdp_session(page)
        tools.send("Emulation.setCPUThrottlingRate", {"rate": device.slower})
        if device.rate:
            network = {"offline": False, "latency": device.delay}
            network |= {"downloadThroughput": device.rate, "uploadThroughput": device.rate}
            tools.send("Network.emulateNetworkConditions", network)
        answer = page.goto(address)
        if answer is None or answer.status != 200:
            raise RuntimeError(f"the page answers {answer.status if answer else 'nothing'}")
        return float(page.evaluate(_LCP))
    finally:
        context.close()


def _parcel(stage: Stage, url: str) -> str:
    """A store with an order under way. The token of its parcel."""
    house = stage.house(url)
    try:
        store_id = open_store(house)
        with house.db.lane(store_id) as session:
            now = session.now()
            order = Order(
                store_id=store_id, external_id="1", name="#1001", placed_at=now - timedelta(hours=54), changed_at=now,
                seen_at=now, currency="PKR", total=9448, is_cod=True, confirmation="confirmed", payment="cod_due",
                fulfilment="out_for_delivery", address={"city": "Karachi"},
            )  # fmt: skip
            session.add(order)
            session.flush()
            for title in ("Khussa", "Chikankari Kurta", "Dupatta"):
                session.add(LineItem(store_id=store_id, order_id=order.id, title=title))
            parcel = Shipment(store_id=store_id, order_id=order.id, courier="TCS", tracking_number="779412345678")
            session.add(parcel)
            session.flush()
            for status, location, ago in _WAY:
                scan = ShipmentEvent(store_id=store_id, shipment_id=parcel.id, status=status, location=location)
                scan.occurred_at, scan.seen_at = now - timedelta(hours=ago), now
                session.add(scan)
            return parcel.token
    finally:
        house.close()
