"""/app/couriers: connect the couriers whose parcels are to be followed, and see what each last said."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, redirect, request
from sqlalchemy import delete, func, select
from werkzeug.wrappers import Response as AnyResponse

from integration.errors import ConfigurationError, OutcomeUnknown, PermanentError, TransientError
from integration.ingest import WebhookDelivery
from integration.orders import Shipment
from integration.ports import Account, Pushes, RefreshesAccess, Tracks, offers
from integration.stores import Chore, Connection, Store, connect
from integration.vault import new_token, token_hash

from .auth import house, link, merchant, page, signed_in

pages = Blueprint("couriers", __name__, url_prefix="/app/couriers")


def _adapter(name: str) -> Any:
    adapter = house().registry.room("couriers").get(name)
    if adapter is None:
        abort(404, "There is no courier of that name.")
    return adapter


@pages.get("/")
@signed_in
def show() -> Any:
    return _show()


@pages.post("/<name>/connect")
@signed_in
def connect_courier(name: str) -> Any:
    """Prove the credentials by using them, then follow this courier's parcels."""
    here, adapter = house(), _adapter(name)
    given = {field.name: request.form.get(field.name, "").strip()[:1000] for field in adapter.credentials}
    missing = [field.label for field in adapter.credentials if not given[field.name] and not field.optional]
    before = _known(name)
    for field in adapter.credentials:  # a secret is not shown again, so leaving it out does not take it back
        if field.optional and not given[field.name]:
            given[field.name] = before.get(field.name, "")
    account, state = Account(f"{name}/{merchant().store_id}", given), {}
    try:
        if missing:
            raise ConfigurationError(f"Please fill in: {', '.join(missing)}.")
        if isinstance(adapter, RefreshesAccess) and adapter.refresh_due(account, here.clock.now()):
            grant = adapter.refresh(account)
            account, state = Account(account.name, grant.credentials, grant.state), dict(grant.state)
        if isinstance(adapter, Tracks):
            adapter.track(account, ["0"])
    except (ConfigurationError, PermanentError, TransientError, OutcomeUnknown) as fault:
        return _show(422, at=name, fault=str(fault))
    token = before.get("address_token", "")  # the courier has it already
    if not token and offers(adapter, Pushes):
        token = new_token(adapter.forbidden)
    with here.db.operator_writing() as session:
        connect(
            session,
            store_id=merchant().store_id,
            room="couriers",
            adapter=name,
            account=account.name,
            credentials={**account.credentials, "address_token": token},
            state=state,
            vault=here.vault,
            token_hash=token_hash(token) if token else None,
        )
    here.ring("chores", merchant().store_id)
    return redirect(link("couriers.show", done=name) + f"#{name}", 303)


def _known(name: str) -> Mapping[str, str]:
    """What is stored of this store's account at a courier."""
    with house().db.read(merchant().store_id) as session:
        living = (Connection.room == "couriers", Connection.adapter == name, Connection.removed_at.is_(None))
        connection = session.scalars(select(Connection).where(*living)).first()
        return connection.opened(house().vault).credentials if connection is not None else {}


@pages.post("/<name>/disconnect")
@signed_in
def disconnect(name: str) -> AnyResponse:
    with house().db.lane(merchant().store_id) as session:
        living = (Connection.room == "couriers", Connection.adapter == name, Connection.removed_at.is_(None))
        for connection in session.scalars(select(Connection).where(*living)):
            connection.removed_at, connection.sealed, connection.token_hash = session.now(), None, None
            session.execute(delete(Chore).where(Chore.connection_id == connection.id))
    return redirect(link("couriers.show"), 303)


def _show(status: int = 200, *, at: str = "", fault: str = "") -> Any:
    here = house()
    with here.db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        living = select(Connection).where(Connection.room == "couriers", Connection.removed_at.is_(None))
        connections = {connection.adapter: connection for connection in session.scalars(living)}
        heard: dict[str, datetime] = {}
        for name, connection in connections.items():
            newest = select(func.max(WebhookDelivery.received_at)).where(WebhookDelivery.account == connection.account)
            said = session.scalar(newest.where(WebhookDelivery.adapter == name))
            if said is not None:
                heard[name] = said
        followed = session.execute(
            select(Shipment.adapter, func.count()).where(Shipment.poll_at.is_not(None)).group_by(Shipment.adapter)
        )
        parcels = {row[0]: row[1] for row in followed}
        couriers = [
            (adapter, connections.get(name), _address(adapter, connections.get(name)))
            for name, adapter in here.registry.room("couriers").items()
        ]
        couriers.sort(key=lambda one: (one[1] is None, store.country not in one[0].regions, one[0].label.casefold()))
        return page(
            "couriers.html",
            status,
            store=store,
            couriers=couriers,
            heard=heard,
            parcels=parcels,
            at=at,
            fault=fault,
            done=request.args.get("done", ""),
        )


def _address(adapter: Any, connection: Connection | None) -> dict[str, str]:
    """Where the courier is to push to, for the merchant to copy; and what its rules say against our host."""
    if connection is None or not offers(adapter, Pushes):
        return {}
    token = connection.opened(house().vault).credentials.get("address_token", "")
    if not token:
        return {}
    public = house().settings.public_url
    host = (urlsplit(public).netloc + urlsplit(public).path).casefold()
    refused = [letters for letters in adapter.forbidden if letters in host]
    return {
        "url": f"{public}/webhooks/couriers/{adapter.address}/{token}",
        "help": adapter.push_help,
        "refused": f"{adapter.label} refuses addresses that contain “{refused[0]}”, and ours does. "
        "Parcels are asked about instead."
        if refused
        else "",
    }
