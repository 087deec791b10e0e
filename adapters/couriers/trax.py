"""Trax (Sonic), Pakistan: pushes each status unsigned, answers tracking questions for one number at a time.

Pushed statuses begin with "Shipment - ", the same ones asked for do not: both are looked up without it. Stamps come as
unix seconds and as local text. What a push's body looks like is an assumption; Trax publishes no sample.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from integration.errors import NotUnderstood
from integration.events import Fact
from integration.ports import Account, AdapterConfig, Field, WebhookRequest
from integration.settings import Setting, url

from .. import http, scans, signing
from ..scans import PAKISTAN, REASONS_PK, Meaning, Words

_PREFIX = re.compile(r"^\s*shipment\s*-\s*", re.IGNORECASE)


class Trax:
    """See integration.ports.Adapter, Tracks and Pushes."""

    name = "trax"
    label = "Trax"
    regions = ("PK",)
    website = "https://trax.pk"
    credentials = (Field("api_key", "API key", "Sonic portal, API settings"),)
    settings = (Setting("TRAX_URL", "Trax's API", "https://sonic.pk/api", url),)
    authenticates_by = "secret_url"
    handles = frozenset({"status", "tracking"})
    ignores: frozenset[str] = frozenset({"payment-status", "initial-charges", "final-charges"})
    keeps = ()
    known_as = ("sonic", "trax logistics", "sonic by trax")
    address = "trax"
    forbidden: tuple[str, ...] = ()
    push_help = "Sonic portal, API settings, webhooks: enter it for status updates."
    most_at_once = 1

    statuses: dict[str, Meaning] = {
        "Booked": "booked", "Rider Picked": "picked_up",
        "Arrived at Origin": "in_transit", "In Transit": "in_transit", "Misroute Forwarded": "in_transit",
        "Consolidated": "in_transit",
        "Arrived at Destination": "at_destination", "Arrival Service Center": "at_destination",
        "Out for Delivery": "out_for_delivery", "Rider Exchange": "out_for_delivery",
        "Delivery Unsuccessful": "attempted", "Reason Validation Required": "attempted",
        "Shipper Advise Requested": "attempted",
        "Not Attempted": ("on_hold", "not_attempted"), "On Hold": "on_hold", "Re-Attempt": "on_hold",
        "Re-Attempt-Requested": "on_hold", "Waiting For Consolidation": "on_hold",
        "On Hold for Self Collection": "ready_for_pickup",
        "Non-Service Area": ("delayed", "out_of_area"), "Misrouted": ("delayed", "misroute"),
        "Delivered": "delivered", "Try & Buy - Delivered": "delivered",
        "Return - Confirmation Pending": "returning", "Return - Confirm": "returning",
        "Return - Delivered to Shipper": "returned",
        "Cancelled": "cancelled", "Recalled": "cancelled", "Lost": "lost",
    }  # fmt: skip
    """Statuses without their prefix. Whatever else begins with "Return - " is on its way back: see `_meaning`."""
    reasons = REASONS_PK

    _words, _reasons = Words(statuses), Words(REASONS_PK)

    def __init__(self, config: AdapterConfig) -> None:
        self._url: str = config.settings["TRAX_URL"]

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """The address is the secret: Trax signs nothing."""

    def delivery_key(self, request: WebhookRequest) -> str:
        return signing.body_hash(request.body)

    def track(self, account: Account, numbers: Sequence[str]) -> WebhookRequest | None:
        response = http.read(
            "GET",
            f"{self._url}/shipment/track",
            query={"tracking_number": numbers[0], "type": "1"},
            timeout=http.TRACKING_TIMEOUT,
            headers={"Authorization": account.credentials["api_key"]},
        )
        return http.told(response, self.label, lambda said: "api key" in scans.normal(said.get("message")))

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = scans.body_of(request)
        if not isinstance(body, dict):
            raise NotUnderstood("neither a push nor a tracking answer")
        if str(body.get("type"))[:40] in self.ignores:
            return []
        details = body.get("details", body if "tracking_history" in body else None)
        if isinstance(details, dict):
            rows = scans.records(details.get("tracking_history"))
            number, order = details.get("tracking_number"), details.get("order_id")
            return scans.each((self._scan, (number, row, order)) for row in rows)
        if "tracking_number" not in body or not isinstance(body.get("status"), str):
            raise NotUnderstood("neither a push nor a tracking answer")
        return [self._scan(body["tracking_number"], body, body.get("order_id"))]

    def _scan(self, number: Any, row: dict[str, Any], order: Any) -> Fact:
        said, why = row.get("status"), row.get("status_reason") or row.get("reason")
        meaning = self._meaning(said)
        return scans.scan(
            number,
            meaning,
            _moment(row),
            reason=scans.reason_of(why, self._reasons) if meaning == "attempted" else "",
            raw_code=_PREFIX.sub("", scans.said(said)),
            raw_text=why,
            order_ref=order,
        )

    def _meaning(self, said: Any) -> Meaning | None:
        bare = _PREFIX.sub("", scans.said(said))
        found = self._words.find(bare)
        if found is None and scans.normal(bare).startswith("return - "):
            return "return_in_transit"
        return found


def _moment(row: dict[str, Any]) -> datetime:
    """Of the two stamps the one that cannot be misread."""
    seconds = row.get("timestamp")
    if (
        isinstance(seconds, int | str)
        and str(seconds).isascii()
        and str(seconds).isdecimal()
        and len(str(seconds)) < 12
    ):
        return datetime.fromtimestamp(int(seconds), UTC)
    return scans.moment(row.get("date_time"), PAKISTAN, "%d/%m/%Y %I:%M %p", "%d/%m/%Y %H:%M")


ADAPTER = Trax
