"""/app/couriers: connect the couriers whose parcels are to be followed, and see what each last said."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, redirect, request
from sqlalchemy import func, select
from werkzeug.wrappers import Response as AnyResponse

from integration.orders import Shipment
from integration.ports import Account, Pushes, Tracks, offers
from integration.stores import Connection, Store

from .auth import house, link, merchant, page, signed_in
from .connecting import connect_account, disconnect_account, last_heard, living

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
    adapter = _adapter(name)

    def prove(account: Account) -> None:
        if isinstance(adapter, Tracks):
            adapter.track(account, ["0"])

    if fault := connect_account("couriers", adapter, prove, addressed=offers(adapter, Pushes)):
        return _show(422, at=name, fault=fault)
    return redirect(link("couriers.show", done=name) + f"#{name}", 303)


@pages.post("/<name>/disconnect")
@signed_in
def disconnect(name: str) -> AnyResponse:
    with house().db.lane(merchant().store_id) as session:
        disconnect_account(session, "couriers", name)
    return redirect(link("couriers.show"), 303)


def _show(status: int = 200, *, at: str = "", fault: str = "") -> Any:
    here = house()
    with here.db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        connections = {connection.adapter: connection for connection in living(session, "couriers")}
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
            heard=last_heard(session, list(connections.values())),
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
