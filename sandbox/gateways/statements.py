"""Statements: what a merchant downloads from a wallet's or a bank's portal, as a CSV.

No two write alike, so neither do these: one begins with a byte order mark, one is split by semicolons and counts in
Urdu digits, one says first whose account it is. assumed: the shapes; the vendors publish none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sandbox.clock import Clock
from sandbox.errors import Refusal
from sandbox.gateways.gateway import MERCHANT, PKT, money_of

MOST_LINES = 5000
OPENING = Decimal("10000.00")  # the balance before the first line
URDU = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")


@dataclass(frozen=True)
class Line:
    """One movement on the account. An amount below nothing is money that went out."""

    transaction: str
    amount: Decimal
    at: datetime
    sender: str
    name: str


def statement(stated: dict[str, Any], clock: Clock) -> bytes:
    """The file of `channel` with these `lines`. Raises Refusal for what no statement could hold."""
    channel, lines = stated.get("channel"), stated.get("lines")
    write = CHANNELS.get(channel) if isinstance(channel, str) else None
    if write is None:
        raise Refusal(f"There is no channel {channel!r}. Channels: {', '.join(CHANNELS)}.")
    if not isinstance(lines, list) or len(lines) > MOST_LINES:
        raise Refusal('lines looks like [{"transaction", "amount", "at", "sender", "name"}], at most 5000 of them.')
    return write([_line(one, clock) for one in lines])


def _line(stated: Any, clock: Clock) -> Line:
    if not isinstance(stated, dict):
        raise Refusal('A line looks like {"transaction", "amount", "at", "sender", "name"}.')
    raw = str(stated.get("amount", ""))
    amount = money_of(raw.removeprefix("-"))
    if amount is None:
        raise Refusal(f"{raw[:40]!r} is no amount. One looks like 2450.00, or -300 for money that went out.")
    texts = {name: stated.get(name) or "" for name in ("transaction", "sender", "name")}
    if not all(isinstance(text, str | int) and len(str(text)) <= 80 for text in texts.values()):
        raise Refusal("transaction, sender and name are texts of at most 80 characters.")
    try:
        at = datetime.fromisoformat(stated["at"]) if stated.get("at") else clock.now()
    except (TypeError, ValueError):
        raise Refusal('"at" is a time like 2026-11-21T12:00:00+05:00.') from None
    at = at.astimezone(PKT) if at.tzinfo else at.replace(tzinfo=PKT)
    told = {name: " ".join(str(text).split()) for name, text in texts.items()}
    return Line(amount=-amount if raw.startswith("-") else amount, at=at, **told)


def _jazzcash(lines: Sequence[Line]) -> bytes:
    """With a byte order mark, and thousands set apart."""
    rows = [["Transaction ID", "Date & Time", "Transaction Type", "Sender Name", "Sender Number", "Credit", "Debit",
             "Balance"]]  # fmt: skip
    for line, balance in _balanced(lines):
        kind = "Money Received" if line.amount > 0 else "Money Sent"
        when = line.at.strftime("%d-%m-%Y %H:%M:%S")
        credit, debit = _sides(line, "{:,.2f}")
        rows.append([line.transaction, when, kind, line.name, line.sender, credit, debit, f"{balance:,.2f}"])
    return b"\xef\xbb\xbf" + _csv(rows)


def _easypaisa(lines: Sequence[Line]) -> bytes:
    """Split by semicolons, amounts in Urdu digits, date and time apart."""
    rows = [["Trx ID", "Date", "Time", "Description", "From", "Account", "Amount (PKR)", "Status"]]
    for line in lines:
        amount = f"{line.amount:,.2f}".translate(URDU)
        kind = "Funds received" if line.amount > 0 else "Funds sent"
        day, hour = line.at.strftime("%d/%m/%Y"), line.at.strftime("%I:%M %p")
        rows.append([line.transaction, day, hour, kind, line.name, line.sender, amount, "Completed"])
    return _csv(rows, ";")


def _bank(lines: Sequence[Line]) -> bytes:
    """Whose account it is comes first, and the sender stands in the narration only."""
    days = [line.at for line in lines]
    period = f"{min(days):%d/%m/%Y} to {max(days):%d/%m/%Y}" if days else "no movements"
    rows = [
        ["Account Statement"],
        ["Account Title", MERCHANT.upper()],
        ["IBAN", "PK00SAND0000000000000001"],
        ["Period", period],
        [],
        ["Date", "Value Date", "Narration", "Reference No.", "Debit", "Credit", "Balance"],
    ]
    for line, balance in _balanced(lines):
        way = "RAAST P2P FROM" if line.amount > 0 else "RAAST P2P TO"
        credit, debit = _sides(line, "{:.2f}")
        when = line.at.strftime("%d/%m/%Y %H:%M")
        narration = f"{way} {line.name.upper()} {line.sender}".strip()
        rows.append([when, line.at.strftime("%d/%m/%Y"), narration, line.transaction, debit, credit, f"{balance:.2f}"])
    return _csv(rows)


CHANNELS: dict[str, Callable[[Sequence[Line]], bytes]] = {
    "jazzcash": _jazzcash,
    "easypaisa": _easypaisa,
    "bank": _bank,
}


def _balanced(lines: Iterable[Line]) -> Iterable[tuple[Line, Decimal]]:
    balance = OPENING
    for line in lines:
        balance += line.amount
        yield line, balance


def _sides(line: Line, form: str) -> tuple[str, str]:
    """Credit and debit."""
    shown = form.format(abs(line.amount))
    return (shown, "") if line.amount > 0 else ("", shown)


def _csv(rows: Iterable[Sequence[str]], split: str = ",") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=split).writerows(rows)
    return text.getvalue().encode()
