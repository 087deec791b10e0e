"""Five fake couriers: each books, cancels, tracks, prints and takes advice in its own shape; some push what they scan.

A parcel exists once it is booked through the courier's API, or once it is scanned. The scanner is
`POST /control/scans`, in the courier's own words; an address to push to, and the key to push with, are told by
`POST /control/couriers`, as a merchant would on the courier's portal.

The shapes are those of the vendors' guides and of public clients. Where neither shows one, a comment says "assumed".
"""

from __future__ import annotations

import heapq
from datetime import datetime

import orjson
from flask import Blueprint, Response

from sandbox.couriers.desk import KEY, PASSWORD, TOKEN, Desk
from sandbox.couriers.leopards import Leopards
from sandbox.couriers.postex import PostEx
from sandbox.couriers.shiprocket import Shiprocket
from sandbox.couriers.tcs import ACCESS_TOKEN, Tcs
from sandbox.couriers.trax import Trax
from sandbox.delivery import DeliveryQueue, Outgoing
from sandbox.errors import Refusal
from sandbox.faults import Gate, VendorWords
from sandbox.world import Record, World

__all__ = ["ACCESS_TOKEN", "ACCOUNTS", "COURIERS", "KEY", "PASSWORD", "TOKEN", "Couriers"]

DESKS: tuple[type[Desk], ...] = (Tcs, Leopards, Shiprocket, PostEx, Trax)
COURIERS = tuple(desk.name for desk in DESKS)
ACCOUNTS = {desk.name: desk.account for desk in DESKS}
"""What opens a shop's account at each courier: the same for everybody."""

_WORDS = VendorWords(
    error=lambda dice: Response("<html><body>502 Bad Gateway</body></html>", 502, content_type="text/html"),
    throttled=lambda dice: Response("{}", 429, content_type="application/json", headers={"Retry-After": "2"}),
)


class Couriers:
    def __init__(self, world: World) -> None:
        self._world = world
        self.parcels = world.shelf("courier_parcels")
        self.accounts = world.shelf("courier_accounts")
        self.desks = {desk.name: desk(world, self._tell) for desk in DESKS}
        self.queues = {
            desk.name: DeliveryQueue(world, desk.policy, lambda payloads, desk=desk: self._prepare(desk, payloads[0]))  # type: ignore[misc]
            for desk in self.desks.values()
            if desk.policy is not None
        }

    # What the control API does

    def connect(self, stated: Record) -> Record:
        """Where a courier pushes to, and with which key. Shops that name themselves (`shop`) are each told of every
        parcel, for all have the same account here; without a name an address replaces the one before.
        """
        courier = self.desk(stated.get("courier", "")).name
        if courier not in self.queues:
            raise Refusal(f"{courier} pushes nothing. Those that push: {', '.join(self.queues)}.")
        account = {
            "courier": courier,
            "push_url": str(stated.get("push_url", "")),
            "push_key": str(stated.get("push_key", "")),
        }
        with self._world.lock:
            self.accounts.put(f"{courier}:{stated.get('shop', '')}", account)
        return {"courier": courier, "push_url": account["push_url"]}

    def scan(self, stated: Record) -> Record:
        desk, number = self.desk(stated.get("courier", "")), str(stated.get("tracking_number", "")).strip()
        said: Record = {name: str(stated.get(name) or "") for name in ("code", "text", "reason", "location")}
        if not number or not (said["code"] or said["text"]):
            raise Refusal('A scan has a "tracking_number" and a "code" or a "text", in the courier\'s own words.')
        try:
            said["at"] = datetime.fromisoformat(stated["at"]) if stated.get("at") else None
        except (TypeError, ValueError):
            raise Refusal('"at" is a time like 2026-11-21T12:00:00+05:00.') from None
        told = {name: str(stated[name]) for name in ("order", "origin", "destination") if stated.get(name)}
        return desk.shown(desk.scan(number, said, told))

    def all(self, courier: str = "", order: str = "", number: str = "") -> list[Record]:
        """The parcels, those of one courier, order reference or number only where named."""
        if courier:
            self.desk(courier)
        with self._world.lock:
            return [
                self.desks[parcel["courier"]].shown(parcel)
                for parcel in self.parcels.values()
                if courier in ("", parcel["courier"])
                and order in ("", parcel["order"])
                and number in ("", parcel["number"])
            ]

    def newest(self, most: int) -> tuple[list[Record], int]:
        """The parcels that moved last, the youngest first, and how many there are in all."""
        with self._world.lock:
            moved = heapq.nlargest(most, self.parcels.values(), key=lambda parcel: parcel.get("moved", 0))
            chosen = sorted(moved, key=lambda parcel: parcel.get("made", 0), reverse=True)
            return [self.desks[parcel["courier"]].shown(parcel) for parcel in chosen], len(self.parcels)

    def desk(self, courier: object) -> Desk:
        desk = self.desks.get(str(courier))
        if desk is None:
            raise Refusal(f"There is no courier {courier!r}. Couriers: {', '.join(COURIERS)}.")
        return desk

    # Pushes

    def _tell(self, parcel: Record, scan: Record) -> None:
        courier, what = parcel["courier"], f"scan of {parcel['number']}"
        for name, account in self.accounts.items():
            if account["courier"] == courier and account["push_url"]:
                key = f"{courier}:{parcel['number']}"
                self.queues[courier].put({"key": key, "account": name, "scan": scan, "what": what})

    def _prepare(self, desk: Desk, payload: Record) -> Outgoing | None:
        account, parcel = self.accounts.get(payload["account"]), self.parcels.get(payload["key"])
        if account is None or parcel is None:
            return None
        headers = [("Content-Type", "application/json")]
        if account["push_key"]:
            headers.append(("x-api-key", account["push_key"]))
        body = orjson.dumps(desk.pushed(parcel, payload["scan"]))
        return Outgoing(account["push_url"], headers, body, payload["what"])

    # The couriers' APIs

    def blueprints(self) -> list[Blueprint]:
        made = []
        for desk in self.desks.values():
            blueprint = Blueprint(f"courier-{desk.name}", __name__, url_prefix=f"/couriers/{desk.name}")
            Gate(self._world, desk.name, _WORDS).guard(blueprint)
            for method, path, view in desk.routes():
                blueprint.add_url_rule(
                    path, endpoint=f"{method} {path}".replace(".", " "), view_func=view, methods=[method]
                )
            made.append(blueprint)
        return made
