"""The fake Shopify: its stores, what happens in them, and which webhooks that causes."""

from __future__ import annotations

import re
import uuid
from typing import Any

from sandbox.catalogue import CURRENCY, Basket
from sandbox.errors import Refusal
from sandbox.phones import Phones
from sandbox.shopify import orders
from sandbox.shopify.tokens import Tokens
from sandbox.shopify.webhooks import Webhooks
from sandbox.world import Record, World

DEMO = "dastak-demo.myshopify.com"
DOMAIN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-]*\.myshopify\.com")
SHIPMENT_STATUSES = (
    "label_printed",
    "label_purchased",
    "attempted_delivery",
    "ready_for_pickup",
    "confirmed",
    "carrier_picked_up",
    "in_transit",
    "delayed",
    "out_for_delivery",
    "delivered",
    "failure",
)
CANCEL_REASONS = ("customer", "declined", "fraud", "inventory", "staff", "other")


class Shopify:
    def __init__(self, world: World, phones: Phones) -> None:
        self.world = world
        self._phones = phones
        self.shops = world.shelf("shopify_shops")
        self.orders = world.shelf("shopify_orders")
        self.checkouts = world.shelf("shopify_checkouts")
        self.tokens = Tokens(world)
        self.webhooks = Webhooks(world)
        self.seed()

    def seed(self) -> None:
        if DEMO not in self.shops:
            self.add_shop(DEMO, "Lahore Lawn")
        for order in self.orders.values():
            if order.get("cancelling"):
                self._cancel_soon(order["key"], order["cancelling"])

    # Stores

    def add_shop(self, domain: str, name: str) -> Record:
        if not DOMAIN.fullmatch(domain):
            raise Refusal("A Shopify store is called something.myshopify.com.")
        with self.world.lock:
            if domain in self.shops:
                raise Refusal(f"There is a store {domain} already.", 409)
            handle = domain.removesuffix(".myshopify.com")
            return self.shops.put(
                domain,
                {
                    "id": self.world.next_number("shopify_shop", 60_100_000_001),
                    "domain": domain,
                    "handle": handle,
                    "name": name,
                    "email": f"owner@{handle}.example.test",
                    "iana_timezone": "Asia/Karachi",
                    "currency": CURRENCY,
                    "country_code": "PK",
                    "plan": "Basic",
                    "installed": False,
                    "scopes": [],
                },
            )

    def shop(self, domain: str) -> Record:
        shop = self.shops.get(domain)
        if shop is None:
            raise Refusal(f"There is no Shopify store {domain!r}. There are: {', '.join(self.shops)}.", 404)
        return shop

    def shop_by_handle(self, handle: str) -> Record:
        return self.shop(f"{handle}.myshopify.com")

    def install(self, shop: Record) -> None:
        """Managed installation: nobody calls the app; the first it sees of us is a page request."""
        with self.world.lock:
            shop["installed"] = True
            shop["scopes"] = list(self.world.settings.shopify_scopes)
            self.shops.touch(shop["domain"])

    def uninstall(self, shop: Record) -> None:
        with self.world.lock:
            if not shop["installed"]:
                raise Refusal(f"Dastak is not installed on {shop['domain']}.", 409)
            shop["installed"] = False
            shop["scopes"] = []
            self.shops.touch(shop["domain"])
            self.tokens.forget(shop["domain"])
            self._put(shop, "app/uninstalled", self.shop_body(shop))

    def grant_scopes(self, shop: Record, scopes: list[str]) -> None:
        with self.world.lock:
            previous, shop["scopes"] = shop["scopes"], scopes
            self.shops.touch(shop["domain"])
            body = {
                "id": f"gid://shopify/AppInstallation/{shop['id']}",
                "previous": previous,
                "current": scopes,
                "updated_at": orders.stamp(self.world.clock.now(), shop["iana_timezone"]),
            }
            self._put(shop, "app/scopes_update", body)

    def privacy(self, shop: Record, topic: str, order: Record | None) -> None:
        """One of the three compliance topics. These come for uninstalled stores too."""
        base: Record = {"shop_id": shop["id"], "shop_domain": shop["domain"]}
        if topic != "shop/redact":
            if order is None:
                raise Refusal(f"{topic} needs the order_id of one of the customer's orders.")
            customer = order["body"]["customer"] or {}
            base["customer"] = {key: customer.get(key) for key in ("id", "email", "phone")}
            ids = [order["body"]["id"]]
            if topic == "customers/data_request":
                base |= {
                    "orders_requested": ids,
                    "data_request": {"id": self.world.next_number("data_request", 9999)},
                }
            else:
                base["orders_to_redact"] = ids
        self.webhooks.put(shop["domain"], topic, base, str(uuid.uuid4()))

    def shop_body(self, shop: Record) -> Record:
        now = orders.stamp(self.world.clock.now(), shop["iana_timezone"])
        return {
            "id": shop["id"],
            "name": shop["name"],
            "email": shop["email"],
            "domain": None,
            "province": "Punjab",
            "country": "PK",
            "address1": "1 Gulberg",
            "zip": "54000",
            "city": "Lahore",
            "source": None,
            "phone": None,
            "latitude": None,
            "longitude": None,
            "primary_locale": "en",
            "country_code": shop["country_code"],
            "country_name": "Pakistan",
            "currency": shop["currency"],
            "customer_email": shop["email"],
            "timezone": "(GMT+05:00) Asia/Karachi",
            "iana_timezone": shop["iana_timezone"],
            "shop_owner": "Shop Owner",
            "money_format": "Rs.{{amount}}",
            "weight_unit": "kg",
            "province_code": "PB",
            "plan_display_name": None,
            "plan_name": "cancelled",
            "myshopify_domain": shop["domain"],
            "created_at": None,
            "updated_at": now,
        }

    # Orders

    def place(self, domain: str, basket: Basket) -> Record:
        shop = self.shop(domain)
        with self.world.lock:
            order = orders.new_order(self.world, shop, basket)
            self.orders.put(order["key"], order)
            if basket.customer.e164:
                self._phones.named(basket.customer.e164, basket.customer.name)
            topics = ["orders/create"]
            if order["body"]["financial_status"] == "paid":
                topics += ["orders/paid", "orders/updated"]
            elif order["body"]["order_number"] % 4 == 0:
                topics.append("orders/updated")  # the topic is noisy and may overtake orders/create
                if order["body"]["order_number"] % 8 == 0:
                    topics.reverse()
            self._announce(order, topics)
            return order

    def leave_checkout(self, domain: str, basket: Basket) -> Record:
        """The checkout fires before there is a contact, and again once the phone is typed in."""
        shop = self.shop(domain)
        with self.world.lock:
            checkout = orders.new_checkout(self.world, shop, basket)
            self.checkouts.put(checkout["token"], {"shop": domain, "body": checkout})
            nameless = checkout | {
                "email": None,
                "phone": None,
                "customer": None,
                "shipping_address": None,
                "billing_address": None,
            }
            if basket.customer.e164:
                self._phones.named(basket.customer.e164, basket.customer.name)
            self._put(shop, "checkouts/create", nameless, checkout["name"])
            self._put(shop, "checkouts/update", checkout, checkout["name"])
            return checkout

    def order(self, id: str) -> Record | None:
        return self.orders.get(id)

    def now(self, order: Record) -> str:
        return orders.stamp(self.world.clock.now(), self.shops[order["shop"]]["iana_timezone"])

    def change(self, order: Record, topics: list[str], fulfillment: Record | None = None) -> None:
        """An order changed: the time of it, the shelf, the webhooks. `fulfillment` is the one that changed, the last
        unless told.
        """
        with self.world.lock:
            if topics:
                order["body"]["updated_at"] = self.now(order)
            self.orders.touch(order["key"])
            self._announce(order, topics, fulfillment)

    def add_tags(self, order: Record, tags: list[str]) -> None:
        with self.world.lock:
            self.change(order, orders.add_tags(order, tags))

    def remove_tags(self, order: Record, tags: list[str]) -> None:
        with self.world.lock:
            self.change(order, orders.remove_tags(order, tags))

    def update(self, order: Record, **body: Any) -> None:
        with self.world.lock:
            order["body"].update(body)
            self.change(order, ["orders/updated"])

    def pay(self, order: Record) -> None:
        with self.world.lock:
            if not orders.can_be_paid(order):
                status = order["body"]["financial_status"]
                raise Refusal(f"{order['body']['name']} cannot be marked as paid: it is {status}.", 409)
            self.change(order, orders.pay(order, self.now(order)))

    def refund(self, order: Record) -> None:
        with self.world.lock:
            if order["body"]["financial_status"] != "paid":
                raise Refusal(f"{order['body']['name']} is not paid, there is nothing to refund.", 409)
            self.change(order, orders.refund(order, self.now(order)))

    def why_not_cancel(self, order: Record) -> str | None:
        if order["body"]["cancelled_at"] is not None or order.get("cancelling"):
            return "Order has already been cancelled"
        if order["body"]["fulfillment_status"] == "fulfilled":
            return "Cannot cancel an order that has been fulfilled"
        return None

    def cancel(self, order: Record, reason: str, refund: bool) -> str:
        """A job that ends a little later and cannot be undone. Returns the job's id."""
        with self.world.lock:
            why = self.why_not_cancel(order)
            if why is not None:
                raise Refusal(f"{order['body']['name']}: {why}.", 409)
            id = str(uuid.uuid4())
            job: Record = {"id": id, "reason": reason, "refund": refund}
            order["cancelling"] = job
            self.orders.touch(order["key"])
            self._cancel_soon(order["key"], job)
            return id

    def _cancel_soon(self, key: str, job: Record) -> None:
        self.world.timers.after(self.world.settings.cancel_job, lambda: self._cancelled(key, job))

    def _cancelled(self, key: str, job: Record) -> None:
        with self.world.lock:
            order = self.orders.get(key)
            if order is not None and order.pop("cancelling", None) is not None:
                self.change(order, orders.cancel(order, self.now(order), job["reason"], job["refund"]))

    def job_done(self, id: str) -> bool:
        return not any((order.get("cancelling") or {}).get("id") == id for order in self.orders.values())

    def split(self, order: Record) -> None:
        """All lines but the first are kept at another location: two fulfilment orders."""
        with self.world.lock:
            lines = order["body"]["line_items"]
            if len(lines) < 2 or order["body"]["fulfillments"]:
                raise Refusal(f"{order['body']['name']} cannot be split: it needs two lines, and none sent yet.", 409)
            order["elsewhere"] = [line["id"] for line in lines[1:]]
            self.change(order, [])

    def fulfil(
        self,
        order: Record,
        company: str | None,
        number: str | None,
        url: str | None,
        work: list[Record] | None = None,
    ) -> Record:
        with self.world.lock:
            body = order["body"]
            if body["cancelled_at"] is not None or body["fulfillment_status"] == "fulfilled":
                state = "cancelled" if body["cancelled_at"] else "fulfilled"
                raise Refusal(f"{body['name']} cannot be fulfilled: it is {state}.", 409)
            self.change(order, orders.fulfil(order, self.now(order), company, number, url, work))
            made: Record = body["fulfillments"][-1]
            return made

    def cancel_fulfillment(self, order: Record, fulfillment: Record) -> None:
        with self.world.lock:
            if fulfillment["status"] != "cancelled":
                self.change(order, orders.cancel_fulfillment(order, self.now(order), fulfillment), fulfillment)

    def shipment(self, order: Record, status: str) -> None:
        with self.world.lock:
            if not order["body"]["fulfillments"]:
                raise Refusal(f"{order['body']['name']} is not fulfilled yet.", 409)
            if status not in SHIPMENT_STATUSES:
                raise Refusal(f"There is no shipment status {status!r}. There are: {', '.join(SHIPMENT_STATUSES)}.")
            self.event(order, order["body"]["fulfillments"][-1], {"status": status})

    def event(self, order: Record, fulfillment: Record, stated: Record) -> Record:
        """Whoever says it, an app or the merchant's hand."""
        with self.world.lock:
            id = self.world.next_number("fulfillment_event", 52_100_000_001)
            stated |= {"id": id, "shop_id": self.shops[order["shop"]]["id"]}
            self.change(order, orders.event(order, self.now(order), fulfillment, stated), fulfillment)
            made: Record = order["events"][-1]
            return made

    # Webhooks

    def _put(self, shop: Record, topic: str, body: Any, what: str = "") -> None:
        self.webhooks.put(shop["domain"], topic, body, str(uuid.uuid4()), what)

    def _announce(self, order: Record, topics: list[str], fulfillment: Record | None = None) -> None:
        """One event, one delivery per topic. Only installed shops have subscriptions."""
        if not self.shops[order["shop"]]["installed"]:
            return
        event_id = str(uuid.uuid4())
        body = order["body"]
        for topic in topics:
            resource = body
            if topic.startswith("fulfillments/"):
                destination = body["shipping_address"]
                changed = fulfillment or body["fulfillments"][-1]
                resource = changed | {"destination": destination, "email": body["email"]}
            elif topic.startswith("fulfillment_events/"):
                resource = order["events"][-1]
            elif topic == "refunds/create":
                resource = body["refunds"][-1]
            self.webhooks.put(order["shop"], topic, resource, event_id, body["name"])
