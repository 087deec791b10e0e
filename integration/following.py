"""What whoever follows a parcel sees of it: where it is, every scan, its way from city to city, what to pay.

The address of a parcel's page is passed on, printed and photographed, so its holder may be anybody. `follow` is the one
place that decides what they may know, and what it returns holds no name, phone or street: a page cannot show what it
was never given. Couriers write people into their scans too, so their own words stay here and only ours go out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from babel.dates import format_skeleton, format_time
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from .catalogue import Wording, wording
from .db import Database, Session
from .events import UNKNOWN
from .orders import Order, Shipment, ShipmentEvent
from .parcels import STATUSES, Place, minute
from .rendering import COMING, isolated, place_row, promise_line
from .stores import Store
from .values import RIGHT_TO_LEFT, babel_locale, clean

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,32}")

STOPS = 6
"""Of a parcel's way as it is drawn: where it began, and the newest."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the steps to the door. `state` is done, now or todo."""

    label: str
    state: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One line of what happened."""

    at: datetime
    when: str
    what: str
    where: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """A place on its way. `reached` is false of the city that it still goes to."""

    name: str
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Sibling:
    """A parcel of the same order, this one included."""

    token: str
    label: str
    where: str
    here: bool


@dataclass(frozen=True, slots=True)
class Followed:
    """A parcel as its page shows it, in words of one language. Empty is what there is nothing to say of."""

    words: dict[str, str]
    rtl: bool
    store: str
    order: str
    status: str
    """A word of parcels.STATUSES, or a row of the wording's places where no scan tells."""
    tone: str
    """going, good, wait or bad."""
    headline: str
    sentence: str
    doubted: bool
    stages: tuple[Stage, ...]
    due: str
    paid: bool
    expected: str
    courier: str
    number: str
    courier_page: str
    items: tuple[tuple[int, str], ...]
    seen: tuple[Seen, ...]
    route: tuple[Stop, ...]
    siblings: tuple[Sibling, ...]
    city: str
    """Whose clock the times are of."""


# -- finding it ----------------------------------------------------------------------------------------------------


def store_of(db: Database, token: str) -> int | None:
    """Which store a parcel's token belongs to, as long as that store is with us.

    The token alone admits, so nothing else may be asked before it is known. It has 128 random bits and is found through
    an index: it cannot be guessed or counted up, and the time of a look-up tells nothing about those that exist.
    """
    if not _TOKEN.fullmatch(token):
        return None
    with db.operator() as session:
        query = select(Shipment.store_id).join(Store, Store.id == Shipment.store_id)
        living = (Store.uninstalled_at.is_(None), Store.erased_at.is_(None))
        return session.scalar(query.where(Shipment.token == token, *living))


def shipment_of(session: Session, token: str) -> Shipment | None:
    """The parcel of a token, within its store. Of a customer who was forgotten nothing is shown any more."""
    everything = selectinload(Shipment.order).options(selectinload(Order.items), selectinload(Order.shipments))
    found = session.scalars(select(Shipment).where(Shipment.token == token).options(everything)).first()
    return found if found is not None and found.order.erased_at is None else None


# -- what is shown -------------------------------------------------------------------------------------------------


def follow(shipment: Shipment, store: Store, language: str, now: datetime) -> Followed:
    """Everything that the holder of the token may know."""
    words, order, parcel = wording(language), shipment.order, shipment.place
    row = place_row(order, parcel)
    status = _status(row, parcel)
    courier = clean(shipment.courier, 60)
    why = words.parcel_reasons.get(shipment.reason, words.parcel_reasons["other"])
    told = isolated({"courier": courier or words.fallbacks["courier"], "reason": why}, language)
    sentence = words.page["cancelled_parcel"] if _called_off(order, parcel) else words.places[row].format(**told)
    coming = status not in _ENDED and not order.gone
    promised = coming and parcel.status in COMING | {UNKNOWN}
    return Followed(
        words=words.page,
        rtl=language in RIGHT_TO_LEFT,
        store=clean(store.name, 60),
        order=clean(order.name, 40),
        status=status,
        tone=_TONES.get(status, "going"),
        headline=words.page[f"is_{status}"],
        sentence=sentence[:1].upper() + sentence[1:],
        doubted=parcel.doubted,
        stages=_stages(words, shipment, status, parcel),
        due=order.due.shown(language) if coming and order.payment == "cod_due" else "",
        paid=coming and order.payment == "paid",
        expected=promise_line(order, store, words, now) if promised else "",
        courier=courier,
        number=clean(shipment.tracking_number, 64),
        courier_page=shipment.tracking_url,
        items=tuple((item.quantity, clean(item.title, 120)) for item in order.items),
        seen=_seen(words, shipment, store),
        route=_route(shipment, parcel),
        siblings=_siblings(words, order, shipment),
        city=store.zone.key.rsplit("/", 1)[-1].replace("_", " "),
    )


def _called_off(order: Order, parcel: Place) -> bool:
    """Was this parcel alone cancelled, and not its order?"""
    return parcel.status == "cancelled" and not order.gone


def _status(row: str, parcel: Place) -> str:
    if row == "cancelled" or parcel.status == "cancelled":
        return "cancelled"
    return parcel.status if parcel.status in STATUSES else row


_ENDED = frozenset({
    "delivered", "returning", "return_in_transit", "returned", "damaged", "lost", "cancelled",
})  # fmt: skip
"""Nothing is to be paid at the door any more, and nobody waits for it."""

_TONES = {
    "delivered": "good", "awaiting": "wait", "attempted": "wait", "ready_for_pickup": "wait", "returning": "wait",
    "return_in_transit": "wait", "returned": "wait", "damaged": "bad", "lost": "bad", "cancelled": "bad",
}  # fmt: skip

_WAY = ("ordered", "courier", "city", "out", "delivered")
"""The steps of a parcel that nothing happens to."""

_AT = {
    "picked_up": 1, "in_transit": 1, "sent": 1, "at_destination": 2, "out_for_delivery": 3, "attempted": 3,
    "ready_for_pickup": 3, "delivered": 4,
}  # fmt: skip
"""How far a parcel is, as a place in `_WAY`; 0 where nothing is listed."""

_IN_CITY = frozenset({"at_destination", "out_for_delivery", "attempted", "ready_for_pickup", "delivered"})

_INSTEAD = {"attempted": "attempted", "ready_for_pickup": "ready"}
"""What stands in the place of "out for delivery"."""

_BRANCHES = {
    "returning": ("returning", "returned"), "return_in_transit": ("returning", "returned"), "returned": ("returned",),
    "damaged": ("problem",), "lost": ("problem",), "cancelled": ("cancelled",),
}  # fmt: skip
"""How the way goes on where it leads no more to the door: the first of these is where the parcel is."""


def _stages(words: Wording, shipment: Shipment, status: str, parcel: Place) -> tuple[Stage, ...]:
    """The steps to the door; of one that does not get there, those that its scans tell it took, and what came then."""
    if status in _BRANCHES:
        been = [_AT.get(scan.status, 0) for scan in shipment.scans if scan.status in STATUSES]
        done = ["ordered", *(["courier"] if any(been) else []), *(["city"] if max(been, default=0) > 1 else [])]
        if parcel.leg == "customer_return":
            done = ["ordered", "delivered"]
        steps = [(name, "done") for name in done]
        steps += [(name, "todo" if place else "now") for place, name in enumerate(_BRANCHES[status])]
    else:
        at = _AT.get(status, 0)
        names = [_INSTEAD.get(status, name) if place == at else name for place, name in enumerate(_WAY)]
        steps = [(n, "done" if place < at else "now" if place == at else "todo") for place, n in enumerate(names)]
    return tuple(Stage(words.page[f"stage_{name}"], state) for name, state in steps)


def _seen(words: Wording, shipment: Shipment, store: Store) -> tuple[Seen, ...]:
    """Every scan, the newest first, and the order at the bottom. What store and courier both say is said once."""
    order, locale = shipment.order, babel_locale(words.language)

    def when(at: datetime) -> str:
        local = at.astimezone(store.zone)
        return f"{format_skeleton('MMMEd', local, locale=locale)}, {format_time(local, 'short', locale=locale)}"

    lines: dict[tuple[datetime, str], Seen] = {}
    for scan in _by_time(shipment.scans):
        key = minute(scan.occurred_at), scan.status if scan.status != UNKNOWN else str(scan.id)
        where = city(scan.location, order)
        if key in lines and not where:
            continue
        what = words.page.get(f"is_{scan.status}", words.page["is_unknown"])
        why = words.parcel_reasons.get(scan.reason, "") if scan.reason != "other" else ""
        lines[key] = Seen(scan.occurred_at, when(scan.occurred_at), what, where, why[:1].upper() + why[1:])
    placed = Seen(order.placed_at, when(order.placed_at), words.page["placed"])
    return (*reversed(lines.values()), placed)


def _by_time(scans: Iterable[ShipmentEvent]) -> list[ShipmentEvent]:
    def rank(scan: ShipmentEvent) -> tuple[datetime, int]:
        return minute(scan.occurred_at), STATUSES[scan.status].rank if scan.status in STATUSES else 0

    return sorted(scans, key=rank)


def _siblings(words: Wording, order: Order, shipment: Shipment) -> tuple[Sibling, ...]:
    parcels = order.shipments
    if len(parcels) < 2:
        return ()
    return tuple(
        Sibling(
            token=one.token,
            label=words.page["parcel"].format(number=number, count=len(parcels)),
            where=words.page[f"is_{_status(place_row(order, one.place), one.place)}"],
            here=one.id == shipment.id,
        )
        for number, one in enumerate(parcels, 1)
    )


# -- places --------------------------------------------------------------------------------------------------------


def city(location: str, order: Order) -> str:
    """A scan's place, if it is no more than a place: couriers write hubs and cities there, but also who received it and
    at which door. Empty where it has a number, or anything of the customer's own name or street.
    """
    name = clean(location, 60)
    if sum(letter.isdigit() for letter in name) > 2:
        return ""
    said, address = name.casefold(), {part: clean(value, 200).casefold() for part, value in order.address.items()}
    people = [clean(order.customer_name, 200).casefold(), address.get("name", "")]
    doors = [address.get(line, "") for line in ("line1", "line2") if address.get(line) != address.get("city")]
    if any(len(part) > 3 and part in said for part in (*people, *doors)) or any(said in p.split() for p in people):
        return ""
    return name.title() if name.isupper() else name


def _route(shipment: Shipment, parcel: Place) -> tuple[Stop, ...]:
    """The places that scans name, one after the other, and the city it goes to. Fewer than two are no way."""
    order = shipment.order
    names: list[str] = []
    for scan in _by_time(shipment.scans):
        name = city(scan.location, order)
        if name and (not names or name.casefold() != names[-1].casefold()):
            names.append(name)
    stops = [Stop(name) for name in names]
    goal = city(order.address.get("city", ""), order)
    goes_there = parcel.leg == "forward" and parcel.status not in _ENDED - {"delivered"}
    if stops and goal and goes_there and goal.casefold() not in names[-1].casefold():
        stops.append(Stop(goal, reached=parcel.status in _IN_CITY))
    return tuple(_shortened(stops)) if len(stops) > 1 else ()


def _shortened(stops: Sequence[Stop]) -> Sequence[Stop]:
    return stops if len(stops) <= STOPS else [stops[0], *stops[1 - STOPS :]]
