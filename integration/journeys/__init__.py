"""The engine: journeys are declared one per file beside this one, as data a merchant could read aloud.

`react` turns what happened to an order or its parcels into enrollments and exits; `advance` turns time into messages.
An enrollment is one order in one journey on one occasion (for ever, of one parcel, of a day), once. It carries its own
plan, the steps still to come with their times, so what will happen can be seen, and a later version of the journey
changes nothing for those already in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, select, text
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship, selectinload
from sqlalchemy.orm.attributes import set_committed_value

from ..checkpoints import reached
from ..customers import ContactPoint
from ..db import Base, Id, Instant, Json, Session, Tenant
from ..guards import SKIP_REASONS
from ..house import House
from ..intents import TRANSFER, Means, close_intents, current, open_intent, payable
from ..money import AWAITED, SETTLED
from ..orders import Change, Order, ParcelMoved, Shipment, Transition, move, ours
from ..outbox import Desk, Touchpoint, cancel_touchpoint, put_message, put_write_back
from ..parcels import minute
from ..ports import ParcelTold, StoreChange
from ..stores import Store
from .cancellation import CANCELLATION
from .cod_confirmation import COD_CONFIRMATION
from .definition import ORDER_STANDS, Journey, Step
from .delivered import DELIVERED
from .delivery_attempted import DELIVERY_ATTEMPTED
from .dispatched import DISPATCHED
from .order_confirmation import ORDER_CONFIRMATION
from .out_for_delivery import OUT_FOR_DELIVERY
from .payment_received import PAYMENT_RECEIVED
from .payment_request import PAYMENT_REQUEST
from .prepaid_offer import PREPAID_OFFER
from .ready_for_pickup import READY_FOR_PICKUP
from .returning import RETURNING

JOURNEYS: dict[str, Journey] = {
    journey.name: journey
    for journey in (
        COD_CONFIRMATION,
        PAYMENT_REQUEST,
        PAYMENT_RECEIVED,
        ORDER_CONFIRMATION,
        PREPAID_OFFER,
        CANCELLATION,
        DISPATCHED,
        OUT_FOR_DELIVERY,
        DELIVERY_ATTEMPTED,
        READY_FOR_PICKUP,
        DELIVERED,
        RETURNING,
    )
}
"""In the order of an order's life."""


class Enrollment(Tenant, Base):
    """One order in one journey, on one occasion."""

    __tablename__ = "enrollments"
    __table_args__ = (
        UniqueConstraint("order_id", "journey", "occasion", name="one_enrollment_per_occasion"),
        Index(
            "enrollments_due",
            "next_due_at",
            sqlite_where=text("next_due_at IS NOT NULL"),
            postgresql_where=text("next_due_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    order_id: Mapped[int] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"))
    journey: Mapped[str] = mapped_column(String(40))
    occasion: Mapped[str] = mapped_column(String(64), default="")
    """What it may begin once for: empty for the order, the parcel's token, or that with a day."""
    shipment_id: Mapped[int | None] = mapped_column(Id, ForeignKey("shipments.id", ondelete="CASCADE"), default=None)
    version: Mapped[int] = mapped_column(default=1)
    state: Mapped[str] = mapped_column(String(16), default="active")
    """active, done, left (an exit ended it) or off (something kept it from beginning)."""
    sentence: Mapped[str] = mapped_column(String(200), default="")
    plan: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    """The steps still to come, earliest first, each with all its data."""
    next_due_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    began_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant, default=None)

    order: Mapped[Order] = relationship(viewonly=True)
    shipment: Mapped[Shipment | None] = relationship(viewonly=True)
    touchpoints: Mapped[list[Touchpoint]] = relationship(viewonly=True, order_by="Touchpoint.id", lazy="selectin")

    def end(self, state: str, sentence: str, at: datetime) -> None:
        self.state, self.sentence, self.ended_at = state, sentence[:200], at
        self.plan, self.next_due_at = [], None

    def expect(self, plan: list[dict[str, Any]], at: datetime) -> None:
        """Set what is still to come; with nothing left the journey is done."""
        self.plan = sorted(plan, key=lambda step: str(step["due_at"]))
        self.next_due_at = due_at(self.plan[0]) if self.plan else None
        if not self.plan and self.state == "active":
            self.end("done", "", at)


def due_at(step: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(step["due_at"])


class JourneySetting(Tenant, Base):
    """A merchant's changes to a journey, over its default."""

    __tablename__ = "journey_settings"
    __table_args__ = (UniqueConstraint("store_id", "journey", name="one_setting_per_journey"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    journey: Mapped[str] = mapped_column(String(40))
    enabled: Mapped[bool] = mapped_column(default=True)
    delays: Mapped[dict[str, float]] = mapped_column(Json, default=dict)
    """Hours per step, where they differ from the default."""


class Settled:
    """The journeys of one store with its own changes applied."""

    def __init__(self, session: Session, store: Store) -> None:
        self._store = store
        self._changes = {row.journey: row for row in session.scalars(select(JourneySetting))}

    def enabled(self, journey: Journey) -> bool:
        change = self._changes.get(journey.name)
        return change is None or change.enabled

    def steps(self, journey: Journey) -> tuple[Step, ...]:
        """The steps with the merchant's delays. The expiry follows the store's policy."""
        change = self._changes.get(journey.name)
        delays = dict(change.delays) if change is not None else {}
        policy = self._store.policy
        for step in journey.steps:  # what puts an order on hold follows the merchant's policy
            if step.action != "message":
                waits = policy.confirmation_hours if step.action == "expire" else policy.payment_hours
                delays.setdefault(step.name, waits)
        return tuple(
            replace(step, after=timedelta(hours=delays[step.name])) if step.name in delays else step
            for step in journey.steps
        )


# -- react ---------------------------------------------------------------------------------------------------------


def react(session: Session, desk: Desk, settled: Settled, changes: Iterable[Change]) -> None:
    """Begin and end journeys for what just changed. Part of the transaction that changed it."""
    for change in changes:
        order = change.order
        _leave(session, order)
        _close_intents(session, order)
        for journey in JOURNEYS.values():
            if journey.begins(change, order):
                _enrol(session, desk, settled, journey, order, change)
        if isinstance(change, ParcelMoved):
            tell_store_parcel(session, desk.store, change)
        elif change.axis == "confirmation":
            tell_store(session, order, change)


def leave_all(session: Session, order: Order) -> None:
    """End what can no longer be relevant, for changes that are no transition (an order thrown away)."""
    _leave(session, order)


def _enrol(session: Session, desk: Desk, settled: Settled, journey: Journey, order: Order, change: Change) -> None:
    occasion = _occasion(journey, change, desk.store)
    if any(e.journey == journey.name and e.occasion == occasion for e in order.enrollments):
        return
    means = _means(desk, journey, order) if journey.asks_for else None
    if journey.asks_for and means is None:
        return  # the store takes this money itself
    enrollment = Enrollment(
        store_id=session.store_id,
        journey=journey.name,
        occasion=occasion,
        version=journey.version,
        began_at=change.at,
    )
    shipment = change.shipment if isinstance(change, ParcelMoved) else None
    set_committed_value(enrollment, "order", order)
    set_committed_value(enrollment, "shipment", shipment)
    set_committed_value(enrollment, "touchpoints", [])
    order.enrollments.append(enrollment)
    session.append(enrollment, order_id=order, shipment_id=shipment)
    if why := _not_begun(desk, settled, journey, change):
        enrollment.end("off", why, session.now())
        if journey.when_off is not None:
            axis, became = journey.when_off
            move(session, order, axis, became, cause="clock", at=change.at, note=why)
        return
    if means is not None:
        open_intent(session, order, means, order.due.amount)
    plan = [_stated(step, change.at) for step in settled.steps(journey) if step.applies(change)]
    for step in [step for step in plan if due_at(step) <= change.at]:
        plan.remove(step)
        send_now(session, desk, _contact(session, journey, enrollment, order, step))
    enrollment.expect(plan, session.now())


def _means(desk: Desk, journey: Journey, order: Order) -> Means | None:
    """The means by which the money can be paid that a journey asks for."""
    if journey.asks_for == "advance":
        chosen = desk.store.policy.prepaid_with
        return desk.means(order, chosen) if chosen else None
    return desk.means(order)


def _close_intents(session: Session, order: Order) -> None:
    """What was paid otherwise, sent or called off is asked for no more. Money that still comes counts all the same."""
    if order.gone or order.dispatched or order.payment in SETTLED - {"cod_due"}:
        why = "the order is cancelled" if order.gone else "the order was sent" if order.dispatched else "it is paid"
        close_intents(session, order, why)


def _occasion(journey: Journey, change: Change, store: Store) -> str:
    if not isinstance(change, ParcelMoved) or journey.once_per == "order":
        return ""
    day = f"/{change.at.astimezone(store.zone):%Y-%m-%d}" if journey.once_per == "day" else ""
    return change.shipment.token + day


_HISTORY = timedelta(hours=12)
"""Scans so much older than our first word of a parcel are its past, told when it was met."""


def _not_begun(desk: Desk, settled: Settled, journey: Journey, change: Change) -> str:
    if not settled.enabled(journey):
        return SKIP_REASONS["journey_off"]
    if change.order.placed_at < desk.store.installed_at - timedelta(minutes=10):
        return "the order was placed before Dastak was installed"
    if isinstance(change, ParcelMoved):
        met = min(event.seen_at for event in change.shipment.events)
        courier = desk.courier_since(change.shipment.adapter)
        if change.at < met - _HISTORY or (courier is not None and change.at < minute(courier)):
            return "it happened before Dastak knew of this parcel"
    return ""


def _stated(step: Step, began_at: datetime) -> dict[str, Any]:
    """A step as its enrollment keeps it."""
    due = began_at + step.after
    return {
        "step": step.name,
        "label": step.label,
        "action": step.action,
        "template": step.template,
        "relevance": dict(step.relevance),
        "prompt": step.prompt,
        "due_at": due.isoformat(),
        "stale_at": (due + step.fresh_for).isoformat(),
    }


def _contact(
    session: Session, journey: Journey, enrollment: Enrollment, order: Order, step: dict[str, Any]
) -> Touchpoint:
    """The touchpoint of a step whose time has come."""
    occasion = f"/{enrollment.occasion}" if enrollment.occasion else ""
    touch = Touchpoint(
        store_id=session.store_id,
        key=f"{journey.name}/{order.external_id}{occasion}/{step['step']}",
        journey=journey.name,
        step=step["step"],
        template=step["template"],
        relevance=step["relevance"],
        prompt=step["prompt"],
        message_class=journey.message_class,
        critical=journey.critical,
        because=journey.because,
        due_at=due_at(step),
        stale_at=datetime.fromisoformat(step["stale_at"]),
        made_at=session.now(),
    )
    set_committed_value(touch, "order", order)
    set_committed_value(touch, "contact", order.contact)
    set_committed_value(touch, "shipment", enrollment.shipment)
    enrollment.touchpoints.append(touch)
    session.append(
        touch,
        enrollment_id=enrollment,
        order_id=order,
        contact_point_id=order.contact,
        shipment_id=enrollment.shipment,
    )
    return touch


def send_now(session: Session, desk: Desk, touch: Touchpoint) -> None:
    """Ask the guards and, unless one says never, put the message into the outbox."""
    verdict = desk.consider(touch)
    if verdict.outcome != "skip":
        put_message(session, touch, due_at=verdict.until)


def ask_again(session: Session, desk: Desk, order: Order, because: str) -> None:
    """Say once more how an order can be paid, beside the steps of its journey."""
    intent = current(order)
    if intent is None or not payable(intent):
        return
    template = "payment_transfer_reminder" if intent.kind == TRANSFER else "payment_link_reminder"
    now = session.now()
    touch = Touchpoint(
        store_id=session.store_id,
        key=f"payment_request/{order.external_id}/again/{now:%Y%m%d%H%M%S%f}",
        journey="payment_request",
        step="again",
        template=template,
        relevance={"confirmation": ORDER_STANDS, "payment": [*AWAITED, "cod_due"], "fulfilment": ["unfulfilled"]},
        prompt=True,
        because=because,
        due_at=now,
        stale_at=now + timedelta(hours=20),
        made_at=now,
    )
    touch.order, touch.contact = order, order.contact
    session.add(touch)
    send_now(session, desk, touch)


def _leave(session: Session, order: Order) -> None:
    for enrollment in order.enrollments:
        if enrollment.state != "active" or enrollment.journey not in JOURNEYS:
            continue
        why = JOURNEYS[enrollment.journey].ends(order)
        if why:
            enrollment.end("left", why, session.now())
            for touch in enrollment.touchpoints:
                if touch.state == "queued":
                    cancel_touchpoint(session, touch, "superseded", why)


# -- advance -------------------------------------------------------------------------------------------------------


def advance(house: House, store_id: int, *, seconds: float = 2.0, batch: int = 100) -> bool:
    """What has come due goes into the outbox, for a bounded slice of time. True when more is due."""
    ends = time.monotonic() + seconds
    while True:
        with house.db.lane(store_id) as session:
            due = session.scalars(
                select(Enrollment)
                .where(Enrollment.next_due_at <= session.now())
                .order_by(Enrollment.next_due_at, Enrollment.id)
                .limit(batch)
                .options(
                    selectinload(Enrollment.order).options(
                        selectinload(Order.items),
                        selectinload(Order.intents),
                        selectinload(Order.enrollments),
                        joinedload(Order.contact).selectinload(ContactPoint.consents),
                    )
                )
            ).all()
            if not due:
                return False
            store = session.get_one(Store, store_id)
            desk, settled = Desk(session, store, house.registry), Settled(session, store)
            desk.gather(enrollment.order.contact_point_id for enrollment in due)
            for enrollment in due:
                _come_due(session, desk, settled, enrollment)
            bells = set(session.bells)
        reached("advance.after_commit")
        house.ring_all(bells, store_id)
        if len(due) < batch:
            return False
        if time.monotonic() > ends:
            return True


def _come_due(session: Session, desk: Desk, settled: Settled, enrollment: Enrollment) -> None:
    now, journey = session.now(), JOURNEYS.get(enrollment.journey)
    if journey is None:
        enrollment.end("left", "this journey no longer exists", now)
        return
    plan = [dict(step) for step in enrollment.plan]
    while plan and enrollment.state == "active" and due_at(plan[0]) <= now:
        step = plan.pop(0)
        if step["action"] != "message":
            later = _ENDINGS[step["action"]](session, desk, settled, enrollment)
            if later is not None:
                plan.append(step | {"due_at": later.isoformat()})
                break
        else:
            send_now(session, desk, _contact(session, journey, enrollment, enrollment.order, step))
    if enrollment.state == "active":
        enrollment.expect(plan, now)


def _expire(session: Session, desk: Desk, settled: Settled, enrollment: Enrollment) -> datetime | None:
    """No answer came: the order is put on hold for the merchant, never silently cancelled.

    A reminder that waited for the morning gets its time: nothing expires within `GRACE` of the last question. Then the
    time to look again is returned.
    """
    order, now = enrollment.order, session.now()
    if order.confirmation != "awaiting":
        return None
    if any(touch.state in ("queued", "unknown") for touch in enrollment.touchpoints):
        return now + timedelta(hours=1)
    asked = [touch.settled_at for touch in enrollment.touchpoints if touch.state == "sent" and touch.settled_at]
    if asked and max(asked) + GRACE > now:
        return max(asked) + GRACE
    note = "no answer came in time" if asked else NEVER_ASKED
    enrollment.end("done", note, now)
    expired = move(session, order, "confirmation", "expired", cause="clock", at=now, note=note)
    held = move(session, order, "held", "no_answer", cause="clock", at=now, note=note)
    react(session, desk, settled, [t for t in (expired, held) if t is not None])
    return None


def _hold(session: Session, desk: Desk, settled: Settled, enrollment: Enrollment) -> datetime | None:
    """The money did not come: the order is put on hold for the merchant. While somebody still has to look at what the
    customer says of it, that is waited for.
    """
    order, now = enrollment.order, session.now()
    if order.payment == "claimed":
        return now + timedelta(hours=1)
    if order.payment not in AWAITED or order.gone:
        return None
    enrollment.end("done", "it was not paid in time", now)
    move(session, order, "held", "not_paid", cause="clock", at=now, note="it was not paid in time")
    return None


_ENDINGS = {"expire": _expire, "hold": _hold}
"""What a step does that is no message. Each returns when to look again, or None when it is over."""

NEVER_ASKED = "the question never reached the customer"

GRACE = timedelta(hours=4)
"""The least time between the last question and the expiry."""


# -- what the store is told ----------------------------------------------------------------------------------------

_TOLD: dict[str, tuple[str, tuple[str, ...], str]] = {
    "confirmed": ("confirmed", ("dastak-confirmed",), "The customer confirmed this order on WhatsApp."),
    "declined": ("declined", ("dastak-cancelled",), "The customer cancelled this order on WhatsApp."),
    "expired": (
        "no_answer",
        ("dastak-no-answer",),
        "The customer did not answer on WhatsApp. Please call before sending.",
    ),
}
"""Confirmation state to (outcome, tags, note) in the store."""


def tell_store(session: Session, order: Order, transition: Transition) -> None:
    """Write a customer's answer, its absence, or what the shop decided instead back to the store."""
    told = _TOLD.get(transition.became)
    if told is None or transition.cause == "store":
        return
    outcome, tags, note = told
    if transition.cause == "merchant":
        note = "Confirmed by the shop in Dastak."
    elif transition.note == NEVER_ASKED:
        note = "The customer could not be asked on WhatsApp. Please call before sending."
    policy = session.get_one(Store, session.store_id).policy
    change = StoreChange(
        order_id=order.external_id,
        outcome=outcome,
        note=note,
        tags=tags,
        at=transition.at,
        cancel=outcome == "declined" and policy.cancel_in_store,
        options={"confirmed_status": policy.confirmed_status},
    )
    put_write_back(session, order, f"{outcome}/{transition.at.timestamp():.0f}", change)


def tell_store_reason(session: Session, order: Order, reason: str, at: datetime) -> None:
    """Write the customer's reason for cancelling back to the store."""
    change = StoreChange(
        order_id=order.external_id,
        outcome="reason",
        note=f"Reason given on WhatsApp: {reason.replace('_', ' ')}.",
        tags=(f"dastak-reason-{reason.replace('_', '-')}",),
        at=at,
        reason=reason,
    )
    put_write_back(session, order, f"reason/{reason}", change)


def tell_store_parcel(session: Session, store: Store, moved: ParcelMoved) -> None:
    """Write a parcel and where it is back to the store, unless the store said so itself. Each place once a day: riders
    come again.
    """
    shipment = moved.shipment
    if moved.cause == "store" or not shipment.tracking_number or not (ours(shipment) or moved.became in _STORES_HEAR):
        return
    told = ParcelTold(
        order_id=moved.order.external_id,
        number=shipment.tracking_number,
        courier=shipment.courier,
        url=f"/t/{shipment.token}",
        status=moved.became,
        at=moved.at,
        options={"completed_means": store.policy.completed_means},
    )
    day = moved.at.astimezone(store.zone).strftime("%Y-%m-%d")
    put_write_back(session, moved.order, f"parcel/{shipment.token}/{moved.became}/{day}", told)


_STORES_HEAR = frozenset({
    "picked_up", "in_transit", "out_for_delivery", "attempted", "ready_for_pickup", "delivered", "returning", "lost",
    "cancelled",
})  # fmt: skip
"""Places of a parcel that a store hears of; of one that was booked here also that it was booked."""
