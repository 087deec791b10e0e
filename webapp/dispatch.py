"""/app/dispatch: what waits to be sent, booked with a courier at a tap, with its label; and the rules that choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, abort, redirect, request
from sqlalchemy import select
from sqlalchemy.orm import selectinload
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from adapters.labels import merged
from integration import dispatch
from integration.access import open_account
from integration.couriers import booked_of, put_booking, put_cancellation
from integration.db import Session
from integration.dispatch import Courier, Rule, Suggestion
from integration.errors import PermanentError
from integration.journeys import Settled, react
from integration.orders import Order, Shipment, move, whole
from integration.outbox import Desk, Outbox
from integration.parcels import BEFORE_PICKUP
from integration.ports import Books, offers
from integration.stores import Store
from integration.story import STATUS_WORDS
from integration.values import clean

from .auth import house, link, merchant, page, signed_in
from .connecting import living

pages = Blueprint("dispatch", __name__, url_prefix="/app/dispatch")

MOST_AT_ONCE = 200
MOST_LABELS = 100
MOST_WEIGHT = 100
"""Kilograms, of one parcel: more is a slip of the pen."""
_SHOWN_FOR = timedelta(days=7)


@dataclass(slots=True)
class Line:
    """One ready order as the page offers it."""

    order: Order
    suggestion: Suggestion
    city: str
    """The city as it will be booked; what the customer typed where no courier knows it."""
    known: bool
    weight: str
    obstacle: str = ""
    """What keeps it from being booked, in a sentence."""
    failed: str = ""
    """Why the last booking failed."""


@pages.get("/")
@signed_in
def show() -> Any:
    return _show()


@pages.post("/book")
@signed_in
def book() -> Any:
    """Book the chosen orders, each with its courier. What cannot be booked says why and stays; the others go."""
    form = request.form
    ids = [int(raw) for raw in form.getlist("order") if raw.isdecimal() and len(raw) < 19][:MOST_AT_ONCE]
    faults: dict[int, str] = {}
    begun = 0
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        couriers = {courier.name: courier for courier in _couriers(session)}
        ready = select(Order).where(Order.id.in_(ids), dispatch.READY).options(selectinload(Order.items))
        for order in session.scalars(ready):
            try:
                begun += _book(session, store, order, couriers, form)
            except ValueError as fault:
                faults[order.id] = str(fault)
        bells = set(session.bells)
    house().ring_all(bells, merchant().store_id)
    if faults:
        return _show(422, faults=faults)
    return redirect(link("dispatch.show", begun=begun) if ids else link("dispatch.show", none=1), 303)


def _book(session: Session, store: Store, order: Order, couriers: dict[str, Courier], form: MultiDict[str, str]) -> int:
    courier = couriers.get(form.get(f"courier-{order.id}", ""))
    if courier is None:
        raise ValueError("Choose a courier.")
    if obstacle := _obstacle(order):
        raise ValueError(obstacle)
    typed = clean(form.get(f"city-{order.id}") or order.address.get("city"), 100)
    city = courier.city(typed)
    if city is None:
        near = courier.atlas.nearest(typed)
        raise ValueError(f"{courier.label} does not go to “{typed}”." + (f" Is it {near}?" if near else ""))
    weight = _weight(form.get(f"weight-{order.id}", "") or store.policy.parcel_weight)
    wanted = {"city": city.name, "city_code": city.code, "weight": str(weight)}
    return int(put_booking(session, order, courier.connection, wanted))


@pages.post("/confirm/<int:order_id>")
@signed_in
def confirm(order_id: int) -> AnyResponse:
    """The merchant has spoken with the customer: the order stands."""
    with house().db.lane(merchant().store_id) as session:
        order = session.get(Order, order_id, options=whole()) if order_id < 2**62 else None
        if order is None:
            abort(404, "There is no such order in this store.")
        if order.confirmation in ("awaiting", "expired"):
            store, now = session.get_one(Store, merchant().store_id), session.now()
            note = "confirmed by hand"
            moved = [
                move(session, order, "confirmation", "confirmed", cause="merchant", at=now, note=note),
                move(session, order, "held", "", cause="merchant", at=now) if order.held == "no_answer" else None,
            ]
            react(
                session,
                Desk(session, store, house().registry),
                Settled(session, store),
                [m for m in moved if m is not None],
            )
        bells = set(session.bells)
    house().ring_all(bells, merchant().store_id)
    return redirect(link("dispatch.show"), 303)


@pages.post("/cancel/<int:shipment_id>")
@signed_in
def cancel(shipment_id: int) -> AnyResponse:
    """Take a booking back, as long as the courier has not fetched the parcel."""
    with house().db.lane(merchant().store_id) as session:
        shipment = session.get(Shipment, shipment_id) if shipment_id < 2**62 else None
        if shipment is None or shipment.booked_at is None:
            abort(404, "There is no such booking in this store.")
        if shipment.status not in BEFORE_PICKUP:
            abort(409, "The courier has this parcel already. Please speak to them.")
        put_cancellation(session, shipment)
        bells = set(session.bells)
    house().ring_all(bells, merchant().store_id)
    return redirect(link("dispatch.show"), 303)


@pages.post("/labels")
@signed_in
def labels() -> Any:
    """The labels of the chosen parcels, of whichever couriers, as one PDF."""
    here, store_id = house(), merchant().store_id
    ids = [int(raw) for raw in request.form.getlist("parcel") if raw.isdecimal() and len(raw) < 19][:MOST_LABELS]
    with here.db.read(store_id) as session:
        chosen = session.scalars(
            select(Shipment).where(Shipment.id.in_(ids), Shipment.booked_at.is_not(None)).order_by(Shipment.id)
        ).all()
        accounts = {connection.adapter: connection.id for connection in living(session, "couriers")}
        by_courier: dict[str, list[Any]] = {}
        for shipment in chosen:
            by_courier.setdefault(shipment.adapter, []).append(booked_of(shipment))
    if not by_courier:
        abort(422, "Choose the parcels whose labels you want to print.")
    sheets: list[bytes] = []
    for name, parcels in by_courier.items():
        adapter = here.registry.get("couriers", name)
        if name not in accounts or not offers(adapter, Books):
            raise PermanentError(f"{adapter.label} is not connected any more, so it gives no labels.")
        account = open_account(here, store_id, accounts[name])
        for first in range(0, len(parcels), adapter.most_labels):
            sheets.append(adapter.labels(account, parcels[first : first + adapter.most_labels]))
    answer = Response(merged(sheets, "one of your couriers"), content_type="application/pdf")
    answer.headers["Content-Disposition"] = 'inline; filename="labels.pdf"'
    return answer


@pages.post("/rules")
@signed_in
def add_rule() -> Any:
    """One more rule, after those there are."""
    form = request.form
    cities = tuple(filter(None, (clean(city, 60) for city in form.get("cities", "")[:1000].split(","))))
    rule = Rule(
        courier=form.get("courier", ""),
        cities=cities,
        payment=form.get("payment", "") if form.get("payment") in ("cod", "paid") else "",
        weight_up_to=form.get("weight_up_to", "").strip(),
        value_over=form.get("value_over", "").strip(),
    )
    numbers = (rule.weight_up_to, rule.value_over)
    with house().db.lane(merchant().store_id) as session:
        if rule.courier not in {courier.name for courier in _couriers(session)}:
            session.rollback()
            return _show(422, fault="Choose one of your couriers for the rule.", adding=True)
        if any(text and dispatch.number(text) is None for text in numbers):
            session.rollback()
            return _show(422, fault="Weight and value of a rule are plain numbers, like 0.5 or 5000.", adding=True)
        store = session.get_one(Store, merchant().store_id)
        store.decide(replace(store.policy, routes=(*store.policy.routes, rule.stored())[:50]))
    return redirect(link("dispatch.show") + "#rules", 303)


@pages.post("/weight")
@signed_in
def change_weight() -> Any:
    """What a parcel weighs of which nobody says otherwise."""
    try:
        weight = _weight(request.form.get("parcel_weight", ""))
    except ValueError as fault:
        return _show(422, fault=str(fault))
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        store.decide(replace(store.policy, parcel_weight=format(weight, "f")))
    return redirect(link("dispatch.show") + "#rules", 303)


def _weight(typed: str) -> Decimal:
    """Kilograms. Raises ValueError with a sentence."""
    weight = dispatch.number(typed)
    if weight is None or weight > MOST_WEIGHT:
        raise ValueError(f"Give the weight in kilograms, like 0.5, and {MOST_WEIGHT} at most.")
    return weight


@pages.post("/rules/<int:place>/delete")
@signed_in
def delete_rule(place: int) -> AnyResponse:
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        kept = tuple(stored for at, stored in enumerate(store.policy.routes) if at != place)
        store.decide(replace(store.policy, routes=kept))
    return redirect(link("dispatch.show") + "#rules", 303)


def _couriers(session: Session) -> list[Courier]:
    """The connected couriers that can be booked."""
    known = dispatch.atlases(session)
    found = []
    for connection in living(session, "couriers"):
        adapter = house().registry.find("couriers", connection.adapter)
        if adapter is not None and offers(adapter, Books):
            found.append(Courier(connection, adapter.label, known.get(connection.id, dispatch.Atlas(()))))
    return found


def _obstacle(order: Order) -> str:
    if order.contact is None or not order.contact.phone:
        return "The order has no phone number that a rider could call."
    if not order.address.get("line1"):
        return "The order has no street address."
    return ""


def _lines(
    session: Session, store: Store, couriers: Sequence[Courier], busy: set[int | None], failed: dict[int | None, str]
) -> list[Line]:
    rules, by_name = dispatch.rules_of(store.policy), {courier.name: courier for courier in couriers}
    weight = dispatch.number(store.policy.parcel_weight) or Decimal("0.5")
    lines = []
    for order in dispatch.to_send(session, MOST_AT_ONCE):
        if order.id in busy:
            continue
        suggestion = dispatch.suggest(order, weight, couriers, rules)
        typed = str(order.address.get("city", ""))
        chosen = by_name.get(suggestion.courier)
        city = chosen.city(typed) if chosen is not None else None
        lines.append(
            Line(
                order=order,
                suggestion=suggestion,
                city=city.name if city is not None else typed,
                known=city is not None and bool(chosen and chosen.atlas.cities),
                weight=str(weight),
                obstacle=_obstacle(order),
                failed=failed.get(order.id, ""),
            )
        )
    return lines


def _show(status: int = 200, *, faults: dict[int, str] | None = None, fault: str = "", adding: bool = False) -> Any:
    with house().db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        couriers = _couriers(session)
        history = dispatch.records(session) if couriers else {}
        for courier in couriers:
            courier.record = history.get(courier.name, {})
        recent = session.scalars(
            select(Outbox)
            .where(Outbox.kind == "courier", Outbox.created_at > session.now() - _SHOWN_FOR)
            .order_by(Outbox.id)
            .options(selectinload(Outbox.order))
        ).all()
        under_way = [row for row in recent if row.state in ("queued", "sending")]
        failed = {
            row.order_id: row.sentence if row.state == "failed" else ""
            for row in recent
            if (row.change or {}).get("do") == "book"
        }
        booked = session.scalars(
            select(Shipment)
            .where(Shipment.booked_at > session.now() - _SHOWN_FOR)
            .order_by(Shipment.booked_at.desc(), Shipment.id.desc())
            .limit(MOST_LABELS)
            .options(selectinload(Shipment.order))
        ).all()
        busy = {row.order_id for row in under_way if (row.change or {}).get("do") == "book"}
        lines = _lines(session, store, couriers, busy, failed)
        for line in lines:
            line.failed = (faults or {}).get(line.order.id, "") or line.failed
        waiting = dispatch.not_yet(session)
        return page(
            "dispatch.html",
            status,
            store=store,
            couriers=couriers,
            lines=lines,
            under_way=under_way,
            waiting=[(order, dispatch.why_not(order)) for order in waiting],
            booked=booked,
            before_pickup=BEFORE_PICKUP,
            words=STATUS_WORDS,
            rules=dispatch.rules_of(store.policy),
            labels={courier.name: courier.label for courier in couriers},
            cities=sorted({city.name for courier in couriers for city in courier.atlas.cities.values()}),
            fault=fault,
            adding=adding,
            begun=request.args.get("begun", ""),
            none=bool(request.args.get("none")),
        )
