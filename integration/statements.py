"""An exported statement of a wallet or a bank, read, and claims of payment matched with its lines.

Every bank exports differently: encodings, delimiters, lines above the header, columns of any name, sums and dates as
its country writes them (the words are in statements.toml). What cannot be read is said, row by row, and never guessed
at. A line with the claim's own id is evidence; a line that merely fits is a suggestion for the merchant. No line proves
two claims.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import cache
from hashlib import blake2s
from pathlib import Path
from typing import Any

from babel.dates import get_month_names

from .transactions import bare, dialled, ids_in, money_sign, numbers, plain, words
from .values import LANGUAGES, babel_locale, clean

LARGEST = 5_000_000
"""Bytes of a file that is read."""
MOST_ROWS = 20_000
_LONGEST_LINE = 5_000
_PREAMBLE = 40
"""Rows among which the header must be."""

COLUMNS = ("transaction", "amount", "credit", "debit", "kind", "status", "at", "time", "sender", "name", "note")
"""What a column may hold. Money is in `amount` (with a sign, or `kind` says whether it came or went) or in `credit`
and `debit`; `time` is of day, where it has a column of its own.
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A file's rows as text. `first` is the number of the first row under the header, as a spreadsheet counts; empty
    rows are kept, so that rows count on from there.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    first: int = 2


@dataclass(frozen=True, slots=True)
class Line:
    """Money that came in. `transaction` as transactions.bare writes it, may be empty; `at` in UTC; `sender` and `name`
    as the file has them; `raw` is the whole row.
    """

    transaction: str
    amount: Decimal
    at: datetime | None
    sender: str
    name: str
    raw: str
    number: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """A row that could not be read, and why: a sentence for the merchant."""

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class Lines:
    """What a table holds. Each row that is not empty is a line, unread, or money that went out (`out` of them)."""

    lines: tuple[Line, ...]
    unread: tuple[Unread, ...]
    out: int


# -- the file ------------------------------------------------------------------------------------------------------


def read(content: bytes) -> Table:
    """A CSV file in any of the usual encodings and with any of the usual delimiters, with lines above its header or
    without. Raises ValueError with a sentence for the merchant.
    """
    if len(content) > LARGEST:
        raise ValueError("The file is larger than 5 MB. Export a shorter period.")
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ValueError("This is a spreadsheet. Save it as CSV and choose that file.")
    if content.startswith(b"%PDF"):
        raise ValueError("This is a PDF. Export the statement as CSV.")
    text = re.sub(r"\r\n?", "\n", _decoded(content))
    if "\0" in text:
        raise ValueError("This is not a CSV file.")
    text = text.rstrip()
    if not text:
        raise ValueError("The file is empty.")
    if text.count("\n") > MOST_ROWS + _PREAMBLE:
        raise ValueError(f"The file has more than {MOST_ROWS:,} rows. Export a shorter period.")
    if max(map(len, text.split("\n"))) > _LONGEST_LINE:
        raise ValueError("A line of this file is longer than a statement's. Export the statement as CSV.")
    head = "\n".join(text.split("\n", _PREAMBLE * 2)[: _PREAMBLE * 2])
    tries = [(_header(_split(head, delimiter)), delimiter) for delimiter in ",;\t|"]
    (_, _, nth), delimiter = max(tries, key=lambda tried: tried[0])
    if nth < 0:
        raise ValueError("No row with the names of columns was found. Export the statement with its header.")
    rows = [tuple(clean(cell, 1_000) for cell in row) for row in _split(text, delimiter)]
    while rows and not any(rows[-1]):
        rows.pop()
    if len(rows) - nth - 1 > MOST_ROWS:
        raise ValueError(f"The file has more than {MOST_ROWS:,} rows. Export a shorter period.")
    return Table(rows[nth], tuple(rows[nth + 1 :]), first=nth + 2)


def _decoded(content: bytes) -> str:
    encodings = ["utf-8-sig", "cp1252"]
    evens, odds = content[::2].count(0), content[1::2].count(0)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif odds and not evens and b"\n\0" in content:
        encodings = ["utf-16-le"]
    elif evens and not odds and b"\0\n" in content:
        encodings = ["utf-16-be"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ValueError("The file's letters cannot be read. Save it as CSV in UTF-8.")


def _split(text: str, delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error:
        raise ValueError("The file is not a well-formed CSV file.") from None


def _header(rows: Sequence[Sequence[str]]) -> tuple[int, int, int]:
    """How good the best header is (names known, cells) and its place, which is -1 where there is none."""
    best = (0, 0, -1)
    for nth, row in enumerate(rows[:_PREAMBLE]):
        cells = [cell for cell in row if cell.strip()]
        if len(cells) < 2 or any(_is(amount, cell) or _is(moment, cell) for cell in cells):
            continue
        known = len({_column(cell)[0] for cell in cells} - {""})
        if (known, len(cells)) > best[:2]:
            best = (known, len(cells), nth)
    return best


# -- its columns ---------------------------------------------------------------------------------------------------


def fingerprint(header: Sequence[str]) -> str:
    """What files of one kind share: a store remembers under it which column is which. Sixteen hex digits."""
    return blake2s("\x1f".join(_heading(name) for name in header).encode(), digest_size=8).hexdigest()


def guess(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """Which of `COLUMNS` is where, by the columns' names and, where they tell nothing, by what is in them. A column
    that is not there is left out.
    """
    found: dict[str, int] = {}
    named = [_column(name) for name in header]
    for whole in (True, False):  # a name that is known whole says more than one that is known in part
        for nth, (column, entirely) in enumerate(named):
            if column and entirely == whole and column != "other":
                found.setdefault(column, nth)
    others = {nth for nth, (column, _) in enumerate(named) if column}
    sample = [row for row in rows[:200] if any(row)]
    for column, looks in _LOOKS.items():
        if column in found or (column == "amount" and "credit" in found):
            continue
        shares = [
            (sum(looks(row[nth]) for row in sample if nth < len(row)) / max(len(sample), 1), -nth)
            for nth in range(len(header))
            if nth not in others | set(found.values())
        ]
        if shares and max(shares)[0] >= 0.7:
            found[column] = -max(shares)[1]
    if {"credit", "debit"} <= found.keys():
        found.pop("amount", None)
    return {column: found[column] for column in COLUMNS if column in found}


def _heading(name: str) -> str:
    return " ".join(words(plain(name)))


@cache
def _file() -> Mapping[str, Any]:
    return tomllib.loads((Path(__file__).parent / "statements.toml").read_text(encoding="utf-8"))


@cache
def _headings() -> dict[str, str]:
    return {_heading(name): column for column, names in _file()["columns"].items() for name in names}


@cache
def _meaning(table: str, meaning: str) -> frozenset[str]:
    return frozenset(_heading(word) for word in _file()[table][meaning])


def _column(name: str) -> tuple[str, bool]:
    """What a column of this name holds, or nothing, and whether the whole name says so or only its longest part that
    is known.
    """
    heading = _heading(name[:100])
    known = _headings()
    if heading in known:
        return known[heading], True
    parts = [part for part in known if len(part) > 3 and f" {part} " in f" {heading} "]
    return (known[max(parts, key=len)] if parts and len(heading.split()) <= 5 else ""), False


def _looks_like_an_id(cell: str) -> bool:
    return bool(ids_in(cell, channel="")) and len(bare(cell)) <= 35


def _looks_like_a_phone(cell: str) -> bool:
    return bool(re.fullmatch(r"\+?[\d* -]{4,}\d{4}", cell)) and 9 <= len(re.sub(r"[^\d*]", "", cell)) <= 15


def _is(reads: Callable[[str], object], cell: str) -> bool:
    try:
        reads(cell)
    except ValueError:
        return False
    return True


_LOOKS: dict[str, Callable[[str], bool]] = {
    "at": lambda cell: _is(moment, cell),
    "transaction": _looks_like_an_id,
    "sender": _looks_like_a_phone,
    "amount": lambda cell: _is(amount, cell) and len(bare(cell)) < 10,
}


# -- its lines -----------------------------------------------------------------------------------------------------


def lines(table: Table, mapping: Mapping[str, int], zone: tzinfo) -> Lines:
    """The money that came in, by a mapping as `guess` makes it; times without an offset are of `zone`. Raises
    ValueError where the mapping names no column with money.
    """
    if not {"amount", "credit"} & mapping.keys():
        raise ValueError("Say which column holds the amount.")

    def cell(row: Sequence[str], column: str) -> str:
        nth = mapping.get(column, -1)
        return row[nth] if 0 <= nth < len(row) else ""

    points = {column: _point(cell(row, column) for row in table.rows) for column in ("amount", "credit", "debit")}
    month_first = _month_first(cell(row, "at") for row in table.rows)
    found: list[Line] = []
    unread: list[Unread] = []
    out = 0
    for number, row in enumerate(table.rows, table.first):
        if not any(row):
            continue
        try:
            money = _money(lambda column, row=row: cell(row, column), points, kinds="kind" in mapping)  # type: ignore[misc]
            if money < 0:
                out += 1
                continue
            if (status := cell(row, "status")) and not _is_done(status):
                raise ValueError(f"Its status, {status[:40]}, does not say that the money is there.")
            when = " ".join(part for part in (cell(row, "at"), cell(row, "time")) if part)
            found.append(
                Line(
                    transaction=_transaction(cell(row, "transaction")),
                    amount=money,
                    at=moment(when, zone, month_first=month_first) if when else None,
                    sender=cell(row, "sender"),
                    name=cell(row, "name"),
                    raw=" | ".join(part for part in row if part),
                    number=number,
                    note=cell(row, "note"),
                )
            )
        except ValueError as error:
            unread.append(Unread(number, str(error)))
    return Lines(tuple(found), tuple(unread), out)


def _money(cell: Callable[[str], str], points: Mapping[str, str], *, kinds: bool) -> Decimal:
    """What a row moved, less than nothing when it went out. Raises ValueError."""
    credit, debit, both = cell("credit"), cell("debit"), cell("amount")
    came = amount(credit, points["credit"]) if credit.strip("- ") else Decimal(0)
    went = abs(amount(debit, points["debit"])) if debit.strip("- ") else Decimal(0)
    if came and went:
        raise ValueError("Money came in and went out in one row.")
    if came or went:
        return came - went
    if not both.strip("- "):
        raise ValueError("There is no amount.")
    moved = amount(both, points["amount"])
    if not moved:
        raise ValueError("The amount is nought.")
    if moved > 0 and kinds:
        said = set(words(plain(cell("kind"))))
        if said & _meaning("kinds", "went"):
            return -moved
        if not said & _meaning("kinds", "came"):
            raise ValueError("Whether the money came in or went out is not clear.")
    return moved


def _is_done(status: str) -> bool:
    return set(words(plain(status))) <= _meaning("statuses", "done")


def _transaction(cell: str) -> str:
    if re.fullmatch(r"\d(?:[.,]\d+)?E\+\d+", plain(cell).strip()):
        raise ValueError("The spreadsheet shortened the transaction's number. Export the statement again as CSV.")
    return bare(re.sub(r"(?<=\d)[.,]0+$", "", cell.strip()))[:64]


def amount(text: str, point: str = "") -> Decimal:
    """A sum as people of any country write it, negative when marked as money out: `Rs. 1,500/-`, `1.500,00`,
    `(1,500.00)`, `1500 Dr`. `point` is what the file's other sums have before their decimals, where they tell; three
    digits after a single stop or comma are thousands, as in the currencies at hand nothing has three decimals. Raises
    ValueError.
    """
    said = money_sign().sub(" ", plain(text)).strip()
    said = re.sub(r"\s?/[-=]$", "", said)
    out = False
    if match := re.fullmatch(r"(.*?)\s*(DR|CR|D|C)\.?", said):
        said, out = match[1], match[2].startswith("D")
    if match := re.fullmatch(r"\((.*)\)", said):
        said, out = match[1].strip(), True
    if match := re.fullmatch(r"([-+])\s*(.*)|(.*\d)\s*([-+])", said):
        said = (match[3] or match[2] or "").strip()
        out = out or "-" in (match[1], match[4])
    said = money_sign().sub(" ", said).strip()
    said = re.sub(r"(?<=\d)[ '’](?=\d{3}(?!\d))", "", said)
    if len(said) > 18 or not re.fullmatch(r"\d+(?:[.,]\d+)*", said):
        raise ValueError("The amount cannot be read.")
    whole, decimals = _parted(said, point)
    value = Decimal(f"{whole}.{decimals or 0}") if decimals else Decimal(whole)
    return -value if out else value


_GROUPED = {
    mark: re.compile(rf"\d{{1,3}}(?:\{mark}\d{{3}})+|\d{{1,2}}(?:\{mark}\d{{2}})*\{mark}\d{{3}}") for mark in ".,"
}
"""Thousands, and lakhs."""


def _parted(said: str, point: str) -> tuple[str, str]:
    """The digits before and after the decimal point."""
    marks = [letter for letter in said if not letter.isdigit()]
    if not marks:
        return said, ""
    last = marks[-1]
    whole, _, decimals = said.rpartition(last)
    if len(set(marks)) == 2:
        other = "," if last == "." else "."
        if marks.count(last) > 1 or not _GROUPED[other].fullmatch(whole):
            raise ValueError("The amount cannot be read.")
        return whole.replace(other, ""), decimals
    if _GROUPED[last].fullmatch(said) and not said.startswith("0"):
        if len(marks) == 1 and last == point:
            raise ValueError("Whether the amount has thousands or decimals is not clear.")
        return said.replace(last, ""), ""
    if len(marks) > 1 or (point and last != point):
        raise ValueError("The amount cannot be read.")
    return whole, decimals


def _point(cells: Iterable[str]) -> str:
    """What stands before the decimals in a column, if its cells agree on it."""
    seen = {match[1] for cell in cells if (match := re.search(r"\d([.,])\d{1,2}(?!\d|[.,]\d)", plain(cell)))}
    return seen.pop() if len(seen) == 1 else ""


# -- times ---------------------------------------------------------------------------------------------------------

_TIME = re.compile(
    r"(?:^|[\sT,])(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d{1,9})?)?\s*([AP]\.?\s?M\.?)?\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})?$"
)
_NUMBERS = re.compile(r"(\d{1,4})[-/. ](\d{1,2})[-/. ](\d{1,4})")
_BESIDE_A_DAY = ("DE", "DEL", "ST", "ND", "RD", "TH")
_COMPACT = re.compile(r"(20\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?")


def moment(text: str, zone: tzinfo = UTC, *, month_first: bool = False) -> datetime:
    """A date, with its time of day or without, in UTC: ISO, numbers in the order of most countries (the day first, or
    the month), months by name. Raises ValueError.
    """
    said = re.sub(r"\s+", " ", plain(text)).strip(" ,")
    if len(said) > 60:
        raise ValueError("The date cannot be read.")
    clock, offset = time(), ""
    try:
        if compact := _COMPACT.fullmatch(said):
            day = date(int(compact[1]), int(compact[2]), int(compact[3]))
            clock = time(int(compact[4] or 0), int(compact[5] or 0), int(compact[6] or 0))
        else:
            if match := _TIME.search(said):
                clock, offset = _clock(match), match[5] or ""
                said = said[: match.start()].strip(" ,")
            day = _day(said, month_first)
        if not 2000 <= day.year <= 2100:
            raise ValueError
        where = datetime.fromisoformat(f"2000-01-01T00:00{offset}").tzinfo if offset[:1] in ("+", "-") else None
        return datetime.combine(day, clock, where or (UTC if offset else zone)).astimezone(UTC)
    except ValueError:
        raise ValueError("The date cannot be read.") from None


def _clock(match: re.Match[str]) -> time:
    hour = int(match[1])
    if half := (match[4] or "")[:1]:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if half == "P" else 0)
    return time(hour, int(match[2]), int(match[3] or 0))


def _day(said: str, month_first: bool) -> date:
    if match := _NUMBERS.fullmatch(said):
        one, two, three = (int(match[nth]) for nth in (1, 2, 3))
        if len(match[1]) == 4:
            return date(one, two, three)
        if len(match[1]) > 2 or len(match[3]) not in (2, 4):
            raise ValueError
        day, month = (two, one) if month_first else (one, two)
        if month > 12:
            day, month = month, day
        return date(three + (2000 if three < 100 else 0), month, day)
    parts = [part for part in re.findall(r"\d+|[^\W\d_][^\s\d,./-]*", said) if part not in _BESIDE_A_DAY]
    figures = [int(part) for part in parts if part.isdigit()]
    months = [_months()[part] for part in parts if part in _months()]
    if len(months) != 1 or len(figures) != 2 or len(parts) > 4:  # a day's name may stand before
        raise ValueError
    day, year = figures
    return date(year + (2000 if year < 100 else 0), months[0], day)


@cache
def _months() -> dict[str, int]:
    """Months by their names and short names in every language we speak."""
    found: dict[str, int] = {}
    for language in LANGUAGES:
        for width in ("wide", "abbreviated"):
            for context in ("format", "stand-alone"):
                for nth, name in get_month_names(width, context, locale=babel_locale(language)).items():
                    found[plain(name).strip(".")] = nth
    return found | {"SEP": 9, "SEPT": 9}


def _month_first(cells: Iterable[str]) -> bool:
    """Is a column's month before its day? Only where some date is impossible otherwise, and none the other way."""
    days = [match for cell in cells if (match := re.match(r"\s*(\d{1,2})[-/. ](\d{1,2})[-/. ]\d", plain(cell)))]
    return any(int(match[2]) > 12 for match in days) and not any(int(match[1]) > 12 for match in days)


# -- claims --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """What a customer says was paid: `id` as transactions.ids_in found it, empty where they sent none; `amount` is what
    was to be paid, `asked_at` (UTC) when, `phones` the customer's.
    """

    id: str
    amount: Decimal
    asked_at: datetime
    phones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """What a statement says of one claim. `verdict`: `exact`, `short` and `over` (its id, and how much it was), `older`
    (its id, on a line from before it was asked for), `likely` (no id; a suggestion, never proof), `none`. `why` is a
    sentence for the merchant.
    """

    claim: Claim
    line: Line | None
    verdict: str
    why: str


_EARLY = timedelta(days=1)
"""A line may be dated that long before it was asked for: banks date by the day, and clocks differ."""


def match(claims: Sequence[Claim], lines: Sequence[Line]) -> list[Match]:
    """One match for each claim, in their order. A transaction proves one claim at most, however often the statement
    lists it: of two claims to it the one that fits better has it, then the one that was asked for first.
    """
    by_id = _by_id(lines, {_same(claim.id) for claim in claims})
    pairs = sorted(
        (_FIT.index(_verdict(claim, lines[nth])), claim.asked_at, place, lines[nth].number, nth)
        for place, claim in enumerate(claims)
        if claim.id
        for nth in by_id.get(_same(claim.id), ())
    )
    matched: dict[int, Match] = {}
    spent: set[int] = set()
    for fit, _, place, _, nth in pairs:
        if place in matched or nth in spent:
            continue
        matched[place] = _proof(claims[place], lines[nth], _FIT[fit])
        spent.add(nth)
        for id_ in {_same(claims[place].id), _same(lines[nth].transaction)}:
            spent.update(by_id.get(id_, ()))
    matched |= _suggestions(claims, lines, spent)
    return [matched.get(place) or _nothing(claim, by_id) for place, claim in enumerate(claims)]


def _by_id(lines: Sequence[Line], wanted: set[str]) -> dict[str, list[int]]:
    """The lines by what they may be claimed by: their ids, and of what is `wanted` long numbers in their descriptions
    that only one of them holds. An account that stands in many descriptions names no transaction, nor does a phone.
    """
    found: dict[str, list[int]] = {}
    told: dict[str, dict[str, list[int]]] = {}
    for nth, line in enumerate(lines):
        if line.transaction:
            found.setdefault(_same(line.transaction), []).append(nth)
        for number in numbers(line.note):
            if (id_ := _same(number)) in wanted and not dialled(number):
                told.setdefault(id_, {}).setdefault(_same(line.transaction) or line.raw, []).append(nth)
    for id_, holders in told.items():
        if len(holders) == 1 and id_ not in found:
            found[id_] = next(iter(holders.values()))
    found.pop("", None)
    return found


_FIT = ("exact", "over", "short", "older")


def _verdict(claim: Claim, line: Line) -> str:
    if line.at is not None and line.at < claim.asked_at - _EARLY:
        return "older"
    return "exact" if line.amount == claim.amount else "over" if line.amount > claim.amount else "short"


def _proof(claim: Claim, line: Line, verdict: str) -> Match:
    row = f"Row {line.number} of the statement has this transaction"
    got, due = f"{line.amount:,}", f"{claim.amount:,}"
    why = {
        "exact": f"{row} with the same amount, {got}.",
        "over": f"{row}, but with {got} instead of {due}: {line.amount - claim.amount:,} too much.",
        "short": f"{row}, but with {got} instead of {due}: {claim.amount - line.amount:,} are missing.",
        "older": f"{row}, but it is older than what it should pay"
        + (f": it is of {line.at:%d %B %Y}." if line.at else "."),
    }[verdict]
    return Match(claim, line, verdict, why)


def _suggestions(claims: Sequence[Claim], lines: Sequence[Line], spent: set[int]) -> dict[int, Match]:
    """Lines that nobody claims and that fit one open claim only, by amount and phone."""
    waiting: dict[Decimal, list[tuple[int, list[str]]]] = {}
    for place, claim in enumerate(claims):
        if not claim.id and claim.phones:
            waiting.setdefault(claim.amount, []).append((place, [bare(phone) for phone in claim.phones]))
    found: dict[int, Match] = {}
    named: set[str] = set()
    for nth, line in sorted(enumerate(lines), key=lambda one: one[1].number):
        if nth in spent or line.amount not in waiting or len(ending := _ending(line.sender)) < 4:
            continue
        fitting = [
            place
            for place, phones in waiting[line.amount]
            if any(phone.endswith(ending) for phone in phones) and _verdict(claims[place], line) != "older"
        ]
        name = _same(line.transaction) or line.raw
        if len(fitting) == 1 and fitting[0] not in found and name not in named:
            named.add(name)
            why = f"Row {line.number} of the statement has this amount and the customer's phone. Please check it."
            found[fitting[0]] = Match(claims[fitting[0]], line, "likely", why)
    return found


def _ending(sender: str) -> str:
    """The digits at the end of a sender's number, some of which may be starred out: nine at most, as what countries
    write before those differs.
    """
    shown = re.search(r"\d*$", re.sub(r"[^\d*X]", "", plain(sender)))
    return shown[0][-9:] if shown else ""


def _nothing(claim: Claim, by_id: Mapping[str, object]) -> Match:
    if not claim.id:
        why = "The customer sent no transaction number, and no line fits this order alone."
    elif _same(claim.id) in by_id:
        why = "The statement has this transaction, but it already pays for another order."
    else:
        why = "The statement has no such transaction."
    return Match(claim, None, "none", why)


def _same(id_: str) -> str:
    """An id without the noughts that spreadsheets take off its front."""
    return bare(id_).lstrip("0")
