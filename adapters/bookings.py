"""Having couriers carry parcels: what they want to be told, and what their answers mean.

What matters after an answer is whether the courier may have acted. A refusal in its own shape is one, whatever the HTTP
status beside it; an answer that nobody can read, or a 5xx, to a call that changes something leaves that open.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Protocol

import httpx

from integration.errors import ConfigurationError, OutcomeUnknown, PermanentError, TransientError
from integration.ports import Account, Field, Parcel
from integration.values import Address, Money, clean

from . import http


class Courier(Protocol):
    """What of an adapter is needed to speak of it to its merchant."""

    @property
    def label(self) -> str: ...

    @property
    def credentials(self) -> tuple[Field, ...]: ...


# -- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class No:
    """A refusal. `words` are the courier's, in whatever it wraps them. `why` is refused, unknown (it has no such
    parcel, or no longer) or account.
    """

    words: Any = ""
    why: str = "refused"


Verdict = Callable[[dict[str, Any]], No | bool]
"""What a courier's JSON says: a refusal, True for a yes, False when it is neither."""

_REASONS = ("errors", "error", "message")
"""Where a server that is not the courier's own, or not its usual self, puts why it answers 4xx."""

_ABSENT = ("not found", "no record", "not exist", "already cancel")
"""Parts of sentences that couriers say of a parcel they have not, or not any more. No courier publishes its sentences,
so these are not matched whole; all that follows from them is that nothing is left to cancel or to find.
"""


def answer(
    response: httpx.Response,
    courier: Courier,
    account: Account,
    task: str,
    verdict: Verdict,
    *,
    private: Iterable[str] = (),
    unsure: type[OutcomeUnknown | TransientError] = OutcomeUnknown,
) -> dict[str, Any]:
    """A yes, as the courier put it ({} when it said so with an empty 204).

    Raises ConfigurationError when the account is refused, PermanentError (reason: refused or unknown) with the
    courier's words, TransientError when it wants to be asked later, and `unsure` when its answer cannot be told from
    none: OutcomeUnknown after a call that changes something, TransientError after one that does not. `private` are
    words of a person that the courier may repeat; they are kept out of the sentence, as are secrets and long numbers.
    """
    said, status = http.body_of(response), response.status_code
    found = verdict(said) if isinstance(said, dict) else False
    refusal = found if isinstance(found, No) else None
    if status in (401, 403) or (refusal is not None and refusal.why == "account"):
        raise http.unwelcome(courier.label)
    if status == 429:
        raise TransientError(f"{courier.label} asks to be called less often", retry_after=http.retry_after(response))
    if status == 408 or status >= 500:
        raise unsure(f"{courier.label} answered with HTTP {status} when asked to {task}")
    if refusal is not None or 400 <= status < 500:
        kept = refusal.words if refusal else [said.get(key) for key in _REASONS] if isinstance(said, dict) else ""
        words = _public(spoken(kept), courier, account, private)
        absent = refusal is not None and (refusal.why == "unknown" or any(a in words.casefold() for a in _ABSENT))
        raise PermanentError(
            f"{courier.label} refused to {task}{f': {words}' if words else ' and gave no reason.'}",
            reason="unknown" if absent else "refused",
        )
    if status == 204:
        return {}
    if found is not True:
        raise unsure(f"{courier.label} answered with HTTP {status} and nothing that can be read when asked to {task}")
    return dict(said)


@contextmanager
def absence_is_fine() -> Iterator[None]:
    """Takes "I have no such parcel" for an answer."""
    try:
        yield
    except PermanentError as fault:
        if fault.reason != "unknown":
            raise


def spoken(value: Any) -> str:
    """Every text in a courier's error, which may be text, a list, or either by field or parcel."""
    return "; ".join(dict.fromkeys(_texts(value)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and (text := clean(value, 500)):
        yield text


_NUMBER = re.compile(r"\+?(?:\d[ -]?){8,}\d")
_TOKEN = re.compile(r"\S{24,}")


def _public(words: str, courier: Courier, account: Account, private: Iterable[str]) -> str:
    """A courier's words without what they may repeat of a person or of a secret, in at most 200 characters."""
    secrets = (account.credentials.get(field.name, "") for field in courier.credentials if field.secret)
    hidden = {clean(text) for text in (*secrets, *private)}
    for text in sorted(hidden, key=len, reverse=True):
        if len(text) > 2:
            words = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", "…", words, flags=re.IGNORECASE)
    return _TOKEN.sub("…", _NUMBER.sub("…", words))[:200]


def whose(parcel: Parcel) -> list[str]:
    """What a courier's answer may repeat of the person a parcel is for."""
    where = parcel.address
    return [parcel.name, *parcel.name.split(), where.name, where.line1, where.line2, street(where), parcel.note]


# -- questions -------------------------------------------------------------------------------------------------------


def needed(courier: Courier, account: Account, *names: str) -> None:
    """Raises ConfigurationError when the account lacks what a booking must say."""
    missing = [f.label for f in courier.credentials if f.name in names and not account.credentials.get(f.name)]
    if missing:
        raise ConfigurationError(f"To book with {courier.label}, please enter under Couriers: {', '.join(missing)}.")


def whole(money: Money, currency: str, courier: Courier) -> int:
    """An amount in whole units of the courier's currency, rounded half up. Raises PermanentError."""
    if money.currency != currency:
        raise PermanentError(f"{courier.label} collects {currency} only, and this order is in {money.currency}.")
    return int(money.amount.quantize(Decimal(1), ROUND_HALF_UP))


def mobile_pk(e164: str, courier: Courier) -> str:
    """A mobile of Pakistan as couriers there want it: 03xxxxxxxxx. Raises PermanentError."""
    if not re.fullmatch(r"\+923\d{9}", e164):
        raise PermanentError(f"{courier.label} needs a mobile number of Pakistan, and the customer's is none.")
    return "0" + e164.removeprefix("+92")


def street(address: Address) -> str:
    """An address without its city, for couriers that ask for that by itself."""
    return ", ".join(part for part in (address.line1, address.line2) if part) or address.city


def cut(text: str, limit: int) -> str:
    """Text within a courier's limit, cut between words."""
    return textwrap.shorten(text, limit, placeholder="…")


def contents(parcel: Parcel, limit: int) -> str:
    """What is in a parcel, in one line."""
    return cut(", ".join(f"{item.quantity} x {item.title}" for item in parcel.items) or parcel.reference, limit)


def identifier(text: str) -> int | str:
    """An id as couriers that number theirs want it."""
    return int(text) if text.isascii() and text.isdecimal() else text
