"""TCS, Pakistan: two live JSON APIs with one vocabulary. It pushes nothing, so everything is asked for. Takes bookings.

The new API (OCI Connect) and the classic one (api.tcscourier.com) name the same things in different letters and write
dates differently: "Thursday Oct 17, 2024 12:58" with uneven blanks against "20241017 12:58". Neither says a zone; it is
Pakistan's. No data is HTTP 200 with "FAIL" and null lists, also during the hours before the first scan.

Tracking by the new API takes one token. Everything that books takes two: that one as bearer, and another, got with user
name and password, in the body or the query. The classic API takes user name and password in each body. Its bookings
answer in prose ("Your generated CN is: 7794…"); labels it has none that we know of. TCS takes no advice.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from integration.errors import (
    ConfigurationError,
    InvalidSignature,
    NotUnderstood,
    OutcomeUnknown,
    PermanentError,
    TransientError,
)
from integration.events import Fact
from integration.ports import Account, AdapterConfig, Booked, City, Field, Grant, Parcel, Proof, WebhookRequest
from integration.settings import Setting, url

from .. import bookings, http, labels, scans, signing
from ..scans import PAKISTAN, Meaning, Words

_GENERATED = re.compile(r"(\d{6,})\D*$")
"""The number in the sentence that the classic API books with."""


class Tcs:
    """See integration.ports.Adapter, Tracks, RefreshesAccess, Books and Proves."""

    name = "tcs"
    label = "TCS"
    regions = ("PK",)
    website = "https://www.tcsexpress.com"
    credentials = (
        Field("client_id", "Client id", "Of the new API (Envio)", optional=True),
        Field("client_secret", "Client secret", "Of the new API", optional=True),
        Field("ibm_client_id", "X-IBM-Client-Id", "Of the classic API, if that is what TCS gave you", optional=True),
        Field("username", "User name", "Needed for booking, with either API", secret=False, optional=True),
        Field("password", "Password", "Of that user name", optional=True),
        Field("account_number", "TCS account number", "Needed for booking by the new API", secret=False, optional=True),
        Field("cost_center", "Cost centre code", "Needed for booking, for example 001", secret=False, optional=True),
        Field("pickup_city", "Pickup city", "Needed for booking, as TCS spells it", secret=False, optional=True),
        Field("pickup_phone", "Pickup phone", "Needed for booking by the new API: 03…", secret=False, optional=True),
        Field("shipper_name", "Sender's name", "Printed on labels of the new API", secret=False, optional=True),
        Field("pickup_address", "Pickup address", "Printed on labels of the new API", secret=False, optional=True),
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
    hosts = ("tcsexpress.com",)
    numbers = r"\d{9,13}"
    most_at_once = 1
    most_labels = 10
    """Each is a call of its own."""
    most_collected = 250_000

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
        """The new API's tokens are good for as long as they say; one that says nothing is renewed every day."""
        if _is_classic(account):
            return False
        until, held = account.state.get("token_until"), account.credentials
        lacking = not held.get("token") or (_may_book(account) and not held.get("ecom_token"))
        return lacking or until is None or datetime.fromisoformat(until) <= now

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
        credentials, until = {**account.credentials, "token": result["accessToken"]}, self._until(result)
        if _may_book(account):
            token, ecom_until = self._sign_in(credentials)
            credentials, until = {**credentials, "ecom_token": token}, min(until, ecom_until)
        return Grant(credentials, {"token_until": until.isoformat()})

    def _sign_in(self, credentials: dict[str, str]) -> tuple[str, datetime]:
        """The second token. Raises ConfigurationError and TransientError."""
        response = http.read(
            "GET",
            f"{self._url}/ecom/api/authentication/token",
            query={name: credentials[name] for name in ("username", "password")},
            headers={"Authorization": f"Bearer {credentials['token']}"},
        )
        answer = http.told(response, self.label, _unauthorised)
        said = orjson.loads(answer.body) if answer is not None else None
        if not isinstance(said, dict) or not isinstance(said.get("accesstoken"), str) or not said["accesstoken"]:
            raise ConfigurationError("TCS does not accept this user name and password. Please check them.")
        return said["accesstoken"], self._until(said)

    def _until(self, said: dict[str, Any]) -> datetime:
        try:
            return scans.moment(said.get("expiry"), PAKISTAN)
        except NotUnderstood:
            return self._clock.now() + timedelta(days=1)

    def track(self, account: Account, numbers: Sequence[str]) -> WebhookRequest | None:
        """One parcel a call by the new API, a comma list by the classic one."""
        if _is_classic(account):
            response = http.read(
                "GET",
                f"{self._classic_url}/track/v1/shipments/detail",
                query={"consignmentNo": ",".join(numbers)},
                timeout=http.TRACKING_TIMEOUT,
                headers=_ibm(account),
            )
        else:
            response = http.read(
                "GET",
                f"{self._url}/tracking/api/Tracking/GetDynamicTrackDetail",
                query={"consignee": numbers[0]},
                timeout=http.TRACKING_TIMEOUT,
                headers=_bearer(account),
            )
        return http.told(response, self.label, _unauthorised)

    def book(self, account: Account, parcel: Parcel) -> Booked:
        """TCS weighs nothing as less than half a kilogram."""
        collect = bookings.whole(parcel.collect, "PKR", self)
        if collect > self.most_collected:
            raise PermanentError(f"TCS collects at most Rs {self.most_collected:,} for a parcel.")
        phone, weight = bookings.mobile_pk(parcel.phone, self), float(max(parcel.weight, Decimal("0.5")))
        if _is_classic(account):
            return self._book_classic(account, parcel, collect, phone, weight)
        bookings.needed(
            self, account, "username", "password", "account_number", "cost_center", "pickup_city", "pickup_phone"
        )
        given, code = account.credentials, parcel.city_code
        lines = textwrap.wrap(bookings.street(parcel.address), 120)[:3]
        asked = {
            "shipperinfo": {
                "tcsaccount": given["account_number"],
                **({"shippername": given["shipper_name"]} if given.get("shipper_name") else {}),
                **({"address1": bookings.cut(given["pickup_address"], 120)} if given.get("pickup_address") else {}),
                "countrycode": "PK",
                "countryname": "Pakistan",
                "cityname": given["pickup_city"],
                "mobile": given["pickup_phone"],
            },
            "consigneeinfo": {
                "firstname": bookings.cut(parcel.name, 50),
                **{f"address{number}": line for number, line in enumerate(lines, 1)},
                "countrycode": "PK",
                "countryname": "Pakistan",
                "cityname": parcel.city,
                **({"citycode": code} if code else {}),
                "mobile": phone,
            },
            "shipmentinfo": {
                "costcentercode": given["cost_center"],
                "referenceno": parcel.reference,
                "contentdesc": bookings.contents(parcel, 50),
                "servicecode": "O",
                "shipmentdate": parcel.at.astimezone(PAKISTAN).strftime("%d-%m-%Y"),
                "currency": "PKR",
                "codamount": collect,
                "weightinkg": weight,
                "pieces": parcel.pieces,
                "fragile": False,
                "remarks": bookings.cut(parcel.note, 500),
                "skus": _skus(parcel, weight),
            },
        }
        task, private = "book this parcel", [*bookings.whose(parcel), *lines]
        said = self._changed(account, "booking/create", task, asked, _booking_verdict, private)
        return Booked(tracking_number=scans.said(said["consignmentNo"]))

    def _book_classic(self, account: Account, parcel: Parcel, collect: int, phone: str, weight: float) -> Booked:
        bookings.needed(self, account, "username", "password", "cost_center", "pickup_city")
        asked = {
            "costCenterCode": account.credentials["cost_center"],
            "consigneeName": parcel.name,
            "consigneeAddress": bookings.street(parcel.address),
            "consigneeMobNo": phone,
            "originCityName": account.credentials["pickup_city"],
            "destinationCityName": parcel.city,
            "weight": weight,
            "pieces": parcel.pieces,
            "codAmount": collect,
            "customerReferenceNo": parcel.reference,
            "services": "O",
            "productDetails": bookings.contents(parcel, 50),
            "fragile": "No",
            "remarks": bookings.cut(parcel.note, 500),
            "insuranceValue": 0,
        }
        task, private = "book this parcel", bookings.whose(parcel)
        said = self._changed_classic(account, "POST", "create-order", task, asked, private)
        reply = said.get("bookingReply")
        number = _GENERATED.search(scans.said(reply.get("result"))) if isinstance(reply, dict) else None
        if number is None:
            raise OutcomeUnknown("TCS said yes to a booking and gave no consignment number")
        return Booked(tracking_number=number[1])

    def cancel(self, account: Account, booked: Booked) -> None:
        bookings.needed(self, account, "username", "password")
        asked, task = {"consignmentNumber": booked.tracking_number}, "cancel this parcel"
        with bookings.absence_is_fine():
            if _is_classic(account):
                self._changed_classic(account, "PUT", "cancel-order", task, asked)
            else:
                self._changed(account, "booking/cancel", task, asked, _cancel_verdict)

    def labels(self, account: Account, booked: Sequence[Booked]) -> bytes:
        if _is_classic(account):
            raise PermanentError("TCS's classic API prints no labels. Please print them in TCS's own portal.")
        bookings.needed(self, account, "username", "password")
        return labels.merged([self._label(account, one.tracking_number) for one in booked], self.label)

    def _label(self, account: Account, number: str) -> bytes:
        """On failure TCS answers with JSON whose `url` is empty."""
        response = http.read(
            "GET",
            f"{self._url}/ecom/api/print/label",
            query={"consignmentno": number, "shipperdetail": "true", "accesstoken": self._ecom_token(account)},
            headers={**_bearer(account), **labels.ACCEPT},
        )
        return labels.sheet(response, self, account, _label_verdict)

    def cities(self, account: Account) -> Sequence[City]:
        task = "list its cities"
        if _is_classic(account):
            response = http.read("GET", f"{self._classic_url}/v1/cod/cities", headers=_ibm(account))
            said = bookings.answer(response, self, account, task, _classic_verdict, unsure=TransientError)
            rows, code = said.get("allCities"), "cityName"  # bookings name the city there
        else:
            bookings.needed(self, account, "username", "password")
            response = http.read(
                "GET",
                f"{self._url}/ecom/api/setup/citylistbycountry",
                query={"countrycode": "PK", "accesstoken": self._ecom_token(account)},
                headers=_bearer(account),
            )
            said = bookings.answer(response, self, account, task, _list_verdict, unsure=TransientError)
            rows, code = said.get("data"), "citycode"
        found = [(row.get("cityname") or row.get("cityName"), row.get(code)) for row in scans.records(rows)]
        return [City(scans.said(name), scans.said(known)) for name, known in found if name]

    def proof(self, account: Account, booked: Booked) -> Proof | None:
        """Who signed is all that TCS tells, beside the scan of the delivery."""
        answer = self.track(account, [booked.tracking_number])
        said = orjson.loads(answer.body) if answer is not None else None
        inner = said.get("TrackDetailReply", said) if isinstance(said, dict) else {}
        reply = {str(key).casefold(): value for key, value in inner.items()} if isinstance(inner, dict) else {}
        for raw in scans.records(reply.get("deliveryinfo")):
            row = {str(key).casefold(): value for key, value in raw.items()}
            if self._words.find(row.get("code"), row.get("status")) == "delivered":
                receiver = scans.said(row.get("recievedby"))
                return Proof(receiver=receiver, said=scans.said(row.get("status"))) if receiver else None
        return None

    def _changed(
        self,
        account: Account,
        path: str,
        task: str,
        asked: dict[str, Any],
        verdict: bookings.Verdict,
        private: Sequence[str] = (),
    ) -> dict[str, Any]:
        body = {"accesstoken": self._ecom_token(account), **asked}
        response = http.call("POST", f"{self._url}/ecom/api/{path}", json=body, headers=_bearer(account))
        return bookings.answer(response, self, account, task, verdict, private=private)

    def _changed_classic(
        self, account: Account, method: str, path: str, task: str, asked: dict[str, Any], private: Sequence[str] = ()
    ) -> dict[str, Any]:
        keys = {"userName": account.credentials["username"], "password": account.credentials["password"]}
        response = http.call(
            method, f"{self._classic_url}/v1/cod/{path}", json={**keys, **asked}, headers=_ibm(account)
        )
        return bookings.answer(response, self, account, task, _classic_verdict, private=private)

    def _ecom_token(self, account: Account) -> str:
        """The second token: held since the last refresh, or got now where the first refresh is yet to come."""
        return account.credentials.get("ecom_token") or self._sign_in(dict(account.credentials))[0]

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


def _may_book(account: Account) -> bool:
    return bool(account.credentials.get("username") and account.credentials.get("password"))


def _bearer(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.credentials['token']}"}


def _ibm(account: Account) -> dict[str, str]:
    return {"X-IBM-Client-Id": account.credentials["ibm_client_id"]}


def _skus(parcel: Parcel, weight: float) -> list[dict[str, Any]]:
    """At least one, and none without weight or price (what clients of TCS's send)."""
    pieces = [(item.title, item.quantity, item.price) for item in parcel.items]
    return [
        {
            "description": bookings.cut(title, 50),
            "quantity": quantity,
            "weight": weight,
            "uom": "KG",
            "unitprice": max(int(price), 1),
        }
        for title, quantity, price in pieces or [(parcel.reference, 1, parcel.value.amount)]
    ]


# -- answers -------------------------------------------------------------------------------------------------------


def _unauthorised(said: dict[str, Any]) -> bool:
    """Three shapes: `code` and `status` change places."""
    return bool({str(said.get("code")), str(said.get("status"))} & {"401", "UnAuthorized"})


def _otherwise(said: dict[str, Any]) -> bookings.No | bool:
    """What is no yes: a no where it says so, else neither. `error` is a list of objects with an `errorname`; a second
    token that is not accepted is told in the message alone.
    """
    words = said.get("error") or said.get("message")
    if _unauthorised(said) or "access token" in bookings.spoken(words).casefold():
        return bookings.No(words, "account")
    told = bool(words) and scans.normal(words) != "success"
    return bookings.No(words) if told or str(said.get("status")).casefold() == "false" else False


def _booking_verdict(said: dict[str, Any]) -> bookings.No | bool:
    booked = str(said.get("status")).casefold() == "true" and bool(scans.said(said.get("consignmentNo")))
    return booked or _otherwise(said)


def _cancel_verdict(said: dict[str, Any]) -> bookings.No | bool:
    """Both are told in the message: "SUCCESS", or "Failure: No Record Founds"."""
    return scans.normal(said.get("message")) == "success" or _otherwise(said)


def _label_verdict(said: dict[str, Any]) -> bookings.No | bool:
    return bookings.No(said.get("message")) if said.get("url") == "" else _otherwise(said)


def _list_verdict(said: dict[str, Any]) -> bookings.No | bool:
    return isinstance(said.get("data"), list) or _otherwise(said)


def _classic_verdict(said: dict[str, Any]) -> bookings.No | bool:
    status = said.get("returnStatus")
    if not isinstance(status, dict):
        return False
    code = scans.said(status.get("code")).lstrip("0")
    return code == "200" or bookings.No(status.get("message"), "account" if code == "401" else "refused")


# -- scans ---------------------------------------------------------------------------------------------------------


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
