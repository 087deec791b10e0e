"""Leopards Courier (LCS), Pakistan: pushes scans in batches, answers tracking questions by comma list.

Stamps are Pakistan's time without saying so. Pushes are not signed: the address is the secret, and LCS repeats a header
that it was given. The keys of a tracking answer differ between the guide and what is sent ("Staus", "Activity Date"),
so they are read by their letters alone. `Pending` is LCS's word for a failed attempt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from integration.errors import NotUnderstood
from integration.events import Fact, ShipmentScanned
from integration.ports import Account, AdapterConfig, Field, WebhookRequest
from integration.settings import Setting, url

from .. import http, scans, signing
from ..scans import PAKISTAN, REASONS_PK, Meaning, Words


class Leopards:
    """See integration.ports.Adapter, Tracks, Pushes and Answers."""

    name = "leopards"
    label = "Leopards Courier"
    regions = ("PK",)
    website = "https://leopardscourier.com"
    credentials = (
        Field("api_key", "API key"),
        Field("api_password", "API password"),
        Field("push_key", "Push key", "What you asked Leopards to send as X-Api-Key with each push", optional=True),
    )
    settings = (Setting("LEOPARDS_URL", "Leopards' merchant API", "https://merchantapi.leopardscourier.com/api", url),)
    authenticates_by = "secret_url"
    handles = frozenset({"push", "tracking"})
    ignores: frozenset[str] = frozenset()
    keeps = ()
    known_as = ("leopards courier", "lcs", "leopard courier", "leopards courier service")
    address = "leopards"
    forbidden: tuple[str, ...] = ()
    push_help = "Ask Leopards for their Push API and give them this address."
    most_at_once = 50
    taken = (202, '[{"status":1,"errors":[]}]')
    """LCS takes nothing but this for a yes."""

    statuses: dict[str, Meaning] = {
        "Pickup Request not Send": "booked", "Pickup Request Sent": "booked", "Consignment Booked": "booked",
        "RC": "picked_up", "Drop Off at Express Center": "picked_up", "SP": "picked_up", "Shipment Picked": "picked_up",
        "DP": "in_transit", "DS": "in_transit", "Dispatched": "in_transit", "In Transit": "in_transit",
        "AR": "in_transit", "Arrived at Station": "in_transit",
        "LD": ("delayed", "misroute"), "Missroute": ("delayed", "misroute"),
        "AC": "out_for_delivery", "Assign to Courier": "out_for_delivery", "Out for delivery": "out_for_delivery",
        "PN1": "attempted", "PN2": "attempted", "PN": "attempted", "Pending": "attempted", "Undelivered": "attempted",
        "DV": "delivered", "Delivered": "delivered",
        "NR": "returning", "Ready for Return": "returning",
        "RO": "return_in_transit", "Being Return": "return_in_transit", "Return to origin": "return_in_transit",
        "RN1": "return_in_transit", "RN2": "return_in_transit",
        "RS": "returned", "DR": "returned", "RW": "returned", "DW": "returned", "Returned to shipper": "returned",
        "Delivered to vendor": "returned", "Returned to warehouse": "returned", "Delivered to warehouse": "returned",
        "Cancelled": "cancelled", "48 Hours Auto Canceled": "cancelled",
    }  # fmt: skip
    """Push codes and tracking phrases. `AR` and "Arrived at Station" name no station, so they never mean the
    destination here.
    """
    reasons = REASONS_PK

    _words, _reasons = Words(statuses), Words(REASONS_PK)

    def __init__(self, config: AdapterConfig) -> None:
        self._url: str = config.settings["LEOPARDS_URL"]

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """The address is the secret; the key is one more, where the merchant gave Leopards one."""
        if account is not None and (key := account.credentials.get("push_key")):
            signing.require(request.header("x-api-key"), [key])

    def delivery_key(self, request: WebhookRequest) -> str:
        return signing.body_hash(request.body)

    def track(self, account: Account, numbers: Sequence[str]) -> WebhookRequest | None:
        keys = {name: account.credentials[name] for name in ("api_key", "api_password")}
        asked = {**keys, "track_numbers": ",".join(numbers)}
        url = f"{self._url}/trackBookedPacket/format/json/"
        response = http.read("POST", url, json=asked, timeout=http.TRACKING_TIMEOUT)
        return http.told(response, self.label, lambda said: "api" in scans.normal(said.get("error")).split())

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = scans.body_of(request)
        if not isinstance(body, dict):
            raise NotUnderstood("neither a push nor a tracking answer")
        if "packet_list" in body:
            return scans.each(row for packet in scans.records(body["packet_list"]) for row in self._rows(packet))
        if "data" not in body:
            raise NotUnderstood("neither a push nor a tracking answer")
        return scans.each((self._pushed, (item,)) for item in scans.records(body["data"]))

    def _pushed(self, item: dict[str, Any]) -> ShipmentScanned:
        return self._scan(item.get("cn_number"), item.get("status"), item.get("reason"), item.get("activity_date"))

    def _rows(self, packet: dict[str, Any]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        packet = _by_letters(packet)
        for raw in scans.records(packet.get("trackingdetail")):
            yield self._tracked, (packet, _by_letters(raw))

    def _tracked(self, packet: dict[str, Any], row: dict[str, Any]) -> ShipmentScanned:
        stamp = row.get("activitydatetime") or f"{row.get('activitydate', '')} {row.get('activitytime', '')}"
        status = row.get("status") or row.get("staus")
        return self._scan(
            packet.get("tracknumber"), status, row.get("reason"), stamp, packet.get("bookedpacketorderid")
        )

    def _scan(self, number: Any, status: Any, reason: Any, stamp: Any, order: Any = "") -> ShipmentScanned:
        meaning = self._words.find(status)
        failed = meaning in ("attempted", "delayed") or isinstance(meaning, tuple)
        return scans.scan(
            number,
            meaning,
            scans.moment(stamp, PAKISTAN, "%d/%m/%Y %H:%M", "%d/%m/%Y"),
            reason=scans.reason_of(reason, self._reasons) if failed else "",
            raw_code=status,
            raw_text=reason if scans.normal(reason) not in scans.NO_REASON else "",
            order_ref=order,
        )


def _by_letters(record: dict[str, Any]) -> dict[str, Any]:
    """A record by the letters of its keys: "Tracking Detail", "Activity_Date" and "Activity Date" are spelled so."""
    return {"".join(c for c in str(key).casefold() if c.isalpha()): value for key, value in record.items()}


ADAPTER = Leopards
