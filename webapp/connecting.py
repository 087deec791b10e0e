"""Connecting a merchant's account at a vendor: proven by use before it is kept, sealed, and never shown again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import request
from sqlalchemy import delete, func, select

from integration.db import Session
from integration.errors import ConfigurationError, OutcomeUnknown, PermanentError, TransientError
from integration.ingest import WebhookDelivery
from integration.intents import PaymentIntent
from integration.ports import Account, Pushes, RefreshesAccess, offers
from integration.stores import Chore, Connection, connect
from integration.vault import new_token, token_hash

from .auth import house, merchant


def connect_account(room: str, adapter: Any, prove: Callable[[Account], object], *, addressed: bool) -> str:
    """Connect the account that the form of this request gives, or say in a sentence why not. `prove` uses the account
    and raises when it is refused. `addressed`: the vendor tells us of it at an address of its own.
    """
    here = house()
    given = {field.name: request.form.get(field.name, "").strip()[:1000] for field in adapter.credentials}
    missing = [field.label for field in adapter.credentials if not given[field.name] and not field.optional]
    before = _known(room, adapter.name)
    for field in adapter.credentials:  # a secret is not shown again, so leaving it out does not take it back
        if field.optional and not given[field.name]:
            given[field.name] = before.get(field.name, "")
    account, state = Account(f"{adapter.name}/{merchant().store_id}", given), {}
    try:
        if missing:
            raise ConfigurationError(f"Please fill in: {', '.join(missing)}.")
        if isinstance(adapter, RefreshesAccess) and adapter.refresh_due(account, here.clock.now()):
            grant = adapter.refresh(account)
            account, state = Account(account.name, grant.credentials, grant.state), dict(grant.state)
        prove(account)
    except (ConfigurationError, PermanentError, TransientError, OutcomeUnknown) as fault:
        return str(fault)
    if named := getattr(adapter, "merchant_field", ""):
        state["merchant"] = given[named]
    token = before.get("address_token", "")  # the vendor has it already
    if not token and addressed:
        token = new_token(adapter.forbidden) if offers(adapter, Pushes) else new_token()
    with here.db.operator_writing() as session:
        connect(
            session,
            store_id=merchant().store_id,
            room=room,
            adapter=adapter.name,
            account=account.name,
            credentials={**account.credentials, "address_token": token},
            state=state,
            vault=here.vault,
            token_hash=token_hash(token) if token else None,
        )
    here.ring("chores", merchant().store_id)
    return ""


def disconnect_account(session: Session, room: str, name: str) -> None:
    """Forget what opens the account. What it said stays."""
    for connection in living(session, room):
        if connection.adapter == name:
            connection.removed_at, connection.sealed, connection.token_hash = session.now(), None, None
            session.execute(delete(Chore).where(Chore.connection_id == connection.id))
            unpaid = select(PaymentIntent).where(
                PaymentIntent.connection_id == connection.id, PaymentIntent.state.in_(("open", "failed"))
            )
            for intent in session.scalars(unpaid):  # what is paid there from now on, nobody here would hear of
                intent.state, intent.sentence = "closed", "the account was disconnected"


def living(session: Session, room: str) -> Sequence[Connection]:
    """The store's connected accounts in a room, the oldest first."""
    there = select(Connection).where(Connection.room == room, Connection.removed_at.is_(None))
    return session.scalars(there.order_by(Connection.id)).all()


def last_heard(session: Session, connections: Sequence[Connection]) -> Mapping[str, datetime]:
    """When each vendor last told us something, by its name."""
    heard: dict[str, datetime] = {}
    for connection in connections:
        newest = select(func.max(WebhookDelivery.received_at)).where(WebhookDelivery.account == connection.account)
        said = session.scalar(newest.where(WebhookDelivery.adapter == connection.adapter))
        if said is not None:
            heard[connection.adapter] = said
    return heard


def _known(room: str, name: str) -> Mapping[str, str]:
    """What is stored of this store's account at a vendor."""
    with house().db.read(merchant().store_id) as session:
        found = next((one for one in living(session, room) if one.adapter == name), None)
        return found.opened(house().vault).credentials if found is not None else {}
