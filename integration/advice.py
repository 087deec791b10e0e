"""What a customer says of a parcel: deliver it again, elsewhere, or take it back; and that something is wrong.

A tap names its parcel, so it can be answered truthfully when the parcel has moved on since. What the courier is to do
goes through the outbox; couriers that take no advice by their API leave a task to the merchant. A new address is
written freely, read back, and counts once it is confirmed.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from .answers import answer
from .db import Session
from .inbox import Message
from .orders import Order, Shipment, dispute
from .outbox import DOUBLE_TAP, Desk, instructions, put_instruction, stated
from .ports import Advice

VERBS = frozenset({"again", "address", "return", "issue"})

_PATIENCE = timedelta(hours=24)
"""How long a text is taken for the address that was asked for."""

_ADDRESS_AT_LEAST = 8

MOVED_ON: dict[str, tuple[str, str]] = {
    "out_for_delivery": ("parcel_out_again", ""),
    "delivered": ("parcel_delivered", "has an instruction for a parcel that shows as delivered"),
    "returning": ("parcel_going_back", "still wants a parcel that is coming back"),
    "return_in_transit": ("parcel_going_back", "still wants a parcel that is coming back"),
    "returned": ("parcel_going_back", "still wants a parcel that came back"),
}
"""Where a parcel is to (the truthful reply, what the merchant is told). Anywhere else but after a failed attempt it has
moved on, and a person decides."""


def tapped(session: Session, desk: Desk, message: Message, verb: str, shipment_id: int, detail: str) -> None:
    """A tap under a message about a parcel."""
    shipment, conversation = _parcel(session, shipment_id), message.conversation
    if shipment is None or shipment.order.contact_point_id != conversation.contact_point_id:
        conversation.call_for_person("the customer tapped a button of a parcel that is not theirs", message.at)
        return
    message.order_id = shipment.order_id
    if verb == "issue":
        conversation.call_for_person(f"something is wrong with {shipment.order.name}, the customer says", message.at)
        _answer(session, desk, message, shipment, "issue_thanks")
        return
    status = shipment.status
    if status != "attempted":
        reply, tell = MOVED_ON.get(status, ("parcel_moved", "has an instruction for a parcel that has moved on"))
        if not tell and verb != "again":
            reply, tell = "parcel_moved", "has an instruction for a parcel that is out for delivery again"
        if tell:
            conversation.call_for_person(
                f"the customer {tell} ({shipment.order.name}: {message.text[:60]})", message.at
            )
        _answer(session, desk, message, shipment, reply)
        return
    _ANSWERS[verb](session, desk, message, shipment, detail)


def _again(session: Session, desk: Desk, message: Message, shipment: Shipment, detail: str) -> None:
    day = _day(detail)
    if day is None or day < message.at.astimezone(desk.store.zone).date():
        _answer(session, desk, message, shipment, "which_day")
        return
    asked = Advice(action="reattempt", note="Customer asks on WhatsApp for another day", on=day)
    if _instruct(session, message, shipment, asked):
        _answer(session, desk, message, shipment, "day_told", day=day.isoformat())


def _address(session: Session, desk: Desk, message: Message, shipment: Shipment, detail: str) -> None:
    conversation = message.conversation
    if detail != "right":
        until = (message.at + _PATIENCE).isoformat()
        conversation.awaits = {"address_of": shipment.id, "until": until}
        _answer(session, desk, message, shipment, "write_address")
        return
    awaited = conversation.awaits or {}
    written = str(awaited.get("written", "")) if awaited.get("address_of") == shipment.id else ""
    if not written:
        if not _lately(session, shipment).get("address"):
            _answer(session, desk, message, shipment, "address_expired")
        return
    conversation.awaits = None
    asked = Advice(action="reattempt", note="Customer asks on WhatsApp for another address", address=written)
    if _instruct(session, message, shipment, asked):
        _answer(session, desk, message, shipment, "address_told", new_address=written)


def _return(session: Session, desk: Desk, message: Message, shipment: Shipment, detail: str) -> None:
    if detail != "sure":
        _answer(session, desk, message, shipment, "return_sure")
        return
    asked = Advice(action="return", note="Customer asks on WhatsApp: please return it to the shipper")
    if _instruct(session, message, shipment, asked):
        _answer(session, desk, message, shipment, "return_told")


def _instruct(session: Session, message: Message, shipment: Shipment, asked: Advice) -> bool:
    """Have the courier told. False for a second tap that soon: the first was taken, and answered."""
    if _lately(session, shipment) == stated(asked):
        return False
    put_instruction(session, shipment, message.id, asked)
    return True


def _lately(session: Session, shipment: Shipment) -> dict[str, str]:
    """What was asked for a parcel a moment ago, if anything was."""
    asked = instructions(session, shipment)
    if not asked or asked[-1].created_at <= session.now() - DOUBLE_TAP:
        return {}
    said: dict[str, str] = (asked[-1].change or {}).get("advice", {})
    return said


_ANSWERS = {"again": _again, "address": _address, "return": _return}


def nobody_came(session: Session, desk: Desk, message: Message) -> None:
    """The courier says that it tried, the customer that nobody came: evidence for the merchant, and another attempt."""
    newest = session.scalars(
        select(Shipment)
        .join(Order, Order.id == Shipment.order_id)
        .where(Order.contact_point_id == message.conversation.contact_point_id, Order.removed_at.is_(None))
        .order_by(Shipment.id.desc())
        .limit(_RECENT)
        .options(selectinload(Shipment.order).selectinload(Order.items))
    )
    tried = next((shipment for shipment in newest if shipment.status in _TRIED), None)
    if tried is None:
        message.conversation.call_for_person("the customer says that nobody came", message.at)
        return
    message.order_id = tried.order_id
    message.conversation.call_for_person(f"nobody came with {tried.order.name}, the customer says", message.at)
    dispute(session, tried, message.text, message.at)
    if tried.status == "attempted":
        asked = Advice(action="reattempt", note="Customer says on WhatsApp that nobody came. Please deliver again")
        if _instruct(session, message, tried, asked):
            _answer(session, desk, message, tried, "nobody_came")


_RECENT = 5
_TRIED = frozenset({"attempted", "returning", "return_in_transit"})


def wrote_address(session: Session, desk: Desk, message: Message) -> bool:
    """Was this text the address that we asked for? Then it is read back. What comes after that is no address any more,
    unless we are asked to take another.
    """
    awaited = _awaited(message)
    if awaited is None or "written" in awaited:
        return False
    shipment = _parcel(session, awaited["address_of"])
    if shipment is None:
        return False
    message.order_id = shipment.order_id
    written = " ".join(message.text.split())[:300]
    if len(written) < _ADDRESS_AT_LEAST:
        _answer(session, desk, message, shipment, "write_address")
        return True
    message.conversation.awaits = awaited | {"written": written}
    _answer(session, desk, message, shipment, "address_read_back", new_address=written)
    return True


def said_yes(session: Session, desk: Desk, message: Message) -> bool:
    """Was this yes the answer to an address that we read back? Then it is as good as the tap."""
    awaited = _awaited(message)
    if awaited is None or "written" not in awaited or _parcel(session, awaited["address_of"]) is None:
        return False
    tapped(session, desk, message, "address", awaited["address_of"], "right")
    return True


def _awaited(message: Message) -> dict[str, Any] | None:
    """What the next text answers, if we still wait for one."""
    conversation = message.conversation
    if conversation.awaits is not None and message.at > datetime.fromisoformat(conversation.awaits["until"]):
        conversation.awaits = None
    return conversation.awaits


def _parcel(session: Session, shipment_id: int) -> Shipment | None:
    return session.get(Shipment, shipment_id, options=[selectinload(Shipment.order).selectinload(Order.items)])


def _answer(session: Session, desk: Desk, message: Message, shipment: Shipment, reply: str, **given: str) -> None:
    because = f"of what the customer said of the parcel: {message.text[:60]}"
    answer(session, desk, message, reply, order=shipment.order, shipment=shipment, given=given, because=because)


def _day(detail: str) -> date | None:
    try:
        return date.fromisoformat(detail)  # 20261128 is ISO's basic form
    except ValueError:
        return None
