"""TCS, Pakistan: two live JSON APIs with one vocabulary. It pushes nothing, so everything is asked for.

The new API (OCI Connect) and the classic one (api.tcscourier.com) name the same things in different letters and write
dates differently: "Thursday Oct 17, 2024 12:58" with uneven blanks against "20241017 12:58". Neither says a zone; it is
Pakistan's. No data is HTTP 200 with "FAIL" and null lists, also during the hours before the first scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from integration.errors import ConfigurationError, InvalidSignature, NotUnderstood
from integration.events import Fact
from integration.ports import Account, AdapterConfig, Field, Grant, WebhookRequest
from integration.settings import Setting, url

from .. import http, scans, signing
from ..scans import PAKISTAN, Meaning, Words


class Tcs:
    """See integration.ports.Adapter, Tracks and RefreshesAccess."""

    name = "tcs"
    label = "TCS"
    regions = ("PK",)
    website = "https://www.tcsexpress.com"
    credentials = (
        Field("client_id", "Client id", "Of the new API (Envio)", optional=True),
        Field("client_secret", "Client secret", "Of the new API", optional=True),
        Field("ibm_client_id", "X-IBM-Client-Id", "Of the classic API, if that is what TCS gave you", optional=True),
    )
    settings = (
        Setting("TCS_URL", "TCS's new API", "https://ociconnect.tcscourier.com", url),
        Setting("TCS_CLASSIC_URL", "TCS's classic API", "https://api.tcscourier.com/production", url),
    )
    authenticates_by = "secret_url"
    handles = frozenset({"tracking", "classic"})
    ignores: frozenset[str] = frozenset()
    keeps = ()
    known_as = ("tcs express", "tcs courier", "tcs pakistan")
    most_at_once = 1

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
        self._url: str = config.settings["TCS_URL"]
        self._classic_url: str = config.settings["TCS_CLASSIC_URL"]
        self._clock = config.clock

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        raise InvalidSignature("TCS sends no webhooks; whoever posted this is somebody else.")

    def delivery_key(self, request: WebhookRequest) -> str:
        return signing.body_hash(request.body)

    def refresh_due(self, account: Account, now: datetime) -> bool:
        """The new API's token is good for as long as it says; one that says nothing is renewed every day."""
        if _is_classic(account):
            return False
        until = account.state.get("token_until")
        return not account.credentials.get("token") or until is None or datetime.fromisoformat(until) <= now

    def refresh(self, account: Account) -> Grant:
        asked = {
            "clientid": account.credentials.get("client_id"),
            "clientsecret": account.credentials.get("client_secret"),
        }
        answer = http.told(http.read("POST", f"{self._url}/auth/api/auth", json=asked), self.label)
        said = orjson.loads(answer.body) if answer is not None else None
        result = said.get("result") if isinstance(said, dict) else None
        if not isinstance(result, dict) or not isinstance(result.get("accessToken"), str):
            raise ConfigurationError("TCS does not accept this client id and secret. Please check them.")
        try:
            until = scans.moment(result.get("expiry"), PAKISTAN)
        except NotUnderstood:
            until = self._clock.now() + timedelta(days=1)
        return Grant({**account.credentials, "token": result["accessToken"]}, {"token_until": until.isoformat()})

    def track(self, account: Account, numbers: Sequence[str]) -> WebhookRequest | None:
        """One parcel a call by the new API, a comma list by the classic one."""
        if _is_classic(account):
            response = http.read(
                "GET",
                f"{self._classic_url}/track/v1/shipments/detail",
                query={"consignmentNo": ",".join(numbers)},
                timeout=http.TRACKING_TIMEOUT,
                headers={"X-IBM-Client-Id": account.credentials["ibm_client_id"]},
            )
        else:
            response = http.read(
                "GET",
                f"{self._url}/tracking/api/Tracking/GetDynamicTrackDetail",
                query={"consignee": numbers[0]},
                timeout=http.TRACKING_TIMEOUT,
                headers={"Authorization": f"Bearer {account.credentials['token']}"},
            )
        return http.told(
            response,
            self.label,
            lambda said: bool({str(said.get("code")), str(said.get("status"))} & {"401", "UnAuthorized"}),
        )

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = scans.body_of(request)
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
        return scans.each(
            (self._scan, ({str(key).casefold(): value for key, value in row.items()}, parcels)) for row in rows
        )

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


def _is_classic(account: Account) -> bool:
    """Merchants hold keys of one API or of the other."""
    return bool(account.credentials.get("ibm_client_id"))


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
    return scans.said(text).partition("(")[0]


ADAPTER = Tcs
