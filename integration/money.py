"""How much of an order's money is there: derived from all that was ever said of it, whatever order it came in.

A word is one thing somebody said about money. Only some of them prove anything: a gateway's that fits what we asked
for, the store's own, a statement's line, a merchant who saw the money. What a customer claims proves nothing, and what
does not fit what was asked for (see payments.py) is kept, shown, and does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

SAID = frozenset({"pending", "paid", "failed", "expired", "cancelled", "refunded", "disputed"})
"""What a gateway may say of a payment. `failed` is of one attempt, another may follow and one that failed may yet be
paid; `expired` and `cancelled` are of the whole checkout; `refunded` tells all that was paid back so far.
"""

SETTLED = frozenset({"cod_due", "paid", "partially_refunded"})
"""Payments of an order that may be sent: the money is there, or it is due at the door."""

AWAITED = frozenset({"pending", "claimed", "failed"})
"""Payments of an order that still waits for its money."""

STORE, CLAIM = "store", "claim"
"""Sources of words that are no gateway: what the store says, what the customer says."""

_IN_STORE = frozenset({"paid", "partially_refunded", "refunded"})
_OVER = ("pending", "cancelled", "expired", "failed")
"""Of attempts that came to nothing, in rank order."""


@dataclass(frozen=True, slots=True)
class Word:
    """One thing that was said. `reference` names the payment it is of: two words of one payment are one payment."""

    source: str
    status: str
    reference: str
    amount: Decimal | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """How an order's money stands. `received` is what was proven here, less what was paid back; of money that only the
    store knows of it says nothing.
    """

    status: str
    received: Decimal
    refunded: Decimal
    disputed: bool


def standing(words: Iterable[Word], total: Decimal, *, is_cod: bool) -> Standing:
    """What follows from words that count, in any order and however often they were said."""
    words = list(words)
    gained: dict[str, Decimal] = {}
    returned: dict[str, Decimal] = {}
    in_store: set[str] = set()
    claims: dict[str, tuple[datetime, bool]] = {}
    disputed = False
    tries: list[tuple[datetime, int, str]] = []
    for word in words:
        amount = word.amount or Decimal(0)
        if word.status in _OVER:
            tries.append((word.at, _OVER.index(word.status), word.status))
        if word.source == STORE:
            in_store.add(word.status)
        elif word.source == CLAIM:
            decided = word.status != "claimed"
            claims[word.reference] = max(claims.get(word.reference, (word.at, decided)), (word.at, decided))
        elif word.status == "paid":
            gained[word.reference] = max(gained.get(word.reference, amount), amount)
        elif word.status == "refunded":
            returned[word.reference] = max(returned.get(word.reference, amount), amount)
        disputed |= word.status == "disputed"
    for reference, amount in returned.items():  # what was paid back had been paid
        gained[reference] = max(gained.get(reference, amount), amount)
    gross, back = sum(gained.values(), Decimal(0)), sum(returned.values(), Decimal(0))
    proven = gross > 0 and gross >= total
    if proven or in_store & _IN_STORE:
        whole = max(gross, total)
        if "refunded" in in_store or (back > 0 and back >= whole):
            status = "refunded"
        elif "partially_refunded" in in_store or (back > 0 and whole - back < total):
            status = "partially_refunded"
        else:
            status = "paid"
    elif is_cod:
        status = "cod_due"
    elif not all(decided for _, decided in claims.values()):
        status = "claimed"
    else:
        status = "failed" if tries and max(tries)[2] in ("failed", "expired") else "pending"
    return Standing(status, gross - back, back, disputed)


def becomes(now: str, stands: Standing) -> str:
    """The payment status of an order that has `now`, when its money stands so. Money that is there never un-happens,
    and an order that was refunded stays so: what comes after that is for a person.
    """
    if now == "refunded" or (now in SETTLED - {"cod_due"} and stands.status in AWAITED | {"cod_due"}):
        return now
    if now == "partially_refunded" and stands.status == "paid":
        return now
    return stands.status
