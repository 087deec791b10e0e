"""Trax (Sonic), Pakistan: pushes each status unsigned, answers tracking questions for one number at a time, takes
bookings.

Pushed statuses begin with "Shipment - ", the same ones asked for do not: both are looked up without it. Stamps come as
unix seconds and as local text. What a push's body looks like is an assumption; Trax publishes no sample.

`status` 0 is a yes, 1 a no with `message` and `errors` by field. A paid parcel is booked as prepaid with its value
beside, for Trax refuses to collect nothing without one (that the field is `parcel_value` is an assumption).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from integration.errors import ConfigurationError, NotUnderstood, OutcomeUnknown, PermanentError, TransientError
from integration.events import Fact
from integration.ports import Account, AdapterConfig, Advice, Booked, City, Field, Parcel, WebhookRequest
from integration.settings import Setting, url

from .. import bookings, http, labels, scans, signing
from ..scans import PAKISTAN, REASONS_PK, Meaning, Words

_PREFIX = re.compile(r"^\s*shipment\s*-\s*", re.IGNORECASE)


class Trax:
    """See integration.ports.Adapter, Tracks, Pushes, Books, FindsBookings and Advises."""

    name = "trax"
    label = "Trax"
    regions = ("PK",)
    website = "https://trax.pk"
    credentials = (
        Field("api_key", "API key", "Sonic portal, API settings"),
        Field(
            "pickup_address_id",
            "Pickup address id",
            "Needed for booking: the number of your pickup address in the Sonic portal",
            secret=False,
            optional=True,
        ),
        Field(
            "charges_mode_id",
            "Charges mode",
            "For booking: 4 if Trax takes its charges off your payments (the default), 3 if it sends invoices",
            secret=False,
            optional=True,
        ),
        Field(
            "shipping_mode_id",
            "Shipping mode",
            "For booking: 1 rush (the default), 2 saver plus, 3 swift, 4 same day",
            secret=False,
            optional=True,
        ),
        Field("service_type_id", "Service type", "For booking: 1 regular (the default)", secret=False, optional=True),
        Field(
            "item_product_type_id",
            "Product type",
            "For booking: Trax's number for what you sell; 24 (other) if left empty",
            secret=False,
            optional=True,
        ),
        Field(
            "contact_email",
            "E-mail address",
            "For booking: Trax wants one with every parcel, so give it yours",
            secret=False,
            optional=True,
        ),
    )
    settings = (Setting("TRAX_URL", "Trax's API", "https://sonic.pk/api", url),)
    authenticates_by = "secret_url"
    handles = frozenset({"status", "tracking"})
    ignores: frozenset[str] = frozenset({"payment-status", "initial-charges", "final-charges"})
    keeps = ()
    known_as = ("sonic", "trax logistics", "sonic by trax")
    hosts = ("sonic.pk",)
    numbers = r"\d{12,14}"
    address = "trax"
    forbidden: tuple[str, ...] = ()
    push_help = "Sonic portal, API settings, webhooks: enter it for status updates."
    most_at_once = 1
    most_labels = 5

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
            headers=_key(account),
        )
        return http.told(response, self.label, lambda said: _of_the_key(said.get("message")))

    def book(self, account: Account, parcel: Parcel) -> Booked:
        bookings.needed(self, account, "pickup_address_id")
        if not parcel.city_code:
            raise PermanentError("Trax knows cities by id. Please choose the city from its list.")
        collect, value = bookings.whole(parcel.collect, "PKR", self), bookings.whole(parcel.value, "PKR", self)
        charges, email = self._chosen(account, "charges_mode_id", 4), account.credentials.get("contact_email")
        asked = {
            "service_type_id": self._chosen(account, "service_type_id", 1),
            "pickup_address_id": self._chosen(account, "pickup_address_id", 0),
            "information_display": 1,
            "consignee_city_id": bookings.identifier(parcel.city_code),
            "consignee_name": bookings.cut(parcel.name, 100),
            "consignee_address": bookings.cut(bookings.street(parcel.address), 190),
            "consignee_phone_number_1": bookings.mobile_pk(parcel.phone, self),
            **({"consignee_email_address": email} if email else {}),
            "order_id": parcel.reference,
            "item_product_type_id": self._chosen(account, "item_product_type_id", 24),
            "item_description": bookings.contents(parcel, 190),
            "item_quantity": sum(item.quantity for item in parcel.items) or 1,
            "item_insurance": 0,
            "pickup_date": str(parcel.at.astimezone(PAKISTAN).date()),
            **({"special_instructions": bookings.cut(parcel.note, 190)} if parcel.note else {}),
            "estimated_weight": float(parcel.weight),
            "shipping_mode_id": self._chosen(account, "shipping_mode_id", 1),
            "amount": collect,
            "payment_mode_id": 1 if collect else 4,
            **({} if collect else {"parcel_value": max(value, 1)}),
            "charges_mode_id": charges,
            **({"delivery_type_id": 1} if charges == 3 else {}),  # to the door; asked of invoiced accounts only
            "pieces_quantity": parcel.pieces,
        }
        said = self._changed(account, "shipment/book", "book this parcel", asked, bookings.whose(parcel))
        if not (number := scans.said(said.get("tracking_number"))):
            raise OutcomeUnknown("Trax said yes to a booking and gave no tracking number")
        return Booked(tracking_number=number)

    def cancel(self, account: Account, booked: Booked) -> None:
        with bookings.absence_is_fine():
            asked = {"tracking_number": bookings.identifier(booked.tracking_number)}
            self._changed(account, "shipment/cancel", "cancel this parcel", asked)

    def labels(self, account: Account, booked: Sequence[Booked]) -> bytes:
        response = http.read(
            "GET",
            f"{self._url}/shipment/air_waybill",
            query={"tracking_numbers[]": [one.tracking_number for one in booked], "type": "1"},
            headers={**_key(account), **labels.ACCEPT},
        )
        return labels.sheet(response, self, account, _verdict)

    def cities(self, account: Account) -> Sequence[City]:
        """Those with a regular delivery, where Trax tells that of its cities."""
        rows = scans.records(self._told(account, "cities", "list its cities", {}).get("cities"))
        reached = [row for row in rows if not isinstance(row.get("delivery"), dict) or row["delivery"].get("Regular")]
        return [City(scans.said(row.get("name")), scans.said(row.get("id"))) for row in reached]

    def find(self, account: Account, reference: str) -> Booked | None:
        with bookings.absence_is_fine():
            query = {"order_id": reference, "type": "0"}
            said = self._told(account, "shipment/track/order_id", "look up this order", query)
            for row in scans.records(said.get("details")):
                if row.get("tracking_number") and scans.said(row.get("order_id")) == reference:
                    return Booked(tracking_number=scans.said(row["tracking_number"]))
        return None

    def advise(self, account: Account, booked: Booked, advice: Advice) -> None:
        asked = {
            "tracking_number": bookings.identifier(booked.tracking_number),
            "type": 1 if advice.action == "return" else 2,
            "remarks": bookings.cut(advice.in_words(), 190),
        }
        private = (advice.address, advice.note)
        self._changed(account, "request/rcp", "take advice on this parcel", asked, private)

    def _chosen(self, account: Account, name: str, usual: int) -> int:
        """One of Trax's numbers, as the merchant entered it. Raises ConfigurationError."""
        given = account.credentials.get(name) or str(usual)
        if not (given.isascii() and given.isdecimal()):
            label = next(field.label for field in self.credentials if field.name == name)
            raise ConfigurationError(f"{label} must be a number of Trax's. Please enter it again under Couriers.")
        return int(given)

    def _told(self, account: Account, path: str, task: str, query: dict[str, str]) -> dict[str, Any]:
        response = http.read("GET", f"{self._url}/{path}", query=query, headers=_key(account))
        return bookings.answer(response, self, account, task, _verdict, unsure=TransientError)

    def _changed(
        self, account: Account, path: str, task: str, asked: dict[str, Any], private: Sequence[str] = ()
    ) -> dict[str, Any]:
        response = http.call("POST", f"{self._url}/{path}", json=asked, headers=_key(account))
        return bookings.answer(response, self, account, task, _verdict, private=private)

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


def _key(account: Account) -> dict[str, str]:
    return {"Authorization": account.credentials["api_key"]}


def _of_the_key(message: Any) -> bool:
    words = scans.normal(message)
    return "api key" in words or "api token" in words


def _verdict(said: dict[str, Any]) -> bookings.No | bool:
    status = scans.said(said.get("status"))
    if status == "1":
        words = said.get("errors") or said.get("message")
        return bookings.No(words, "account" if _of_the_key(said.get("message")) else "refused")
    return status == "0"


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
