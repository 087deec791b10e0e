"""Trax (Sonic): a bare key in Authorization; HTTP 200 with status 0 for yes and 1 for no, errors by field as Laravel's.

Its tracking API tells a bare status, its pushes put "Shipment - " before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from flask import Response, request

from sandbox.answers import as_json
from sandbox.couriers import paper
from sandbox.couriers.cities import PAKISTAN
from sandbox.couriers.desk import (
    ATTEMPTED,
    BOOKED,
    CANCELLED,
    KEY,
    REATTEMPT,
    RETURN,
    Desk,
    Rule,
    Word,
    body,
    text_of,
    unix,
    when,
    whole_of,
)
from sandbox.delivery import Policy
from sandbox.world import Record

MOST_LABELS = 5
PREPAID = 4  # the payment mode of a parcel whose amount is its worth, and nothing is collected
ADVICE = {1: RETURN, 2: REATTEMPT}
PHONE = re.compile(r"03\d\d-?\d{7}")
DATE = re.compile(r"\d{4}-\d\d-\d\d")

_CITY_BY_ID = {city.trax: city for city in PAKISTAN}

# field, what it must be, what is said when it is not
_REQUIRED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    *(
        (field, lambda value: whole_of(value) is not None, "must be an integer.")
        for field in (
            "service_type_id", "pickup_address_id", "information_display", "item_product_type_id", "item_quantity",
            "item_insurance", "shipping_mode_id", "amount", "payment_mode_id", "charges_mode_id",
        )
    ),
    ("consignee_city_id", lambda value: whole_of(value) in _CITY_BY_ID, "is invalid."),
    ("consignee_name", lambda value: 0 < len(text_of(value)) <= 100, "must be a text of at most 100 characters."),
    ("consignee_address", lambda value: 0 < len(text_of(value)) <= 190, "must be a text of at most 190 characters."),
    ("consignee_phone_number_1", lambda value: bool(PHONE.fullmatch(text_of(value))), "format is invalid."),
    ("consignee_email_address", lambda value: "@" in text_of(value), "must be a valid email address."),
    ("item_description", lambda value: 0 < len(text_of(value)) <= 190, "must be a text of at most 190 characters."),
    ("pickup_date", lambda value: bool(DATE.fullmatch(text_of(value))), "does not match the format Y-m-d."),
    ("estimated_weight", lambda value: isinstance(value, int | float | str) and _number(value), "must be a number."),
)  # fmt: skip


def _number(value: float | str) -> bool:
    try:
        return float(value) >= 0
    except ValueError:
        return False


class Trax(Desk):
    name = "trax"
    title = "Trax"
    account = {
        "api_key": KEY, "pickup_address_id": "1", "service_type_id": "1", "shipping_mode_id": "1",
        "contact_email": "orders@shop.example",
    }  # fmt: skip
    policy = Policy("trax", 1, 10.0, range(200, 300), 3, 5.0, 60.0)
    booked_word = Word(BOOKED, "", "Booked")
    cancelled_word = Word(CANCELLED, "", "Cancelled")
    words = (
        booked_word,
        Word("picked_up", "", "Rider Picked"),
        Word("in_transit", "", "Arrived at Origin"),
        Word("in_transit", "", "In Transit"),
        Word("at_destination", "", "Arrived at Destination"),
        Word("out_for_delivery", "", "Out for Delivery"),
        Word(ATTEMPTED, "", "Delivery Unsuccessful", "Consignee not available"),
        Word(ATTEMPTED, "", "Delivery Unsuccessful", "Refused to receive"),
        Word(ATTEMPTED, "", "Delivery Unsuccessful", "Incorrect Address"),
        Word(ATTEMPTED, "", "Shipper Advise Requested"),
        Word("delivered", "", "Delivered"),
        Word("returning", "", "Return - Confirmation Pending"),
        Word("returning", "", "Return - In Transit"),
        Word("returned", "", "Return - Delivered to Shipper"),
        cancelled_word,
    )
    more_words = (
        Word("in_transit", "", "Arrival Service Center"),
        Word(ATTEMPTED, "", "Reason Validation Required"),
        Word("returning", "", "Return - Confirm"),
        Word(CANCELLED, "", "Recalled"),
    )
    advised_words = {
        RETURN: Word("returning", "", "Return - Confirm"),
        REATTEMPT: Word("", "", "Re-Attempt-Requested"),
    }

    def routes(self) -> Sequence[Rule]:
        return [
            ("POST", "/shipment/book", self.book_shipment),
            ("POST", "/shipment/cancel", self.cancel_shipment),
            ("GET", "/shipment/air_waybill", self.air_waybill),
            ("GET", "/shipment/track", self.track),
            ("GET", "/shipment/track/order_id", self.track_order),
            ("POST", "/request/rcp", self.request_rcp),
            ("GET", "/cities", self.cities),
        ]

    @staticmethod
    def _refused() -> Response | None:
        if request.headers.get("Authorization") == KEY:
            return None
        return _no("Invalid API Key")

    # Booking

    def book_shipment(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        stated = body()
        wrong: dict[str, list[str]] = {}
        for field, is_good, must in _REQUIRED:
            called = field.replace("_", " ")
            if stated.get(field) in (None, ""):
                wrong[field] = [f"The {called} field is required."]
            elif not is_good(stated[field]):
                wrong[field] = [f"The {called} {must}"]
        amount, order = whole_of(stated.get("amount")), text_of(stated.get("order_id"))
        if amount == 0 and not (whole_of(stated.get("parcel_value")) or 0) > 0:
            wrong["parcel_value"] = [
                "Parcel value is required when collection amount is zero, and should be greater than 0"
            ]
        with self.world.lock:
            if order and any(not self.cancelled(one) for one in self.of_order(order)):
                # the guide wants it unique; the sentence, and that a cancelled one frees it, are assumed
                wrong["order_id"] = ["The order id has already been taken."]
            if wrong:
                return _no("The given data was invalid.", errors=wrong)
            destination = _CITY_BY_ID[whole_of(stated["consignee_city_id"]) or 0]
            number = f"223{destination.trax}{self.next_number(366_397):06d}"
            self.book(
                number,
                order=order,
                origin="Lahore",
                destination=destination.name,
                booking={
                    "name": text_of(stated["consignee_name"]),
                    "phone": text_of(stated["consignee_phone_number_1"]),
                    "address": text_of(stated["consignee_address"]),
                    "city": destination.name,
                    "cod": 0 if whole_of(stated["payment_mode_id"]) == PREPAID else amount,
                    "note": text_of(stated.get("special_instructions")),
                    "item": text_of(stated["item_description"]),
                    "pieces": whole_of(stated["item_quantity"]),
                },
            )
        return as_json({"status": 0, "message": "Shipment has been Booked!", "tracking_number": number})

    def cancel_shipment(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        parcel = self.parcel(whole_of(body().get("tracking_number")))
        # assumed: the sentences of the refusals
        if parcel is None:
            return _no("Tracking number not found")
        if self.cancelled(parcel):
            return _no(f"Shipment #{parcel['number']} is already Cancelled")
        if self.handed_over(parcel):
            return _no(f"Shipment #{parcel['number']} cannot be Cancelled")
        self.cancel(parcel)
        return as_json({"status": 0, "message": f"Shipment #{parcel['number']} is Cancelled"})

    def air_waybill(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        wanted = request.args.getlist("tracking_numbers[]") or request.args.getlist("tracking_number")
        if len(wanted) > MOST_LABELS:
            return _no(
                "The given data was invalid.",
                errors={"tracking_numbers": ["The tracking numbers may not have more than 5 items."]},
            )
        found = [one for number in wanted if (one := self.parcel(number)) and not self.cancelled(one)]
        if not wanted or len(found) < len(wanted):
            return _no("Tracking number not found")
        # without type=1 it is a picture of the label
        return paper.labels(found, "TRAX") if request.args.get("type") == "1" else paper.signature()

    def cities(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        cities = [
            {
                "id": city.trax,
                "name": city.name,
                "hub": {"id": city.trax, "name": city.name},
                "zone": {"id": ("South", "Central", "North").index(city.zone) + 1, "name": city.zone},
                "pickup": True,
                "delivery": {"Regular": ["Rush", "Saver Plus"], "Replacement": ["Rush"]},
            }
            for city in PAKISTAN
        ]
        return as_json({"status": 0, "message": "Pickup and Delivery Information of Cities", "cities": cities})

    # Tracking

    def track(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        parcel = self.parcel(request.args.get("tracking_number", ""))
        if parcel is None:
            return _no("Tracking number not found")
        return as_json({"status": 0, "message": "Success", "details": self._details(parcel)})

    def track_order(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        order = request.args.get("order_id", "")
        found = self.of_order(order)
        if not found:
            return _no("Order ID not found")
        # here, and only here, its guide tells the number as a number
        details = [
            {**self._details(parcel), "tracking_number": whole_of(parcel["number"]) or parcel["number"]}
            for parcel in found
        ]
        return as_json({"status": 0, "message": f"Tracking of Shipment(s) - Order ID #{order}", "details": details})

    def _details(self, parcel: Record) -> Record:
        booking = parcel.get("booking") or {}
        history = [
            {"status": s["text"], "status_reason": s["reason"] or None, "timestamp": unix(s, self.zone),
             "date_time": when(s, "%d/%m/%Y %I:%M %p")}
            for s in reversed(parcel["scans"])
        ]  # fmt: skip
        return {
            "tracking_number": parcel["number"],
            "order_id": parcel["order"],
            "consignee": {
                "name": booking.get("name", ""),
                "phone_number_1": booking.get("phone", ""),
                "phone_number_2": None,
                "destination": parcel["destination"].title(),
                "address": booking.get("address", ""),
            },
            "order_information": {
                "items": [{"order_id": parcel["order"], "description": booking.get("item", ""), "quantity": 1}],
                "amount": booking.get("cod", 0),
            },
            "tracking_history": history,
        }

    # Advice

    def takes_advice(self, parcel: Record) -> bool:
        waits = self.newest(parcel)["text"].casefold() == "return - confirmation pending"
        return waits or super().takes_advice(parcel)

    def request_rcp(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        stated = body()
        number, kind = stated.get("tracking_number"), whole_of(stated.get("type"))
        if not isinstance(number, int) or isinstance(number, bool):
            errors = {"tracking_number": ["The tracking number must be an integer."]}
            return _no("The given data was invalid.", errors=errors)
        if kind not in ADVICE:
            return _no("The given data was invalid.", errors={"type": ["The selected type is invalid."]})
        parcel = self.parcel(number)
        if parcel is None:
            return _no("Tracking number not found")
        if not self.takes_advice(parcel):
            return _no(f"Shipment #{number} is not in a status that allows this request")  # assumed
        means = ADVICE[kind]
        self.advise(parcel, means, type=kind, remarks=text_of(stated.get("remarks")))
        # the answer speaks of a new status, so the parcel has one; its spelling is that of the tracking API
        self.write(parcel, self.advised_words[means])
        said = (
            "Shipment successfully marked as Shipment - Return Confirm"
            if means == RETURN
            else "Shipment successfully updated as (Re-Attempt - Requested)"
        )
        return as_json({"status": 0, "message": said})

    # Pushes

    def pushed(self, parcel: Record, scan: Record) -> Any:
        return {
            "tracking_number": parcel["number"], "order_id": parcel["order"], "status": f"Shipment - {scan['text']}",
            "status_reason": scan["reason"], "timestamp": unix(scan, self.zone),
        }  # fmt: skip


def _no(message: str, **more: Any) -> Response:
    return as_json({"status": 1, "message": message, **more})
