"""Reading what payment gateways say: exact amounts, stamps, and facts made of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from integration.errors import NotUnderstood, PermanentError
from integration.events import UNKNOWN
from integration.ports import PaymentAsked, WebhookRequest
from integration.values import Money, clean

NOTE = "dastak_reference"
"""Under which our reference stands among a checkout's notes."""

_DECIMALS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""Decimals of currencies that have not two (ISO 4217). CLDR's are for showing: it has none for rupees of Pakistan."""


def body_of(request: WebhookRequest) -> dict[str, Any]:
    """The JSON object of a webhook or an answer, its fractions exact. Raises NotUnderstood."""
    try:
        orjson.loads(request.body)  # stricter: no NaN, no half characters, no bottomless nesting
        found = json.loads(request.body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        raise NotUnderstood("this is not JSON") from None
    if not isinstance(found, dict):
        raise NotUnderstood("neither a webhook nor an answer")
    return found


def part(value: Any, *path: str) -> dict[str, Any]:
    """The object at a path; empty where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def said(value: Any) -> str:
    """What a field says, as one line of text; nothing when it holds something that is no text or number."""
    return clean(value, 128) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""


def meaning(table: Mapping[str, str], word: Any) -> str:
    """What a gateway's word means, matched whole; UNKNOWN where the table has it not."""
    return table.get(said(word), UNKNOWN)


def money(amount: Any, currency: Any) -> Money:
    """An amount in whole units with decimals, as text or number. Raises NotUnderstood."""
    try:
        return Money.parse(amount, currency)
    except ValueError as fault:
        raise NotUnderstood(f"a payment whose amount cannot be read: {fault}") from None


def minor_money(amount: Any, currency: Any) -> Money:
    """An amount that was given in paise and the like, as digits. Raises NotUnderstood."""
    digits = str(amount) if isinstance(amount, int | str) and not isinstance(amount, bool) else ""
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        raise NotUnderstood("a payment whose amount is no whole number of its smallest unit")
    whole = money(digits, currency)
    return money(whole.amount.scaleb(-_DECIMALS.get(whole.currency, 2)), whole.currency)


def minor_units(asked: Money, label: str) -> int:
    """An amount in paise and the like. Raises PermanentError when it has parts of one."""
    scaled = asked.amount.scaleb(_DECIMALS.get(asked.currency, 2))
    if scaled != scaled.to_integral_value():
        raise PermanentError(f"{label} takes no amount with so many decimals: {asked.shown('en')}.")
    return int(scaled)


def whose(asked: PaymentAsked) -> list[str]:
    """What a gateway's answer may repeat of the person who is to pay."""
    return [asked.name, *asked.name.split(), asked.email]


def stamp(text: Any, zone: ZoneInfo) -> datetime:
    """An ISO stamp, local where it names no zone, as UTC. Raises NotUnderstood."""
    try:
        at = datetime.fromisoformat(said(text))
        return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotUnderstood("a payment that does not say when") from None


def moment(*stamps: Any) -> datetime:
    """The latest of unix seconds, of which some may be missing or 0. Raises NotUnderstood when all are."""
    digits = [str(at) for at in stamps if isinstance(at, int | str) and not isinstance(at, bool)]
    read = [int(at) for at in digits if at.isascii() and at.isdecimal() and len(at) < 12]
    if not any(read):
        raise NotUnderstood("a payment that does not say when")
    return datetime.fromtimestamp(max(read), UTC)


# -- answers that do not say what they are about ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway answered about one of our references, and when."""

    reference: str
    at: datetime
    said: dict[str, Any]


def enclosed(answer: bytes, reference: str, at: datetime) -> WebhookRequest:
    """The JSON of an answer as it was written, in an envelope with what it lacks: whose it is and when it was given."""
    envelope = {"asked_at": at.isoformat(), "reference": reference, "inquiry": orjson.Fragment(answer)}
    return WebhookRequest({}, orjson.dumps(envelope))


def disclosed(envelope: Mapping[str, Any]) -> Answer:
    """What was enclosed. Raises NotUnderstood."""
    inquiry = envelope.get("inquiry")
    if not isinstance(inquiry, dict):
        raise NotUnderstood("neither a webhook nor an answer")
    try:
        at = datetime.fromisoformat(said(envelope.get("asked_at")))
        if at.tzinfo is None:
            raise ValueError
        at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotUnderstood("an answer that does not say when it was given") from None
    return Answer(said(envelope.get("reference")), at, inquiry)
