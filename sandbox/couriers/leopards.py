"""Leopards Courier (LCS): the key and the password travel in each request; a refusal is HTTP 200 with status 0.

Some answers say `status` and `error` as texts, some as numbers, as its guide does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, request

from sandbox.answers import as_json
from sandbox.couriers import paper
from sandbox.couriers.cities import PAKISTAN, City
from sandbox.couriers.desk import (
    ATTEMPTED,
    BOOKED,
    CANCELLED,
    DELIVERED,
    KEY,
    PASSWORD,
    REATTEMPT,
    RETURN,
    Desk,
    Rule,
    Word,
    body,
    listed,
    text_of,
    when,
    whole_of,
)
from sandbox.delivery import Policy
from sandbox.world import Record

MOST = 50
SELF = PAKISTAN[1]  # where the merchant's account is at home: what "self" means for a city
ADVICE = {"RA": REATTEMPT, "RT": RETURN}

_CITY_BY_ID = {city.leopards: city for city in PAKISTAN}
_NUMBERS = {
    "booked_packet_weight": ("Packet Weight", 1),
    "booked_packet_no_piece": ("No. of Pieces", 1),
    "booked_packet_collect_amount": ("COD Amount", 0),
}
_TEXTS = {
    "shipment_name_eng": "Shipper Name",
    "shipment_phone": "Shipper Phone",
    "shipment_address": "Shipper Address",
    "consignment_name_eng": "Consignee Name",
    "consignment_phone": "Consignee Phone",
    "consignment_address": "Consignee Address",
}


class Leopards(Desk):
    name = "leopards"
    title = "Leopards"
    account = {"api_key": KEY, "api_password": PASSWORD}
    policy = Policy("leopards", 1, 10.0, range(202, 203), 3, 5.0, 60.0)
    pushes_bookings = False  # its push codes begin at the counter
    booked_word = Word(BOOKED, "", "Pickup Request not Send")
    cancelled_word = Word(CANCELLED, "", "Cancelled")
    words = (
        booked_word,
        Word(BOOKED, "", "Pickup Request Sent"),
        Word("picked_up", "SP", "Shipment Picked"),
        Word("picked_up", "RC", "Consignment Booked"),
        Word("in_transit", "DP", "Dispatched"),
        Word("at_destination", "AR", "Arrived at Station"),
        Word("out_for_delivery", "AC", "Out for delivery"),
        Word(ATTEMPTED, "PN1", "Pending", "Consignee not available"),
        Word(ATTEMPTED, "PN1", "Pending", "Refused to receive"),
        Word(ATTEMPTED, "PN2", "Pending", "Incorrect Address"),
        Word(DELIVERED, "DV", "Delivered"),
        Word("returning", "NR", "Ready for Return"),
        Word("returning", "RO", "Being Return"),
        Word("returned", "RS", "Returned to shipper"),
        cancelled_word,
    )
    more_words = (
        Word(BOOKED, "", "Consignment Booked"),  # without its code it is a booking by API
        Word(ATTEMPTED, "PN", "Undelivered"),
        Word(CANCELLED, "", "48 Hours Auto Canceled"),
    )

    def routes(self) -> Sequence[Rule]:
        return [
            (method, f"/{path}/format/json/", view)
            for methods, path, view in (
                (("POST",), "bookPacket", self.book_packet),
                (("POST",), "batchBookPacket", self.batch_book_packet),
                (("POST",), "cancelBookedPackets", self.cancel_booked_packets),
                (("GET", "POST"), "getAllCities", self.get_all_cities),
                (("POST",), "trackBookedPacket", self.track_booked_packet),
                (("POST",), "getShipmentDetailsByOrderID", self.get_shipment_details),
                (("POST",), "shipperAdviceList", self.shipper_advice_list),
                (("POST",), "updateShipperAdvice", self.update_shipper_advice),
                (("GET", "POST"), "getElectronicProofOfDelivery", self.get_proof),
            )
            for method in methods
        ] + [("GET", "/slip/<number>", self.slip), ("GET", "/signatures/<number>.png", self.signature)]

    @staticmethod
    def _stated() -> Record:
        return {**request.args.to_dict(), **body()}

    def _refused(self, stated: Record, **empty: None) -> Response | None:
        if (stated.get("api_key"), stated.get("api_password")) == (KEY, PASSWORD):
            return None
        return as_json({"status": 0, "error": "Invalid API Key / Password", **empty})

    # Booking

    def book_packet(self) -> Response:
        stated = self._stated()
        refused = self._refused(stated, track_number=None, slip_link=None)
        if refused is not None:
            return refused
        wrong = self._wrong_in(stated)
        if wrong:
            return as_json({"status": 0, "error": next(iter(wrong.values())), "track_number": None, "slip_link": None})
        return as_json({"status": 1, "error": 0, **self._booked(stated)})

    def batch_book_packet(self) -> Response:
        stated = self._stated()
        refused = self._refused(stated)
        if refused is not None:
            return refused
        packets = stated.get("packets")
        if not isinstance(packets, list) or not packets or not all(isinstance(one, dict) for one in packets):
            return as_json({"status": 0, "error": "Packets are required"})
        wrong = {f"bookPacket - {row}": found for row, one in enumerate(packets) if (found := self._wrong_in(one))}
        if wrong:  # assumed: one that is wrong holds up the others
            return as_json({"status": 0, "error": wrong})
        data = [
            {**self._booked(one), "booked_packet_order_id": str(one.get("booked_packet_order_id") or "")}
            for one in packets
        ]
        return as_json({"status": 1, "error": 0, "data": data})

    @staticmethod
    def _city(stated: Any) -> City | None:
        number = whole_of(stated)
        return SELF if stated == "self" else None if number is None else _CITY_BY_ID.get(number)

    def _wrong_in(self, stated: Record) -> Record:
        """The fields that are wrong, each with its sentence."""
        wrong: Record = {}
        for field, (called, least) in _NUMBERS.items():
            number = whole_of(stated.get(field))
            if stated.get(field) in (None, ""):
                wrong[field] = f"{called} is required"
            elif number is None or number < least:
                wrong[field] = f"{called} should be an Integer Value"  # assumed
        for field, called in (("origin_city", "Origin City"), ("destination_city", "Destination City")):
            if self._city(stated.get(field)) is None:
                wrong[field] = f"{called} is required"  # an unknown one is told so as well
        for field, called in _TEXTS.items():
            if not text_of(stated.get(field)):
                wrong[field] = f"{called} is required"
        if not text_of(stated.get("special_instructions")):
            wrong["special_instructions"] = "Special Instructions are required"
        return wrong

    def _booked(self, stated: Record) -> Record:
        origin, destination = self._city(stated["origin_city"]), self._city(stated["destination_city"])
        assert origin is not None and destination is not None
        number = f"{origin.code[:2]}{self.next_number(750_000_001)}"
        self.book(
            number,
            order=str(stated.get("booked_packet_order_id") or ""),
            origin=origin.name,
            destination=destination.name,
            booking={
                "name": text_of(stated["consignment_name_eng"]),
                "phone": text_of(stated["consignment_phone"]),
                "address": text_of(stated["consignment_address"]),
                "city": destination.name,
                "cod": whole_of(stated["booked_packet_collect_amount"]),
                "note": text_of(stated["special_instructions"]),
                "weight": whole_of(stated["booked_packet_weight"]),
                "pieces": whole_of(stated["booked_packet_no_piece"]),
            },
        )
        return {"track_number": number, "slip_link": f"{self.world.settings.url}/couriers/leopards/slip/{number}"}

    def slip(self, number: str) -> Response:
        """What slip_link opens in a browser: no key is asked for."""
        parcel = self.parcel(number)
        if parcel is None or self.cancelled(parcel):
            return Response("<h1>404 Page Not Found</h1>", 404, content_type="text/html")
        return paper.labels([parcel], "Leopards Courier")

    def cancel_booked_packets(self) -> Response:
        stated = self._stated()
        refused = self._refused(stated)
        if refused is not None:
            return refused
        numbers = listed(stated.get("cn_numbers"))
        if not numbers:
            return as_json({"status": 0, "error": "CN Numbers are required"})
        wrong = {}
        for number in numbers:  # assumed: those that can be cancelled are, whatever the others are
            parcel = self.parcel(number)
            if parcel is None or self.cancelled(parcel):
                wrong[number] = "CN already cancelled or not found"
            elif self.handed_over(parcel):
                wrong[number] = "CN can not be cancelled, it is already arrived"
            else:
                self.cancel(parcel)
        if wrong:
            return as_json({"status": 0, "error": wrong})
        return as_json({"status": "1", "error": "null"})

    def get_all_cities(self) -> Response:
        refused = self._refused(self._stated(), city_list=None)
        if refused is not None:
            return refused
        cities = [
            {"id": city.leopards, "name": city.name.upper(), "shipment_type": ["OVERNIGHT", "OVERLAND", "DETAIN"],
             "allow_as_origin": True, "allow_as_destination": True}
            for city in PAKISTAN
        ]  # fmt: skip
        return as_json({"status": 1, "error": "0", "city_list": cities})

    # Tracking

    def track_booked_packet(self) -> Response:
        stated = body()
        refused = self._refused(stated, packet_list=None)
        if refused is not None:
            return refused
        wanted = listed(stated.get("track_numbers"))
        if len(wanted) > MOST:
            return as_json({"status": 0, "error": "Too many track numbers", "packet_list": None})
        found = [one for number in wanted if (one := self.parcel(number)) and not self.cancelled(one)]
        if not found:
            return as_json({"status": 0, "error": "No record found", "packet_list": None})
        return as_json({"status": 1, "error": 0, "packet_list": [self._tracked(parcel) for parcel in found]})

    @staticmethod
    def _tracked(parcel: Record) -> Record:
        booking = parcel.get("booking") or {}
        return {
            "booking_date": when(parcel["scans"][0], "%d/%m/%Y"), "track_number": parcel["number"],
            "booked_packet_order_id": parcel["order"], "booked_packet_collect_amount": booking.get("cod", 0),
            "origin_city_name": parcel["origin"], "destination_city_name": parcel["destination"],
            "booked_packet_status": parcel["scans"][-1]["text"], "status_remarks": None, "reverseCN": "",
            "delivery_date": None,
            "Tracking Detail": [
                {"Status": scan["text"] or scan["code"], "Activity_Date": when(scan, "%Y-%m-%d"),
                 "Activity_Time": when(scan, "%H:%M"), "Activity_datetime": when(scan, "%Y-%m-%d %H:%M:%S"),
                 "Reciever_Name": "", "Reason": scan["reason"] or "N/A"}
                for scan in parcel["scans"]
            ],
        }  # fmt: skip

    def get_shipment_details(self) -> Response:
        stated = self._stated()
        refused = self._refused(stated)
        if refused is not None:
            return refused
        wanted = stated.get("shipment_order_id")
        if not isinstance(wanted, list) or not wanted:
            return as_json({"status": 0, "error": "Shipment Order ID must be an Array"})
        found = [parcel for reference in wanted for parcel in self.of_order(str(reference))]
        if not found:
            return as_json({"status": 0, "error": "Order ID not found"})
        return as_json({"status": 1, "error": "", "data": [self._details(parcel) for parcel in found]})

    def _details(self, parcel: Record) -> Record:
        booking, newest = parcel.get("booking") or {}, self.newest(parcel)
        stage, day = self.stage(parcel), when(newest, "%Y-%m-%d")
        return {
            "booking_date": when(parcel["scans"][0], "%Y/%m/%d"), "track_number": parcel["number"],
            "booked_packet_weight": str(booking.get("weight", 0)),
            "booked_packet_no_piece": str(booking.get("pieces", 1)),
            "booked_packet_collect_amount": str(booking.get("cod", 0)), "booked_packet_order_id": parcel["order"],
            "origin_city": parcel["origin"], "destination_city": parcel["destination"],
            "consignment_name_eng": booking.get("name", ""), "consignment_phone": booking.get("phone", ""),
            "consignment_address": booking.get("address", ""), "special_instructions": booking.get("note", ""),
            "shipment_type_name": "OVERNIGHT", "booked_packet_status": newest["text"] or newest["code"],
            "delivery_date": day if stage == DELIVERED else "", "return_date": day if stage == "returned" else "",
        }  # fmt: skip

    def get_proof(self) -> Response:
        stated = self._stated()
        refused = self._refused(stated)
        if refused is not None:
            return refused
        wanted = listed(stated.get("cn_number") or stated.get("cn_numbers"))
        if len(wanted) > MOST:
            return as_json({"status": 0, "error": "Maximum 50 CN Numbers are allowed"})
        found = [one for number in wanted if (one := self.parcel(number)) and self.stage(one) == DELIVERED]
        if not found:
            return as_json({"status": 0, "error": "CN number not found"})
        return as_json(
            {"status": 1, "error": "0", "data": [{parcel["number"]: self._proof(parcel)} for parcel in found]}
        )

    def _proof(self, parcel: Record) -> Record:
        booking, newest, number = parcel.get("booking") or {}, self.newest(parcel), parcel["number"]
        return {
            "City_Name": parcel["destination"], "CN_Number": number, "Arrival_Date": when(newest, "%Y-%m-%d"),
            "Status": "Delivered", "Status_Detail": "DELIVERED TO CONSIGNEE", "Cour_Code": 101,
            "Cour_Name": "Imran Rider", "Receiver_Name": booking.get("name") or "RECEIVER", "Relation": "Self",
            "Reason": "", "Pcs": str(booking.get("pieces", 1)), "Weight": booking.get("weight", 0),
            "Latitude": 31.5204, "Longitude": 74.3587, "Activity": "Delivered",
            "Sig_Url": f"{self.world.settings.url}/couriers/leopards/signatures/{number}.png",
        }  # fmt: skip

    def signature(self, number: str) -> Response:
        parcel = self.parcel(number)
        if parcel is None or self.stage(parcel) != DELIVERED:
            return Response("", 404)
        return paper.signature()

    # Advice

    def _attempts(self, parcel: Record) -> int:
        return sum(self.stage_of(scan) == ATTEMPTED for scan in parcel["scans"])

    def _advice_id(self, parcel: Record) -> int:
        """One for each failed attempt of each parcel."""
        return int("".join(letter for letter in parcel["number"] if letter.isdecimal()) or 0) * 10 + self._attempts(
            parcel
        )

    def shipper_advice_list(self) -> Response:
        stated = self._stated()
        refused = self._refused(stated)
        if refused is not None:
            return refused
        # assumed: the case of the names does not matter; the guide writes Cn_number and toDate, clients write others
        asked = {name.casefold(): value for name, value in stated.items()}
        first, last = text_of(asked.get("datefrom")), text_of(asked.get("todate")) or text_of(asked.get("dateto"))
        number = text_of(asked.get("cn_number"))
        start, length = whole_of(asked.get("start")) or 0, whole_of(asked.get("length")) or 100
        with self.world.lock:
            rows = [
                self._advice_row(parcel)
                for parcel in ([self.parcel(number)] if number else self._parcels.values())
                if parcel is not None and parcel["courier"] == self.name and self.takes_advice(parcel)
            ]
        rows = [row for row in rows if (first or "0") <= row["created_date"] <= (last or "9")]
        return as_json({"status": "1", "error": "0", "totalrecords": len(rows), "data": rows[start : start + length]})

    def _advice_row(self, parcel: Record) -> Record:
        booking, newest, attempts = parcel.get("booking") or {}, self.newest(parcel), self._attempts(parcel)
        answered = [one["said"] for one in parcel.get("advice", ()) if one["said"].get("id") == self._advice_id(parcel)]
        return {
            "id": self._advice_id(parcel), "cn_number": parcel["number"], "product": "OVERNIGHT",
            "consignee_name": booking.get("name", ""), "consignee_address": booking.get("address", ""),
            "consignee_mobile": booking.get("phone", ""), "status": newest["text"] or newest["code"],
            "reason": newest["reason"], "client_id": None,
            "shipper_advice_status": answered[-1]["shipper_advice_status"] if answered else "Pending",
            "shipper_remarks": answered[-1]["shipper_remarks"] if answered else "",
            "created_date": when(newest, "%Y-%m-%d"), "created_time": when(newest, "%H:%M:%S"), "remarks": "",
            "delete_type": None, "attempt_counter": attempts, "activity": newest["text"] or newest["code"],
            "origin_name": parcel["origin"], "dst_name": parcel["destination"],
            "status_description": "Awaiting shipper advice", "outcome_status": "Pending", "oms_status": "Open",
        }  # fmt: skip

    def update_shipper_advice(self) -> Response:
        stated = self._stated()
        refused = self._refused(stated)
        if refused is not None:
            return refused
        rows = stated.get("data")
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            return as_json({"status": 0, "error": "Data is required"})
        meant = []
        for row in rows:
            parcel = self.parcel(row.get("cn_number"))
            if text_of(row.get("shipper_advice_status")) not in ADVICE:
                return as_json({"status": 0, "error": "Invalid advice status. Allowed values: RA, RT"})
            if not text_of(row.get("shipper_remarks")):
                return as_json({"status": 0, "error": "Shipper Remarks are required"})
            if parcel is None:
                return as_json({"status": 0, "error": "CN not found"})
            # assumed: the words for one that waits for no advice, or not for this one
            if not self.takes_advice(parcel) or whole_of(row.get("id")) != self._advice_id(parcel):
                return as_json({"status": 0, "error": f"Shipper Advice not allowed against CN {parcel['number']}"})
            meant.append((parcel, row))
        for parcel, row in meant:
            self.advise(
                parcel,
                ADVICE[row["shipper_advice_status"].strip()],
                id=whole_of(row["id"]),
                shipper_advice_status=row["shipper_advice_status"].strip(),
                shipper_remarks=row["shipper_remarks"],
            )
        return as_json({"status": "1", "error": "0", "data": "Shipper Advice Updated successfully"})

    # Pushes

    def pushed(self, parcel: Record, scan: Record) -> Any:
        return {
            "data": [
                {"cn_number": parcel["number"], "status": scan["code"] or scan["text"], "receiver_name": "",
                 "reason": scan["reason"], "activity_date": when(scan, "%Y-%m-%d %H:%M:%S")}
            ]
        }  # fmt: skip
