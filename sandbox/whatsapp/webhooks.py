"""The webhooks of the Cloud API: what an update looks like, how updates are batched, signed and sent again.

The queue holds single updates (account, field, value). Several that wait together travel in one request, as Meta
does it: entries by account, changes by field, and neighbouring statuses of one number in one list.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from sandbox.delivery import DeliveryQueue, Outgoing, Policy
from sandbox.settings import Settings
from sandbox.world import Record, World

PATH = "/webhooks/channels/whatsapp"
BATCH = 50  # Meta: up to 1000


def policy(settings: Settings) -> Policy:
    return Policy(
        vendor="whatsapp",
        threads=4,
        timeout=20.0,
        accepted=range(200, 300),
        retries=None,
        first_retry=settings.whatsapp_first_retry,
        longest_wait=max(30.0 * settings.whatsapp_first_retry, settings.whatsapp_first_retry),
        batch=BATCH,
    )


class Webhooks:
    def __init__(self, world: World) -> None:
        self._world = world
        self._settings = world.settings
        self._wabas = world.shelf("wabas")
        self.queue = DeliveryQueue(world, policy(world.settings), self._prepare)

    def put(self, waba: str, field: str, value: Record, what: str) -> None:
        """An update happened. Only apps subscribed to the account hear of it."""
        if not self._wabas[waba]["subscribed"]:
            self._world.log.add(
                "whatsapp",
                "webhook",
                what,
                f"withheld: no app is subscribed to account {waba} (subscribed_apps)",
            )
            return
        self.queue.put({"what": what, "waba": waba, "field": field, "value": value, "time": self._world.clock.time()})

    def _prepare(self, updates: list[Record]) -> Outgoing:
        body = escaped({"object": "whatsapp_business_account", "entry": entries(updates)})
        url = self._settings.app_url + PATH
        if override := self._wabas[updates[0]["waba"]].get("callback"):
            url = override
        what = updates[0]["what"] if len(updates) == 1 else f"{len(updates)} updates, first: {updates[0]['what']}"
        headers = (
            ("User-Agent", "facebookexternalua"),
            ("Accept", "*/*"),
            ("Content-Type", "application/json"),
            ("X-Hub-Signature-256", signature(self._settings.whatsapp_app_secret, body)),
        )
        return Outgoing(url, headers, body, what)


def signature(app_secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()


def escaped(value: Any) -> bytes:
    """JSON as Meta writes it: every slash and every non-ASCII character escaped."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


def entries(updates: list[Record]) -> list[Record]:
    """Group single updates into entries and changes, keeping their order within an account."""
    by_waba: dict[str, Record] = {}
    for update in updates:
        entry = by_waba.setdefault(update["waba"], {"id": update["waba"], "changes": []})
        if update["field"] != "messages":
            entry["time"] = int(update["time"])
        changes = entry["changes"]
        if not (changes and _merged(changes[-1], update)):
            value = dict(update["value"])
            for name in ("statuses", "contacts"):
                if name in value:
                    value[name] = list(value[name])
            changes.append({"value": value, "field": update["field"]})
    return list(by_waba.values())


def _merged(change: Record, update: Record) -> bool:
    """Put a status into the change before it, where that one holds statuses of the same number with contacts."""
    before, value = change["value"], update["value"]
    if not ("statuses" in before and "statuses" in value and "contacts" in before and "contacts" in value):
        return False
    if before["metadata"] != value["metadata"]:
        return False
    before["statuses"].extend(value["statuses"])
    before["contacts"].extend(contact for contact in value["contacts"] if contact not in before["contacts"])
    return True
