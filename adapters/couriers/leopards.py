"""Leopards Courier (LCS), Pakistan: pushes scans in batches, answers tracking questions by comma list, takes bookings.

Stamps are Pakistan's time without saying so. Pushes are not signed: the address is the secret, and LCS repeats a header
that it was given. The keys of a tracking answer differ between the guide and what is sent ("Staus", "Activity Date"),
so they are read by their letters alone. `Pending` is LCS's word for a failed attempt.

A no is HTTP 200 with `status` 0 and an `error` that is text, or an object by field or parcel. The label is a link in
the booking's answer; that a PDF lies behind it, and which words tell refused keys, are assumptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING
from typing import Any

from integration.errors import NotUnderstood, OutcomeUnknown, PermanentError, TransientError
from integration.events import Fact, ShipmentScanned
from integration.ports import Account, AdapterConfig, Advice, Booked, City, Field, Parcel, Proof, WebhookRequest
from integration.settings import Setting, url

from .. import bookings, http, labels, scans, signing
from ..scans import PAKISTAN, REASONS_PK, Meaning, Words


class Leopards:
    """See integration.ports.Adapter, Tracks, Pushes, Answers, Books, FindsBookings, Advises and Proves."""

    name = "leopards"
    label = "Leopards Courier"
    regions = ("PK",)
    website = "https://leopardscourier.com"
    credentials = (
        Field("api_key", "API key"),
        Field("api_password", "API password"),
        Field("push_key", "Push key", "What you asked Leopards to send as X-Api-Key with each push", optional=True),
        Field(
            "origin_city",
            "Origin city id",
            "For booking: where parcels start, if not in the city of your Leopards account",
            secret=False,
            optional=True,
        ),
        Field(
            "shipper_id",
            "Shipper id",
            "For booking: if you have several shippers at Leopards, the one to book for",
            secret=False,
            optional=True,
        ),
    )
    settings = (Setting("LEOPARDS_URL", "Leopards' merchant API", "https://merchantapi.leopardscourier.com/api", url),)
    authenticates_by = "secret_url"
    handles = frozenset({"push", "tracking"})
    ignores: frozenset[str] = frozenset()
    keeps = ()
    known_as = ("leopards courier", "lcs", "leopard courier", "leopards courier service")
    hosts = ("leopardscourier.com",)
    numbers = r"[A-Z]{2}\d{8,10}"
    address = "leopards"
    forbidden: tuple[str, ...] = ()
    push_help = "Ask Leopards for their Push API and give them this address."
    most_at_once = 50
    most_labels = 10
    """Each is a link of its own."""

    statuses: dict[str, Meaning] = {
        "Pickup Request not Send": "booked", "Pickup Request Sent": "booked", "Consignment Booked": "booked",
        "RC": "picked_up", "Drop Off at Express Center": "picked_up", "SP": "picked_up", "Shipment Picked": "picked_up",
        "DP": "in_transit", "DS": "in_transit", "Dispatched": "in_transit", "In Transit": "in_transit",
        "AR": "in_transit", "Arrived at Station": "in_transit",
        "LD": ("delayed", "misroute"), "Missroute": ("delayed", "misroute"),
        "AC": "out_for_delivery", "Assign to Courier": "out_for_delivery", "Out for delivery": "out_for_delivery",
        "PN1": "attempted", "PN2": "attempted", "PN": "attempted", "Pending": "attempted", "Undelivered": "attempted",
        "DV": "delivered", "Delivered": "delivered",
        "NR": "returning", "Ready for Return": "returning",
        "RO": "return_in_transit", "Being Return": "return_in_transit", "Return to origin": "return_in_transit",
        "RN1": "return_in_transit", "RN2": "return_in_transit",
        "RS": "returned", "DR": "returned", "RW": "returned", "DW": "returned", "Returned to shipper": "returned",
        "Delivered to vendor": "returned", "Returned to warehouse": "returned", "Delivered to warehouse": "returned",
        "Cancelled": "cancelled", "48 Hours Auto Canceled": "cancelled",
    }  # fmt: skip
    """Push codes and tracking phrases. `AR` and "Arrived at Station" name no station, so they never mean the
    destination here.
    """
    reasons = REASONS_PK

    _words, _reasons = Words(statuses), Words(REASONS_PK)

    def __init__(self, config: AdapterConfig) -> None:
        self._url: str = config.settings["LEOPARDS_URL"]
        self._trusted = config.trusted_origins

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """The address is the secret; the key is one more, where the merchant gave Leopards one."""
        if account is not None and (key := account.credentials.get("push_key")):
            signing.require(request.header("x-api-key"), [key])

    def taken(self, account: Account) -> tuple[int, str]:
        """LCS takes nothing but this for a yes."""
        return 202, '[{"status":1,"errors":[]}]'

    def delivery_key(self, request: WebhookRequest) -> str:
        return signing.body_hash(request.body)

    def track(self, account: Account, numbers: Sequence[str]) -> WebhookRequest | None:
        asked = {**_keys(account), "track_numbers": ",".join(numbers)}
        url = f"{self._url}/trackBookedPacket/format/json/"
        response = http.read("POST", url, json=asked, timeout=http.TRACKING_TIMEOUT)
        return http.told(response, self.label, lambda said: _of_the_keys(said.get("error")))

    def book(self, account: Account, parcel: Parcel) -> Booked:
        """The shipper is the account's own ("self"), so nothing of it is needed here."""
        if not parcel.city_code:
            raise PermanentError("Leopards Courier knows cities by id. Please choose the city from its list.")
        grams = int((parcel.weight * 1000).to_integral_value(ROUND_CEILING))
        shipper = account.credentials.get("shipper_id")
        asked = {
            "booked_packet_weight": max(grams, 1),
            "booked_packet_no_piece": parcel.pieces,
            "booked_packet_collect_amount": bookings.whole(parcel.collect, "PKR", self),
            "booked_packet_order_id": parcel.reference,
            "origin_city": bookings.identifier(account.credentials.get("origin_city") or "self"),
            "destination_city": bookings.identifier(parcel.city_code),
            **({"shipment_id": bookings.identifier(shipper)} if shipper else {}),
            **dict.fromkeys(("shipment_name_eng", "shipment_email", "shipment_phone", "shipment_address"), "self"),
            "consignment_name_eng": parcel.name,
            "consignment_phone": bookings.mobile_pk(parcel.phone, self),
            "consignment_address": bookings.street(parcel.address),
            "special_instructions": parcel.note or bookings.contents(parcel, 200),
        }
        private = bookings.whose(parcel)
        said = self._changed(account, "bookPacket", "book this parcel", asked, "track_number", private=private)
        return Booked(tracking_number=scans.said(said["track_number"]), label_url=scans.said(said.get("slip_link")))

    def cancel(self, account: Account, booked: Booked) -> None:
        with bookings.absence_is_fine():
            asked = {"cn_numbers": booked.tracking_number}
            self._changed(account, "cancelBookedPackets", "cancel this parcel", asked)

    def labels(self, account: Account, booked: Sequence[Booked]) -> bytes:
        return labels.merged([labels.fetched(one.label_url, self, self._trusted) for one in booked], self.label)

    def cities(self, account: Account) -> Sequence[City]:
        said = self._told(account, "getAllCities", "list its cities", {})
        return [
            City(scans.said(city.get("name")), scans.said(city.get("id")))
            for city in scans.records(said.get("city_list"))
            if city.get("allow_as_destination") in (True, 1, "1", "true")
        ]

    def find(self, account: Account, reference: str) -> Booked | None:
        """Without its label: LCS gives the link to that once only."""
        with bookings.absence_is_fine():
            asked = {"shipment_order_id": [reference]}
            said = self._told(account, "getShipmentDetailsByOrderID", "look up this order", asked)
            for row in scans.records(said.get("data")):
                if row.get("track_number") and scans.said(row.get("booked_packet_order_id")) == reference:
                    return Booked(tracking_number=scans.said(row["track_number"]))
        return None

    def advise(self, account: Account, booked: Booked, advice: Advice) -> None:
        """LCS opens a record for each failed attempt, and advice is given on the last. The guide filters its list by
        `Cn_number` and calls the same field `cn_number` elsewhere, so both are sent and the rows looked through.
        """
        number = booked.tracking_number
        asked: dict[str, Any] = {"cn_number": number, "Cn_number": number, "start": 0, "length": 100}
        said = self._told(account, "shipperAdviceList", "list what awaits advice", asked)
        rows = [row for row in scans.records(said.get("data")) if scans.said(row.get("cn_number")) == number]
        ids = [int(found) for row in rows if (found := scans.said(row.get("id"))).isdecimal()]
        if not ids:
            raise PermanentError("Leopards Courier takes no advice on this parcel now.")
        one = {
            "id": max(ids),
            "cn_number": number,
            "shipper_advice_status": "RT" if advice.action == "return" else "RA",
            "shipper_remarks": bookings.cut(advice.in_words(), 250),
        }
        private = (advice.address, advice.note)
        self._changed(account, "updateShipperAdvice", "take advice on this parcel", {"data": [one]}, private=private)

    def proof(self, account: Account, booked: Booked) -> Proof | None:
        with bookings.absence_is_fine():
            query = {**_keys(account), "cn_number": booked.tracking_number}
            response = http.read("GET", f"{self._url}/getElectronicProofOfDelivery/format/json/", query=query)
            said = bookings.answer(response, self, account, "show proof of delivery", _verdict, unsure=TransientError)
            for row in scans.records(said.get("data")):
                item = row.get(booked.tracking_number, row)  # by number, the guide says
                if isinstance(item, dict) and (item.get("Receiver_Name") or item.get("Sig_Url")):
                    return Proof(
                        receiver=scans.said(item.get("Receiver_Name")),
                        relation=scans.said(item.get("Relation")),
                        image_url=scans.said(item.get("Sig_Url")),
                        said=scans.said(item.get("Status_Detail")),
                    )
        return None

    def _told(self, account: Account, path: str, task: str, asked: dict[str, Any]) -> dict[str, Any]:
        response = http.read("POST", f"{self._url}/{path}/format/json/", json={**_keys(account), **asked})
        return bookings.answer(response, self, account, task, _verdict, unsure=TransientError)

    def _changed(
        self,
        account: Account,
        path: str,
        task: str,
        asked: dict[str, Any],
        promised: str = "status",
        *,
        private: Sequence[str] = (),
    ) -> dict[str, Any]:
        """A yes that holds what was promised."""
        response = http.call("POST", f"{self._url}/{path}/format/json/", json={**_keys(account), **asked})
        said = bookings.answer(response, self, account, task, _verdict, private=private)
        if not scans.said(said.get(promised)):
            raise OutcomeUnknown(f"Leopards Courier said yes when asked to {task}, and no more")
        return said

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = scans.body_of(request)
        if not isinstance(body, dict):
            raise NotUnderstood("neither a push nor a tracking answer")
        if "packet_list" in body:
            return scans.each(row for packet in scans.records(body["packet_list"]) for row in self._rows(packet))
        if "data" not in body:
            raise NotUnderstood("neither a push nor a tracking answer")
        return scans.each((self._pushed, (item,)) for item in scans.records(body["data"]))

    def _pushed(self, item: dict[str, Any]) -> ShipmentScanned:
        return self._scan(item.get("cn_number"), item.get("status"), item.get("reason"), item.get("activity_date"))

    def _rows(self, packet: dict[str, Any]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        packet = _by_letters(packet)
        for raw in scans.records(packet.get("trackingdetail")):
            yield self._tracked, (packet, _by_letters(raw))

    def _tracked(self, packet: dict[str, Any], row: dict[str, Any]) -> ShipmentScanned:
        stamp = row.get("activitydatetime") or f"{row.get('activitydate', '')} {row.get('activitytime', '')}"
        status = row.get("status") or row.get("staus")
        return self._scan(
            packet.get("tracknumber"), status, row.get("reason"), stamp, packet.get("bookedpacketorderid")
        )

    def _scan(self, number: Any, status: Any, reason: Any, stamp: Any, order: Any = "") -> ShipmentScanned:
        meaning = self._words.find(status)
        failed = meaning in ("attempted", "delayed") or isinstance(meaning, tuple)
        return scans.scan(
            number,
            meaning,
            scans.moment(stamp, PAKISTAN, "%d/%m/%Y %H:%M", "%d/%m/%Y"),
            reason=scans.reason_of(reason, self._reasons) if failed else "",
            raw_code=status,
            raw_text=reason if scans.normal(reason) not in scans.NO_REASON else "",
            order_ref=order,
        )


def _keys(account: Account) -> dict[str, str]:
    return {name: account.credentials[name] for name in ("api_key", "api_password")}


def _of_the_keys(error: Any) -> bool:
    """LCS refuses keys in different words, which name the API, credentials or authentication."""
    return bool({"api", "credentials", "authentication"} & set(scans.normal(error).split()))


def _verdict(said: dict[str, Any]) -> bookings.No | bool:
    status = scans.said(said.get("status"))
    if status == "0":
        return bookings.No(said.get("error"), "account" if _of_the_keys(said.get("error")) else "refused")
    return status == "1"


def _by_letters(record: dict[str, Any]) -> dict[str, Any]:
    """A record by the letters of its keys: "Tracking Detail", "Activity_Date" and "Activity Date" are spelled so."""
    return {"".join(c for c in str(key).casefold() if c.isalpha()): value for key, value in record.items()}


ADAPTER = Leopards
