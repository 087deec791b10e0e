"""PostEx, Pakistan: tracking by one number or by many, codes with a message beside each. It takes bookings and pushes
nothing.

HTTP 200 may carry `statusCode: "404"`. The history comes in either order. An attempt's reason follows a colon in its
message ("Attempt Made: CNA").

That order status 0 lists all orders, those not picked up yet included, is an assumption of `find`; so is that an error
which speaks of the token is about the account.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from integration.errors import InvalidSignature, NotUnderstood, OutcomeUnknown, TransientError
from integration.events import Fact
from integration.ports import Account, AdapterConfig, Advice, Booked, City, Field, Parcel, WebhookRequest
from integration.settings import Setting, url

from .. import bookings, http, labels, scans, signing
from ..scans import PAKISTAN, REASONS_PK, Meaning, Words


class PostEx:
    """See integration.ports.Adapter, Tracks, Books, FindsBookings and Advises."""

    name = "postex"
    label = "PostEx"
    regions = ("PK",)
    website = "https://postex.pk"
    credentials = (
        Field("token", "API token", "PostEx merchant portal, integration"),
        Field(
            "pickup_address_code",
            "Pickup address code",
            "For booking: which of your pickup addresses, if you have several",
            secret=False,
            optional=True,
        ),
    )
    settings = (Setting("POSTEX_URL", "PostEx's API", "https://api.postex.pk/services/integration/api/order", url),)
    authenticates_by = "secret_url"
    handles = frozenset({"tracking", "bulk"})
    ignores: frozenset[str] = frozenset()
    keeps = ()
    known_as = ("post ex",)
    hosts = ("postex.pk",)
    numbers = r"\d{14}"
    most_at_once = 25
    most_labels = 10

    statuses: dict[str, Meaning] = {
        "0001": "booked", "0031": "picked_up", "0003": "picked_up", "0033": "in_transit", "0035": "in_transit",
        "0038": "at_destination", "0004": "out_for_delivery", "0013": "attempted", "0008": "on_hold",
        "0005": "delivered", "0040": "returning", "0002": "returned", "0006": "returned", "0007": "returned",
        "Out For Return": "return_in_transit", "Un-Assigned By Me": "cancelled", "Cancelled": "cancelled",
        "Expired": "cancelled",
    }  # fmt: skip
    """Codes, and messages of states that have no code of their own. 0009 to 0016 are used for different things by
    different merchants' accounts, so all but 0013 are unknown.
    """
    reasons = REASONS_PK

    _words, _reasons = Words(statuses), Words(REASONS_PK)

    def __init__(self, config: AdapterConfig) -> None:
        self._url: str = config.settings["POSTEX_URL"]
        self._clock = config.clock

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        raise InvalidSignature("PostEx sends no webhooks; whoever posted this is somebody else.")

    def delivery_key(self, request: WebhookRequest) -> str:
        return signing.body_hash(request.body)

    def track(self, account: Account, numbers: Sequence[str]) -> WebhookRequest | None:
        response = http.read(
            "GET",
            f"{self._url}/v1/track-bulk-order",
            query={"TrackingNumbers": ",".join(numbers)},
            timeout=http.TRACKING_TIMEOUT,
            headers=_key(account),
        )
        return http.told(response, self.label)

    def book(self, account: Account, parcel: Parcel) -> Booked:
        code = account.credentials.get("pickup_address_code")
        asked = {
            "cityName": parcel.city,
            "customerName": parcel.name,
            "customerPhone": bookings.mobile_pk(parcel.phone, self),
            "deliveryAddress": bookings.street(parcel.address),
            "invoiceDivision": 1,
            "invoicePayment": bookings.whole(parcel.collect, "PKR", self),
            "items": parcel.pieces,
            "orderDetail": "; ".join(part for part in (bookings.contents(parcel, 250), parcel.note) if part),
            "orderRefNumber": parcel.reference,
            "orderType": "Normal",
            **({"pickupAddressCode": code} if code else {}),
        }
        said = self._changed(account, "POST", "v3/create-order", "book this parcel", asked, bookings.whose(parcel))
        number = scans.said(said["dist"].get("trackingNumber")) if isinstance(said.get("dist"), dict) else ""
        if not number:
            raise OutcomeUnknown("PostEx said yes to a booking and gave no tracking number")
        return Booked(tracking_number=number)

    def cancel(self, account: Account, booked: Booked) -> None:
        with bookings.absence_is_fine():
            asked = {"trackingNumber": booked.tracking_number}
            self._changed(account, "PUT", "v1/cancel-order", "cancel this parcel", asked)

    def labels(self, account: Account, booked: Sequence[Booked]) -> bytes:
        response = http.read(
            "GET",
            f"{self._url}/v1/get-invoice",
            query={"trackingNumbers": ",".join(one.tracking_number for one in booked)},
            headers={**_key(account), **labels.ACCEPT},
        )
        return labels.sheet(response, self, account, _verdict)

    def cities(self, account: Account) -> Sequence[City]:
        """PostEx names cities and has no codes."""
        rows = scans.records(self._told(account, "v2/get-operational-city", "list its cities", {}).get("dist"))
        names = [scans.said(row.get("operationalCityName")) for row in rows if row.get("isDeliveryCity") in _YES]
        return [City(name, name) for name in names if name]

    def find(self, account: Account, reference: str) -> Booked | None:
        """Among the orders of the last days: it is asked soon after a booking whose answer was lost."""
        today = self._clock.now().astimezone(PAKISTAN).date()
        query = {
            "orderStatusId": "0",
            "startDate": str(today - timedelta(days=3)),
            "endDate": str(today + timedelta(days=1)),
        }
        with bookings.absence_is_fine():
            for row in scans.records(self._told(account, "v1/get-all-order", "list orders", query).get("dist")):
                order = row.get("trackingResponse", row)  # wrapped for some accounts
                if not isinstance(order, dict) or scans.said(order.get("orderRefNumber")) != reference:
                    continue
                if number := scans.said(order.get("trackingNumber")):
                    return Booked(tracking_number=number)
        return None

    def advise(self, account: Account, booked: Booked, advice: Advice) -> None:
        asked = {
            "trackingNumber": booked.tracking_number,
            "statusId": 1 if advice.action == "return" else 2,
            "remarks": bookings.cut(advice.in_words(), 250),
        }
        private = (advice.address, advice.note)
        self._changed(account, "PUT", "v2/save-shipper-advice", "take advice on this parcel", asked, private)

    def _told(self, account: Account, path: str, task: str, query: dict[str, str]) -> dict[str, Any]:
        response = http.read("GET", f"{self._url}/{path}", query=query, headers=_key(account))
        return bookings.answer(response, self, account, task, _verdict, unsure=TransientError)

    def _changed(
        self, account: Account, method: str, path: str, task: str, asked: dict[str, Any], private: Sequence[str] = ()
    ) -> dict[str, Any]:
        response = http.call(method, f"{self._url}/{path}", json=asked, headers=_key(account))
        return bookings.answer(response, self, account, task, _verdict, private=private)

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = scans.body_of(request)
        if not isinstance(body, dict) or "dist" not in body:
            raise NotUnderstood("no tracking answer")
        rows: list[tuple[Any, tuple[Any, ...]]] = []
        for parcel in scans.records(body["dist"]):
            answer = parcel.get("trackingResponse", parcel)
            if not isinstance(answer, dict):
                continue  # a number that PostEx does not know, or not yet
            number = answer.get("trackingNumber") or parcel.get("trackingNumber")
            for row in scans.records(answer.get("transactionStatusHistory")):
                rows.append((self._scan, (number, row, answer.get("orderRefNumber"))))
        return scans.each(rows)

    def _scan(self, number: Any, row: dict[str, Any], order: Any) -> Fact:
        code, said = row.get("transactionStatusMessageCode"), row.get("transactionStatusMessage")
        meaning = self._words.find(code, said)
        _, _, why = scans.said(said).partition(":")
        return scans.scan(
            number,
            meaning,
            scans.moment(row.get("updatedAt") or row.get("modifiedDatetime"), PAKISTAN),
            reason=scans.reason_of(why, self._reasons) if meaning == "attempted" else "",
            raw_code=code or said,
            raw_text=said,
            order_ref=order,
        )


_YES = (True, "true")


def _key(account: Account) -> dict[str, str]:
    return {"token": account.credentials["token"]}


def _verdict(said: dict[str, Any]) -> bookings.No | bool:
    """The code is in the body, whatever HTTP says."""
    code, words = scans.said(said.get("statusCode")), said.get("statusMessage")
    if not code or code == "200":
        return code == "200"
    refused = "token" in scans.normal(words).split() or code in ("401", "403")
    return bookings.No(words, "account" if refused else "unknown" if code == "404" else "refused")


ADAPTER = PostEx
