"""Shiprocket, India: an aggregator. Pushes the whole list of scans again with each one; is asked for fifty at a time;
takes bookings.

It has two tables of ids that share numbers and differ in meaning: a scan's `sr-status` and `shipment_status_id` are of
the shipment table, `current_status_id` of the order table (18 there is something else). Only the first is read here.
Stamps are India's time without saying so. Of a return order (`is_return`) "delivered" means back at the merchant.

A booking is an order and then a courier's number for it, two calls. Orders are named by Shiprocket's id when they are
cancelled and by its shipment id for a label, so a booking's reference is "order/shipment". Who calls the rider is left
to the merchant's settings there. Orders are searched by our reference (seen in clients, not in its documentation).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from integration.errors import (
    ConfigurationError,
    DastakError,
    NotUnderstood,
    PermanentError,
    TransientError,
)
from integration.events import Fact
from integration.ports import Account, AdapterConfig, Advice, Booked, City, Field, Grant, Parcel, Proof, WebhookRequest
from integration.settings import Setting, url

from .. import bookings, http, labels, scans, signing
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
    """See integration.ports.Adapter, Tracks, Pushes, RefreshesAccess, Books, FindsBookings, Advises and Proves."""

    name = "shiprocket"
    label = "Shiprocket"
    regions = ("IN",)
    website = "https://www.shiprocket.in"
    credentials = (
        Field("email", "API user's e-mail", "Settings > API > Configure: an API user, not your own sign-in"),
        Field("password", "API user's password"),
        Field("webhook_token", "Webhook token", "What you entered under Settings > API > Webhooks", optional=True),
        Field(
            "pickup_location",
            "Pickup location",
            "Needed for booking: the nickname of your pickup address at Shiprocket",
            secret=False,
            optional=True,
        ),
        Field(
            "length", "Length of your usual box", "For booking: in cm, 10 if left empty", secret=False, optional=True
        ),
        Field("breadth", "Its breadth", "In cm, 10 if left empty", secret=False, optional=True),
        Field("height", "Its height", "In cm, 10 if left empty", secret=False, optional=True),
    )
    settings = (Setting("SHIPROCKET_URL", "Shiprocket's API", "https://apiv2.shiprocket.in/v1/external", url),)
    authenticates_by = "secret_url"
    handles = frozenset({"webhook", "tracking"})
    ignores: frozenset[str] = frozenset()
    keeps = ()
    known_as = ("ship rocket",)
    hosts = ("shiprocket.co", "shiprocket.in")
    numbers = ""
    address = "carrier"
    forbidden: tuple[str, ...] = ("shiprocket", "kartrocket", "sr", "kr")
    push_help = (
        "Settings > API > Webhooks. Shiprocket refuses addresses with its own name in them, so this one has another."
    )
    most_at_once = 50
    most_labels = 50

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
        self._trusted = config.trusted_origins

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
        response = http.read(
            "POST",
            f"{self._url}/courier/track/awbs",
            json={"awbs": list(numbers)},
            headers=_bearer(account),
            timeout=http.TRACKING_TIMEOUT,
        )
        return http.told(response, self.label)

    def book(self, account: Account, parcel: Parcel) -> Booked:
        """An order that an earlier try left without a number is gone on with; one nobody carries is cancelled."""
        bookings.needed(self, account, "pickup_location")
        task, private, asked = "book this parcel", bookings.whose(parcel), self._order(account, parcel)
        try:
            order = self._changed(account, "orders/create/adhoc", task, asked, _order_verdict, private)
        except PermanentError as fault:
            found = self._search(account, parcel.reference) if "already exist" in str(fault).casefold() else None
            if found is None:
                raise
            if (booked := _booked(found)) is not None:
                return booked
            order = {"order_id": found.get("id"), "shipment_id": _shipment(found).get("id")}
        try:
            asked = {"shipment_id": order["shipment_id"]}
            said = self._changed(account, "courier/assign/awb", task, asked, _assigned, private)
        except PermanentError:
            with contextlib.suppress(DastakError):  # what stands is an order nobody carries
                self._changed(account, "orders/cancel", task, {"ids": [order["order_id"]]}, _cancelled)
            raise
        carried = _assignment(said)
        return Booked(
            tracking_number=scans.said(carried["awb_code"]),
            reference=f"{order['order_id']}/{order['shipment_id']}",
            carrier=scans.said(carried.get("courier_name")),
        )

    def _order(self, account: Account, parcel: Parcel) -> dict[str, Any]:
        """What is to be collected is the order's `sub_total`; of a paid one it is its value."""
        bookings.whole(parcel.collect, "INR", self)
        if not re.fullmatch(r"\+91\d{10}", parcel.phone):
            raise PermanentError("Shiprocket needs a phone number of India, and the customer's is none.")
        where, cod = parcel.address, parcel.collect.amount > 0
        if not (where.postcode and where.region):
            raise PermanentError("Shiprocket needs the PIN code and the state of the address. Please add them.")
        total = parcel.collect.amount if cod else parcel.value.amount
        items = [(item.title, item.sku or item.title, item.quantity, item.price) for item in parcel.items]
        sides = {side: account.credentials.get(side) or "10" for side in ("length", "breadth", "height")}
        return {
            "order_id": parcel.reference,
            "order_date": parcel.at.astimezone(INDIA).strftime("%Y-%m-%d %H:%M"),
            "pickup_location": account.credentials["pickup_location"],
            "billing_customer_name": parcel.name,
            "billing_last_name": "",
            "billing_address": where.line1 or where.line2,
            "billing_address_2": where.line2 if where.line1 else "",
            "billing_city": parcel.city or where.city,
            "billing_pincode": where.postcode,
            "billing_state": where.region,
            "billing_country": "India",
            "billing_phone": parcel.phone.removeprefix("+91"),
            "shipping_is_billing": True,
            "order_items": [
                {"name": name, "sku": sku[:50], "units": units, "selling_price": _number(price)}
                for name, sku, units, price in items or [("Order", parcel.reference, 1, total)]
            ],
            "payment_method": "COD" if cod else "Prepaid",
            "sub_total": _number(total),
            **{side: self._centimetres(side, given) for side, given in sides.items()},
            "weight": float(parcel.weight),
            **({"comment": parcel.note} if parcel.note else {}),
        }

    def _centimetres(self, side: str, given: str) -> float:
        if not re.fullmatch(r"\d{1,3}(\.\d{1,2})?", given):
            raise ConfigurationError(f"The {side} of your usual box must be a number of cm. Please enter it again.")
        return float(given)

    def cancel(self, account: Account, booked: Booked) -> None:
        """By the order where we know its id, by the courier's number otherwise (not at once, and before pickup)."""
        order, task = _ids(booked)[0], "cancel this parcel"
        with bookings.absence_is_fine():
            if order:
                self._changed(account, "orders/cancel", task, {"ids": [bookings.identifier(order)]}, _cancelled)
            else:
                asked = {"awbs": [booked.tracking_number]}
                self._changed(account, "orders/cancel/shipment/awbs", task, asked, _cancelled)

    def labels(self, account: Account, booked: Sequence[Booked]) -> bytes:
        """One PDF for all; if one of them has no label (yet), none is printed."""
        shipments = [shipment for one in booked if (shipment := _ids(one)[1])]
        if len(shipments) < len(booked):
            raise PermanentError("A parcel that was not booked here has no label here. Please print it at Shiprocket.")
        asked = {"shipment_id": [bookings.identifier(shipment) for shipment in shipments]}
        response = http.read("POST", f"{self._url}/courier/generate/label", json=asked, headers=_bearer(account))
        task = "print the label"
        said = bookings.answer(response, self, account, task, _label_verdict, unsure=TransientError)
        return labels.fetched(scans.said(said.get("label_url")), self, self._trusted)

    def cities(self, account: Account) -> Sequence[City]:
        """None: Shiprocket goes by PIN code, and a booking names the city as the customer wrote it."""
        return ()

    def find(self, account: Account, reference: str) -> Booked | None:
        found = self._search(account, reference)
        return _booked(found) if found is not None else None

    def advise(self, account: Account, booked: Booked, advice: Advice) -> None:
        """A new address, phone or day goes with a re-attempt."""
        again = advice.action != "return"
        phone = advice.phone.removeprefix("+91") if advice.phone.startswith("+91") else ""
        remarks = (advice.note, f"phone: {advice.phone}" if advice.phone and not phone else "")
        comments = "; ".join(remark for remark in remarks if remark)
        asked = {
            "action": "re-attempt" if again else "return",
            "comments": comments or ("Please deliver again" if again else "Please return"),
            **({"phone": phone} if again and phone else {}),
            **({"address1": advice.address} if again and advice.address else {}),
            **({"deferred_date": advice.on.isoformat()} if again and advice.on else {}),
        }
        private = (advice.address, advice.note)
        path, task = f"ndr/{quote(booked.tracking_number, safe='')}/action", "take advice on this parcel"
        self._changed(account, path, task, asked, _advised, private)

    def proof(self, account: Account, booked: Booked) -> Proof | None:
        """An image, or in words how it was proven ("OTP Based Delivery")."""
        url = f"{self._url}/courier/track/awb/{quote(booked.tracking_number, safe='')}"
        response = http.read("GET", url, headers=_bearer(account))
        answer = http.told(response, self.label)
        said = http.body_of(response) if answer is not None else None
        for data in _tracking(said) if isinstance(said, dict) else ():
            for parcel in scans.records(data.get("shipment_track")):
                if held := scans.said(parcel.get("pod_status")):
                    return Proof(image_url=held) if held.startswith("https://") else Proof(said=held)
        return None

    def _search(self, account: Account, reference: str) -> dict[str, Any] | None:
        """The order of that reference, which a search may give among others."""
        response = http.read("GET", f"{self._url}/orders", query={"search": reference}, headers=_bearer(account))
        said = bookings.answer(response, self, account, "look up this order", _listed, unsure=TransientError)
        orders = scans.records(said["data"])
        return next((order for order in orders if scans.said(order.get("channel_order_id")) == reference), None)

    def _changed(
        self,
        account: Account,
        path: str,
        task: str,
        asked: dict[str, Any],
        verdict: bookings.Verdict,
        private: Sequence[str] = (),
    ) -> dict[str, Any]:
        response = http.call("POST", f"{self._url}/{path}", json=asked, headers=_bearer(account))
        return bookings.answer(response, self, account, task, verdict, private=private)

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


# -- bookings ------------------------------------------------------------------------------------------------------


def _bearer(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.credentials['token']}"}


def _number(amount: Decimal) -> int | float:
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def _ids(booked: Booked) -> tuple[str, str]:
    """Shiprocket's ids of the order and of its shipment; empty of a parcel that was not booked here."""
    order, _, shipment = booked.reference.partition("/")
    return order, shipment


def _shipment(order: dict[str, Any]) -> dict[str, Any]:
    """The shipment of an order as a search gives it."""
    return next(iter(scans.records(order.get("shipments"))), {})


def _booked(order: dict[str, Any]) -> Booked | None:
    shipment = _shipment(order)
    if not (number := scans.said(shipment.get("awb"))):
        return None
    reference = f"{scans.said(order.get('id'))}/{scans.said(shipment.get('id'))}"
    return Booked(tracking_number=number, reference=reference, carrier=scans.said(shipment.get("courier")))


def _assignment(said: dict[str, Any]) -> dict[str, Any]:
    """What an assignment says of itself: an object with the number, or with why there is none."""
    response = said.get("response")
    data = response.get("data") if isinstance(response, dict) else None
    return data if isinstance(data, dict) else {}


def _otherwise(said: dict[str, Any]) -> bookings.No | bool:
    """What is no yes: a no where it gives a reason, by field or in one message, else neither."""
    words = said.get("errors") or said.get("message")
    return bookings.No(words) if words else False


def _order_verdict(said: dict[str, Any]) -> bookings.No | bool:
    return bool(scans.said(said.get("order_id")) and scans.said(said.get("shipment_id"))) or _otherwise(said)


def _assigned(said: dict[str, Any]) -> bookings.No | bool:
    """A failure is HTTP 200, too."""
    if scans.said(said.get("awb_assign_status")) == "0":
        return bookings.No(_assignment(said).get("awb_assign_error") or said.get("message"))
    return bool(scans.said(_assignment(said).get("awb_code"))) or _otherwise(said)


def _cancelled(said: dict[str, Any]) -> bookings.No | bool:
    """Orders are cancelled with an empty 204, numbers with a message beside HTTP 200 (an assumption)."""
    failed = said.get("errors") or scans.said(said.get("status_code") or 200) != "200"
    return _otherwise(said) if failed else bool(said.get("message"))


def _label_verdict(said: dict[str, Any]) -> bookings.No | bool:
    if said.get("not_created"):
        return bookings.No("not every parcel has a label yet")
    if scans.said(said.get("label_created")) == "1":
        return True
    return bookings.No(said.get("response") or said.get("message")) if "label_created" in said else _otherwise(said)


def _advised(said: dict[str, Any]) -> bookings.No | bool:
    return scans.normal(said.get("status")).startswith("data updated") or _otherwise(said)


def _listed(said: dict[str, Any]) -> bookings.No | bool:
    return isinstance(said.get("data"), list) or _otherwise(said)


ADAPTER = Shiprocket
