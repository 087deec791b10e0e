"""/app/orders: every order, and one order's whole story."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, request
from sqlalchemy import func, or_, select
from sqlalchemy.orm import selectinload
from werkzeug.wrappers import Response as AnyResponse

from integration.access import open_account
from integration.couriers import booked_of
from integration.guards import zone_of
from integration.inbox import Conversation
from integration.money import AWAITED
from integration.orders import Order, Shipment, address_of, language_for, whole
from integration.ports import Proof, Proves, offers
from integration.stores import Connection, Store
from integration.story import STATUS_WORDS, tell
from integration.values import RIGHT_TO_LEFT, Money, clean

from .auth import house, link, merchant, page, signed_in
from .channels import LANGUAGE_NAMES
from .payments import ask_to_pay, positive, ways

pages = Blueprint("orders", __name__, url_prefix="/app/orders")

PER_PAGE = 50

VIEWS: dict[str, tuple[str, Any]] = {
    "all": ("All", None),
    "awaiting": ("Waiting for an answer", Order.confirmation == "awaiting"),
    "confirmed": ("Confirmed", Order.confirmation == "confirmed"),
    "no_answer": ("No answer", Order.confirmation == "expired"),
    "cancelled": ("Cancelled", Order.confirmation.in_(("declined", "cancelled"))),
}

TONES = {
    "awaiting": "wait", "confirmed": "good", "declined": "bad", "cancelled": "bad", "expired": "bad", "paid": "good",
    "cod_due": "", "pending": "wait", "failed": "bad", "claimed": "wait", "delivered": "good", "not_needed": "",
}  # fmt: skip


@pages.get("")
@signed_in
def listing() -> Any:
    view = request.args.get("view", "all")
    view = view if view in VIEWS else "all"
    search = clean(request.args.get("q"), 64)
    before = request.args.get("before", "")
    with house().db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        query = select(Order).order_by(Order.id.desc()).limit(PER_PAGE + 1).options(selectinload(Order.items))
        if VIEWS[view][1] is not None:
            query = query.where(VIEWS[view][1])
        if search:
            named = search.lstrip("#")
            query = query.where(
                or_(
                    Order.name.in_((named, f"#{named}")),
                    Order.external_id == named,
                    func.lower(Order.customer_name).contains(search.lower(), autoescape=True),
                )
            )
        if before.isdecimal() and len(before) < 19:
            query = query.where(Order.id < int(before))
        rows = session.scalars(query).all()
        counts = dict(session.execute(select(Order.confirmation, func.count()).group_by(Order.confirmation)).all())
        return page(
            "orders.html",
            store=store,
            orders=rows[:PER_PAGE],
            more=rows[PER_PAGE - 1].id if len(rows) > PER_PAGE else None,
            views=VIEWS,
            view=view,
            search=search,
            words=STATUS_WORDS,
            tones=TONES,
            total=sum(counts.values()),
            counts={"awaiting": counts.get("awaiting", 0), "no_answer": counts.get("expired", 0)},
        )


@pages.get("/<int:order_id>")
@signed_in
def show(order_id: int) -> Any:
    return _show(order_id)


@pages.post("/<int:order_id>/ask")
@signed_in
def ask(order_id: int) -> Any:
    """Ask the customer for what is due of an order, or for a part of it in advance."""
    here, store_id, form = house(), merchant().store_id, request.form
    try:
        amount = positive(clean(form.get("amount"), 40))
    except ValueError as wrong:
        return _show(order_id, fault=str(wrong), status=422)
    with here.db.lane(store_id) as session:
        order = session.get(Order, order_id, options=whole()) if order_id < 2**62 else None
        if order is None:
            abort(404, "There is no such order in this store.")
        store = session.get_one(Store, store_id)
        means = next((one for one in ways(session, store, order.currency) if one.name == form.get("means")), None)
        fault = "Choose how it is to be paid." if means is None else ask_to_pay(session, store, order, amount, means)
        bells = set(session.bells)
    here.ring_all(bells, store_id)
    if fault:
        return _show(order_id, fault=fault, status=422)
    return redirect(link("orders.show", order_id=order_id) + "#money", 303)


@pages.post("/<int:order_id>/proof/<int:shipment_id>")
@signed_in
def proof(order_id: int, shipment_id: int) -> Any:
    """Ask the courier what it holds as proof of a delivery."""
    here, store_id = house(), merchant().store_id
    with here.db.read(store_id) as session:
        shipment = session.get(Shipment, shipment_id) if shipment_id < 2**62 else None
        if shipment is None or shipment.order_id != order_id:
            abort(404, "There is no such parcel in this order.")
        adapter, booked = here.registry.find("couriers", shipment.adapter), booked_of(shipment)
        living = (Connection.adapter == shipment.adapter, Connection.removed_at.is_(None))
        connection_id = session.scalar(select(Connection.id).where(*living))
    if adapter is None or connection_id is None or not offers(adapter, Proves):
        abort(422, "No courier is connected that could show proof of this delivery.")
    return _show(order_id, proof=(shipment_id, adapter.proof(open_account(here, store_id, connection_id), booked)))


def _show(order_id: int, *, proof: tuple[int, Proof | None] | None = None, fault: str = "", status: int = 200) -> Any:
    with house().db.read(merchant().store_id) as session:
        order = session.get(Order, order_id) if order_id < 2**62 else None
        if order is None:
            abort(404, "There is no such order in this store.")
        store = session.get_one(Store, merchant().store_id)
        talk = None
        if order.contact_point_id is not None:
            talk = session.scalar(select(Conversation).where(Conversation.contact_point_id == order.contact_point_id))
        language = language_for(order, store.policy)
        return page(
            "order.html",
            status,
            store=store,
            order=order,
            story=tell(session, order),
            words=STATUS_WORDS,
            tones=TONES,
            address=address_of(order),
            talk=talk,
            language=LANGUAGE_NAMES.get(language, language),
            rtl=RIGHT_TO_LEFT,
            zone=zone_of(order.contact, store),
            parcels=[parcel for parcel in order.shipments if parcel.status != "cancelled"],
            provers={name for name, one in house().registry.room("couriers").items() if offers(one, Proves)},
            proof=proof,
            ways=ways(session, store, order.currency) if _may_be_asked(order) else [],
            asks=_may_be_asked(order),
            received=Money(order.received, order.currency),
            asked=request.form,
            fault=fault,
            now=session.now(),
        )


def _may_be_asked(order: Order) -> bool:
    """Is money still wanted of an order, and in time?"""
    waits = order.payment in AWAITED | {"cod_due"} and order.due.amount > 0
    return waits and not order.gone and not order.dispatched and order.removed_at is None


@pages.post("/<int:order_id>/seen")
@signed_in
def seen(order_id: int) -> AnyResponse:
    """The merchant has looked after the customer: nobody else needs to."""
    with house().db.lane(merchant().store_id) as session:
        order = session.get(Order, order_id) if order_id < 2**62 else None
        if order is None:
            abort(404, "There is no such order in this store.")
        talk = session.scalar(select(Conversation).where(Conversation.contact_point_id == order.contact_point_id))
        if talk is not None:
            talk.needs_person, talk.needs_person_since = "", None
    return redirect(link("orders.show", order_id=order_id), 303)
