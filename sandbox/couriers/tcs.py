"""TCS, both its APIs: the new one ("Envio", OCI Connect) with two tokens, and the classic one under `/classic`.

It pushes nothing and takes no advice. Errors come inside HTTP 200; a refused token comes in three shapes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from flask import Response, request

from sandbox.answers import as_json
from sandbox.couriers import paper
from sandbox.couriers.cities import PAKISTAN, PAKISTAN_BY_NAME, City
from sandbox.couriers.desk import (
    ATTEMPTED,
    BOOKED,
    CANCELLED,
    KEY,
    PASSWORD,
    TOKEN,
    Desk,
    Rule,
    Word,
    body,
    mobile,
    rider_scans,
    text_of,
    when,
    whole_of,
)
from sandbox.world import Record

ACCESS_TOKEN = "sandbox-courier-access-token"
MOST_COD = 250_000
DATE = re.compile(r"\d\d-\d\d-\d{4}")

_CITY_BY_CODE = {city.code: city for city in PAKISTAN}


def _text(shortest: int, longest: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and shortest <= len(value.strip()) <= longest


def _int(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0.5


# part, field, what it must be, what is said when it is not
_REQUIRED: tuple[tuple[str, str, Callable[[Any], bool], str], ...] = (
    ("shipperinfo", "tcsaccount", _text(3, 12), "must be 3 to 12 characters"),
    ("shipperinfo", "cityname", _text(3, 50), "is required"),
    ("shipperinfo", "mobile", mobile, "must be 11 digits like 0300xxxxxxx"),
    ("consigneeinfo", "firstname", _text(3, 50), "must be 3 to 50 characters"),
    ("consigneeinfo", "address1", _text(3, 120), "must be 3 to 120 characters"),
    ("consigneeinfo", "mobile", mobile, "must be 11 digits like 0300xxxxxxx"),
    ("shipmentinfo", "costcentercode", _text(2, 20), "must be 2 to 20 characters"),
    ("shipmentinfo", "servicecode", _text(1, 6), "must be 1 to 6 characters"),
    ("shipmentinfo", "codamount", _int(0, MOST_COD), f"must be a whole number from 0 to {MOST_COD}"),
    ("shipmentinfo", "weightinkg", _weight, "must be a number from 0.5"),
    ("shipmentinfo", "pieces", _int(1, 2**31 - 1), "must be a whole number from 1"),
    ("shipmentinfo", "fragile", lambda value: isinstance(value, bool), "should be true or false"),
)
_OPTIONAL: tuple[tuple[str, str, Callable[[Any], bool], str], ...] = (
    ("consigneeinfo", "address2", _text(3, 120), "must be 3 to 120 characters"),
    ("consigneeinfo", "address3", _text(3, 120), "must be 3 to 120 characters"),
    ("shipmentinfo", "referenceno", _text(3, 50), "must be 3 to 50 characters"),
    ("shipmentinfo", "remarks", _text(3, 500), "must be 3 to 500 characters"),
    ("shipmentinfo", "shipmentdate", lambda value: bool(DATE.fullmatch(str(value))), "must be DD-MM-YYYY"),
)


class Tcs(Desk):
    name = "tcs"
    title = "TCS"
    account = {
        "client_id": KEY, "client_secret": PASSWORD, "username": KEY, "password": PASSWORD, "account_number": "0231L1",
        "cost_center": "001", "pickup_city": "LAHORE", "pickup_phone": "03001234567", "shipper_name": "Lahore Lawn",
        "pickup_address": "1 Canal Road",
    }  # fmt: skip
    booked_word = Word(BOOKED, "", "Shipment Booked")
    cancelled_word = Word(CANCELLED, "", "Cancelled")
    words = (
        booked_word,
        Word("picked_up", "", "Shipment Picked Up"),
        Word("in_transit", "", "Departed From Origin"),
        Word("at_destination", "", "Arrived at TCS Facility"),
        Word("at_destination", "", "Scheduled for delivery"),
        Word("out_for_delivery", "", "Out For Delivery"),
        Word("attempted", "", "Consignee Not Home"),
        Word("attempted", "", "Recipient Refused"),
        Word("attempted", "", "Undelivered Due To Incorrect Address"),
        Word("delivered", "OK", "Shipment Delivered"),
        Word("returning", "", "Return In Process"),
        Word("returned", "RO", "Shipment Returned To Origin"),
        cancelled_word,
    )
    more_words = (
        Word(BOOKED, "", "Booked"),
        Word("out_for_delivery", "", "Courier out for delivery"),
        Word(ATTEMPTED, "", "Delivery Attempted"),
        Word(ATTEMPTED, "", "Receiver Not Available"),
        Word(ATTEMPTED, "", "Not Delivered - Consignee Refused"),
        Word("delivered", "", "Delivered"),
    )

    def routes(self) -> Sequence[Rule]:
        return [
            ("POST", "/auth/api/auth", self.token),
            ("GET", "/auth/api/auth", self.token),  # the guide's way: a GET with a body
            ("GET", "/ecom/api/authentication/token", self.access_token),
            ("POST", "/ecom/api/booking/create", self.create),
            ("POST", "/ecom/api/booking/cancel", self.cancel_booking),
            ("GET", "/ecom/api/print/label", self.label),
            ("GET", "/ecom/api/setup/citylistbycountry", self.cities),
            ("GET", "/tracking/api/Tracking/GetDynamicTrackDetail", self.track),
            ("POST", "/classic/v1/cod/create-order", self.classic_create),
            ("PUT", "/classic/v1/cod/cancel-order", self.classic_cancel),
            ("GET", "/classic/v1/cod/cities", self.classic_cities),
            ("GET", "/classic/track/v1/shipments/detail", self.classic_track),
        ]

    # Who asks

    def token(self) -> Response:
        stated = body()
        if (stated.get("clientid"), stated.get("clientsecret")) != (KEY, PASSWORD):
            return as_json({"result": None, "status": False, "code": "401", "message": "Invalid credentials"})
        result = {"accessToken": TOKEN, "expiry": self._expiry(), "userInformation": None}
        return as_json({"result": result, "status": True, "code": "0200"})

    def access_token(self) -> Response:
        refused = self._bearer_refused()
        if refused is not None:
            return refused
        stated = {**request.args.to_dict(), **body()}  # clients state them in the query, the guide in a body
        if (stated.get("username"), stated.get("password")) != (KEY, PASSWORD):
            return as_json({"result": None, "status": False, "code": "401"})
        return as_json(
            {"accesstoken": ACCESS_TOKEN, "expiry": self._expiry(), "message": "success", "traceid": _trace()}
        )

    def _expiry(self) -> str:
        return (self.world.clock.now() + timedelta(days=30)).isoformat(timespec="seconds").replace("+00:00", "Z")

    @staticmethod
    def _bearer_refused() -> Response | None:
        if request.headers.get("Authorization") == f"Bearer {TOKEN}":
            return None
        return as_json(
            {"code": 401, "message": "Invalid Bearer token. Mismatch configuration.", "status": "UnAuthorized"}
        )

    def _refused(self, access_token: object) -> Response | None:
        """Both tokens are wanted: the one in the header, the other in the body or the query."""
        refused = self._bearer_refused()
        if refused is None and access_token != ACCESS_TOKEN:
            return as_json({"code": "UnAuthorized", "message": "Invalid access token", "status": 401})
        return refused

    # Booking

    def create(self) -> Response:
        stated = body()
        refused = self._refused(stated.get("accesstoken"))
        if refused is not None:
            return refused
        parts = {
            name: stated[name] if isinstance(stated.get(name), dict) else {}
            for name in ("shipperinfo", "consigneeinfo", "shipmentinfo")
        }
        shipper, consignee, shipment = parts.values()
        wrong = [
            f"{part}.{field} {must}" for part, field, is_good, must in _REQUIRED if not is_good(parts[part].get(field))
        ]
        wrong += [
            f"{part}.{field} {must}"
            for part, field, is_good, must in _OPTIONAL
            if parts[part].get(field) not in (None, "") and not is_good(parts[part][field])
        ]
        city = self._city(consignee)
        if city is None:
            wrong.append("consigneeinfo.citycode is not a city of ours")
        if wrong or city is None:
            return as_json(
                {"error": [{"errorname": one} for one in wrong], "message": "Validation failed", "traceid": _trace()}
            )
        lines = (text_of(consignee.get(f"address{line}")) for line in (1, 2, 3))
        names = (text_of(consignee.get(name)) for name in ("firstname", "middlename", "lastname"))
        number = str(self.next_number(99_210_301_520))
        self.book(
            number,
            order=text_of(shipment.get("referenceno")),
            origin=shipper["cityname"],
            destination=city.name,
            booking={
                "name": " ".join(name for name in names if name.strip(".")),
                "phone": consignee["mobile"],
                "address": ", ".join(line for line in lines if line),
                "city": city.name,
                "cod": shipment["codamount"],
                "note": text_of(shipment.get("remarks")),
            },
        )
        clock = self.world.clock.now().astimezone(self.zone).strftime("%H:%M:%S")
        return as_json(
            {"response": "SUCCESS", "consignmentNo": number, "code": "200", "status": True, "message": "success",
             "requestTime": clock, "responseTime": clock}
        )  # fmt: skip

    @staticmethod
    def _city(consignee: Record) -> City | None:
        """By its code; by its name where the code is left out."""
        code = text_of(consignee.get("citycode"))
        return (
            _CITY_BY_CODE.get(code.upper())
            if code
            else PAKISTAN_BY_NAME.get(text_of(consignee.get("cityname")).casefold())
        )

    def cancel_booking(self) -> Response:
        stated = body()
        refused = self._refused(stated.get("accesstoken"))
        if refused is not None:
            return refused
        parcel = self.parcel(stated.get("consignmentNumber"))
        message = "SUCCESS"
        if parcel is None or self.cancelled(parcel):
            message = "Failure: No Record Founds"
        elif self.handed_over(parcel):
            message = "Failure: Shipment Already Picked"  # assumed: the guide shows only the other failure
        else:
            self.cancel(parcel)
        return as_json({"message": message, "traceid": _trace()})

    def label(self) -> Response:
        refused = self._refused(request.args.get("accesstoken"))
        if refused is not None:
            return refused
        parcel = self.parcel(request.args.get("consignmentno"))
        if parcel is None or self.cancelled(parcel):
            return as_json({"message": "CN not found", "url": "", "traceid": _trace()})
        return paper.labels([parcel], "TCS")

    def cities(self) -> Response:
        refused = self._bearer_refused()
        if refused is not None:
            return refused
        cities = PAKISTAN if request.args.get("countrycode", "PK") == "PK" else ()
        data = [{"citycode": city.code, "cityname": city.name.upper()} for city in cities]
        return as_json({"message": "SUCCESS", "data": data, "traceid": _trace()})

    # Tracking

    def track(self) -> Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return as_json({"code": 401, "status": "UnAuthorized"})
        parcel = self.parcel(request.args.get("consignee", ""))
        if parcel is None or not rider_scans(parcel):  # a booking nobody has scanned yet is no data either
            nothing = dict.fromkeys(("shipmentinfo", "deliveryinfo", "checkpoints"))
            return as_json({**nothing, "shipmentsummary": "", "message": "FAIL", "traceid": "t"})
        number, newest = parcel["number"], list(reversed(parcel["scans"]))
        # the gap of two blanks is theirs
        stamps = {id(scan): when(scan, "%A %b %d, %Y  %H:%M") for scan in newest}
        return as_json(
            {
                "shipmentinfo": [
                    {"consignmentno": number, "bookingdate": when(parcel["scans"][0], "%b %d, %Y"),
                     "origin": parcel["origin"], "destination": parcel["destination"],
                     "referenceno": parcel["order"]}
                ],
                "deliveryinfo": [
                    {"consignmentno": number, "station": scan["location"], "datetime": stamps[id(scan)],
                     "recievedby": "", "status": scan["text"], "code": scan["code"], "allowshow": "Y"}
                    for scan in newest if scan["code"]
                ],
                "checkpoints": [
                    {"consignmentno": number, "datetime": stamps[id(scan)], "recievedby": scan["location"],
                     "status": scan["text"]}
                    for scan in newest if not scan["code"]
                ],
                "shipmentsummary": f"Current Status: {newest[0]['text'].upper()}",
                "message": "SUCCESS",
                "traceid": "t",
            }
        )  # fmt: skip

    # The classic API

    @staticmethod
    def _client_refused() -> Response | None:
        if request.headers.get("X-IBM-Client-Id") == KEY:
            return None
        return as_json({"httpCode": "401", "httpMessage": "Unauthorized"}, 401)

    def _classic_refused(self, stated: Record) -> Response | None:
        refused = self._client_refused()
        if refused is None and (stated.get("userName"), stated.get("password")) != (KEY, PASSWORD):
            return _returned("FAIL", "0401", "Invalid User Name or Password")
        return refused

    def classic_create(self) -> Response:
        stated = body()
        refused = self._classic_refused(stated)
        if refused is not None:
            return refused
        for name in ("costCenterCode", "consigneeName", "consigneeAddress", "customerReferenceNo", "services"):
            if not text_of(stated.get(name)):
                return _returned("FAIL", "0400", f"{name} is required")
        cod = whole_of(stated.get("codAmount"))  # clients state it as a number and as a text
        city = PAKISTAN_BY_NAME.get(text_of(stated.get("destinationCityName")).casefold())
        if not mobile(stated.get("consigneeMobNo")):
            return _returned("FAIL", "0400", "consigneeMobNo is invalid")
        if cod is None or not 0 <= cod <= MOST_COD:
            return _returned("FAIL", "0400", "codAmount is invalid")
        if city is None:
            return _returned("FAIL", "0400", "Invalid destinationCityName")
        number = str(self.next_number(99_210_301_520))
        self.book(
            number,
            order=text_of(stated["customerReferenceNo"]),
            origin=text_of(stated.get("originCityName")) or "Lahore",
            destination=city.name,
            booking={
                "name": text_of(stated["consigneeName"]),
                "phone": stated["consigneeMobNo"],
                "address": text_of(stated["consigneeAddress"]),
                "city": city.name,
                "cod": cod,
                "note": text_of(stated.get("remarks")),
            },
        )
        return _returned("SUCCESS", "0200", "", bookingReply={"result": f"Your generated CN is: {number}"})

    def classic_cancel(self) -> Response:
        stated = body()
        refused = self._classic_refused(stated)
        if refused is not None:
            return refused
        parcel = self.parcel(stated.get("consignmentNumber"))
        # assumed: what it says to a cancelled one and to one that was picked up
        if parcel is None or self.cancelled(parcel):
            return _returned("FAIL", "0404", "no record")
        if self.handed_over(parcel):
            return _returned("FAIL", "0400", "shipment is already picked")
        self.cancel(parcel)
        return _returned("SUCCESS", "0200", "", cancelShipmentReply={"result": f"CN {parcel['number']} is cancelled"})

    def classic_cities(self) -> Response:
        refused = self._client_refused()
        if refused is not None:
            return refused
        # assumed: the fields of a row; that the list is called allCities is not
        cities = [
            {"cityID": str(row), "cityName": city.name.upper(), "cityCode": city.code, "area": city.code}
            for row, city in enumerate(PAKISTAN, 1)
        ]
        return _returned("SUCCESS", "0200", "", allCities=cities)

    def classic_track(self) -> Response:
        refused = self._client_refused()
        if refused is not None:
            return refused
        wanted = request.args.get("consignmentNo", "").split(",")
        found = [parcel for number in wanted if (parcel := self.parcel(number)) and rider_scans(parcel)]
        if not found:
            return as_json({"returnStatus": {"status": "FAIL", "code": "0404", "message": "no record"}})
        rows = [(parcel, scan) for parcel in found for scan in reversed(parcel["scans"])]
        return as_json(
            {
                "returnStatus": {"status": "SUCCESS", "code": "0200"},
                "TrackDetailReply": {
                    "TrackInfo": [
                        {"consignmentNo": p["number"], "origin": p["origin"], "destination": p["destination"]}
                        for p in found
                    ],
                    "DeliveryInfo": [
                        {"consignmentNo": p["number"], "status": s["text"], "code": s["code"],
                         "dateTime": when(s, "%Y%m%d %H:%M"), "recievedBy": "", "station": s["location"]}
                        for p, s in rows if s["code"]
                    ],
                    "Checkpoints": [
                        {"consignmentNo": p["number"], "status": s["text"], "dateTime": when(s, "%Y%m%d %H:%M"),
                         "recievedBy": s["location"]}
                        for p, s in rows if not s["code"]
                    ],
                },
            }
        )  # fmt: skip


def _returned(status: str, code: str, message: str, **more: Any) -> Response:
    return as_json({"returnStatus": {"status": status, "code": code, "message": message}, **more})


def _trace() -> str:
    return str(uuid.uuid4())
