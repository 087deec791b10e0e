"""Five fake payment gateways: each opens checkouts, shows the customer a page, tells of what happened and answers
questions, in its own shape and with its own proof.

What becomes of a checkout is said on that page, or by `POST /control/payments`. Where a gateway tells it is said by
`POST /control/gateways`, as a merchant would on the gateway's portal.

The shapes are those of the vendors' guides and of public clients. Where neither shows one, a comment says "assumed".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response

from sandbox.delivery import Answer, DeliveryQueue, Outgoing
from sandbox.errors import Refusal
from sandbox.faults import Gate, VendorWords
from sandbox.gateways.cashfree import Cashfree
from sandbox.gateways.easypaisa import Easypaisa
from sandbox.gateways.gateway import OPEN, POSSIBLE, Gateway, Rule, money_of
from sandbox.gateways.jazzcash import JazzCash
from sandbox.gateways.razorpay import Razorpay
from sandbox.gateways.safepay import Safepay
from sandbox.world import Record, World

__all__ = ["ACCOUNTS", "GATEWAYS", "Gateways"]

TYPES: tuple[type[Gateway], ...] = (JazzCash, Easypaisa, Safepay, Razorpay, Cashfree)
GATEWAYS = tuple(one.name for one in TYPES)
ACCOUNTS = {one.name: one.account for one in TYPES}
"""What opens the merchant's account at each gateway: the same for everybody."""

_WORDS = VendorWords(
    error=lambda dice: Response("<html><body>502 Bad Gateway</body></html>", 502, content_type="text/html"),
    throttled=lambda dice: Response("{}", 429, content_type="application/json", headers={"Retry-After": "2"}),
)


class Gateways:
    def __init__(self, world: World) -> None:
        self._world = world
        self.checkouts = world.shelf("gateway_checkouts")
        self.accounts = world.shelf("gateway_accounts")
        self.all = {one.name: one(world, self._tell) for one in TYPES}
        self.queues = {gateway.name: self._queue(gateway) for gateway in self.all.values()}

    def gateway(self, name: object) -> Gateway:
        gateway = self.all.get(str(name))
        if gateway is None:
            raise Refusal(f"There is no gateway {name!r}. Gateways: {', '.join(GATEWAYS)}.")
        return gateway

    # What the control API does

    def connect(self, stated: Record) -> Record:
        """Where a gateway tells of payments. Shops that name themselves (`shop`) are each told of everything, for all
        have the same account here; without a name an address replaces the one before.
        """
        gateway = self.gateway(stated.get("gateway", "")).name
        account = {"gateway": gateway, "push_url": str(stated.get("push_url", ""))}
        with self._world.lock:
            self.accounts.put(f"{gateway}:{stated.get('shop', '')}", account)
        return account

    def find(self, gateway: Gateway, names: Iterable[str], outcome: str) -> Record | None:
        """The checkout with one of these references or ids, or of one of these orders (references are
        `<order>-<attempt>`, or a gateway takes no such thing and the description names the order): the newest to which
        the outcome can happen, else the newest.
        """
        wanted = [name for name in names if name]
        found = [one for one in gateway.all() if one["reference"] in wanted or one["id"] in wanted]
        if not found:
            orders = [re.compile(rf"(?<!\w)#?{re.escape(name.lstrip('#'))}(?!\w)", re.ASCII) for name in wanted]
            said = [(one, f"{one['reference']} {one['description']}") for one in gateway.all()]
            found = [one for one, words in said if any(order.search(words) for order in orders)]
        possible = POSSIBLE.get(outcome, frozenset())
        return max(found, key=lambda one: (one["state"] in possible, one["state"] == OPEN, one["made"]), default=None)

    def happen(self, checkout: Record, stated: Record) -> Record:
        """What the control API says becomes of a checkout; told as stated, and truly signed unless forged."""
        gateway, outcome = self.gateway(checkout["gateway"]), stated.get("outcome")
        if stated.get("replay") is True:
            self._replay(gateway, checkout)
            return self.shown(checkout)
        if outcome not in gateway.outcomes:
            known = ", ".join(gateway.outcomes)
            raise Refusal(f"{gateway.title} tells of no outcome {outcome!r}. Outcomes: {known}.")
        for name in ("amount", "currency", "reference"):
            if stated.get(name) and name not in gateway.states:
                raise Refusal(f"{gateway.title} states no {name} in what it tells.")
        amount = self._amount(stated.get("amount"))
        currency, reference = (self._text(stated, name) for name in ("currency", "reference"))
        gateway.happen(
            checkout,
            str(outcome),
            amount=amount,
            currency=currency,
            reference=reference if reference != checkout["reference"] else "",
            forged=stated.get("forged") is True,
        )
        return self.shown(checkout)

    @staticmethod
    def _amount(stated: Any) -> Decimal | None:
        if stated is None:
            return None
        amount = money_of(stated)
        if amount is None:
            raise Refusal('amount is a number above 0 with at most two decimals, like "2450.00".')
        return amount

    @staticmethod
    def _text(stated: Record, name: str) -> str:
        value = stated.get(name) or ""
        if not isinstance(value, str) or len(value) > 60:
            raise Refusal(f"{name} is a text of at most 60 characters.")
        return value

    def told(self, gateway: str = "", reference: str = "") -> list[Record]:
        """The checkouts with what became of them; those of one gateway or reference only where named."""
        if gateway:
            self.gateway(gateway)
        self.pass_time()
        with self._world.lock:
            return [
                self.shown(one)
                for one in self.checkouts.values()
                if gateway in ("", one["gateway"]) and reference in ("", one["reference"])
            ]

    def newest(self, most: int) -> tuple[list[Record], int]:
        """The newest checkouts, the youngest first, and how many there are in all."""
        with self._world.lock:
            return [self.shown(one) for one in self.checkouts.values()[-most:][::-1]], len(self.checkouts)

    def shown(self, checkout: Record) -> Record:
        """A checkout as the control API tells it."""
        keys = ("gateway", "id", "reference", "amount", "currency", "description", "state", "created", "expires")
        gateway = self.all[checkout["gateway"]]
        with self._world.lock:
            return {
                **{key: checkout[key] for key in keys},
                "page": gateway.page_url(checkout),
                "payments": [dict(payment) for payment in checkout["payments"]],
                "events": [
                    {**{key: told[key] for key in ("event", "at", "forged", "replayed")}, "answers": [*told["answers"]]}
                    for told in checkout["events"]
                ],
            }

    def pass_time(self) -> None:
        for gateway in self.all.values():
            gateway.pass_time()

    # Pushes

    def _queue(self, gateway: Gateway) -> DeliveryQueue:
        return DeliveryQueue(
            self._world,
            gateway.policy(),
            lambda payloads: self._prepare(payloads[0]),
            lambda payloads, accepted, answer: self._settled(payloads[0], accepted, answer),
            lambda answer: gateway.taken(answer.body),
        )

    def _tell(self, checkout: Record, event: str, forged: bool, history: Record) -> None:
        gateway = self.all[checkout["gateway"]]
        stated = [one["push_url"] for one in self.accounts.values() if one["gateway"] == gateway.name]
        for address in gateway.addresses(checkout, list(dict.fromkeys(filter(None, stated)))):
            made = gateway.pushed(checkout, event, address, forged)
            request = {"url": made.url, "headers": [[*pair] for pair in made.headers], "body": made.body.decode(),
                       "what": made.what, "method": made.method}  # fmt: skip
            self._send(history, {"event": event, "to": address, "forged": forged, "request": request})

    def _replay(self, gateway: Gateway, checkout: Record) -> None:
        """What was told last, byte for byte, to everybody who was told it."""
        with self._world.lock:
            last = {told["to"]: told for told in checkout["events"]}
            if not last:
                raise Refusal(f"Of {checkout['reference']} {gateway.title} has told nothing yet.", 409)
            for told in last.values():
                self._send(checkout, {key: told[key] for key in ("event", "to", "forged", "request")}, replayed=True)

    def _send(self, history: Record, told: Record, *, replayed: bool = False) -> None:
        now = self._world.clock.now().isoformat(timespec="seconds")
        key = f"{history['gateway']}:{history['id']}"
        history["events"].append({**told, "at": now, "replayed": replayed, "answers": []})
        self.checkouts.touch(key)
        payload = {"key": key, "event": len(history["events"]) - 1, "what": told["request"]["what"]}
        self.queues[history["gateway"]].put(payload)

    def _event(self, payload: Record) -> Record | None:
        checkout = self.checkouts.get(payload["key"])
        return checkout["events"][payload["event"]] if checkout else None

    def _prepare(self, payload: Record) -> Outgoing | None:
        event = self._event(payload)
        if event is None or (event["forged"] and event["answers"]):
            return None  # who forges does not try again
        made = event["request"]
        return Outgoing(made["url"], made["headers"], made["body"].encode(), made["what"], made["method"])

    def _settled(self, payload: Record, accepted: bool, answer: Answer | None) -> None:
        with self._world.lock:
            event = self._event(payload)
            if event is not None:
                event["answers"].append({"status": answer.status if answer else None, "accepted": accepted})
                self.checkouts.touch(payload["key"])

    # What is served

    def blueprints(self) -> list[Blueprint]:
        """Of each gateway its API, behind the gate, and the pages that customers open."""
        made = []
        for gateway in self.all.values():
            api = self._blueprint(gateway, "api", gateway.api())
            Gate(self._world, gateway.name, _WORDS).guard(api)
            own = [("GET", "/page/<id>", gateway.page), ("POST", "/page/<id>", gateway.choose)]
            made += [api, self._blueprint(gateway, "pages", [*gateway.pages(), *own])]
        return made

    @staticmethod
    def _blueprint(gateway: Gateway, part: str, rules: Iterable[Rule]) -> Blueprint:
        blueprint = Blueprint(f"gateway-{gateway.name}-{part}", __name__, url_prefix=f"/gateways/{gateway.name}")
        for method, path, view in rules:
            blueprint.add_url_rule(
                path, endpoint=f"{method} {path}".replace(".", " "), view_func=view, methods=[method]
            )
        return blueprint
