"""/t/<token>: the page on which a customer follows a parcel. Whoever has the address may look; nobody signs in.

It reads the database and nothing else, so it works while the courier is away, and runs no script. What it shares with
other pages for strangers is in public.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

from flask import Blueprint, Response

from integration.following import Followed, Stop, follow, shipment_of, store_of
from integration.orders import Shipment, language_for
from integration.rendering import isolated
from integration.stores import Store

from . import public
from .auth import house

pages = Blueprint("following", __name__, url_prefix="/t")

_SCANS_SHOWN = 6
"""The rest is behind a fold."""

PICTURES = {
    "delivered": "tick", "out_for_delivery": "rider", "attempted": "door", "ready_for_pickup": "counter",
    "at_destination": "city", "picked_up": "truck", "in_transit": "truck", "sent": "truck", "returning": "back",
    "return_in_transit": "back", "returned": "shop", "damaged": "alert", "lost": "alert", "cancelled": "cross",
}  # fmt: skip
"""What is drawn beside the headline; a box where nothing is listed."""


@pages.get("/<token>")
def show(token: str) -> Response:
    here = house()
    store_id = store_of(here.db, token)
    if store_id is None:
        return missing()
    with here.db.read(store_id) as session:
        shipment = shipment_of(session, token)
        if shipment is None:
            return missing()
        store = session.get_one(Store, store_id)
        language = public.asked() or language_for(shipment.order, store.policy)
        seen = follow(shipment, store, language, session.now())
        return public.page(
            session,
            store,
            "following.html",
            "following.css",
            language=language,
            seen=seen,
            words=seen.words,
            named=isolated({"order": seen.order, "store": seen.store, "city": seen.city}, language),
            token=token,
            image=PICTURES.get(seen.status, "box"),
            drawn=_draw(seen.route, seen.rtl),
            courier_page=_courier_page(seen),
            courier_site=_courier_site(shipment),
            write=public.chat(store, seen.words["greeting"].format(order=seen.order)),
            shown=_SCANS_SHOWN,
        )


@pages.get("/<token>/logo")
def logo(token: str) -> Response:
    """The shop's picture."""
    store_id = store_of(house().db, token)
    return (public.logo(store_id) if store_id is not None else None) or missing()


@pages.get("/")
@pages.get("/<path:_rest>")
def missing(_rest: str = "") -> Response:
    """There is no such parcel."""
    return public.missing("page")


# -- what the core does not know -----------------------------------------------------------------------------------


def _courier_page(seen: Followed) -> str:
    """The courier's own page of this parcel, as the shop or courier told it; never this one, which shops are told."""
    if not seen.courier_page.isprintable() or any(letter in seen.courier_page for letter in '<>" '):
        return ""
    try:
        url = urlsplit(seen.courier_page)
    except ValueError:
        return ""
    ours = urlsplit(house().settings.public_url).netloc
    return seen.courier_page if url.scheme in ("http", "https") and url.netloc not in ("", ours) else ""


def _courier_site(shipment: Shipment) -> tuple[str, str] | None:
    """Where the courier can be asked: (address, as it is shown)."""
    adapter = house().registry.find("couriers", shipment.adapter) if shipment.adapter else None
    if adapter is None or not adapter.website.startswith(("https://", "http://")):
        return None
    return adapter.website, urlsplit(adapter.website).netloc.removeprefix("www.")


# -- the drawing of its way ----------------------------------------------------------------------------------------

WIDTH, _ROW, _TOP = 336, 84, 30
_COLUMNS = {2: (88, 248), 3: (58, 168, 278)}
_LABEL = 15


@dataclass(frozen=True, slots=True)
class Dot:
    """A stop as it is drawn. `name` is whole, `label` fits under it."""

    x: int
    y: int
    name: str
    label: str
    reached: bool
    here: bool
    below: int
    """How far under it the label is; above it where the road turns."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A parcel's way: three stops a row, each row going the other way, like a road up a hill."""

    height: int
    dots: tuple[Dot, ...]
    legs: tuple[tuple[str, bool], ...]
    """Paths from stop to stop, and whether it has gone that way."""


def _draw(route: tuple[Stop, ...], rtl: bool) -> Drawing | None:
    if not route:
        return None
    columns = _COLUMNS[min(len(route), 3)]
    here = max(place for place, stop in enumerate(route) if stop.reached)
    dots: list[Dot] = []
    for place, stop in enumerate(route):
        row, column = divmod(place, 3)
        across = columns[column] if row % 2 == 0 else columns[-1 - column]
        label = stop.name if len(stop.name) <= _LABEL else f"{stop.name[: _LABEL - 1].rstrip()}…"
        x = WIDTH - across if rtl else across
        turns = column == 2 and place + 1 < len(route)
        dots.append(Dot(x, _TOP + row * _ROW, stop.name, label, stop.reached, place == here, -17 if turns else 32))
    legs = tuple((_leg(a, b, place), b.reached) for place, (a, b) in enumerate(pairwise(dots)))
    return Drawing(_TOP + _ROW * ((len(route) - 1) // 3) + 40, tuple(dots), legs)


def _leg(a: Dot, b: Dot, place: int) -> str:
    if a.y == b.y:
        lift = -16 if place % 2 == 0 else 16
        return f"M{a.x} {a.y}Q{(a.x + b.x) // 2} {a.y + lift} {b.x} {b.y}"
    out = WIDTH + 6 if a.x > WIDTH // 2 else -6
    return f"M{a.x} {a.y}C{out} {a.y} {out} {b.y} {b.x} {b.y}"
