"""What a person or a shop may ask of us by law: see what is kept, have it erased. And what is forgotten by itself.

A vendor's privacy webhook becomes a `PrivacyRequest` at once and is carried out by the upkeep: an export is laid
ready for the merchant, an erasure removes the person's data from every table, raw requests included. It works without
any access to the vendor.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import String, delete, func, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column, selectinload

from .claims import Claim, Picture, StatementLine
from .customers import ContactPoint, Customer
from .db import Base, Id, Instant, Json, Session, Tenant
from .events import PrivacyRequested
from .inbox import Conversation, Message
from .intents import close_intents
from .orders import Order, Shipment, ShipmentEvent, Transition
from .outbox import Outbox, Touchpoint
from .stores import Store
from .values import phone, phone_variants

REDACTED = "(erased)"


class PrivacyRequest(Tenant, Base):
    """One request under privacy law, and how it was met."""

    __tablename__ = "privacy_requests"

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    kind: Mapped[str] = mapped_column(String(24))
    """export, erase_customer or erase_store."""
    wanted: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """Who it is about, as the vendor named them. Once they are erased only the vendor's number of the request stays."""
    result: Mapped[dict[str, Any] | None] = mapped_column(Json, default=None)
    asked_at: Mapped[datetime] = mapped_column(Instant)
    met_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    sentence: Mapped[str] = mapped_column(String(300), default="")


def record(session: Session, fact: PrivacyRequested) -> PrivacyRequest:
    """Take a request down; the same request twice is one."""
    if fact.request_id:
        for known in session.scalars(select(PrivacyRequest).where(PrivacyRequest.kind == fact.kind)):
            if known.wanted.get("request_id") == fact.request_id:
                return known
    request = PrivacyRequest(
        store_id=session.store_id,
        kind=fact.kind,
        asked_at=fact.occurred_at,
        wanted={
            "customer_id": fact.customer_id,
            "email": fact.email,
            "phone": fact.phone,
            "order_ids": list(fact.order_ids),
            "request_id": fact.request_id,
        },
    )
    session.add(request)
    session.flush()  # the next of the same batch may be the same request
    return request


def meet_requests(session: Session) -> int:
    """Carry out what is open. An erasure of a store waits for nothing: it comes long after the app was removed."""
    store = session.get_one(Store, session.store_id)
    met = 0
    for request in session.scalars(select(PrivacyRequest).where(PrivacyRequest.met_at.is_(None))):
        if request.kind == "erase_store":
            if store.active and store.installed_at > request.asked_at:
                request.sentence = "the store was installed again since, so nothing was erased"
            else:
                erase_store(session, store)
                for other in session.scalars(select(PrivacyRequest)):
                    _forget_whom(other)
                request.sentence = "everything about the store's customers and orders was erased"
        else:
            customers, orders = find_people(session, request.wanted, store)
            if request.kind == "export":
                request.result = export(session, customers, orders)
                request.sentence = f"{len(customers)} customers and {len(orders)} orders are ready to hand over"
            else:
                erase(session, customers, orders, request.wanted)
                _forget_whom(request)
                request.sentence = f"{len(customers)} customers and {len(orders)} orders were erased"
        request.met_at = session.now()
        met += 1
    return met


def _forget_whom(request: PrivacyRequest) -> None:
    """That somebody asked, and what was done, stays as proof; who it was does not."""
    request.wanted = {"request_id": request.wanted.get("request_id", "")}
    request.result = None


def find_people(session: Session, wanted: dict[str, Any], store: Store) -> tuple[list[Customer], list[Order]]:
    """Everyone and every order that a request may mean: by the vendor's id, by e-mail, by phone in any spelling, by the
    orders it names.
    """
    number = phone(wanted.get("phone"), store.country)
    tests = []
    if wanted.get("customer_id"):
        tests.append(Customer.external_id == wanted["customer_id"])
    if wanted.get("email"):
        tests.append(func.lower(Customer.email) == wanted["email"].lower())
    if number:
        spellings = phone_variants(number)
        reached = select(ContactPoint.customer_id).where(
            or_(ContactPoint.phone.in_(spellings), ContactPoint.former_phone.in_(spellings))
        )
        tests.append(Customer.id.in_(reached))
    order_ids = [str(i) for i in wanted.get("order_ids", ())]
    if order_ids:
        tests.append(Customer.id.in_(select(Order.customer_id).where(Order.external_id.in_(order_ids))))
    customers = list(session.scalars(select(Customer).where(or_(*tests)))) if tests else []
    ids = [customer.id for customer in customers]
    orders = session.scalars(
        select(Order)
        .where(or_(Order.customer_id.in_(ids), Order.external_id.in_(order_ids)))
        .options(selectinload(Order.items))
    ).all()
    return customers, list(orders)


def export(session: Session, customers: list[Customer], orders: list[Order]) -> dict[str, Any]:
    """All that is kept about these people, in plain words."""
    ids = [customer.id for customer in customers]
    contacts = session.scalars(
        select(ContactPoint).where(ContactPoint.customer_id.in_(ids)).options(selectinload(ContactPoint.consents))
    ).all()
    said = session.scalars(
        select(Message)
        .join(Conversation)
        .where(Conversation.contact_point_id.in_([c.id for c in contacts]))
        .order_by(Message.at)
    ).all()
    return {
        "customers": [{"name": c.name, "email": c.email, "country": c.country} for c in customers],
        "contact_points": [
            {
                "phone": c.phone,
                "user_id": c.user_id,
                "language": c.language,
                "consents": [
                    {"purpose": w.purpose, "state": w.state, "source": w.source, "evidence": w.evidence, "at": w.at}
                    for w in c.consents
                ],
            }
            for c in contacts
        ],
        "orders": [
            {
                "name": o.name,
                "placed_at": o.placed_at,
                "total": str(o.total),
                "currency": o.currency,
                "customer_name": o.customer_name,
                "address": o.address,
                "items": [{"title": i.title, "quantity": i.quantity} for i in o.items],
            }
            for o in orders
        ],
        "messages": [{"sender": m.sender, "text": m.text, "at": m.at} for m in said],
    }


def erase(session: Session, customers: list[Customer], orders: list[Order], wanted: dict[str, Any]) -> None:
    """Remove these people's data. Orders keep their amounts and states, which are the shop's own books."""
    ids = [customer.id for customer in customers]
    contacts = session.scalars(select(ContactPoint).where(ContactPoint.customer_id.in_(ids))).all()
    named = {wanted.get("phone"), wanted.get("email"), *(c.email for c in customers)}
    named |= {known for c in contacts for known in (c.user_id, c.channel_id, *phone_variants(c.phone or ""))}
    named |= {known for c in contacts for known in phone_variants(c.former_phone or "")}
    traces = {trace.lstrip("+").lower() for trace in named if trace and len(trace) > 6}
    subjects = {f"order:{o.external_id}" for o in orders} | {f"contact:{c.id}" for c in contacts}
    for order in orders:
        close_intents(session, order, "its customer was forgotten")
        order.customer_name, order.address, order.erased_at = REDACTED, {}, session.now()
        order.contact = order.customer = None
        order.contact_point_id = order.customer_id = None
    session.flush()
    session.execute(
        update(Transition)
        .where(Transition.order_id.in_([o.id for o in orders]), Transition.cause == "customer")
        .values(note=REDACTED)
    )
    _erase_what_couriers_heard(session, [o.id for o in orders])
    _erase_proofs(session, [o.id for o in orders])
    for contact in contacts:
        session.execute(delete(ContactPoint).where(ContactPoint.id == contact.id))
    for customer in customers:
        session.execute(delete(Customer).where(Customer.id == customer.id))
    _erase_exports(session, {o.external_id for o in orders}, traces)
    _erase_requests(session, subjects, traces)


def _erase_what_couriers_heard(session: Session, order_ids: list[int]) -> None:
    """An address that a customer wrote stands in the answer that read it back, in what the courier was told, and in the
    parcel's scans.
    """
    answers = update(Touchpoint).where(Touchpoint.order_id.in_(order_ids), Touchpoint.reply != "")
    session.execute(answers.values(given={}, because="").execution_options(synchronize_session=False))
    for row in session.scalars(select(Outbox).where(Outbox.order_id.in_(order_ids), Outbox.kind == "courier")):
        kept = {name: value for name, value in (row.change or {}).items() if name in ("do", "adapter", "shipment_id")}
        row.change = kept
        if row.state in ("queued", "sending"):
            row.state, row.settled_at, row.sentence = "cancelled", session.now(), "its customer was forgotten"
    parcels = select(Shipment.id).where(Shipment.order_id.in_(order_ids))
    scans = update(ShipmentEvent).where(ShipmentEvent.shipment_id.in_(parcels))  # couriers write there who took it
    session.execute(scans.values(raw_text="", location="").execution_options(synchronize_session=False))


def _erase_proofs(session: Session, order_ids: list[int]) -> None:
    """Pictures of payments go, and who sent them. That a transaction was used stays: it pays once for ever."""
    claims = session.scalars(select(Claim).where(Claim.order_id.in_(order_ids))).all()
    lines = [claim.line_id for claim in claims if claim.line_id is not None]
    for claim in claims:
        claim.why, claim.note, claim.message_id = "", "", None
    session.execute(delete(Picture).where(Picture.claim_id.in_([claim.id for claim in claims])))
    senders = update(StatementLine).where(StatementLine.id.in_(lines))
    session.execute(senders.values(sender="", name="", note="").execution_options(synchronize_session=False))


def _erase_exports(session: Session, order_ids: set[str], traces: set[str]) -> None:
    """What was once laid ready about these people goes too."""
    for request in session.scalars(select(PrivacyRequest).where(PrivacyRequest.kind == "export")):
        kept = orjson.dumps([request.wanted, request.result]).lower()
        if order_ids.intersection(request.wanted.get("order_ids", ())) or any(t.encode() in kept for t in traces):
            _forget_whom(request)


def _erase_requests(session: Session, subjects: set[str], traces: set[str]) -> None:
    """Raw requests hold the same data. Those about these people are emptied; they are at most 90 days old."""
    table = Base.metadata.tables["webhook_deliveries"]
    rows = session.connection().execute(
        select(table.c.id, table.c.subjects, table.c.body).where(table.c.store_id == session.store_id)
    )
    hit = [
        row.id
        for row in rows.yield_per(500)
        if subjects.intersection(row.subjects or ()) or any(trace.encode() in row.body.lower() for trace in traces)
    ]
    for start in range(0, len(hit), 500):
        session.connection().execute(
            table.update().where(table.c.id.in_(hit[start : start + 500])).values(body=b"", subjects=[])
        )


def erase_store(session: Session, store: Store) -> None:
    """Forget everything a shop ever gave us but that it was here."""
    store_id = store.id
    keep = {"stores", "connections", "privacy_requests"}
    for table in reversed(Base.metadata.sorted_tables):
        if table.name not in keep and "store_id" in table.c:
            session.connection().execute(table.delete().where(table.c.store_id == store_id))
    for connection in store.connections:
        connection.sealed, connection.removed_at = None, connection.removed_at or session.now()
        connection.broke("The store asked for its data to be erased.")
    store.email, store.erased_at = "", session.now()
    store.uninstalled_at = store.uninstalled_at or session.now()
