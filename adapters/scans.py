"""Reading what couriers say: phrases matched whole, local stamps, and facts made of both.

A courier's words are looked up exactly, after normalising case and blanks. Nothing is ever matched by a part of it:
"undelivered", "RTO delivered" and "returned - delivered to shipper" all contain "delivered".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from integration import parcels
from integration.errors import NotUnderstood
from integration.events import UNKNOWN, Fact, ShipmentScanned
from integration.ports import WebhookRequest
from integration.values import clean

PAKISTAN, INDIA = ZoneInfo("Asia/Karachi"), ZoneInfo("Asia/Kolkata")

Meaning = str | tuple[str, str]
"""A status of integration.parcels, or one with its reason."""

REASONS_PK: dict[str, str] = {
    "CNA": "consignee_unavailable", "Consignee Not Home": "consignee_unavailable",
    "Receiver Not Available": "consignee_unavailable", "Consignee not available": "consignee_unavailable",
    "Mobile switched off": "phone_unreachable", "Mobile Not Answered": "phone_unreachable",
    "Wrong Contact Number": "phone_unreachable",
    "RFD": "refused", "Recipient Refused": "refused", "Refused to receive": "refused",
    "Customer did not order": "did_not_order",
    "CN": "cod_not_ready", "Cash not ready": "cod_not_ready", "PI": "cod_not_ready",
    "ICA": "address_incomplete", "Address Information Needed": "address_incomplete",
    "UL": "address_wrong", "NSC": "address_wrong", "Location Changed": "address_wrong",
    "Incorrect Address": "address_wrong",
    "NSA": "out_of_area", "OSA": "out_of_area", "Non-Service Area": "out_of_area",
    "CA": "premises_closed", "SFC": "premises_closed", "EBA": "access_restricted",
    "Schedule for tomorrow": "reschedule_requested", "SD": "reschedule_requested",
    "HFC": "wants_self_collection", "Hold for collection": "wants_self_collection",
    "Awaiting Receiver Collection": "wants_self_collection",
    "wants to open parcel": "open_delivery_demanded",
    "Not Attempted": "not_attempted", "HIO": "not_attempted", "NCI": "not_attempted", "MR": "misroute",
    "DFM": "weather_or_security", "DBC": "weather_or_security", "DFC": "weather_or_security",
    "DAE": "weather_or_security",
}  # fmt: skip
"""Why a delivery failed, in the phrases and short codes that couriers of Pakistan share (seen in several clients of
theirs; none of them publishes a list).
"""

NO_REASON = frozenset({"", "n/a", "na", "none", "null", "-"})


def body_of(request: WebhookRequest) -> Any:
    """The JSON of a push or an answer. Raises NotUnderstood."""
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise NotUnderstood("this is not JSON") from None


def said(value: Any) -> str:
    """What a field says, as one line of text; nothing when it holds something that is no text or number."""
    return clean(value, 500) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def normal(text: Any) -> str:
    """A phrase as it is looked up."""
    return said(text).casefold()


class Words:
    """A courier's table, looked up by whole normalised phrase."""

    def __init__(self, *tables: Mapping[Any, Meaning]) -> None:
        self._meanings = {normal(word): meaning for table in tables for word, meaning in table.items()}

    def find(self, *spoken: Any) -> Meaning | None:
        """The meaning of the first of these words that the table knows."""
        return next((self._meanings[key] for word in spoken if (key := normal(word)) in self._meanings), None)


def reason_of(text: Any, table: Words) -> str:
    """The reason a courier gave: `other` when it is none that we know, empty when none was given."""
    if normal(text) in NO_REASON:
        return ""
    found = table.find(text)
    return found if isinstance(found, str) else "other"


def moment(stamp: Any, zone: ZoneInfo, *formats: str) -> datetime:
    """A courier's stamp, which is local and says no zone, as UTC. Raises NotUnderstood.

    ISO is tried last, with `T` or a blank. One that does name its zone is believed.
    """
    text = said(stamp)
    for form in formats:
        try:
            return datetime.strptime(text, form).replace(tzinfo=zone).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotUnderstood(f"a scan whose time cannot be read: {text[:40]!r}") from None


def scan(number: Any, meaning: Meaning | None, at: datetime, *, reason: str = "", **words: Any) -> ShipmentScanned:
    """One scan as a fact. `words` are the courier's own: raw_code, raw_text, location, order_ref."""
    status, implied = meaning if isinstance(meaning, tuple) else (meaning or UNKNOWN, "")
    return ShipmentScanned(
        tracking_number=tracking_number(number),
        status=status,
        reason=reason or implied,
        occurred_at=at,
        **{name: said(value) for name, value in words.items()},
    )


def each(rows: Iterable[tuple[Callable[..., Fact], tuple[Any, ...]]]) -> list[Fact]:
    """The facts of many rows, each read by itself: one that cannot be read must not cost the others theirs. Raises
    NotUnderstood with the facts of those that could.
    """
    facts: list[Fact] = []
    faults: list[str] = []
    for read, arguments in rows:
        try:
            facts.append(read(*arguments))
        except NotUnderstood as fault:
            faults.append(str(fault))
    if faults:
        raise NotUnderstood(f"{len(faults)} of {len(faults) + len(facts)} scans: {faults[0]}", facts=facts)
    return facts


def tracking_number(raw: Any) -> str:
    """A parcel's number, sent as text or as a number. Raises NotUnderstood where there is none."""
    number = parcels.tracking_number(said(raw)) if isinstance(raw, str | int) else ""
    if not number:
        raise NotUnderstood("a scan without a tracking number")
    return number


def records(value: Any) -> Iterable[dict[str, Any]]:
    """The objects of a list that is perhaps none: couriers answer null, a single object or a list."""
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, dict)]
