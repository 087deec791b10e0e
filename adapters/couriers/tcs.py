"""TCS, Pakistan: two live JSON APIs with one vocabulary. It pushes nothing, so everything is asked for.

The new API (OCI Connect) and the classic one (api.tcscourier.com) name the same things in different letters and write
dates differently: "Thursday Oct 17, 2024 12:58" with uneven blanks against "20241017 12:58". Neither says a zone; it is
Pakistan's. No data is HTTP 200 with "FAIL" and null lists, also during the hours before the first scan.
"""

from __future__ import annotations

from typing import Any

import orjson

from integration.errors import InvalidSignature, NotUnderstood
from integration.events import Fact
from integration.ports import Account, AdapterConfig, Field, WebhookRequest
from integration.settings import Setting

from .. import scans, signing
from ..scans import PAKISTAN, Meaning, Words


class Tcs:
    """See integration.ports.Adapter."""

    name = "tcs"
    label = "TCS"
    regions = ("PK",)
    website = "https://www.tcsexpress.com"
    credentials = (
        Field("client_id", "Client id", "Of the new API (Envio)", optional=True),
        Field("client_secret", "Client secret", "Of the new API", optional=True),
        Field("username", "User name"),
        Field("password", "Password"),
        Field("ibm_client_id", "X-IBM-Client-Id", "Of the classic API, if that is what TCS gave you", optional=True),
        Field("account_number", "TCS account number", secret=False),
        Field("cost_center", "Cost centre code", secret=False),
    )
    settings: tuple[Setting, ...] = ()
    authenticates_by = "secret_url"
    handles = frozenset({"tracking", "classic"})
    ignores: frozenset[str] = frozenset()
    keeps = ()

    statuses: dict[str, Meaning] = {
        "Shipment Booked": "booked", "Booked": "booked",
        "Shipment Picked Up": "picked_up", "PK": "picked_up",
        "Departed From Origin": "in_transit", "Departed From TCS Facility": "in_transit", "In Transit": "in_transit",
        "Arrived at TCS Facility": "in_transit", "Scheduled for delivery": "at_destination",
        "Courier out for delivery": "out_for_delivery", "Out For Delivery": "out_for_delivery",
        "OFD": "out_for_delivery", "DL": "out_for_delivery",
        "Shipment Delivered": "delivered", "Delivered": "delivered", "OK": "delivered", "DEL": "delivered",
        "Delivery Attempted": "attempted",
        "Consignee Not Home": ("attempted", "consignee_unavailable"),
        "Receiver Not Available": ("attempted", "consignee_unavailable"),
        "Recipient Refused": ("attempted", "refused"),
        "Not Delivered - Consignee Refused": ("attempted", "refused"),
        "Undelivered Due To Incorrect Address": ("attempted", "address_wrong"),
        "Address Information Needed": ("attempted", "address_incomplete"),
        "Awaiting Receiver Collection": "ready_for_pickup", "SC": "ready_for_pickup",
        "Return In Process": "returning",
        "Shipment Returned To Origin": "return_in_transit", "Return to Shipper": "return_in_transit",
        "RO": "return_in_transit", "RET": "return_in_transit",
        "On Hold": "on_hold",
        "DBC": ("delayed", "weather_or_security"), "DFC": ("delayed", "weather_or_security"),
        "DAE": ("delayed", "weather_or_security"), "DFM": ("delayed", "weather_or_security"),
        "Cancelled": "cancelled",
    }  # fmt: skip
    """Codes and phrases. A return is over only when its scan is at the origin, an arrival is at the destination only
    when its scan is there: see `_placed`.
    """

    _words = Words(statuses)

    def __init__(self, config: AdapterConfig) -> None:
        pass

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        raise InvalidSignature("TCS sends no webhooks; whoever posted this is somebody else.")

    def delivery_key(self, request: WebhookRequest) -> str:
        return signing.body_hash(request.body)

    def parse(self, request: WebhookRequest) -> list[Fact]:
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            raise NotUnderstood("this is not JSON") from None
        if not isinstance(body, dict):
            raise NotUnderstood("no tracking answer")
        inner = body.get("TrackDetailReply", body)
        answer = {str(key).casefold(): value for key, value in inner.items()} if isinstance(inner, dict) else {}
        if not answer.keys() & {"deliveryinfo", "checkpoints", "message", "trackinfo"}:
            raise NotUnderstood("no tracking answer")
        parcels: dict[str, dict[str, Any]] = {}
        for raw in scans.records(answer.get("shipmentinfo") or answer.get("trackinfo")):
            parcel = {str(key).casefold(): value for key, value in raw.items()}
            parcels[scans.normal(parcel.get("consignmentno"))] = parcel
        rows = [*scans.records(answer.get("checkpoints")), *scans.records(answer.get("deliveryinfo"))]
        return [self._scan({str(key).casefold(): value for key, value in row.items()}, parcels) for row in rows]

    def _scan(self, row: dict[str, Any], parcels: dict[str, dict[str, Any]]) -> Fact:
        number = row.get("consignmentno")
        if number is None and len(parcels) == 1:  # the classic API names the parcel once
            number = next(iter(parcels.values())).get("consignmentno")
        parcel = parcels.get(scans.normal(number), {})
        station = row.get("station") or row.get("recievedby")
        meaning = self._words.find(row.get("code"), _before_bracket(row.get("status")), row.get("status"))
        met = (meaning[0] if isinstance(meaning, tuple) else meaning) in ("delivered", "attempted")
        return scans.scan(
            number,
            _placed(meaning, station, parcel),
            scans.moment(row.get("datetime"), PAKISTAN, "%A %b %d, %Y %H:%M", "%b %d, %Y %H:%M", "%b %d, %Y",
                         "%Y%m%d %H:%M", "%Y%m%d"),
            raw_code=row.get("code") or row.get("status"),
            raw_text=row.get("status"),
            location=row.get("station") or ("" if met else station),  # who received it is nobody's business here
            order_ref=parcel.get("referenceno"),
        )  # fmt: skip


def _placed(meaning: Meaning | None, station: Any, parcel: dict[str, Any]) -> Meaning | None:
    """What a scan means once it is known where it was made."""
    here = scans.normal(station)
    if meaning == "in_transit" and here and here == scans.normal(parcel.get("destination")):
        return "at_destination"
    if meaning == "return_in_transit" and here and here == scans.normal(parcel.get("origin")):
        return "returned"
    return meaning


def _before_bracket(text: Any) -> str:
    """TCS adds its own remarks in brackets: "Address Information Needed (House No)"."""
    return str(text if text is not None else "").partition("(")[0]


ADAPTER = Tcs
