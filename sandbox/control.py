"""The control API: how a person, a test or a harness moves the world. JSON, for this machine only.

The names are part of the product's public face and stay. Every refusal is a sentence that says what exists.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import orjson
from flask import Blueprint, Response, request

from sandbox.answers import as_json
from sandbox.catalogue import PAYMENTS, Basket
from sandbox.clock import seconds_of
from sandbox.couriers import COURIERS
from sandbox.errors import Refusal
from sandbox.faults import VENDORS, what_exists
from sandbox.gateways import ACCOUNTS as GATEWAY_ACCOUNTS
from sandbox.gateways import GATEWAYS
from sandbox.gateways.gateway import OUTCOMES, PAID
from sandbox.gateways.statements import statement
from sandbox.phones import as_shown, normalised
from sandbox.shopify.webhooks import API_VERSION, TOPICS
from sandbox.stores import STORES
from sandbox.whatsapp import events, templates
from sandbox.whatsapp.accounts import shown_number
from sandbox.woocommerce.orders import VERSION as WOOCOMMERCE_VERSION
from sandbox.world import Record

if TYPE_CHECKING:
    from sandbox import Sandbox

QUALITIES = ("GREEN", "YELLOW", "RED", "UNKNOWN")


def stated() -> dict[str, Any]:
    """The JSON object of the request, whatever content type it was sent with."""
    raw = request.get_data(cache=True)
    if not raw:
        return {}
    try:
        body = orjson.loads(raw)
    except ValueError:
        raise Refusal("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Refusal("The body is a JSON object.")
    return body


def phone_in(path: str) -> str:
    number = normalised(path)
    if number is None:
        raise Refusal(f"{path[:40]!r} is not a phone number. One looks like +923001234567.")
    return number


def whole(name: str, usual: int, most: int) -> int:
    raw = request.args.get(name, "")
    if not raw:
        return usual
    if not raw.isascii() or not raw.isdigit() or int(raw[:15]) > most:
        raise Refusal(f"{name} is a whole number up to {most}.")
    return int(raw)


class Control:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._world = sandbox.world
        self._shopify = sandbox.shopify
        self._woo = sandbox.woocommerce
        self._whatsapp = sandbox.whatsapp
        self._phones = sandbox.phones
        self._stores = sandbox.stores
        self._couriers = sandbox.couriers
        self._gateways = sandbox.gateways

    def blueprint(self) -> Blueprint:
        control = Blueprint("control", __name__, url_prefix="/control")
        for methods, path, view in (
            ("GET", "/", self.index),
            ("GET", "/orders", self.list_orders),
            ("POST", "/orders", self.place_order),
            ("GET", "/orders/<order_id>", self.get_order),
            ("POST", "/orders/<order_id>", self.change_order),
            ("POST", "/checkouts", self.leave_checkout),
            ("POST", "/scans", self.scan),
            ("GET", "/couriers", self.list_couriers),
            ("POST", "/couriers", self.set_courier),
            ("POST", "/payments", self.pay),
            ("POST", "/statements", self.write_statement),
            ("GET", "/gateways", self.list_gateways),
            ("POST", "/gateways", self.set_gateway),
            ("GET", "/clock", self.get_clock),
            ("POST", "/clock", self.move_clock),
            ("GET", "/phones", self.list_phones),
            ("GET", "/phones/<phone>", self.get_phone),
            ("POST", "/phones/<phone>", self.set_phone),
            ("POST", "/phones/<phone>/tap", self.tap),
            ("POST", "/phones/<phone>/send", self.send),
            ("POST", "/phones/<phone>/read", self.read),
            ("GET", "/faults", self.list_faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.remove_faults),
            ("DELETE", "/faults/<int:id>", self.remove_faults),
            ("GET", "/log", self.read_log),
            ("GET", "/templates", self.list_templates),
            ("POST", "/templates", self.change_templates),
            ("POST", "/whatsapp", self.whatsapp_event),
            ("GET", "/numbers", self.list_numbers),
            ("POST", "/numbers", self.set_number),
            ("POST", "/codes", self.issue_code),
            ("GET", "/stores", self.list_stores),
            ("POST", "/stores", self.change_store),
            ("GET", "/health", self.health),
            ("POST", "/reset", self.reset),
        ):
            control.add_url_rule(path, endpoint=f"{methods}{path}", view_func=view, methods=[methods])
        return control

    def index(self) -> Response:
        rules = [
            f"{method} {rule.rule}"
            for rule in self._sandbox.app.url_map.iter_rules()
            if rule.rule.startswith("/control/")
            for method in sorted((rule.methods or set()) & {"GET", "POST", "DELETE"})
        ]
        return as_json({"control": sorted(rules, key=lambda line: line.split()[1])})

    # Orders

    def place_order(self) -> Response:
        return as_json(self._stores.place(stated()), 201)

    def get_order(self, order_id: str) -> Response:
        return as_json(self._stores.told(*self._stores.find(order_id)))

    def list_orders(self) -> Response:
        orders, total = self._stores.newest(whole("limit", 50, 100_000), request.args.get("store") or None)
        return as_json({"orders": orders, "total": total})

    def change_order(self, order_id: str) -> Response:
        return as_json(self._stores.act(order_id, stated()))

    def leave_checkout(self) -> Response:
        body = stated()
        store = body.get("store", "shopify")
        if store == "woocommerce":
            raise Refusal(
                "WooCommerce tells nobody of a cart: that needs the companion plugin, which comes with a later issue. "
                'A leaked draft is made by POST /control/stores {"store": "woocommerce", "action": "leak_draft"}.',
                501,
            )
        self._stores.check(store)
        checkout = self._shopify.leave_checkout(self._stores.shop(body)["domain"], Basket.from_json(body))
        return as_json(
            {
                "checkout_token": checkout["token"],
                "name": checkout["name"],
                "url": checkout["abandoned_checkout_url"],
            },
            201,
        )

    # Couriers

    def scan(self) -> Response:
        return as_json(self._couriers.scan(stated()), 201)

    def list_couriers(self) -> Response:
        """The parcels with their booking, their scans and the advice their courier was given; all, or those named.
        And the words that each courier's scanner offers.
        """
        asked = {name: request.args.get(name, "") for name in ("courier", "order", "number")}
        words = {desk.name: desk.offered() for desk in self._couriers.desks.values()}
        return as_json({"couriers": COURIERS, "parcels": self._couriers.all(**asked), "words": words})

    def set_courier(self) -> Response:
        """Where a courier pushes its scans to, as a merchant tells it on the courier's portal."""
        return as_json(self._couriers.connect(stated()))

    # Payments

    def pay(self) -> Response:
        """What becomes of a payment: at a gateway, or without one in the store, by the merchant's hand."""
        body = stated()
        order_id, outcome = str(body.get("order_id") or ""), body.get("outcome")
        if not body.get("gateway"):
            if outcome != PAID:
                raise Refusal('Without a gateway an order can only be "paid", by the merchant\'s hand.')
            return as_json(self._stores.pay(order_id))
        gateway = self._gateways.gateway(body["gateway"])
        if outcome not in OUTCOMES and body.get("replay") is not True:
            raise Refusal(f"There is no outcome {outcome!r}. Outcomes: {', '.join(OUTCOMES)}.")
        names = self._names_of(order_id) if order_id else [str(body.get("reference") or "")]
        checkout = self._gateways.find(gateway, names, str(outcome))
        if checkout is None:
            if not order_id:
                raise Refusal(f"{gateway.title} has no checkout with that reference.", 404)
            self._sandbox.customer.goes_to_pay(order_id)
            checkout = self._gateways.find(gateway, names, str(outcome))
        if checkout is None:
            raise Refusal(f"The link on the customer's phone opened no checkout at {gateway.title}.", 409)
        return as_json(self._gateways.happen(checkout, body))

    def _names_of(self, order_id: str) -> list[str]:
        """What a checkout's reference may begin with. A reference itself is no order."""
        try:
            order = self._stores.told(*self._stores.find(order_id))
        except Refusal:
            return [order_id]
        return [order_id, order["name"], order["order_id"]]

    def list_gateways(self) -> Response:
        """The checkouts with their state, the events that were sent and what was answered; and what opens an account
        at each gateway.
        """
        asked = {name: request.args.get(name, "") for name in ("gateway", "reference")}
        told = self._gateways.told(**asked)
        return as_json({"gateways": GATEWAYS, "accounts": GATEWAY_ACCOUNTS, "checkouts": told})

    def set_gateway(self) -> Response:
        """Where a gateway tells of payments, as a merchant says it on the gateway's portal."""
        return as_json(self._gateways.connect(stated()))

    def write_statement(self) -> Response:
        """A CSV as a wallet or a bank exports it."""
        return Response(statement(stated(), self._world.clock), content_type="text/csv; charset=utf-8")

    # The clock

    def get_clock(self) -> Response:
        clock = self._world.clock
        return as_json({"now": clock.now().isoformat(timespec="milliseconds"), "offset_seconds": clock.offset()})

    def move_clock(self) -> Response:
        body = stated()
        if body.get("reset") is True:
            self._world.clock.reset()
        elif "advance" in body:
            self._world.clock.advance(seconds_of(body["advance"]))
        else:
            raise Refusal('Say {"advance": "24h"} or {"reset": true}.')
        self._gateways.pass_time()
        return self.get_clock()

    # Phones

    def list_phones(self) -> Response:
        told = []
        for phone in self._phones.all():
            chat = self._phones.chat(phone["phone"])
            told.append(
                {
                    **{key: phone[key] for key in ("phone", "name", *PHONE_TRAITS)},
                    "messages": len(chat),
                    "unread": self._phones.unread_count(phone["phone"]),
                    "last": as_shown(chat[-1]) if chat else None,
                }
            )
        told.sort(key=lambda phone: phone["last"]["at"] if phone["last"] else "", reverse=True)
        return as_json({"phones": told[: whole("limit", 200, 100_000)], "total": len(told)})

    def get_phone(self, phone: str) -> Response:
        number = phone_in(phone)
        with self._world.lock:
            known = self._phones.known(number)
            traits = {key: self._phones.phone(number)[key] for key in ("name", *PHONE_TRAITS)} if known else {}
            messages = [as_shown(message) for message in self._phones.chat(number)]
        windows = self._whatsapp.windows_of(number) if known else {}
        return as_json({"phone": number, **traits, "windows": windows, "messages": messages})

    def set_phone(self, phone: str) -> Response:
        body = stated()
        wrong = [key for key in body if key not in (*PHONE_TRAITS, "name")]
        if wrong or not all(isinstance(body[key], bool) for key in body if key != "name"):
            raise Refusal(f"A phone has: name (a text) and {', '.join(PHONE_TRAITS)} (true or false).")
        if not isinstance(body.get("name", ""), str):
            raise Refusal("name is a text.")
        self._phones.set(phone_in(phone), **body)
        return self.get_phone(phone)

    def tap(self, phone: str) -> Response:
        body = stated()
        return as_json(as_shown(self._phones.tap(phone_in(phone), body.get("message_id"), body.get("button"))))

    def send(self, phone: str) -> Response:
        body = stated()
        content = {key: body[key] for key in ("text", "image", "caption") if body.get(key)}
        if not ("text" in content) ^ ("image" in content):
            raise Refusal('Say {"text": "…"} or {"image": "…"}.')
        if not all(isinstance(value, str) and len(value) <= 4096 for value in content.values()):
            raise Refusal("A message is a text of at most 4096 characters.")
        to = body.get("to")
        return as_json(as_shown(self._phones.send(phone_in(phone), content, None if to is None else str(to))))

    def read(self, phone: str) -> Response:
        self._phones.read(phone_in(phone))
        return self.get_phone(phone)

    # Faults and the log

    def list_faults(self) -> Response:
        return as_json({"faults": self._world.faults.active(), **what_exists()})

    def add_fault(self) -> Response:
        body = stated()
        fault = self._world.faults.add(body.get("target"), body.get("mode"), body.get("rate", 1.0), body.get("count"))
        return as_json({"fault": fault.as_json(), "faults": self._world.faults.active(), **what_exists()}, 201)

    def remove_faults(self, id: int | None = None) -> Response:
        removed = self._world.faults.remove(id)
        return as_json({"removed": removed, "faults": self._world.faults.active(), **what_exists()})

    def read_log(self) -> Response:
        vendor = request.args.get("vendor")
        if vendor and vendor not in VENDORS:
            raise Refusal(f"There is no vendor {vendor!r}. Vendors: {', '.join(VENDORS)}.")
        entries = self._world.log.read(vendor, whole("since", 0, 10**12), whole("limit", 200, 5000))
        return as_json({"log": entries, "last": self._world.log.last})

    # WhatsApp

    def list_templates(self) -> Response:
        keys = ("id", "waba", "name", "language", "category", "status", "quality_score", "components")
        return as_json({"templates": [{key: one[key] for key in keys} for one in self._whatsapp.templates.values()]})

    def change_templates(self) -> Response:
        """Force status, category or quality of every template that matches name, language and waba."""
        body = stated()
        allowed = {
            "status": templates.STATUSES,
            "category": templates.CATEGORIES,
            "quality": QUALITIES,
            "pacing": (True, False),
        }
        wanted = {key: body[key] for key in allowed if key in body}
        for key, value in wanted.items():
            if value not in allowed[key]:
                raise Refusal(f"{key} is one of {', '.join(map(str, allowed[key]))}.")
        if not wanted:
            raise Refusal("Say status, category, quality or pacing.")
        filters = {key: body[key] for key in ("name", "language", "waba") if body.get(key)}
        chosen = [
            one for one in self._whatsapp.templates.values() if all(one[key] == value for key, value in filters.items())
        ]
        if not chosen:
            raise Refusal("No template matches. See GET /control/templates.", 404)
        for template in chosen:
            if "status" in wanted:
                self._whatsapp.template_becomes(template, wanted["status"], str(body.get("reason", "NONE")))
            if "category" in wanted:
                self._whatsapp.template_category_becomes(template, wanted["category"])
            if "quality" in wanted:
                self._whatsapp.template_quality_becomes(template, wanted["quality"])
            if "pacing" in wanted:
                template["pacing"] = wanted["pacing"]
                self._whatsapp.templates.touch(template["id"])
        return as_json({"changed": [f"{one['name']} ({one['language']})" for one in chosen]})

    def whatsapp_event(self) -> Response:
        return as_json({"done": _public(events.happen(self._whatsapp, stated()))})

    def list_numbers(self) -> Response:
        accounts = self._whatsapp.accounts
        told = []
        for number in accounts.numbers.values():
            waba = accounts.wabas[number["waba"]]
            told.append(
                shown_number(number, waba)
                | {
                    "waba_id": waba["id"],
                    "subscribed": waba["subscribed"],
                    "per_second": number["throughput"],
                    "access_token": number["token"] if number["token"].startswith("sandbox-token") else "***",
                }
            )
        return as_json({"numbers": told})

    def set_number(self) -> Response:
        """Add a business number, or change one (by `id`)."""
        body = stated()
        throughput = body.get("throughput", 80)
        if throughput not in (20, 80, 1000):
            raise Refusal("throughput is 80 or 1000 messages per second (20 with coexistence).")
        accounts = self._whatsapp.accounts
        if "id" in body:
            number = accounts.number_of(str(body["id"]))
            if number is None:
                raise Refusal(f"There is no number {body['id']!r}.", 404)
            allowed = (
                "quality_rating",
                "registered",
                "can_send",
                "messaging_limit",
                "verified_name",
                "throughput",
            )
            with self._world.lock:
                number.update({key: body[key] for key in allowed if key in body})
                accounts.numbers.touch(number["id"])
            return as_json({"number": number["id"]})
        name, display = body.get("name", "Sandbox Store"), body.get("display_phone_number")
        if display is None:
            display = f"+92 300 77{self._world.next_number('display', 10001)}"
        waba = body.get("waba_id")
        if not all(isinstance(text, str) and text for text in (name, display)):
            raise Refusal("name and display_phone_number are texts.")
        number = accounts.add(name, display, None if waba is None else str(waba), throughput=throughput)
        return as_json(
            {
                "phone_number_id": number["id"],
                "waba_id": number["waba"],
                "display_phone_number": display,
                "access_token": number["token"],
                "throughput": throughput,
            },
            201,
        )

    def issue_code(self) -> Response:
        """An embedded-signup code, as the browser gets it from Facebook. Lives 30 s."""
        waba = str(stated().get("waba_id", ""))
        code = self._whatsapp.accounts.issue_code(waba)
        numbers = [number["id"] for number in self._whatsapp.accounts.numbers.values() if number["waba"] == waba]
        return as_json({"code": code, "waba_id": waba, "phone_number_id": numbers[0] if numbers else None}, 201)

    # Stores

    def list_stores(self) -> Response:
        woo = self._woo
        return as_json(
            {
                "shopify": [
                    {key: shop[key] for key in ("domain", "name", "installed", "scopes")}
                    | {"connected": self._shopify.tokens.exist(shop["domain"])}
                    for shop in self._shopify.shops.values()
                ],
                "woocommerce": {
                    "name": woo.store["name"],
                    "url": woo.home,
                    "connected": len(woo.keys.keys) > 0
                    and any(hook["status"] == "active" for hook in woo.webhooks.hooks.values()),
                    "owner_has_rights": woo.store["owner_has_rights"],
                    "keys": [
                        {key: one[key] for key in ("key_id", "permissions", "description")}
                        for one in woo.keys.keys.values()
                    ],
                    "webhooks": [
                        {key: hook[key] for key in ("id", "topic", "status", "failures", "name")}
                        for hook in woo.webhooks.hooks.values()
                    ],
                },
            }
        )

    def change_store(self) -> Response:
        body = stated()
        store, action = body.get("store"), body.get("action")
        actions = {"shopify": SHOPIFY_ACTIONS, "woocommerce": WOO_ACTIONS}.get(store if isinstance(store, str) else "")
        if actions is None:
            raise Refusal(f"There is no store {store!r}. Stores: {', '.join(STORES)}.")
        act = actions.get(action) if isinstance(action, str) else None
        if act is None:
            raise Refusal(f"A {store} store has no action {action!r}. Actions: {', '.join(actions)}.")
        act(self, body)
        return self.list_stores()

    def install(self, body: dict[str, Any]) -> None:
        self._shopify.install(self._stores.shop(body))

    def uninstall(self, body: dict[str, Any]) -> None:
        self._shopify.uninstall(self._stores.shop(body))

    def add_shop(self, body: dict[str, Any]) -> None:
        shop, name = body.get("shop"), body.get("name") or "Another Store"
        if not isinstance(shop, str) or not isinstance(name, str):
            raise Refusal("shop is a name like second-store.myshopify.com.")
        self._shopify.add_shop(shop, name)

    def scopes(self, body: dict[str, Any]) -> None:
        scopes = body.get("scopes")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise Refusal("scopes is a list of scope names.")
        self._shopify.grant_scopes(self._stores.shop(body), scopes)

    def privacy(self, body: dict[str, Any]) -> None:
        topics = [topic for topic in TOPICS if topic.startswith(("customers/", "shop/"))]
        if body.get("topic") not in topics:
            raise Refusal(f"topic is one of {', '.join(topics)}.")
        order = self._shopify.order(str(body.get("order_id", "")))
        self._shopify.privacy(self._stores.shop(body), str(body["topic"]), order)

    def break_owner(self, body: dict[str, Any]) -> None:
        self._woo.set_store(owner_has_rights=False)

    def mend_owner(self, body: dict[str, Any]) -> None:
        self._woo.set_store(owner_has_rights=True)

    def leak_draft(self, body: dict[str, Any]) -> None:
        self._woo.leave_draft(Basket.from_json(body))

    def revoke_keys(self, body: dict[str, Any]) -> None:
        self._woo.keys.keys.clear()

    # The whole

    def health(self) -> Response:
        queues = {name: queue.waiting() for name, queue in self._sandbox.queues().items()}
        timers = self._world.timers.waiting()
        return as_json(
            {
                "ready": True,
                "idle": self._sandbox.idle,
                "queues": queues,
                "timers": timers,
                "whatsapp_webhook": self._whatsapp.verified,
                "faults": len(self._world.faults.active()),
                "log": self._world.log.last,
                "orders": {"shopify": len(self._shopify.orders), "woocommerce": len(self._woo.orders)},
                "messages": len(self._world.shelf("messages")),
                "app": self._world.settings.app_url,
                "versions": {
                    "python": platform.python_version(),
                    "flask": version("flask"),
                    "shopify_api": API_VERSION,
                    "woocommerce": WOOCOMMERCE_VERSION,
                },
                "payments": PAYMENTS,
            }
        )

    def reset(self) -> Response:
        """A fresh world. With `keep_connections` the stores stay connected and only what happened is forgotten."""
        keep = stated().get("keep_connections", False)
        if not isinstance(keep, bool):
            raise Refusal("keep_connections is true or false.")
        self._sandbox.reset(keep)
        return self.health()


PHONE_TRAITS = ("on_whatsapp", "hides_number", "read_receipts", "stopped_marketing")
Action = Callable[[Control, dict[str, Any]], None]
SHOPIFY_ACTIONS: dict[str, Action] = {
    "install": Control.install,
    "uninstall": Control.uninstall,
    "add": Control.add_shop,
    "scopes": Control.scopes,
    "privacy": Control.privacy,
}
WOO_ACTIONS: dict[str, Action] = {
    "break_owner": Control.break_owner,
    "mend_owner": Control.mend_owner,
    "leak_draft": Control.leak_draft,
    "revoke_keys": Control.revoke_keys,
}


def _public(record: Record) -> Record:
    return as_shown(record) if "number_id" in record else {k: v for k, v in record.items() if k != "failures"}
