"""PostEx: a token in a header, `{statusCode, statusMessage, dist}` around everything, a refusal inside HTTP 200.

What it cannot parse it answers with HTTP 400 and a stack trace. It pushes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask import Response, request

from sandbox.answers import as_json
from sandbox.couriers import paper
from sandbox.couriers.cities import PAKISTAN, PAKISTAN_BY_NAME
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
    mobile,
    text_of,
    whole_of,
)
from sandbox.world import Record

MOST_LABELS = 10
ORDER_TYPES = ("Normal", "Reversed", "Replacement", "Overland")
ADVICE = {1: RETURN, 2: REATTEMPT}

_TRACE = """java.lang.NumberFormatException: For input string: "{input}"
\tat java.lang.NumberFormatException.forInputString(NumberFormatException.java:65)
\tat com.postex.integration.order.OrderController.handle(OrderController.java:214)
"""


class PostEx(Desk):
    name = "postex"
    title = "PostEx"
    account = {"token": KEY, "pickup_address_code": "001"}
    booked_word = Word(BOOKED, "0001", "At Merchant's Warehouse")
    cancelled_word = Word(CANCELLED, "", "Un-Assigned By Me")
    words = (
        booked_word,
        Word("picked_up", "0031", "Departed to PostEx Warehouse"),
        Word("picked_up", "0003", "At PostEx Warehouse"),
        Word("in_transit", "0033", "En-Route"),
        Word("in_transit", "0035", "Arrived at Transit Hub"),
        Word("at_destination", "0038", "Waiting for Delivery"),
        Word("out_for_delivery", "0004", "Package on Root"),
        Word(ATTEMPTED, "0013", "Attempt Made: CNA"),
        Word(ATTEMPTED, "0013", "Attempt Made: RFD"),
        Word(ATTEMPTED, "0013", "Attempt Made: ICA"),
        Word(ATTEMPTED, "0008", "Delivery Under Review"),  # waits for the shipper's advice
        Word("delivered", "0005", "Delivered"),
        Word("returning", "0040", "Return Initiated"),
        Word("returning", "", "Out For Return"),
        Word("returned", "0002", "Returned"),
        cancelled_word,
    )
    more_words = (
        Word("returned", "0006", "Returned"),
        Word("returned", "0007", "Returned"),
        Word("out_for_delivery", "", "Package on Route"),
        Word(CANCELLED, "", "Cancelled"),
        Word(CANCELLED, "", "Expired"),
    )

    def routes(self) -> Sequence[Rule]:
        return [
            ("POST", "/v3/create-order", self.create_order),
            ("PUT", "/v1/cancel-order", self.cancel_order),
            ("GET", "/v1/track-order/<number>", self.track_order),
            ("GET", "/v1/track-bulk-order", self.track_bulk_order),
            ("GET", "/v1/get-all-order", self.get_all_order),
            ("GET", "/v1/get-invoice", self.get_invoice),
            ("GET", "/v2/get-operational-city", self.get_operational_city),
            ("PUT", "/v2/save-shipper-advice", self.save_shipper_advice),
            ("GET", "/v1/get-shipper-advice/<number>", self.get_shipper_advice),
        ]

    @staticmethod
    def _refused() -> Response | None:
        if request.headers.get("token") == KEY:
            return None
        return as_json({"statusCode": "401", "statusMessage": "UNAUTHORIZED", "dist": None}, 401)

    # Booking

    def create_order(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        stated = body()
        for field in ("invoicePayment", "items"):
            if isinstance(stated.get(field), str | list | dict) and whole_of(stated[field]) is None:
                return _trace(stated[field])
        # assumed: the sentences; that they come inside HTTP 200 is not
        for field in ("cityName", "customerName", "deliveryAddress", "orderRefNumber", "orderType"):
            if not text_of(stated.get(field)):
                return _no("400", f"{field} IS REQUIRED")
        payment, items = _amount(stated.get("invoicePayment")), whole_of(stated.get("items"))
        city = PAKISTAN_BY_NAME.get(stated["cityName"].strip().casefold())
        if not mobile(stated.get("customerPhone")):
            return _no("400", "INVALID CUSTOMER PHONE, FORMAT IS 03XXXXXXXXX")
        if payment is None or payment < 0:
            return _no("400", "INVALID INVOICE PAYMENT")
        if items is None or items < 1:
            return _no("400", "INVALID ITEMS")
        if stated["orderType"] not in ORDER_TYPES:
            return _no("400", "INVALID ORDER TYPE")
        if city is None:
            return _no("400", "INVALID CITY NAME")
        number = str(self.next_number(21_032_470_001_639))
        self.book(
            number,
            order=stated["orderRefNumber"].strip(),
            origin="Lahore",
            destination=city.name,
            booking={
                "name": stated["customerName"].strip(),
                "phone": stated["customerPhone"],
                "address": stated["deliveryAddress"].strip(),
                "city": city.name,
                "cod": payment,
                "note": text_of(stated.get("transactionNotes")),
                "items": items,
            },
        )
        now = self.world.clock.now().astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S")
        return _yes({"trackingNumber": number, "orderStatus": "UnBooked", "orderDate": now}, "ORDER HAS BEEN CREATED")

    def cancel_order(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        parcel = self.parcel(body().get("trackingNumber"))
        if parcel is None:
            return _no("404", "NOT FOUND")
        # assumed: the two sentences
        if self.cancelled(parcel):
            return _no("400", "ORDER IS ALREADY CANCELLED")
        if self.handed_over(parcel):
            return _no("400", "ORDER CANNOT BE CANCELLED, IT HAS BEEN PICKED")
        self.cancel(parcel)
        return _yes(None)

    def get_invoice(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        wanted = [number for number in request.args.get("trackingNumbers", "").split(",") if number]
        found = [one for number in wanted if (one := self.parcel(number)) and not self.cancelled(one)]
        if len(wanted) > MOST_LABELS:
            return _no("400", "MAXIMUM 10 TRACKING NUMBERS ARE ALLOWED")
        if not wanted or len(found) < len(wanted):
            return _no("404", "NOT FOUND")
        return paper.labels(found, "PostEx")

    def get_operational_city(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        # assumed: booleans, which clients also meet as texts
        return _yes(
            [
                {
                    "operationalCityName": city.name,
                    "countryName": "Pakistan",
                    "isPickupCity": True,
                    "isDeliveryCity": True,
                }
                for city in PAKISTAN
            ]
        )

    # Tracking

    def track_order(self, number: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        parcel = self.parcel(number)
        return _no("404", "NOT FOUND") if parcel is None else _yes(self._tracked(parcel))

    def track_bulk_order(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        rows = []
        for number in request.args.get("TrackingNumbers", "").split(","):
            parcel = self.parcel(number)
            rows.append(
                {
                    "trackingNumber": number,
                    "message": "TRACKING FOUND" if parcel else "TRACKING NOT FOUND",
                    "trackingResponse": self._tracked(parcel) if parcel else None,
                }
            )
        return _yes(rows)

    def get_all_order(self) -> Response:
        """The orders of some days, without their history."""
        refused = self._refused()
        if refused is not None:
            return refused
        days = []
        for name in ("startDate", "endDate"):
            try:
                days.append(datetime.strptime(request.args.get(name, ""), "%Y-%m-%d").date().isoformat())  # noqa: DTZ007
            except ValueError:
                return _trace(request.args.get(name, ""))
        status = whole_of(request.args.get("orderStatusId", "0"))
        if status is None:
            return _trace(request.args["orderStatusId"])
        with self.world.lock:
            # assumed: 0 is every order; the numbers of the single states are not public
            found = [
                self._row(parcel)
                for parcel in self._parcels.values()
                if parcel["courier"] == self.name and days[0] <= parcel["scans"][0]["at"][:10] <= days[1]
            ]
        return _yes(found)

    def _row(self, parcel: Record) -> Record:
        booking, newest = parcel.get("booking") or {}, self.newest(parcel)
        untouched = parcel.get("booking") and self.stage(parcel) == BOOKED
        return {
            "trackingNumber": parcel["number"], "orderRefNumber": parcel["order"],
            "customerName": booking.get("name", ""), "customerPhone": booking.get("phone", ""),
            "deliveryAddress": booking.get("address", ""), "cityName": parcel["destination"].title(),
            "invoicePayment": booking.get("cod", 0), "items": booking.get("items", 1),
            "transactionDate": f"{parcel['scans'][0]['at']}.000+0500",
            "transactionStatus": "UnBooked" if untouched else newest["text"],
        }  # fmt: skip

    def _tracked(self, parcel: Record) -> Record:
        history = [
            {"transactionStatusMessage": scan["text"], "transactionStatusMessageCode": scan["code"],
             "updatedAt": f"{scan['at']}.000+0500"}
            for scan in reversed(parcel["scans"])
        ]  # fmt: skip
        return {**self._row(parcel), "transactionStatusHistory": history}

    def stage_of(self, scan: Record) -> str:
        """After "Attempt Made:" stands any reason."""
        return ATTEMPTED if scan["text"].casefold().startswith("attempt made") else super().stage_of(scan)

    # Advice

    def save_shipper_advice(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        stated = body()
        status = whole_of(stated.get("statusId"))
        parcel = self.parcel(stated.get("trackingNumber"))
        if status is None:
            return _trace(stated.get("statusId"))
        if parcel is None:
            return _no("404", "NOT FOUND")
        if status not in ADVICE:
            return _no("400", "INVALID STATUS ID")
        if not text_of(stated.get("remarks")):
            return _no("400", "REMARKS IS REQUIRED")
        if not self.takes_advice(parcel):
            return _no("400", "SHIPPER ADVICE IS NOT ALLOWED ON THIS ORDER")  # assumed
        self.advise(parcel, ADVICE[status], statusId=status, remarks=stated["remarks"])
        return _yes(None)

    def get_shipper_advice(self, number: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        parcel = self.parcel(number)
        if parcel is None:
            return _no("404", "NOT FOUND")
        told = [
            {"remarks": one["said"]["remarks"], "remarksDate": one["at"], "username": "merchant"}
            for one in parcel.get("advice", ())
        ]
        return _yes({"trackingNumber": number, "message": "SHIPPER ADVICE", "trackingResponse": told})


def _amount(value: Any) -> int | float | None:
    """The amount as stated, a number or its digits."""
    if isinstance(value, float):
        return value
    return whole_of(value)


def _yes(dist: Any, message: str = "SUCCESSFULLY OPERATED") -> Response:
    return as_json({"statusCode": "200", "statusMessage": message, "dist": dist})


def _no(code: str, message: str) -> Response:
    return as_json({"statusCode": code, "statusMessage": message, "dist": None})


def _trace(value: object) -> Response:
    return Response(_TRACE.format(input=str(value)[:40]), 400, content_type="text/plain;charset=UTF-8")
