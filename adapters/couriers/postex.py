"""PostEx, Pakistan: tracking by one number or by many, codes with a message beside each. It pushes nothing.

HTTP 200 may carry `statusCode: "404"`. The history comes in either order. An attempt's reason follows a colon in its
message ("Attempt Made: CNA").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from integration.errors import InvalidSignature, NotUnderstood
from integration.events import Fact
from integration.ports import Account, AdapterConfig, Field, WebhookRequest
from integration.settings import Setting, url

from .. import http, scans, signing
from ..scans import PAKISTAN, REASONS_PK, Meaning, Words


class PostEx:
    """See integration.ports.Adapter and Tracks."""

    name = "postex"
    label = "PostEx"
    regions = ("PK",)
    website = "https://postex.pk"
    credentials = (Field("token", "API token", "PostEx merchant portal, integration"),)
    settings = (Setting("POSTEX_URL", "PostEx's API", "https://api.postex.pk/services/integration/api/order", url),)
    authenticates_by = "secret_url"
    handles = frozenset({"tracking", "bulk"})
    ignores: frozenset[str] = frozenset()
    keeps = ()
    known_as = ("post ex",)
    most_at_once = 25

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
            headers={"token": account.credentials["token"]},
        )
        return http.told(response, self.label)

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


ADAPTER = PostEx
