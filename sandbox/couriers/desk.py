"""What every courier has: parcels with their scans, its own words for what happens to one, a counter that books.

A desk knows one courier's wire format; what a parcel is, is said here once. `STAGES` is the life of a parcel; each
courier's `words` say it in the courier's way, and the scanner on the sandbox's face offers just these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import orjson
from flask import Response, g, request

from sandbox.delivery import Policy
from sandbox.world import Record, World

KEY, PASSWORD, TOKEN = "sandbox-courier-key", "sandbox-courier-password", "sandbox-courier-token"

BOOKED, PICKED_UP, IN_TRANSIT, AT_DESTINATION = "booked", "picked_up", "in_transit", "at_destination"
OUT_FOR_DELIVERY, ATTEMPTED, DELIVERED = "out_for_delivery", "attempted", "delivered"
RETURNING, RETURNED, CANCELLED = "returning", "returned", "cancelled"
STAGES = (
    BOOKED, PICKED_UP, IN_TRANSIT, AT_DESTINATION, OUT_FOR_DELIVERY, ATTEMPTED, DELIVERED, RETURNING, RETURNED,
    CANCELLED,
)  # fmt: skip
AT_ORIGIN = frozenset({BOOKED, PICKED_UP, IN_TRANSIT, RETURNED, CANCELLED})

REATTEMPT, RETURN = "re-attempt", "return"

Rule = tuple[str, str, Callable[..., Response]]


@dataclass(frozen=True)
class Word:
    """One scan as the courier writes it."""

    stage: str
    code: str
    text: str
    reason: str = ""


class Desk:
    name: ClassVar[str]
    title: ClassVar[str]
    account: ClassVar[dict[str, str]]  # what opens a shop's account here, by the names under which apps ask for it
    zone: ClassVar[ZoneInfo] = ZoneInfo("Asia/Karachi")
    policy: ClassVar[Policy | None] = None  # how it pushes; None for one that does not
    words: ClassVar[tuple[Word, ...]] = ()
    more_words: ClassVar[tuple[Word, ...]] = ()  # understood, and not offered by the scanner
    booked_word: ClassVar[Word]
    cancelled_word: ClassVar[Word]
    pushes_bookings: ClassVar[bool] = True  # whether it pushes what it writes itself, not only what a rider scans

    def __init__(self, world: World, tell: Callable[[Record, Record], None]) -> None:
        self.world = world
        self._tell = tell
        self._parcels = world.shelf("courier_parcels")
        self._references = world.shelf("courier_references")
        known = (*self.words, *self.more_words)
        self._by_code = {word.code: word.stage for word in reversed(known) if word.code}
        self._by_text = {word.text.casefold(): word.stage for word in known}

    def routes(self) -> Sequence[Rule]:
        raise NotImplementedError

    def pushed(self, parcel: Record, scan: Record) -> Any:
        """What a push of this scan says."""
        raise NotImplementedError

    # Parcels

    def parcel(self, number: object) -> Record | None:
        return self._parcels.get(f"{self.name}:{number}")

    def of_order(self, reference: str) -> list[Record]:
        """The parcels booked under a shop's reference, oldest first."""
        filed = self._references.get(f"{self.name}:{reference}") or {"numbers": []}
        return [parcel for number in filed["numbers"] if (parcel := self.parcel(number))]

    def next_number(self, first: int) -> int:
        return self.world.next_number(f"{self.name}_parcel", first)

    def scan(self, number: str, stated: Record, told: Record, *, by: str = "rider") -> Record:
        """A scan of a parcel, which exists from then on. `told` is what the scanner knows of the parcel itself."""
        at: datetime = stated.get("at") or self.world.clock.now()
        scan = {
            "code": stated.get("code", ""),
            "text": stated.get("text", ""),
            "reason": stated.get("reason", ""),
            "location": stated.get("location", ""),
            "at": at.astimezone(self.zone).replace(tzinfo=None).isoformat(timespec="seconds"),
            "by": by,
        }
        key = f"{self.name}:{number}"
        with self.world.lock:
            parcel = self._parcels.get(key) or {
                "courier": self.name,
                "number": number,
                "order": "",
                "origin": "LAHORE",
                "destination": "KARACHI",
                "booking": None,
                "advice": [],
                "scans": [],
                "made": self.world.next_number("courier_moves"),
            }
            before = parcel["order"]
            parcel |= told
            parcel["scans"].append(scan)
            parcel["moved"] = self.world.next_number("courier_moves")
            self._parcels.put(key, parcel)
            if parcel["order"] and parcel["order"] != before:
                filed = self._references.get(f"{self.name}:{parcel['order']}") or {"numbers": []}
                self._references.put(f"{self.name}:{parcel['order']}", {"numbers": [*filed["numbers"], number]})
        if by == "rider" or self.pushes_bookings:
            self._tell(parcel, scan)
        return parcel

    def write(self, parcel: Record, word: Word, **told: Any) -> Record:
        """A state that the courier's own system writes, no rider."""
        place = parcel["origin"] if word.stage in AT_ORIGIN else parcel["destination"]
        stated = {"code": word.code, "text": word.text, "reason": word.reason, "location": place}
        return self.scan(parcel["number"], stated, told, by="desk")

    def book(self, number: str, *, order: str, origin: str, destination: str, booking: Record) -> Record:
        g.what = f"booking {number} for {order or 'no order'}"
        told = {"order": order, "origin": origin.upper(), "destination": destination.upper(), "booking": booking}
        return self.write({"number": number, **told}, self.booked_word, **told)

    def cancel(self, parcel: Record) -> None:
        g.what = f"cancelling {parcel['number']}"
        self.write(parcel, self.cancelled_word)

    def advise(self, parcel: Record, means: str, **said: Any) -> None:
        """What the shipper wants done after a failed attempt: `means` in our words, `said` as the courier was told."""
        g.what = f"advice on {parcel['number']}: {means}"
        with self.world.lock:
            advice = {"means": means, "at": self.world.clock.now().isoformat(timespec="seconds"), "said": said}
            parcel.setdefault("advice", []).append(advice)
            parcel["moved"] = self.world.next_number("courier_moves")
            self._parcels.touch(f"{self.name}:{parcel['number']}")

    # Where a parcel is

    def stage_of(self, scan: Record) -> str:
        """The stage a scan stands for; empty for words the desk does not know."""
        text = scan["text"].casefold()
        return self._by_code.get(scan["code"]) or self._by_text.get(text, "")

    @staticmethod
    def newest(parcel: Record) -> Record:
        scans: list[Record] = parcel["scans"]
        return max(enumerate(scans), key=lambda one: (one[1]["at"], one[0]))[1]

    def stage(self, parcel: Record) -> str:
        return self.stage_of(self.newest(parcel))

    def cancelled(self, parcel: Record) -> bool:
        return any(self.stage_of(scan) == CANCELLED for scan in parcel["scans"])

    def handed_over(self, parcel: Record) -> bool:
        """Whether the courier has it in hand: any scan but those of booking and cancelling says so."""
        return any(self.stage_of(scan) not in (BOOKED, CANCELLED) for scan in parcel["scans"])

    def takes_advice(self, parcel: Record) -> bool:
        return self.stage(parcel) == ATTEMPTED

    def offered(self) -> list[Record]:
        """The scans a rider or a sorter can make, in the order of a parcel's life."""
        return [
            {"stage": word.stage, "code": word.code, "text": word.text, "reason": word.reason,
             "at_origin": word.stage in AT_ORIGIN}
            for word in sorted(self.words, key=lambda word: STAGES.index(word.stage))
            if word.stage != CANCELLED
        ]  # fmt: skip

    def shown(self, parcel: Record) -> Record:
        """A parcel as the control API tells it."""
        return {"booking": None, "advice": [], **parcel, "stage": self.stage(parcel)}


def rider_scans(parcel: Record) -> list[Record]:
    return [scan for scan in parcel["scans"] if scan.get("by", "rider") == "rider"]


def body() -> Record:
    """The JSON object of the request, or its form; empty when it is neither."""
    if request.form:
        return dict(request.form)
    try:
        value = orjson.loads(request.get_data())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def when(scan: Record, form: str) -> str:
    return datetime.fromisoformat(scan["at"]).strftime(form)


def unix(scan: Record, zone: ZoneInfo) -> int:
    return int(datetime.fromisoformat(scan["at"]).replace(tzinfo=zone).timestamp())


def text_of(value: object) -> str:
    """A text as stated; empty for what is no text."""
    return value.strip() if isinstance(value, str) else ""


def whole_of(value: object) -> int | None:
    """A whole number as a number or as its digits; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    return None


def mobile(value: object) -> bool:
    """03 and nine more digits."""
    return isinstance(value, str) and len(value) == 11 and value.isascii() and value.isdigit() and value[:2] == "03"


def listed(value: object) -> list[str]:
    """`A,B` or a list of them, as texts."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, Iterable) and not isinstance(value, dict | bytes):
        return [str(part).strip() for part in value if isinstance(part, str | int)]
    return []
