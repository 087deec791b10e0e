"""/app/look: parcels that a person should look at, each with its evidence on one card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, redirect, request
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from integration.events import UNKNOWN
from integration.inbox import Message
from integration.journeys import Settled, react
from integration.orders import Book, Shipment, explain
from integration.outbox import Desk, put_instruction
from integration.parcels import REMARKS, STATUSES
from integration.ports import Advice, Tracks, offers
from integration.stores import Connection, Store
from integration.story import REASON_WORDS, STATUS_WORDS
from integration.watch import KINDS, unexplained, watched

from .auth import house, link, merchant, page, signed_in

pages = Blueprint("look", __name__, url_prefix="/app/look")

_CARDS = 50

MEANINGS = [*STATUSES, *sorted(REMARKS - {UNKNOWN, "reattempt_asked", "disputed"})]
"""What a courier's word may mean."""


@pages.get("/")
@signed_in
def show() -> Any:
    with house().db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        found = watched(session, store)
        orders = [shipment.order_id for shipment, _ in found[:_CARDS]]
        said: dict[int, list[Message]] = {}
        query = select(Message).where(Message.order_id.in_(orders), Message.sender == "customer")
        for message in session.scalars(query.order_by(Message.id.desc()).limit(200)):
            said.setdefault(message.order_id or 0, []).append(message)
        return page(
            "look.html",
            store=store,
            found=found[:_CARDS],
            total=len(found),
            said=said,
            kinds=KINDS,
            words=STATUS_WORDS,
            reasons=REASON_WORDS,
            couriers=_couriers(session),
            meanings=MEANINGS,
        )


@pages.post("/<int:shipment_id>/seen")
@signed_in
def seen(shipment_id: int) -> AnyResponse:
    """Somebody has looked: what arose until now is no concern any more."""
    with house().db.lane(merchant().store_id) as session:
        shipment = _shipment(session, shipment_id)
        shipment.looked_at = session.now()
    return redirect(link("look.show"), 303)


@pages.post("/<int:shipment_id>/courier")
@signed_in
def courier(shipment_id: int) -> AnyResponse:
    """The merchant says who carries a parcel."""
    with house().db.lane(merchant().store_id) as session:
        shipment = _shipment(session, shipment_id)
        if request.form.get("courier") not in _couriers(session):
            abort(422, "Choose one of your couriers.")
        shipment.adapter, shipment.poll_at = request.form["courier"], session.now()
    house().ring("chores", merchant().store_id)
    return redirect(link("look.show"), 303)


@pages.post("/<int:shipment_id>/word")
@signed_in
def word(shipment_id: int) -> AnyResponse:
    """The merchant says what a courier's word means that Dastak does not know."""
    status = request.form.get("status", "")
    with house().db.lane(merchant().store_id) as session:
        shipment, store = _shipment(session, shipment_id), session.get_one(Store, merchant().store_id)
        scan = unexplained(shipment.scans)
        if status not in MEANINGS or scan is None or not shipment.adapter:
            abort(422, "Choose one of the meanings.")
        changes = explain(Book(session, store), shipment.adapter, scan.raw_code or scan.raw_text, status)
        react(session, Desk(session, store, house().registry), Settled(session, store), changes)
        bells = set(session.bells)
    house().ring_all(bells, merchant().store_id)
    return redirect(link("look.show"), 303)


@pages.post("/<int:shipment_id>/advise")
@signed_in
def advise(shipment_id: int) -> AnyResponse:
    """The merchant decides for the customer: the courier shall try again, or bring it back."""
    action = request.form.get("action")
    notes = {"reattempt": "Please deliver again", "return": "Please return it to the shipper"}
    if action not in notes:
        abort(422, "Choose what the courier shall do.")
    with house().db.lane(merchant().store_id) as session:
        shipment = _shipment(session, shipment_id)
        said = f"merchant/{session.now():%Y%m%d%H%M}"
        put_instruction(session, shipment, said, Advice(action=action, note=notes[action]))
        bells = set(session.bells)
    house().ring_all(bells, merchant().store_id)
    return redirect(link("look.show"), 303)


def _shipment(session: Any, shipment_id: int) -> Shipment:
    shipment: Shipment | None = session.get(Shipment, shipment_id) if shipment_id < 2**62 else None
    if shipment is None:
        abort(404, "There is no such parcel in this store.")
    return shipment


def _couriers(session: Any) -> Mapping[str, str]:
    """The connected couriers that can be asked, by name, as they are called."""
    living = select(Connection.adapter).where(Connection.room == "couriers", Connection.removed_at.is_(None))
    adapters = {name: house().registry.find("couriers", name) for name in session.scalars(living)}
    return {
        name: adapter.label for name, adapter in adapters.items() if adapter is not None and offers(adapter, Tracks)
    }
