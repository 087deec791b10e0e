"""How people pay by hand, and the ids of their transactions in what they write.

A customer who sent money from a wallet or a bank says so in words, or pastes the whole SMS: amounts, balances, phones,
dates and one or two ids. This module tells the ids from the rest. It proves nothing: an id is what somebody wrote, and
only a statement's line or the merchant's own eyes make money of it. What the wallets look like is in wallets.toml.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import phonenumbers

from .values import phone_variants

LONGEST = 4_096
"""Characters of a message that are looked at: as many as a messenger takes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What ids of a channel look like. `needs`: nothing, a `label`, or an `own label` of the channel."""

    pattern: re.Pattern[str]
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Wallet:
    """One way to be paid by hand. `country` is ISO alpha-2; `shapes` are in order, the most usual first."""

    channel: str
    label: str
    country: str
    known_as: tuple[str, ...]
    labels: tuple[str, ...]
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """One id in what somebody wrote: upper case, no blanks or dashes. `labelled` tells that they called it one.
    `channel` is the one whose shape fits best; ids of two channels can look alike, so it is a guess.
    """

    id: str
    labelled: bool
    channel: str


@cache
def wallets() -> Mapping[str, Wallet]:
    """Every channel by its name, in the order of wallets.toml."""
    return {
        raw["channel"]: Wallet(
            channel=raw["channel"],
            label=raw["label"],
            country=raw["country"],
            known_as=tuple(raw["known_as"]),
            labels=tuple(raw["labels"]),
            shapes=tuple(Shape(re.compile(one["shape"]), one.get("needs", "")) for one in raw["ids"]),
        )
        for raw in _file()["wallet"]
    }


def channels_of(method: str) -> tuple[str, ...]:
    """The channels that a store's payment method names, in the order of wallets.toml: `Easy Paisa / JazzCash` names
    two, a word nobody knows none.
    """
    said = f" {' '.join(words(plain(method)))} "
    return tuple(
        wallet.channel
        for wallet in wallets().values()
        if any(f" {' '.join(words(plain(name)))} " in said for name in wallet.known_as)
    )


def ids_in(
    text: str, *, channel: str, not_these: Collection[str] = (), amounts: Collection[Decimal] = ()
) -> tuple[Found, ...]:
    """The ids that a message holds, best first: those that are called one, then those that look most like `channel`'s.

    `channel` is how the customer was asked to pay; under a name that no table knows, any channel's shape will do.
    `not_these` are numbers that are something else, in any spelling: phones, accounts, order numbers. `amounts` are
    sums that may be spoken of. When in doubt nothing is found: a person asks again, which costs less than a claim on
    somebody else's number.
    """
    reader = _Reader(plain(text), channel, not_these, amounts)
    best: dict[str, tuple[tuple[int, ...], Found]] = {}
    for place, (rank, found) in enumerate(reader.read()):
        key = (not found.labelled, *rank, place)
        if found.id not in best or key < best[found.id][0]:
            best[found.id] = (key, found)
    ranked = [found for _, found in sorted(best.values(), key=lambda one: one[0])]
    if any(found.labelled for found in ranked):  # what else looks like an id then only is one if it looks the same
        alike = {_kind(found.id) for found in ranked if found.labelled}
        ranked = [found for found in ranked if found.labelled or _kind(found.id) in alike]
    return tuple(ranked)


@cache
def money_sign() -> re.Pattern[str]:
    """What says in `plain` text that a number is a sum: Rs, PKR, rupees, R$ and the like."""
    signs = "|".join(re.escape(plain(sign)) for sign in sorted(_file()["words"]["money"], key=len, reverse=True))
    return re.compile(rf"(?:(?<![^\W\d_])(?:{signs})(?![^\W\d_])\.?)")


def bare(written: str) -> str:
    """A number or an id as it is compared: upper case, without anything that is no ASCII letter or digit."""
    return "".join(_PIECE.findall(plain(written)))


def words(said: str) -> list[str]:
    """The words of `plain` text, in any script."""
    return _WORD.findall(said)


def numbers(note: str) -> list[str]:
    """What in a statement's description may be an id: words of eight characters or more that hold digits."""
    return [word for word in _PIECE.findall(plain(note)) if len(word) >= 8 and _digits(word)]


def dialled(number: str) -> bool:
    """Could this be a phone where any of the wallets is at home, or one with its country's code?"""
    return number.isdigit() and _dialled(number, {wallet.country for wallet in wallets().values()})


def plain(text: str) -> str:
    """Text as it is compared: ASCII digits, upper case, no accents, plain blanks and dashes, nothing invisible."""
    letters = []
    for letter in unicodedata.normalize("NFKD", text[:LONGEST]):
        category = unicodedata.category(letter)
        if category == "Nd":
            letters.append(str(unicodedata.digit(letter)))
        elif category == "Pd" or letter == "\N{MINUS SIGN}":
            letters.append("-")
        elif category in ("Cf", "Me") or "\u0300" <= letter <= "\u036f" or "\ufe00" <= letter <= "\ufe0f":
            continue
        elif letter == "\n":
            letters.append(letter)
        elif category in ("Zs", "Zl", "Zp", "Cc", "So", "Sk", "Cs", "Co") or (category == "Sm" and letter > "\x7f"):
            letters.append(" ")
        else:
            letters.append(_SAME.get(letter, letter))
    return unicodedata.normalize("NFC", "".join(letters)).upper()


_SAME = {"ي": "ی", "ى": "ی", "ك": "ک", "ه": "ہ", "ة": "ہ", "،": ",", "٬": ",", "٫": ".", "۔": ".", "।": "."}
"""Letters that keyboards of one language write in two ways, and stops of other scripts."""


# -- what a message is made of -------------------------------------------------------------------------------------

_GONE = "\x1f"
"""Stands for a letter of something that is no id."""
_LABEL = "\x1e"
"""Stands for a letter of a label."""

_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|ENE|ABR|AGO|DIC|FEV|MAI|SET|OUT|DEZ"

_NEVER = [
    re.compile(pattern)
    for pattern in (
        r"(?:HTTPS?://|WWW\.)\S+",
        r"(?<![^\s,;:()])[^\s,;:()]+@[^\s,;:()]+",
        r"(?<![A-Z0-9])PK[ -]?\d{2}[ -]?[A-Z]{4}(?:[ -]?[A-Z0-9]){16}(?![A-Z0-9])",
        r"\+[ ]?\(?\d(?:[ ().-]{0,2}\d){6,14}",
        r"(?<!\d)\d{5}[ -]\d{7}[ -]\d(?!\d)",
        r"(?<![A-Z0-9])[A-Z0-9]*(?<!\*)\*{2,}[A-Z0-9*-]*",
        r"(?<![A-Z0-9])\d{0,6}X{2,}[X -]{0,12}\d{2,6}(?![A-Z0-9])",
        r"(?<![\d/.-])(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|1[0-2])\1(?:20)?\d\d(?![-/.]?\d)",
        r"(?<![\d/.-])(?:0?[1-9]|1[0-2])([-/.])(?:0?[1-9]|[12]\d|3[01])\1(?:20)?\d\d(?![-/.]?\d)",
        r"(?<![\d/.-])20\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])(?!\d)",
        r"(?<!\d)\d{1,2} \d{1,2} 20\d\d(?!\d)",
        rf"(?<![A-Z0-9-])(?:0?[1-9]|[12]\d|3[01])(?:ST|ND|RD|TH)?[ -]?(?:{_MONTHS})[A-Z]*[ ,.-]{{0,2}}(?:20)?\d\d\b",
        r"(?<!\d)T?\d{1,2}:\d{2}(?::\d{2})?(?:\.\d{1,6})?(?: ?[AP]\.?M\b)?",
        r"(?<![A-Z0-9.,])\d{1,3}(?:,\d{2,3})+(?:\.\d+)?(?![\d,])",
        r"(?<![A-Z0-9.,])\d{1,3}(?:\.\d{3})+,\d{1,2}(?![\d,])",
        r"(?<![A-Z0-9.,])\d{1,8}[.,]\d{1,2}(?![\d.,])",
        r"#[ ]?[A-Z]{0,3}-?\d{1,8}(?!\d)",
    )
]
"""What is no id whatever stands before it: links, addresses, IBANs, phones with a plus, identity cards, what is masked,
dates, times, sums and order numbers.
"""

_STAMP = re.compile(r"20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?")
_WORD = re.compile(r"[^\s\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f‘’“”«»؛؟…•·]+")
_PIECE = re.compile(r"[A-Z0-9]+")
_SEAM = re.compile(r" ?[-_./] ?| ")
"""What may stand inside an id, as people break long numbers up."""


@cache
def _file() -> Mapping[str, Any]:
    return tomllib.loads((Path(__file__).parent / "wallets.toml").read_text(encoding="utf-8"))


def _kind(id_: str) -> tuple[int, bool]:
    return len(id_), id_.isdigit()


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The words of wallets.toml, ready to be looked for."""

    labels: re.Pattern[str]
    channels: Mapping[str, frozenset[str]]
    """A label without its blanks, to the channels it names; none where it is anybody's."""
    others: frozenset[str]
    between: frozenset[str]
    sums: tuple[re.Pattern[str], ...]
    countries: frozenset[str]


@cache
def _vocabulary() -> _Vocabulary:
    table = _file()["words"]
    phrases: dict[str, set[str]] = {plain(label): set() for label in table["labels"]}
    for wallet in wallets().values():
        for label in wallet.labels:
            phrases.setdefault(plain(label), set()).add(wallet.channel)
    others = {plain(label) for kind in table["others"].values() for label in kind}
    loose = "|".join(
        r"[\s._/-]*".join(re.escape(word) for word in phrase.split()) + (r"(?!S?\d)" if phrase in others else "")
        for phrase in sorted(phrases.keys() | others, key=len, reverse=True)
    )
    sign = money_sign().pattern
    return _Vocabulary(
        labels=re.compile(rf"(?<![^\W_])(?:{loose})S?(?![^\W\d_]|[\u0900-\u0963])(?!\d{{1,3}}[A-Z])"),
        channels={_tight(phrase): frozenset(channels) for phrase, channels in phrases.items()},
        others=frozenset(_tight(phrase) for phrase in others),
        between=frozenset(plain(word) for word in table["between"]),
        sums=(
            re.compile(rf"(?<![A-Z0-9-])\d{{1,8}} ?(?:/[-=]|{sign}(?![\s.:=-]*\d{{1,8}}(?!\d)))"),
            re.compile(rf"{sign}[\s:=-]*\d{{1,8}}(?:[.,]\d+)*(?!\d)(?:\s?/[-=])?"),
        ),
        countries=frozenset(_file()["phones"]["countries"]),
    )


def _tight(phrase: str) -> str:
    return re.sub(r"[\s._/-]", "", phrase)


@dataclass(frozen=True, slots=True)
class _Label:
    start: int
    end: int
    channels: frozenset[str] | None
    """Whose id follows: anybody's when empty; None: what follows is no id."""


class _Reader:
    """One message, read once from left to right."""

    def __init__(self, said: str, channel: str, not_these: Collection[str], amounts: Collection[Decimal]) -> None:
        self.spoken = _vocabulary()
        known = wallets()
        country = known[channel].country if channel in known else ""
        near = [wallet for wallet in known.values() if country in ("", wallet.country)]
        self.near: Sequence[Wallet] = sorted(near, key=lambda wallet: wallet.channel != channel)
        self.home = {channel} if channel in known else set(known)
        self.regions = {country} if country else {wallet.country for wallet in near}
        self.not_these = {bare(spelling) for other in not_these for spelling in (other, *phone_variants(other))} - {""}
        self.amounts = {amount.normalize() for amount in amounts}

        for pattern in (*_NEVER, *self.spoken.sums):
            said = pattern.sub(lambda found: _GONE * len(found[0]), said)
        self.said = said
        self.labels = []
        for match in self.spoken.labels.finditer(said):
            name = _tight(match[0])
            name = name if name in self.spoken.channels or name in self.spoken.others else name.removesuffix("S")
            channels = None if name in self.spoken.others else self.spoken.channels[name]
            self.labels.append(_Label(*match.span(), channels))
        for label in self.labels:
            said = said[: label.start] + _LABEL * (label.end - label.start) + said[label.end :]
        self.pieces = list(_PIECE.finditer(said))
        self.joined = [
            _joined(one[0], said[one.end() : other.start()], other[0]) for one, other in pairwise(self.pieces)
        ] + [False]
        """Whether a piece may go on in the next one."""

    def read(self) -> Iterator[tuple[tuple[int, int], Found]]:
        nth = 0
        listed: tuple[int, _Label] | None = None  # where the last labelled id ends, and its label
        while nth < len(self.pieces):
            start = self.pieces[nth].start()
            label = direct = self._label_before(start)
            if label is None and listed and self._close(self.said[listed[0] : start]):
                label = listed[1]
            label = label or self._label_after(nth)
            if label is not None and label.channels is None:
                nth = self._ends(nth)[-1] + 1
                continue
            reading = self._best(nth, label)
            if reading is None:
                nth += 1
                continue
            last, rank, found = reading
            nth = last + 1
            if self._refused(found, broken=rank[2] > 0, exempt=direct is not None):
                continue
            if found.labelled and label:
                listed = (self.pieces[last].end(), label)
            yield rank[:2], found

    # -- labels

    def _label_before(self, start: int) -> _Label | None:
        before = [label for label in self.labels if label.end <= start]
        if not before or not self._close(self.said[before[-1].end : start]):
            return None
        if before[-1].channels is None and re.search("[,;?!]", self.said[before[-1].end : start]):
            return None
        return before[-1]

    def _label_after(self, nth: int) -> _Label | None:
        """A label that follows a number, and is not itself followed by one: `0609... is my TID`."""
        end = self.pieces[self._ends(nth)[-1]].end()
        after = next((label for label in self.labels if label.start >= end), None)
        if after is None or after.channels is None:
            return None
        if not self._close(self.said[end : after.start]):
            return None
        following = next((piece for piece in self.pieces if piece.start() >= after.end and _digits(piece[0])), None)
        return None if following and self._close(self.said[after.end : following.start()]) else after

    def _close(self, gap: str) -> bool:
        """Does nothing stand between but words that join a label and its number?"""
        if len(gap) > 60 or _GONE in gap:
            return False
        said = words(gap)
        return len(said) <= 5 and all(word in self.spoken.between for word in said)

    # -- numbers

    def _ends(self, nth: int) -> range:
        """The pieces at which an id that starts with this one may end."""
        last = nth
        while self.joined[last] and last < nth + 11:
            last += 1
        return range(nth, last + 1)

    def _best(self, nth: int, label: _Label | None) -> tuple[int, tuple[int, int, int], Found] | None:
        """The best reading of an id that starts at a piece: where it ends, how well it fits, and what it is."""
        best: tuple[tuple[int, int, int, int], int, Found] | None = None
        for last in self._ends(nth):
            parts = [piece[0] for piece in self.pieces[nth : last + 1]]
            id_ = "".join(parts)
            if not _digits(id_) or (label is None and last > nth and not _evenly(parts)):
                continue
            if label is None and last > nth and self.joined[last]:
                continue
            for order, rank, wallet in self._fits(id_, label, whole=last == nth):
                key = (order, rank, -len(id_), last)
                if best is None or key < best[0]:
                    best = (key, last, Found(id_, label is not None, wallet.channel))
        if best is None:
            return None
        (order, rank, _, _), last, found = best
        return last, (order, rank, last - nth), found

    def _fits(self, id_: str, label: _Label | None, *, whole: bool) -> Iterator[tuple[int, int, Wallet]]:
        """(0 for the channel asked for, else 1; how usual; wallet) of each channel whose id this may be."""
        own = label.channels & {wallet.channel for wallet in self.near} if label and label.channels else frozenset()
        for wallet in self.near:
            away = wallet.channel not in self.home
            if (own and wallet.channel not in own) or (label is None and away and not id_.isdigit()):
                continue
            for rank, shape in enumerate(wallet.shapes):
                met = {"": True, "label": label is not None, "own label": wallet.channel in own}[shape.needs]
                if met and shape.pattern.fullmatch(id_) and (whole or label or rank == 0):
                    yield int(away), rank, wallet
                    break

    def _refused(self, found: Found, *, broken: bool, exempt: bool) -> bool:
        id_ = found.id
        if id_ in self.not_these or any(_same_line(id_, other) for other in self.not_these):
            return True
        if not id_.isdigit():
            return False
        steps = {(int(other) - int(one)) % 10 for one, other in pairwise(id_)}
        if steps <= {0} or steps in ({1}, {9}):
            return True
        if Decimal(id_).normalize() in self.amounts or (_STAMP.fullmatch(id_) and not exempt):
            return True
        return (broken or not exempt) and _dialled(id_, self.regions, anywhere=broken and not exempt)


def _dialled(digits: str, regions: Collection[str], *, anywhere: bool = False) -> bool:
    """Could this be a phone of these regions or, with the country's code, of where customers are or of `anywhere`?"""
    if re.fullmatch(r"03\d{9}", digits) or (digits.startswith("00") and _valid("+" + digits[2:], None)):
        return True
    if len(digits) <= 11 and (digits.startswith("0") or len(digits) == 10):
        return any(_valid(digits, region) for region in regions)
    abroad = _valid("+" + digits, None)
    return bool(abroad) if anywhere else abroad in _vocabulary().countries


def _valid(digits: str, region: str | None) -> str:
    """The country in which a number can be dialled, or nothing."""
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_valid_number(number):
        return ""
    kinds = phonenumbers.PhoneNumberType
    if region is None and phonenumbers.number_type(number) not in (kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE):
        return ""
    return str(phonenumbers.region_code_for_number(number) or "")


def _same_line(one: str, other: str) -> bool:
    """Are these two spellings of one phone, with or without the country's code?"""
    short, long = sorted((one.lstrip("0"), other.lstrip("0")), key=len)
    alike = len(short) >= 9 and len(long) - len(short) <= 3 and long.endswith(short)
    return alike and long.isdigit()


def _digits(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def _joined(one: str, seam: str, other: str) -> bool:
    """May two pieces be parts of one id? It may be broken up by dashes anywhere, by blanks into short parts that hold
    digits.
    """
    if not _SEAM.fullmatch(seam):
        return False
    return seam.strip() in ("-", "_") or (_short(one) and _short(other))


def _short(piece: str) -> bool:
    return len(piece) <= 6 and _digits(piece)


def _evenly(parts: Sequence[str]) -> bool:
    """Do these parts look like one number broken up, and not like several numbers? Sums end in noughts."""
    lengths = {len(part) for part in parts[:-1]}
    if not all(part.isdigit() for part in parts):
        return True
    even = len(lengths) == 1 and len(parts[-1]) <= max(lengths) + 1
    return even and not all(part.endswith("0") for part in parts)
