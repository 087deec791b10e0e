"""The engine: journeys are declared one per file beside this one, as data a merchant could read aloud.

`react` turns a transition of an order into enrollments and exits; `advance` turns time into messages. An enrollment
is one order in one journey, once for ever. All its steps are planned as touchpoints when it begins, so what will
happen can be seen, and a later version of the journey changes nothing for those already in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload

from ..checkpoints import reached
from ..customers import ContactPoint
from ..db import Base, Id, Instant, Json, Session, Tenant, inline
from ..guards import SKIP_REASONS
from ..house import House
from ..orders import Order, Transition, move
from ..outbox import Desk, Touchpoint, cancel_touchpoint, put_message, put_write_back
from ..ports import StoreChange
from ..stores import Store
from .cancellation import CANCELLATION
from .cod_confirmation import COD_CONFIRMATION
from .definition import Journey, Step
from .order_confirmation import ORDER_CONFIRMATION

JOURNEYS: dict[str, Journey] = {j.name: j for j in (COD_CONFIRMATION, ORDER_CONFIRMATION, CANCELLATION)}


class Enrollment(Tenant, Base):
    """One order in one journey."""

    __tablename__ = "enrollments"
    __table_args__ = (UniqueConstraint("order_id", "journey", name="one_enrollment_per_order_and_journey"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    order_id: Mapped[int] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"))
    journey: Mapped[str] = mapped_column(String(40))
    version: Mapped[int] = mapped_column(default=1)
    state: Mapped[str] = mapped_column(String(16), default="active")
    """active, done, left (an exit ended it) or off (the journey was switched off when it would have begun)."""
    sentence: Mapped[str] = mapped_column(String(200), default="")
    began_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant, default=None)

    order: Mapped[Order] = relationship(back_populates="enrollments")
    touchpoints: Mapped[list[Touchpoint]] = relationship(order_by="Touchpoint.id", lazy="selectin")


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
        if "expire" in {step.name for step in journey.steps}:
            delays.setdefault("expire", self._store.policy.confirmation_hours)
        return tuple(
            replace(step, after=timedelta(hours=delays[step.name])) if step.name in delays else step
            for step in journey.steps
        )


# -- react ---------------------------------------------------------------------------------------------------------


def react(session: Session, desk: Desk, settled: Settled, transitions: Iterable[Transition]) -> None:
    """Begin and end journeys for what just changed. Part of the transaction that changed it."""
    for transition in transitions:
        order = transition.order
        _leave(session, order)
        for journey in JOURNEYS.values():
            if journey.begins(transition, order):
                _enrol(session, desk, settled, journey, order, transition)
        if transition.axis == "confirmation":
            tell_store(session, order, transition)


def leave_all(session: Session, order: Order) -> None:
    """End what can no longer be relevant, for changes that are no transition (an order thrown away)."""
    _leave(session, order)


def _enrol(
    session: Session, desk: Desk, settled: Settled, journey: Journey, order: Order, transition: Transition
) -> None:
    if any(e.journey == journey.name for e in order.enrollments):
        return
    enrollment = Enrollment(
        store_id=session.store_id, journey=journey.name, version=journey.version, began_at=transition.at
    )
    order.enrollments.append(enrollment)
    if why := _not_begun(desk, settled, journey, order):
        enrollment.state, enrollment.ended_at, enrollment.sentence = "off", session.now(), why
        if journey.when_off is not None:
            axis, became = journey.when_off
            move(session, order, axis, became, cause="clock", at=transition.at, note=why)
        return
    for step in settled.steps(journey):
        if step.only is not None and not step.only(transition):
            continue
        touch = _plan(session, journey, step, order, transition.at)
        enrollment.touchpoints.append(touch)
        if step.after == timedelta(0):
            send_now(session, desk, touch)


def _not_begun(desk: Desk, settled: Settled, journey: Journey, order: Order) -> str:
    if not settled.enabled(journey):
        return SKIP_REASONS["journey_off"]
    if order.placed_at < desk.store.installed_at - timedelta(minutes=10):
        return "the order was placed before Dastak was installed"
    return ""


def _plan(session: Session, journey: Journey, step: Step, order: Order, at: datetime) -> Touchpoint:
    due_at = at + step.after
    touch = Touchpoint(
        store_id=session.store_id,
        key=f"{journey.name}/{order.external_id}/{step.name}",
        journey=journey.name,
        step=step.name,
        action=step.action,
        template=step.template,
        message_class=journey.message_class,
        critical=journey.critical,
        prompt=step.prompt,
        relevance=dict(step.relevance),
        because=journey.because,
        due_at=due_at,
        stale_at=due_at + step.fresh_for,
        planned_at=session.now(),
    )
    touch.order, touch.contact = order, order.contact
    session.add(touch)
    return touch


def send_now(session: Session, desk: Desk, touch: Touchpoint) -> None:
    """Ask the guards and, unless one says never, put the message into the outbox."""
    verdict = desk.consider(touch)
    if verdict.outcome != "skip":
        put_message(session, touch, due_at=verdict.until)


def _leave(session: Session, order: Order) -> None:
    for enrollment in order.enrollments:
        if enrollment.state != "active" or enrollment.journey not in JOURNEYS:
            continue
        why = JOURNEYS[enrollment.journey].ends(order)
        if why:
            enrollment.state, enrollment.sentence, enrollment.ended_at = "left", why, session.now()
            for touch in enrollment.touchpoints:
                if touch.state in ("planned", "queued"):
                    cancel_touchpoint(session, touch, "superseded", why)


# -- advance -------------------------------------------------------------------------------------------------------


def advance(house: House, store_id: int, *, seconds: float = 2.0, batch: int = 100) -> bool:
    """What has come due goes into the outbox, for a bounded slice of time. True when more is due."""
    ends = time.monotonic() + seconds
    while True:
        with house.db.lane(store_id) as session:
            due = session.scalars(
                select(Touchpoint)
                .where(Touchpoint.state == inline("planned"), Touchpoint.due_at <= session.now())
                .order_by(Touchpoint.due_at, Touchpoint.id)
                .limit(batch)
                .options(
                    selectinload(Touchpoint.order, Order.items),
                    selectinload(Touchpoint.order, Order.enrollments),
                    selectinload(Touchpoint.contact, ContactPoint.consents),
                )
            ).all()
            if not due:
                return False
            store = session.get_one(Store, store_id)
            desk, settled = Desk(session, store), Settled(session, store)
            desk.gather(touch.contact_point_id for touch in due)
            for touch in due:
                _come_due(session, desk, settled, touch)
            bells = set(session.bells)
        reached("advance.after_commit")
        house.ring_all(bells, store_id)
        if len(due) < batch:
            return False
        if time.monotonic() > ends:
            return True


def _come_due(session: Session, desk: Desk, settled: Settled, touch: Touchpoint) -> None:
    if touch.action == "message":
        verdict = desk.consider(touch)
        if verdict.outcome == "send":
            put_message(session, touch)
        elif verdict.outcome == "defer" and verdict.until is not None:
            touch.due_at = verdict.until
        return
    if touch.action == "expire":
        _expire(session, desk, settled, touch)


def _expire(session: Session, desk: Desk, settled: Settled, touch: Touchpoint) -> None:
    """No answer came: the order is put on hold for the merchant, never silently cancelled.

    A reminder that waited for the morning gets its time: nothing expires within `GRACE` of the last question.
    """
    order = touch.order
    if order is None or order.confirmation != "awaiting":
        touch.settle("skipped", session.now(), "not_relevant", SKIP_REASONS["not_relevant"])
        return
    enrollment = next((e for e in order.enrollments if e.id == touch.enrollment_id), None)
    others = [t for t in (enrollment.touchpoints if enrollment else []) if t is not touch]
    asked = [t.settled_at for t in others if t.state == "sent" and t.settled_at]
    waiting = [t.due_at for t in others if t.state in ("planned", "queued", "unknown")]
    earliest = max([at + GRACE for at in asked] + [at + GRACE for at in waiting], default=session.now())
    if earliest > session.now():
        touch.due_at, touch.sentence = earliest, "the last question went out late, so the answer gets more time"
        return
    touch.settle("sent", session.now(), "", "no answer came in time")
    note = "no answer came in time" if asked else "the question never reached the customer"
    expired = move(session, order, "confirmation", "expired", cause="clock", at=session.now(), note=note)
    held = move(session, order, "held", "no_answer", cause="clock", at=session.now(), note=note)
    react(session, desk, settled, [t for t in (expired, held) if t is not None])


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
    """Write a customer's answer, or its absence, back to the store."""
    told = _TOLD.get(transition.became)
    if told is None or transition.cause == "store":
        return
    outcome, tags, note = told
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
