"""Shiprocket, India: an aggregator. Pushes the whole list of scans again with each one; is asked for fifty at a time.

It has two tables of ids that share numbers and differ in meaning: a scan's `sr-status` and `shipment_status_id` are of
the shipment table, `current_status_id` of the order table (18 there is something else). Only the first is read here.
Stamps are India's time without saying so. Of a return order (`is_return`) "delivered" means back at the merchant.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from integration.errors import ConfigurationError, NotUnderstood, TransientError
from integration.events import Fact
from integration.ports import Account, AdapterConfig, Field, Grant, WebhookRequest
from integration.settings import Setting, url

from .. import http, scans, signing
from ..scans import INDIA, Meaning, Words

REASONS: dict[str, str] = {
    "Consignee unavailable": "consignee_unavailable", "Customer out of station": "consignee_unavailable",
    "Consignee not contactable": "phone_unreachable", "Consignee refused": "refused",
    "Fake order": "did_not_order", "COD not ready": "cod_not_ready", "Incomplete address": "address_incomplete",
    "Wrong address": "address_wrong", "shifted": "address_wrong", "ODA": "out_of_area",
    "non-serviceable": "out_of_area", "Premises closed": "premises_closed", "Entry restricted": "access_restricted",
    "Customer Asked For Future Delivery": "reschedule_requested", "Self-collect": "wants_self_collection",
    "Open delivery": "open_delivery_demanded", "OTP not shared": "otp_failed", "Short time": "not_attempted",
    "vehicle issue": "not_attempted", "disturbance": "weather_or_security",
}  # fmt: skip


class Shiprocket:
    """See integration.ports.Adapter, Tracks, Pushes and RefreshesAccess."""

    name = "shiprocket"
    label = "Shiprocket"
    regions = ("IN",)
    website = "https://www.shiprocket.in"
    credentials = (
        Field("email", "API user's e-mail", "Settings > API > Configure: an API user, not your own sign-in"),
        Field("password", "API user's password"),
        Field("webhook_token", "Webhook token", "What you entered under Settings > API > Webhooks", optional=True),
    )
    settings = (Setting("SHIPROCKET_URL", "Shiprocket's API", "https://apiv2.shiprocket.in/v1/external", url),)
    authenticates_by = "secret_url"
    handles = frozenset({"webhook", "tracking"})
    ignores: frozenset[str] = frozenset()
    keeps = ()
    known_as = ("ship rocket",)
    address = "carrier"
    forbidden: tuple[str, ...] = ("shiprocket", "kartrocket", "sr", "kr")
    push_help = (
        "Settings > API > Webhooks. Shiprocket refuses addresses with its own name in them, so this one has another."
    )
    most_at_once = 50

    statuses: dict[int, Meaning] = {
        **dict.fromkeys((0, 1, 2, 5, 11, 52, 27, 59, 60, 61, 62, 63, 67, 68), "booked"),
        **dict.fromkeys((3, 4, 15, 19), "pickup_scheduled"),
        **dict.fromkeys((13, 20, 47, 71, 72), "pickup_failed"),
        **dict.fromkeys((42, 51, 6), "picked_up"),
        **dict.fromkeys((18, 48, 49, 50, 54, 55, 56, 57), "in_transit"),
        38: "at_destination",
        17: "out_for_delivery",
        21: "attempted",
        77: "attempted",
        **dict.fromkeys((7, 23, 26, 43), "delivered"),
        22: "delayed",
        39: ("delayed", "misroute"),
        76: "delayed",
        **dict.fromkeys((9, 75, 14), "returning"),
        **dict.fromkeys((46, 40, 41, 78), "return_in_transit"),
        10: "returned",
        **dict.fromkeys((8, 16, 45), "cancelled"),
        12: "lost",
        **dict.fromkeys((24, 25, 44), "damaged"),
    }
    """The shipment table."""
    phrases: dict[str, Meaning] = {
        "UNDELIVERED-1ST ATTEMPT": "attempted", "UNDELIVERED-2ND ATTEMPT": "attempted",
        "UNDELIVERED-3RD ATTEMPT": "attempted", "REAACHED_AT_DESTINATION_HUB": "at_destination",
        "IN_TRANSIT-EN-ROUTE": "in_transit", "RTO IN INTRANSIT": "return_in_transit",
    }  # fmt: skip
    """Labels of scans seen without an id, typing errors included."""
    reasons = REASONS

    _words, _reasons = Words(statuses, phrases), Words(REASONS)
    _RETURN = {"delivered": "returned", "booked": "returning", "pickup_scheduled": "returning"}

    def __init__(self, config: AdapterConfig) -> None:
        self._url: str = config.settings["SHIPROCKET_URL"]
        self._clock = config.clock

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """The address is the secret; the token is one more, where the merchant entered one at Shiprocket."""
        if account is not None and (token := account.credentials.get("webhook_token")):
            signing.require(request.header("x-api-key"), [token])

    def delivery_key(self, request: WebhookRequest) -> str:
        return signing.body_hash(request.body)

    def refresh_due(self, account: Account, now: datetime) -> bool:
        """A token lives ten days and says so nowhere; it is renewed after eight."""
        issued = account.state.get("token_at")
        return (
            not account.credentials.get("token")
            or issued is None
            or datetime.fromisoformat(issued) + timedelta(days=8) <= now
        )

    def refresh(self, account: Account) -> Grant:
        asked = {name: account.credentials[name] for name in ("email", "password")}
        response = http.read("POST", f"{self._url}/auth/login", json=asked)
        said = http.body_of(response)
        if response.status_code in (400, 401, 403, 422):
            raise ConfigurationError("Shiprocket does not accept this API user's e-mail and password.")
        token = said.get("token") if isinstance(said, dict) else None
        if response.status_code != 200 or not isinstance(token, str):
            raise TransientError(f"Shiprocket answered the sign-in with HTTP {response.status_code}")
        return Grant({**account.credentials, "token": token}, {"token_at": self._clock.now().isoformat()})

    def track(self, account: Account, numbers: Sequence[str]) -> WebhookRequest | None:
        headers = {"Authorization": f"Bearer {account.credentials['token']}"}
        response = http.read(
            "POST",
            f"{self._url}/courier/track/awbs",
            json={"awbs": list(numbers)},
            headers=headers,
            timeout=http.TRACKING_TIMEOUT,
        )
        return http.told(response, self.label)

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = scans.body_of(request)
        rows: list[tuple[Any, tuple[Any, ...]]] = []
        seen = False
        for part in scans.records(body):
            if "awb" in part or "scans" in part:
                seen = True
                rows += self._pushed(part)
            for tracked in _tracking(part):
                seen = True
                rows += self._tracked(tracked)
        if not seen:
            raise NotUnderstood("neither a webhook nor a tracking answer")
        return scans.each(rows)

    def _pushed(self, body: dict[str, Any]) -> list[tuple[Any, tuple[Any, ...]]]:
        order, back = _our_reference(body.get("order_id")), _is_return(body)
        rows = scans.records(body.get("scans"))
        if rows:
            return [(self._scan, (body.get("awb"), row, order, back)) for row in rows]
        return [(self._summary, (body, order, back))]

    def _summary(self, body: dict[str, Any], order: str, back: bool) -> Fact:
        at = scans.moment(body.get("current_timestamp"), INDIA, "%d %m %Y %H:%M:%S")
        said = body.get("shipment_status") or body.get("current_status")
        meaning = self._meaning(body.get("shipment_status_id"), said, back)
        code = body.get("shipment_status_id") or said
        return scans.scan(body.get("awb"), meaning, at, raw_code=code, raw_text=said, order_ref=order)

    def _tracked(self, data: dict[str, Any]) -> list[tuple[Any, tuple[Any, ...]]]:
        parcel = next(iter(scans.records(data.get("shipment_track"))), {})
        back = _is_return(data) or _is_return(parcel)
        rows = scans.records(data.get("shipment_track_activities"))
        return [(self._scan, (parcel.get("awb_code"), row, "", back)) for row in rows]

    def _scan(self, number: Any, row: dict[str, Any], order: str, back: bool) -> Fact:
        code, label = row.get("sr-status"), row.get("sr-status-label")
        meaning = self._meaning(code, label, back)
        said = row.get("activity")
        return scans.scan(
            number,
            meaning,
            scans.moment(row.get("date"), INDIA, "%d %m %Y %H:%M:%S"),
            reason=self._reason(said) if meaning == "attempted" else "",
            raw_code=code if scans.normal(code) not in scans.NO_REASON else (row.get("status") or label),
            raw_text=said,
            location=row.get("location"),
            order_ref=order,
        )

    def _meaning(self, code: Any, label: Any, back: bool) -> Meaning | None:
        found = self._words.find(code, label)
        if back and isinstance(found, str):
            return self._RETURN.get(found, "return_in_transit" if found not in ("cancelled", "lost") else found)
        return found

    def _reason(self, said: Any) -> str:
        """The reason is the whole text of the scan, or what follows its last dash."""
        text = scans.said(said)
        for part in (text, text.rpartition(" - ")[2]):
            if (found := scans.reason_of(part, self._reasons)) not in ("", "other"):
                return found
        return "other" if text.strip() else ""


def _tracking(part: dict[str, Any]) -> list[dict[str, Any]]:
    """The tracking data of an answer: bare, or under each number."""
    wrapped = [part, *(value for value in part.values() if isinstance(value, dict))]
    return [data for one in wrapped if isinstance(data := one.get("tracking_data"), dict)]


def _our_reference(order_id: Any) -> str:
    """`order_id` is what the channel called the order, an underscore, and Shiprocket's own id."""
    text = scans.said(order_id)
    reference, joint, _ = text.rpartition("_")
    return reference if joint else text


def _is_return(body: dict[str, Any]) -> bool:
    return str(body.get("is_return", 0)) in ("1", "True", "true")


ADAPTER = Shiprocket
