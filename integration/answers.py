"""One answer to one message of a customer, through the same door as everything else that leaves the house."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from .db import Session
from .inbox import Message
from .journeys import send_now
from .orders import Order, Shipment
from .outbox import Desk, Touchpoint


def answer(
    session: Session,
    desk: Desk,
    message: Message,
    reply: str,
    *,
    because: str,
    order: Order | None = None,
    shipment: Shipment | None = None,
    given: Mapping[str, str] | None = None,
    nth: int = 0,
) -> Touchpoint:
    """One answer to one inbound message, or its `nth` where one is not enough. `given`: see Touchpoint."""
    touch = Touchpoint(
        store_id=session.store_id,
        key=f"answer/{message.vendor_id}" + (f"/{nth}" if nth else ""),
        journey="answer",
        step=reply,
        reply=reply,
        message_class="service",
        free_only=True,
        answers=True,
        prompt=True,
        given=dict(given or {}),
        because=because,
        due_at=message.at,
        stale_at=message.at + timedelta(hours=23),
        made_at=session.now(),
    )
    touch.order, touch.contact, touch.shipment = order, message.conversation.contact, shipment
    session.add(touch)
    send_now(session, desk, touch)
    return touch
