"""Shiprocket, which brokers India's couriers: first an order, then a number (AWB) for its shipment, then a pickup.

It names orders and shipments by ids of its own, and the states of the two by two tables: ids here are the shipment's
unless they are called `status_code`. Refusals are `{message, status_code}`, with `errors` by field for bad input; a
number that cannot be had is HTTP 200 with `awb_assign_status` 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, g, request

from sandbox.answers import as_json
from sandbox.couriers import paper
from sandbox.couriers.cities import city_of_postcode
from sandbox.couriers.desk import (
    ATTEMPTED,
    BOOKED,
    CANCELLED,
    DELIVERED,
    PASSWORD,
    REATTEMPT,
    RETURN,
    TOKEN,
    Desk,
    Rule,
    Word,
    body,
    rider_scans,
    text_of,
    when,
    whole_of,
)
from sandbox.delivery import Policy
from sandbox.world import Record, World

EMAIL = "api@shop.example"
CARRIER = "Some Surface"
MOST_TRACKED, MOST_CANCELLED = 50, 2000
NO_DATA = "There is no activities found in our DB."
ACTIONS = {"re-attempt": REATTEMPT, "return": RETURN, "fake-attempt": "fake-attempt"}

PHONE = re.compile(r"[6-9]\d{9}")
PINCODE = re.compile(r"[1-9]\d{5}")
DAY = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?")

# the order's own states: what it says, and the number of that in the order table
NEW, READY, PICKUP, ORDER_CANCELED = ("NEW", 1), ("READY TO SHIP", 3), ("PICKUP SCHEDULED", 4), ("CANCELED", 5)
ORDER_CODES = {"17": 19, "18": 20, "21": 36, "7": 7, "9": 15, "46": 55, "10": 16, "38": 43, "42": 51, "6": 6}

_REQUIRED = ("order_id", "order_date", "pickup_location", "billing_customer_name", "billing_address", "billing_city",
             "billing_pincode", "billing_state", "billing_country", "billing_phone", "order_items",
             "payment_method", "sub_total", "length", "breadth", "height", "weight")  # fmt: skip


class Shiprocket(Desk):
    name = "shiprocket"
    title = "Shiprocket"
    account = {"email": EMAIL, "password": PASSWORD, "pickup_location": "Primary"}
    zone = ZoneInfo("Asia/Kolkata")
    policy = Policy("shiprocket", 1, 10.0, range(200, 201), 3, 5.0, 60.0)
    pushes_bookings = False  # it pushes the carrier's scans
    booked_word = Word(BOOKED, "1", "AWB Assigned")
    pickup_word = Word(BOOKED, "3", "Pickup Scheduled")
    cancelled_word = Word(CANCELLED, "8", "Canceled")
    words = (
        booked_word,
        pickup_word,
        Word("picked_up", "42", "Picked Up"),
        Word("in_transit", "18", "In Transit"),
        Word("at_destination", "38", "Reached at Destination Hub"),
        Word("out_for_delivery", "17", "Out For Delivery"),
        Word(ATTEMPTED, "21", "Undelivered", "Consignee unavailable"),
        Word(ATTEMPTED, "21", "Undelivered", "Consignee refused"),
        Word(ATTEMPTED, "21", "Undelivered", "Incomplete address"),
        Word(DELIVERED, "7", "Delivered"),
        Word("returning", "9", "RTO Initiated"),
        Word("returning", "46", "RTO In Transit"),
        Word("returned", "10", "RTO Delivered"),
        cancelled_word,
    )
    more_words = (
        Word("picked_up", "19", "Out For Pickup"),  # from here on nothing is cancelled any more
        Word("in_transit", "6", "Shipped"),
        Word(ATTEMPTED, "77", "Issue Related To The Recipient"),
        *(
            Word(BOOKED, code, text)
            for code, text in (
                ("2", "Label Generated"), ("4", "Pickup Queued"), ("5", "Manifest Generated"), ("13", "Pickup Error"),
                ("15", "Pickup Rescheduled"), ("20", "Pickup Exception"),
            )
        ),
    )  # fmt: skip

    def __init__(self, world: World, tell: Any) -> None:
        super().__init__(world, tell)
        self._orders = world.shelf("courier_orders")

    def routes(self) -> Sequence[Rule]:
        return [
            ("POST", "/auth/login", self.login),
            ("POST", "/orders/create/adhoc", self.create),
            ("GET", "/orders", self.orders),
            ("POST", "/orders/cancel", self.cancel_orders),
            ("POST", "/orders/cancel/shipment/awbs", self.cancel_awbs),
            ("POST", "/orders/address/update", self.update_address),
            ("POST", "/courier/assign/awb", self.assign_awb),
            ("POST", "/courier/generate/pickup", self.generate_pickup),
            ("POST", "/courier/generate/label", self.generate_label),
            ("GET", "/labels/<number>.pdf", self.label),
            ("GET", "/courier/track/awb/<number>", self.track_awb),
            ("POST", "/courier/track/awbs", self.track_awbs),
            ("GET", "/courier/track", self.track_order),
            ("GET", "/pods/<number>.png", self.pod),
            ("GET", "/ndr/<number>", self.ndr),
            ("POST", "/ndr/<number>/action", self.ndr_action),
        ]

    def login(self) -> Response:
        stated = body()
        if (stated.get("email"), stated.get("password")) != (EMAIL, PASSWORD):
            return _no(400, "Invalid email and password combination")
        return as_json({"id": 1, "email": stated["email"], "token": TOKEN})

    @staticmethod
    def _refused() -> Response | None:
        if request.headers.get("Authorization") == f"Bearer {TOKEN}":
            return None
        return _no(401, "Unauthenticated.")

    # Orders

    def create(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        stated = body()
        wrong = self._wrong_in(stated)
        if wrong:
            return _no(422, "The given data was invalid.", errors=wrong)
        reference = str(stated["order_id"]).strip()
        with self.world.lock:
            # assumed: a reference that is known already gets its order again, whatever became of it
            order = self._orders.get(reference) or self._create(reference, stated)
        g.what = f"order {reference}"
        status, code = self._status(order)
        return as_json(
            {"order_id": order["order_id"], "channel_order_id": reference, "shipment_id": order["shipment_id"],
             "status": status, "status_code": code, "onboarding_completed_now": 0, "awb_code": order["awb"],
             "courier_company_id": "", "courier_name": CARRIER if order["awb"] else ""}
        )  # fmt: skip

    @staticmethod
    def _wrong_in(stated: Record) -> dict[str, list[str]]:
        prefix = "shipping" if stated.get("shipping_is_billing") in (False, 0, "0", "false") else "billing"
        wrong = {}
        for field in _REQUIRED:
            if stated.get(field) in (None, []) or not str(stated[field]).strip():
                wrong[field] = [f"The {field.replace('_', ' ')} field is required."]
        if prefix == "shipping":
            for part in ("customer_name", "address", "city", "pincode", "state", "country", "phone"):
                if stated.get(f"shipping_{part}") in (None, ""):
                    wrong[f"shipping_{part}"] = [f"The shipping {part.replace('_', ' ')} field is required."]
        checks = {
            "order_id": (len(str(stated.get("order_id"))) <= 50, "may not be greater than 50 characters."),
            "order_date": (bool(DAY.fullmatch(str(stated.get("order_date")))), "is not a valid date."),
            f"{prefix}_phone": (bool(PHONE.fullmatch(str(stated.get(f"{prefix}_phone")))), "format is invalid."),
            f"{prefix}_pincode": (bool(PINCODE.fullmatch(str(stated.get(f"{prefix}_pincode")))), "is invalid."),
            "payment_method": (stated.get("payment_method") in ("COD", "Prepaid"), "is invalid."),
            **{
                field: (_number(stated.get(field)), "must be a number.")
                for field in ("sub_total", "length", "breadth", "height", "weight")
            },
            "order_items": (_items(stated.get("order_items")), "is invalid."),
        }
        for field, (is_good, must) in checks.items():
            if not is_good and field not in wrong:
                wrong[field] = [f"The {field.replace('_', ' ')} {must}"]
        return wrong

    def _create(self, reference: str, stated: Record) -> Record:
        prefix = "shipping" if stated.get("shipping_is_billing") in (False, 0, "0", "false") else "billing"
        part = {name: str(stated.get(f"{prefix}_{name}") or "").strip() for name in (
            "customer_name", "last_name", "address", "address_2", "city", "pincode", "phone")}  # fmt: skip
        number = self.world.next_number("shiprocket_order", 300_000_001)
        return self._orders.put(
            reference,
            {
                "reference": reference,
                "order_id": number,
                "shipment_id": number - 100_000_000,
                "awb": "",
                "canceled": False,
                "pickup": "",
                "pincode": part["pincode"],
                "booking": {
                    "name": f"{part['customer_name']} {part['last_name']}".strip(),
                    "phone": part["phone"],
                    "address": ", ".join(line for line in (part["address"], part["address_2"]) if line),
                    "city": part["city"],
                    "cod": stated["sub_total"] if stated["payment_method"] == "COD" else 0,
                    "note": text_of(stated.get("comment")),
                    "pincode": part["pincode"],
                },
                "at": self.world.clock.now().astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S"),
            },
        )

    def _by(self, field: str, value: object) -> Record | None:
        number = whole_of(value)
        return next((order for order in self._orders.values() if order[field] == number), None)

    def _order_of(self, parcel: Record) -> Record | None:
        return self._orders.get(parcel["order"]) if parcel.get("booking") else None

    def _status(self, order: Record) -> tuple[str, int]:
        parcel = self.parcel(order["awb"]) if order["awb"] else None
        if order["canceled"]:
            return ORDER_CANCELED
        if parcel is None:
            return NEW
        if not self.handed_over(parcel):
            return PICKUP if order["pickup"] else READY
        newest = self.newest(parcel)
        return newest["text"].upper(), ORDER_CODES.get(newest["code"], 20)

    def orders(self) -> Response:
        """assumed: `search` and `filter_by=channel_order_id&filter=` both find the shop's reference, matched whole."""
        refused = self._refused()
        if refused is not None:
            return refused
        wanted = request.args.get("search", "")
        if request.args.get("filter_by") == "channel_order_id":
            wanted = request.args.get("filter", "")
        if wanted:
            found = [order] if (order := self._orders.get(wanted)) else []
        else:
            found = list(reversed(self._orders.values()))
        pages = max(1, whole_of(request.args.get("per_page", "15")) or 15)
        page = max(1, whole_of(request.args.get("page", "1")) or 1)
        shown = found[(page - 1) * pages : page * pages]
        pagination = {"total": len(found), "count": len(shown), "per_page": pages, "current_page": page,
                      "total_pages": -(-len(found) // pages), "links": {}}  # fmt: skip
        return as_json({"data": [self._row(order) for order in shown], "meta": {"pagination": pagination}})

    def _row(self, order: Record) -> Record:
        booking, (status, code) = order["booking"], self._status(order)
        shipment = {"id": order["shipment_id"], "awb": order["awb"], "courier": CARRIER if order["awb"] else "",
                    "pickup_scheduled_date": order["pickup"] or None, "etd": None}  # fmt: skip
        return {
            "id": order["order_id"], "channel_id": 100001, "channel_order_id": order["reference"],
            "customer_name": booking["name"], "customer_phone": booking["phone"], "customer_city": booking["city"],
            "customer_pincode": booking["pincode"], "payment_method": "cod" if booking["cod"] else "prepaid",
            "total": str(booking["cod"]), "status": status, "status_code": code, "created_at": order["at"],
            "shipments": [shipment],
        }  # fmt: skip

    def update_address(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        stated = body()
        fields = ("shipping_customer_name", "shipping_phone", "shipping_address", "shipping_city", "shipping_state",
                  "shipping_country", "shipping_pincode")  # fmt: skip
        order = self._by("order_id", stated.get("order_id"))
        wrong = {
            field: [f"The {field.replace('_', ' ')} field is required."]
            for field in fields
            if not str(stated.get(field) or "").strip()
        }
        if wrong:
            return _no(422, "The given data was invalid.", errors=wrong)
        if order is None:
            return _no(404, "Order not found.")
        parcel = self.parcel(order["awb"]) if order["awb"] else None
        if order["canceled"] or (parcel is not None and self.handed_over(parcel)):
            return _no(400, "Address cannot be updated after the order is shipped.")  # assumed
        with self.world.lock:
            for booking in (order["booking"], parcel["booking"] if parcel else {}):
                booking |= {
                    "name": str(stated["shipping_customer_name"]),
                    "phone": str(stated["shipping_phone"]),
                    "address": str(stated["shipping_address"]),
                    "city": str(stated["shipping_city"]),
                    "pincode": str(stated["shipping_pincode"]),
                }
            order["pincode"] = str(stated["shipping_pincode"])
            self._orders.touch(order["reference"])
            if parcel is not None:
                self._parcels.touch(f"{self.name}:{parcel['number']}")
        return as_json({"message": "Address updated successfully", "status_code": 202}, 202)  # assumed: the body

    # The number, the pickup, the label

    def assign_awb(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        with self.world.lock:
            order = self._by("shipment_id", body().get("shipment_id"))
            if order is None:
                return _no(404, "Shipment not found.")
            if order["canceled"]:
                return _no(400, "Order is canceled.")  # assumed
            if order["awb"]:
                return _no(400, "AWB is already assigned.")  # assumed
            destination = city_of_postcode(order["pincode"])
            if destination is None:
                error = "Delivery postcode is not serviceable by any courier."  # assumed
                return as_json({"awb_assign_status": 0, "response": {"data": {"awb_assign_error": error}}})
            number = str(self.next_number(19_041_424_751_540))
            order["awb"] = number
            self._orders.touch(order["reference"])
            self.book(
                number, order=order["reference"], origin="Mumbai", destination=destination, booking={**order["booking"]}
            )
        now = self.world.clock.now().astimezone(self.zone)
        data = {
            "courier_company_id": 142, "awb_code": number, "cod": int(bool(order["booking"]["cod"])),
            "order_id": order["order_id"], "shipment_id": order["shipment_id"], "awb_code_status": 1,
            "assigned_date_time": {"date": now.strftime("%Y-%m-%d %H:%M:%S.%f"), "timezone_type": 3,
                                   "timezone": "Asia/Kolkata"},
            "courier_name": CARRIER, "child_courier_name": None,
            "pickup_scheduled_date": (now + timedelta(days=1)).strftime("%Y-%m-%d 14:00:00"),
        }  # fmt: skip
        return as_json({"awb_assign_status": 1, "response": {"data": data}})

    def _shipments(self, stated: object) -> list[Record] | None:
        """The orders of these shipments that have a number; None when one has none."""
        wanted = stated if isinstance(stated, list) else [stated]
        found = [order for one in wanted if (order := self._by("shipment_id", one)) and order["awb"]]
        return found if found and len(found) == len(wanted) and not any(one["canceled"] for one in found) else None

    def generate_pickup(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        with self.world.lock:
            orders = self._shipments(body().get("shipment_id"))
            if orders is None:
                return _no(400, "AWB is not assigned.")  # assumed
            if any(order["pickup"] for order in orders):
                return _no(400, "Already in Pickup Queue.")
            day = (self.world.clock.now().astimezone(self.zone) + timedelta(days=1)).strftime("%Y-%m-%d 14:00:00")
            for order in orders:
                order["pickup"] = day
                self._orders.touch(order["reference"])
                parcel = self.parcel(order["awb"])
                if parcel is not None:
                    self.write(parcel, self.pickup_word)
        return as_json(
            {
                "pickup_status": 1,
                "response": {
                    "pickup_scheduled_date": day,
                    "pickup_token_number": f"Reference No: {orders[0]['order_id']}",
                    "status": 3,
                    "data": f"Pickup is confirmed by {CARRIER} For AWB :- {orders[0]['awb']}",
                },
            }
        )

    def generate_label(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        wanted = body().get("shipment_id")
        if not isinstance(wanted, list):
            return _no(500, "Internal server error")
        orders = self._shipments(wanted)
        if orders is None:
            return as_json(
                {"label_created": 0, "response": "AWB is not assigned", "label_url": "", "not_created": wanted}
            )
        name = "-".join(order["awb"] for order in orders)
        return as_json(
            {"label_created": 1, "response": "Label has been created and uploaded successfully!",
             "label_url": f"{self.world.settings.url}/couriers/shiprocket/labels/{name}.pdf", "not_created": []}
        )  # fmt: skip

    def label(self, number: str) -> Response:
        """What label_url leads to: no token is asked for."""
        found = [parcel for one in number.split("-") if (parcel := self.parcel(one))]
        return paper.labels(found, CARRIER) if found else Response("", 404)

    # Cancelling

    def cancel_orders(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        ids = body().get("ids")
        if not isinstance(ids, list) or not ids:
            return _no(422, "The given data was invalid.", errors={"ids": ["The ids field is required."]})
        with self.world.lock:
            orders = [self._by("order_id", one) for one in ids]
            for order in orders:
                parcel = self.parcel(order["awb"]) if order and order["awb"] else None
                if order is None:
                    return _no(404, "Order not found.")
                if order["canceled"] or (parcel is not None and self.handed_over(parcel)):
                    return _no(400, "Cannot cancel order at this stage.")  # assumed
            for order in orders:
                if order is not None:
                    self._cancel_order(order)
        return Response("", 204)

    def _cancel_order(self, order: Record) -> None:
        order["canceled"] = True
        self._orders.touch(order["reference"])
        parcel = self.parcel(order["awb"]) if order["awb"] else None
        if parcel is not None and not self.cancelled(parcel):
            self.cancel(parcel)

    def cancel_awbs(self) -> Response:
        """The answer is that it is on its way; what was picked up in between stays."""
        refused = self._refused()
        if refused is not None:
            return refused
        numbers = body().get("awbs")
        if not isinstance(numbers, list) or not numbers or len(numbers) > MOST_CANCELLED:
            return _no(422, "The given data was invalid.", errors={"awbs": ["The awbs field is required."]})
        found = [self.parcel(number) for number in numbers]
        if any(parcel is None for parcel in found):
            return _no(404, "AWB not found.")  # assumed
        if any(parcel is not None and (self.handed_over(parcel) or self.cancelled(parcel)) for parcel in found):
            return _no(400, "Shipment cannot be cancelled at this stage.")  # assumed
        for parcel in found:
            if parcel is not None:
                number = parcel["number"]
                self.world.timers.after(self.world.settings.cancel_job, lambda number=number: self._cancel_awb(number))  # type: ignore[misc]
        return as_json({"message": "Bulk Shipment cancellation is in progress. Please wait for some time."})

    def _cancel_awb(self, number: str) -> None:
        with self.world.lock:
            parcel = self.parcel(number)
            if parcel is None or self.handed_over(parcel) or self.cancelled(parcel):
                return
            self.write(parcel, self.cancelled_word)
            order = self._order_of(parcel)
            if order is not None:  # its shipment is gone, the order may be given another number
                order |= {"awb": "", "pickup": ""}
                self._orders.touch(order["reference"])

    # Tracking

    def track_awb(self, number: str) -> Response:
        refused = self._refused()
        return refused if refused is not None else as_json(self._tracked(self.parcel(number)))

    def track_awbs(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        wanted = body().get("awbs")
        if not isinstance(wanted, list) or not all(isinstance(awb, str) for awb in wanted):
            return _no(500, "Internal server error")
        if len(wanted) > MOST_TRACKED:
            return _no(422, "The awbs may not have more than 50 items.")
        return as_json({awb: self._tracked(self.parcel(awb)) for awb in wanted})

    def track_order(self) -> Response:
        """By the shop's reference: an array, unlike the others."""
        refused = self._refused()
        if refused is not None:
            return refused
        found = self.of_order(request.args.get("order_id", ""))
        return as_json([self._tracked(parcel) for parcel in found] or [self._tracked(None)])

    def _tracked(self, parcel: Record | None) -> Record:
        if parcel is None or not (scans := rider_scans(parcel)):
            return {"tracking_data": {"track_status": 0, "error": NO_DATA}}
        order, number = self._order_of(parcel), parcel["number"]
        delivered = self.stage(parcel) == DELIVERED
        track = {
            "awb_code": number, "shipment_id": order["shipment_id"] if order else 1,
            "order_id": order["order_id"] if order else 2, "courier_name": CARRIER,
            "consignee_name": (parcel.get("booking") or {}).get("name", ""), "origin": parcel["origin"],
            "destination": parcel["destination"], "current_status": scans[-1]["text"],
            "delivered_date": when(self.newest(parcel), "%Y-%m-%d %H:%M:%S") if delivered else "",
            "courier_agent_details": None, "edd": None,
            "pod": "Available" if delivered else "Not Available",
            "pod_status": f"{self.world.settings.url}/couriers/shiprocket/pods/{number}.png" if delivered else None,
        }  # fmt: skip
        return {
            "tracking_data": {
                "track_status": 1,
                "shipment_track": [track],
                "shipment_track_activities": [_activity(scan) for scan in reversed(scans)],
                "etd": "",
            }
        }

    def pod(self, number: str) -> Response:
        parcel = self.parcel(number)
        delivered = parcel is not None and self.stage(parcel) == DELIVERED
        return paper.signature() if delivered else Response("", 404)

    # Failed deliveries

    def ndr(self, number: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        parcel = self.parcel(number)
        failed = [scan for scan in parcel["scans"] if self.stage_of(scan) == ATTEMPTED] if parcel else []
        if parcel is None or not failed:
            return as_json({"data": []})
        order, open_ = self._order_of(parcel), self.takes_advice(parcel)
        history = [
            {"ndr_id": at, "ndr_attempt": at, "ndr_reason": scan["reason"] or scan["text"], "comment": "",
             "ndr_raised_at": when(scan, "%Y-%m-%d %H:%M:%S"), "proof_audio": None, "proof_image": None}
            for at, scan in enumerate(failed, 1)
        ]  # fmt: skip
        row = {
            "awb_code": number, "shipment_id": order["shipment_id"] if order else 1,
            "status": "UNDELIVERED" if open_ else self.newest(parcel)["text"].upper(),
            "status_code": 36 if open_ else ORDER_CODES.get(self.newest(parcel)["code"], 20),
            "reason": failed[-1]["reason"] or failed[-1]["text"], "attempts": len(failed),
            "ndr_raised_at": when(failed[-1], "%Y-%m-%d %H:%M:%S"), "courier": CARRIER,
            "payment_method": "cod" if (parcel.get("booking") or {}).get("cod") else "prepaid", "history": history,
        }  # fmt: skip
        return as_json({"data": [row]})

    def ndr_action(self, number: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        stated, parcel = body(), self.parcel(number)
        action, wrong = text_of(stated.get("action")), {}
        if action not in ACTIONS:
            wrong["action"] = ["The selected action is invalid."]
        if not text_of(stated.get("comments")):
            wrong["comments"] = ["The comments field is required."]
        if stated.get("phone") and not PHONE.fullmatch(str(stated["phone"])):
            wrong["phone"] = ["The phone format is invalid."]
        if stated.get("deferred_date") and not self._future(stated["deferred_date"]):
            wrong["deferred_date"] = ["The deferred date must be a date after today."]
        if wrong:
            return _no(422, "The given data was invalid.", errors=wrong)
        if parcel is None:
            return _no(404, "AWB not found.")
        if not self.takes_advice(parcel):
            return _no(400, "No action is required on this shipment.")  # assumed
        fields = ("action", "comments", "phone", "address1", "address2", "deferred_date", "proof_audio", "proof_image",
                  "remarks")  # fmt: skip
        said = {field: stated[field] for field in fields if stated.get(field)}
        self.advise(parcel, ACTIONS[action], **said)
        return as_json({"status": "Data Updated Sucessfully"}, 202)

    def _future(self, day: object) -> bool:
        try:
            wanted = datetime.strptime(str(day), "%Y-%m-%d").date()  # noqa: DTZ007
        except ValueError:
            return False
        return wanted >= self.world.clock.now().astimezone(self.zone).date()

    # Pushes

    def pushed(self, parcel: Record, scan: Record) -> Any:
        return {
            "awb": parcel["number"], "courier_name": CARRIER, "current_status": scan["text"].upper(),
            "shipment_status": scan["text"].upper(), "shipment_status_id": scan["code"],
            "current_timestamp": when(scan, "%d %m %Y %H:%M:%S"), "order_id": f"{parcel['order']}_150000001",
            "sr_order_id": 300000001, "scans": [_activity(one) for one in rider_scans(parcel)], "is_return": 0,
            "channel_id": 100001, "pod": "Not Available",
        }  # fmt: skip


def _activity(scan: Record) -> Record:
    return {
        "date": when(scan, "%Y-%m-%d %H:%M:%S"), "status": scan["code"], "activity": scan["reason"] or scan["text"],
        "location": scan["location"], "sr-status": scan["code"], "sr-status-label": scan["text"].upper(),
    }  # fmt: skip


def _number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return float(value) >= 0
    except ValueError:
        return False


def _items(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict)
        and all(item.get(field) not in (None, "") for field in ("name", "sku", "units", "selling_price"))
        for item in value
    )


def _no(status: int, message: str, **more: Any) -> Response:
    return as_json({"message": message, **more, "status_code": status}, status)
