"""Five fake couriers: parcels with their scans, tracking APIs in each one's own shape, pushes of those that push.

A parcel exists once it is scanned. The scanner is `POST /control/scans`, in the courier's own words; an address to push
to, and the key to push with, are told by `POST /control/couriers`, as a merchant would on the courier's portal.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from flask import Blueprint, Response, request

from sandbox.answers import as_json
from sandbox.delivery import DeliveryQueue, Outgoing, Policy
from sandbox.errors import Refusal
from sandbox.faults import Gate, VendorWords
from sandbox.world import Record, World

COURIERS = ("tcs", "leopards", "shiprocket", "postex", "trax")
KEY, PASSWORD, TOKEN = "sandbox-courier-key", "sandbox-courier-password", "sandbox-courier-token"

_ZONES = {"shiprocket": ZoneInfo("Asia/Kolkata")}
_PAKISTAN = ZoneInfo("Asia/Karachi")

_PUSHES = {
    "leopards": Policy("leopards", 1, 10.0, range(202, 203), 3, 5.0, 60.0),
    "shiprocket": Policy("shiprocket", 1, 10.0, range(200, 201), 3, 5.0, 60.0),
    "trax": Policy("trax", 1, 10.0, range(200, 300), 3, 5.0, 60.0),
}

_WORDS = VendorWords(
    error=lambda dice: Response("<html><body>502 Bad Gateway</body></html>", 502, content_type="text/html"),
    throttled=lambda dice: Response("{}", 429, content_type="application/json", headers={"Retry-After": "2"}),
)


class Couriers:
    def __init__(self, world: World) -> None:
        self._world = world
        self.parcels = world.shelf("courier_parcels")
        self.accounts = world.shelf("courier_accounts")
        self.queues = {
            name: DeliveryQueue(world, policy, lambda payloads, name=name: self._prepare(name, payloads[0]))  # type: ignore[misc]
            for name, policy in _PUSHES.items()
        }

    # What the control API does

    def connect(self, stated: Record) -> Record:
        """Where a courier pushes to, and with which key."""
        courier = self._courier(stated)
        if courier not in _PUSHES:
            raise Refusal(f"{courier} pushes nothing. Those that push: {', '.join(_PUSHES)}.")
        account = {"push_url": str(stated.get("push_url", "")), "push_key": str(stated.get("push_key", ""))}
        with self._world.lock:
            self.accounts.put(courier, account)
        return {"courier": courier, "push_url": account["push_url"]}

    def scan(self, stated: Record) -> Record:
        courier, number = self._courier(stated), str(stated.get("tracking_number", "")).strip()
        code, text = str(stated.get("code") or ""), str(stated.get("text") or "")
        if not number or not (code or text):
            raise Refusal('A scan has a "tracking_number" and a "code" or a "text", in the courier\'s own words.')
        try:
            at = datetime.fromisoformat(stated["at"]) if stated.get("at") else self._world.clock.now()
        except (TypeError, ValueError):
            raise Refusal('"at" is a time like 2026-11-21T12:00:00+05:00.') from None
        scan = {
            "code": code,
            "text": text,
            "reason": str(stated.get("reason") or ""),
            "location": str(stated.get("location") or ""),
            "at": at.astimezone(_ZONES.get(courier, _PAKISTAN)).replace(tzinfo=None).isoformat(timespec="seconds"),
        }
        key = f"{courier}:{number}"
        with self._world.lock:
            parcel = self.parcels.get(key) or {
                "courier": courier,
                "number": number,
                "order": "",
                "origin": "LAHORE",
                "destination": "KARACHI",
                "scans": [],
            }
            parcel |= {name: str(stated[name]) for name in ("order", "origin", "destination") if stated.get(name)}
            parcel["scans"].append(scan)
            self.parcels.put(key, parcel)
        account = self.accounts.get(courier)
        if account is not None and account["push_url"]:
            self.queues[courier].put({"key": key, "scan": scan, "what": f"scan of {number}"})
        return parcel

    def all(self) -> list[Record]:
        return self.parcels.values()

    @staticmethod
    def _courier(stated: Record) -> str:
        courier = str(stated.get("courier", ""))
        if courier not in COURIERS:
            raise Refusal(f"There is no courier {courier!r}. Couriers: {', '.join(COURIERS)}.")
        return courier

    # Pushes

    def _prepare(self, courier: str, payload: Record) -> Outgoing | None:
        account, parcel = self.accounts.get(courier), self.parcels.get(payload["key"])
        if account is None or parcel is None:
            return None
        body = _PUSHED[courier](parcel, payload["scan"])
        headers = [("Content-Type", "application/json")]
        if account["push_key"]:
            headers.append(("x-api-key", account["push_key"]))
        return Outgoing(account["push_url"], headers, orjson.dumps(body), payload["what"])

    # The tracking APIs

    def blueprints(self) -> list[Blueprint]:
        routes: dict[str, list[tuple[str, str, Callable[..., Response]]]] = {
            "tcs": [
                ("POST", "/auth/api/auth", self._tcs_token),
                ("GET", "/tracking/api/Tracking/GetDynamicTrackDetail", self._tcs_track),
                ("GET", "/classic/track/v1/shipments/detail", self._tcs_classic),
            ],
            "leopards": [("POST", "/trackBookedPacket/format/json/", self._leopards_track)],
            "shiprocket": [
                ("POST", "/auth/login", self._shiprocket_login),
                ("POST", "/courier/track/awbs", self._shiprocket_track),
            ],
            "postex": [
                ("GET", "/v1/track-order/<number>", self._postex_track),
                ("GET", "/v1/track-bulk-order", self._postex_bulk),
            ],
            "trax": [("GET", "/shipment/track", self._trax_track)],
        }
        made = []
        for courier, rules in routes.items():
            blueprint = Blueprint(f"courier-{courier}", __name__, url_prefix=f"/couriers/{courier}")
            Gate(self._world, courier, _WORDS).guard(blueprint)
            for method, path, view in rules:
                blueprint.add_url_rule(path, endpoint=path, view_func=view, methods=[method])
            made.append(blueprint)
        return made

    def _known(self, courier: str, number: str) -> Record | None:
        return self.parcels.get(f"{courier}:{number}")

    def _tcs_token(self) -> Response:
        body = _body()
        if (body.get("clientid"), body.get("clientsecret")) != (KEY, PASSWORD):
            return as_json({"status": False, "code": "401", "message": "Invalid credentials"})
        expiry = (self._world.clock.now() + timedelta(days=30)).isoformat(timespec="seconds")
        return as_json({"result": {"accessToken": TOKEN, "expiry": expiry}, "status": True, "code": "0200"})

    def _tcs_track(self) -> Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return as_json({"code": 401, "status": "UnAuthorized"})
        parcel = self._known("tcs", request.args.get("consignee", ""))
        if parcel is None:
            nothing = dict.fromkeys(("shipmentinfo", "deliveryinfo", "checkpoints"))
            return as_json({**nothing, "shipmentsummary": "", "message": "FAIL", "traceid": "t"})
        return as_json(_tcs(parcel))

    def _tcs_classic(self) -> Response:
        if request.headers.get("X-IBM-Client-Id") != KEY:
            return as_json({"httpCode": "401", "httpMessage": "Unauthorized"}, 401)
        wanted = request.args.get("consignmentNo", "").split(",")
        found = [parcel for number in wanted if (parcel := self._known("tcs", number))]
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
                         "dateTime": _when(s, "%Y%m%d %H:%M"), "recievedBy": "", "station": s["location"]}
                        for p, s in rows if s["code"]
                    ],
                    "Checkpoints": [
                        {"consignmentNo": p["number"], "status": s["text"], "dateTime": _when(s, "%Y%m%d %H:%M"),
                         "recievedBy": s["location"]}
                        for p, s in rows if not s["code"]
                    ],
                },
            }
        )  # fmt: skip

    def _leopards_track(self) -> Response:
        body = _body()
        if (body.get("api_key"), body.get("api_password")) != (KEY, PASSWORD):
            return as_json({"status": 0, "error": "Invalid API Key / Password", "packet_list": None})
        wanted = str(body.get("track_numbers", "")).split(",")
        if len(wanted) > 50:
            return as_json({"status": 0, "error": "Too many track numbers", "packet_list": None})
        found = [parcel for number in wanted if (parcel := self._known("leopards", number))]
        if not found:
            return as_json({"status": 0, "error": "No record found", "packet_list": None})
        return as_json({"status": 1, "error": 0, "packet_list": [_leopards(parcel) for parcel in found]})

    def _shiprocket_login(self) -> Response:
        body = _body()
        if (body.get("email"), body.get("password")) != ("api@shop.example", PASSWORD):
            return as_json({"message": "Invalid email and password combination", "status_code": 400}, 400)
        return as_json({"id": 1, "email": body["email"], "token": TOKEN})

    def _shiprocket_track(self) -> Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return as_json({"message": "Unauthenticated.", "status_code": 401}, 401)
        wanted = _body().get("awbs")
        if not isinstance(wanted, list) or not all(isinstance(awb, str) for awb in wanted):
            return as_json({"message": "Internal server error", "status_code": 500}, 500)
        if len(wanted) > 50:
            return as_json({"message": "The awbs may not have more than 50 items.", "status_code": 422}, 422)
        nothing = {"tracking_data": {"track_status": 0, "error": "There is no activities found in our DB."}}
        return as_json(
            {awb: _shiprocket(parcel) if (parcel := self._known("shiprocket", awb)) else nothing for awb in wanted}
        )

    def _postex_track(self, number: str) -> Response:
        if request.headers.get("token") != KEY:
            return as_json({"statusCode": "401", "statusMessage": "UNAUTHORIZED", "dist": None}, 401)
        parcel = self._known("postex", number)
        if parcel is None:
            return as_json({"statusCode": "404", "statusMessage": "NOT FOUND", "dist": None})
        return as_json({"statusCode": "200", "statusMessage": "SUCCESSFULLY OPERATED", "dist": _postex(parcel)})

    def _postex_bulk(self) -> Response:
        if request.headers.get("token") != KEY:
            return as_json({"statusCode": "401", "statusMessage": "UNAUTHORIZED", "dist": None}, 401)
        rows = []
        for number in request.args.get("TrackingNumbers", "").split(","):
            parcel = self._known("postex", number)
            message = "TRACKING FOUND" if parcel else "TRACKING NOT FOUND"
            rows.append(
                {
                    "trackingNumber": number,
                    "message": message,
                    "trackingResponse": _postex(parcel) if parcel else None,
                }
            )
        return as_json({"statusCode": "200", "statusMessage": "SUCCESSFULLY OPERATED", "dist": rows})

    def _trax_track(self) -> Response:
        if request.headers.get("Authorization") != KEY:
            return as_json({"status": 1, "message": "Invalid API Key"})
        parcel = self._known("trax", request.args.get("tracking_number", ""))
        if parcel is None:
            return as_json({"status": 1, "message": "Tracking number not found"})
        history = [
            {"status": s["text"], "status_reason": s["reason"] or None, "timestamp": _unix(s),
             "date_time": _when(s, "%d/%m/%Y %I:%M %p")}
            for s in reversed(parcel["scans"])
        ]  # fmt: skip
        details = {"tracking_number": parcel["number"], "order_id": parcel["order"], "tracking_history": history}
        return as_json({"status": 0, "message": "Success", "details": details})


def _body() -> Record:
    try:
        body = orjson.loads(request.get_data())
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _when(scan: Record, form: str) -> str:
    return datetime.fromisoformat(scan["at"]).strftime(form)


def _unix(scan: Record) -> int:
    return int(datetime.fromisoformat(scan["at"]).replace(tzinfo=_PAKISTAN).timestamp())


def _tcs(parcel: Record) -> Record:
    number, newest = parcel["number"], list(reversed(parcel["scans"]))
    # the gap of two blanks is theirs
    stamps = {id(scan): _when(scan, "%A %b %d, %Y  %H:%M") for scan in newest}
    return {
        "shipmentinfo": [
            {"consignmentno": number, "bookingdate": _when(parcel["scans"][0], "%b %d, %Y"), "origin": parcel["origin"],
             "destination": parcel["destination"], "referenceno": parcel["order"]}
        ],
        "deliveryinfo": [
            {"consignmentno": number, "station": scan["location"], "datetime": stamps[id(scan)], "recievedby": "",
             "status": scan["text"], "code": scan["code"], "allowshow": "Y"}
            for scan in newest if scan["code"]
        ],
        "checkpoints": [
            {"consignmentno": number, "datetime": stamps[id(scan)], "recievedby": scan["location"],
             "status": scan["text"]}
            for scan in newest if not scan["code"]
        ],
        "shipmentsummary": f"Current Status: {newest[0]['text'].upper()}", "message": "SUCCESS", "traceid": "t",
    }  # fmt: skip


def _leopards(parcel: Record) -> Record:
    return {
        "booking_date": _when(parcel["scans"][0], "%d/%m/%Y"), "track_number": parcel["number"],
        "booked_packet_order_id": parcel["order"], "booked_packet_collect_amount": 0,
        "origin_city_name": parcel["origin"], "destination_city_name": parcel["destination"],
        "booked_packet_status": parcel["scans"][-1]["text"], "status_remarks": None, "reverseCN": "",
        "delivery_date": None,
        "Tracking Detail": [
            {"Status": scan["text"] or scan["code"], "Activity_Date": _when(scan, "%Y-%m-%d"),
             "Activity_Time": _when(scan, "%H:%M"), "Activity_datetime": _when(scan, "%Y-%m-%d %H:%M:%S"),
             "Reciever_Name": "", "Reason": scan["reason"] or "N/A"}
            for scan in parcel["scans"]
        ],
    }  # fmt: skip


def _postex(parcel: Record) -> Record:
    history = [
        {"transactionStatusMessage": scan["text"], "transactionStatusMessageCode": scan["code"],
         "updatedAt": f"{scan['at']}.000+0500"}
        for scan in reversed(parcel["scans"])
    ]  # fmt: skip
    return {
        "trackingNumber": parcel["number"],
        "orderRefNumber": parcel["order"],
        "transactionStatusHistory": history,
    }


def _shiprocket_scan(scan: Record) -> Record:
    return {
        "date": _when(scan, "%Y-%m-%d %H:%M:%S"), "status": scan["code"], "activity": scan["reason"] or scan["text"],
        "location": scan["location"], "sr-status": scan["code"], "sr-status-label": scan["text"].upper(),
    }  # fmt: skip


def _shiprocket(parcel: Record) -> Record:
    track = {"awb_code": parcel["number"], "shipment_id": 1, "order_id": 2, "courier_name": "Some Surface",
             "current_status": parcel["scans"][-1]["text"], "courier_agent_details": None, "edd": None}  # fmt: skip
    activities = [_shiprocket_scan(scan) for scan in reversed(parcel["scans"])]
    return {
        "tracking_data": {
            "track_status": 1,
            "shipment_track": [track],
            "shipment_track_activities": activities,
            "etd": "",
        }
    }


def _push_leopards(parcel: Record, scan: Record) -> Record:
    return {
        "data": [
            {"cn_number": parcel["number"], "status": scan["code"] or scan["text"], "receiver_name": "",
             "reason": scan["reason"], "activity_date": _when(scan, "%Y-%m-%d %H:%M:%S")}
        ]
    }  # fmt: skip


def _push_shiprocket(parcel: Record, scan: Record) -> Record:
    return {
        "awb": parcel["number"], "courier_name": "Some Surface", "current_status": scan["text"].upper(),
        "shipment_status": scan["text"].upper(), "shipment_status_id": scan["code"],
        "current_timestamp": _when(scan, "%d %m %Y %H:%M:%S"), "order_id": f"{parcel['order']}_150000001",
        "sr_order_id": 300000001, "scans": [_shiprocket_scan(one) for one in parcel["scans"]], "is_return": 0,
        "channel_id": 100001, "pod": "Not Available",
    }  # fmt: skip


def _push_trax(parcel: Record, scan: Record) -> Record:
    return {
        "tracking_number": parcel["number"], "order_id": parcel["order"], "status": f"Shipment - {scan['text']}",
        "status_reason": scan["reason"], "timestamp": _unix(scan),
    }  # fmt: skip


_PUSHED: dict[str, Callable[[Record, Record], Any]] = {
    "leopards": _push_leopards,
    "shiprocket": _push_shiprocket,
    "trax": _push_trax,
}
