"""The fake WooCommerce store: its orders, what happens to them, and which webhook events that raises."""

from __future__ import annotations

import secrets
from typing import Any

from sandbox.catalogue import PRODUCTS, Basket
from sandbox.errors import Refusal
from sandbox.phones import Phones
from sandbox.woocommerce import orders
from sandbox.woocommerce.oauth1 import Keys
from sandbox.woocommerce.webhooks import Webhooks
from sandbox.world import Record, World

STORE_NAME = "Karachi Khussa"
OWNER = {"login": "merchant", "password": "sandbox", "email": "merchant@example.test"}
DRAFT_LEAKS = 7  # every seventh block checkout shows its draft for a moment


class WooCommerce:
    def __init__(self, world: World, phones: Phones) -> None:
        self.world = world
        self._phones = phones
        self.orders = world.shelf("woo_orders")
        self.products = world.shelf("woo_products")
        self._store = world.shelf("woo_store")
        self.keys = Keys(world)
        self.webhooks = Webhooks(world, lambda: self.home, self._payload)
        self.seed()

    @property
    def home(self) -> str:
        """The store's home URL: a sub-path install."""
        return f"{self.world.settings.url}/woo"

    @property
    def store(self) -> Record:
        return self._store["store"]

    def set_store(self, **traits: Any) -> None:
        with self.world.lock:
            self.store.update(traits)
            self._store.touch("store")

    def seed(self) -> None:
        if "store" not in self._store:
            self._store.put("store", {"name": STORE_NAME, "owner_has_rights": True})
            now = int(self.world.clock.time())
            for product in PRODUCTS.values():
                known = self.products.get(str(product.product_number))
                variations = [*(known["variations"] if known else []), product.variant_number]
                self.products.put(
                    str(product.product_number),
                    {
                        "id": product.product_number,
                        "name": product.title,
                        "slug": product.title.lower().replace(" ", "-"),
                        "sku": product.sku if product.variant is None else "",
                        "price": str(product.price),
                        "created": now,
                        "modified": now,
                        "stock": 5000,
                        "sold": 0,
                        "manage_stock": product.stock_managed,
                        "variations": [number for number in variations if number],
                    },
                )
        for order in self.orders.values():
            if order.get("awaiting_gateway"):
                self._pay_soon(order["id"])
            if order.get("leaves_draft_as"):
                self._leave_draft_soon(order["id"])

    # Orders

    def place(self, basket: Basket) -> Record:
        """A block checkout. `order.updated` is announced before `order.created`."""
        with self.world.lock:
            order = orders.from_checkout(self.world, self.home, basket)
            self.orders.put(str(order["id"]), order)
            if basket.customer.e164:
                self._phones.named(basket.customer.e164, basket.customer.name)
            _, _, status, paid_later = orders.GATEWAYS[basket.payment]
            order["awaiting_gateway"] = paid_later
            if order["id"] % DRAFT_LEAKS == 0:
                order["status"], order["leaves_draft_as"] = "checkout-draft", status
                self._changed(order)
                self._leave_draft_soon(order["id"])
            else:
                self._placed(order, status)
            return order

    def _placed(self, order: Record, status: str) -> None:
        stock_moved = order["status"] != status and orders.set_status(self.world, order, status)
        self._changed(order)
        self._announce_new(order)
        if stock_moved:
            self._stock_changed(order)
        if order["awaiting_gateway"]:
            self._pay_soon(order["id"])

    def _announce_new(self, order: Record) -> None:
        order["announced"] = True
        self.webhooks.event("order.created", order["id"])

    def _leave_draft_soon(self, id: int) -> None:
        def leave() -> None:
            with self.world.lock:
                order = self.orders.get(str(id))
                if order is not None and (status := order.pop("leaves_draft_as", None)):
                    self._placed(order, status)

        self.world.timers.after(0.3, leave)

    def _pay_soon(self, id: int) -> None:
        def pay() -> None:
            with self.world.lock:
                order = self.orders.get(str(id))
                if order is not None and order.get("awaiting_gateway") and order["status"] == "pending":
                    self.pay(order)

        self.world.timers.after(self.world.settings.payment_after, pay)

    def create_by_rest(self, order: Record, status: str) -> Record:
        """Created through the API: `order.created` first, then `order.updated`."""
        with self.world.lock:
            self.orders.put(str(order["id"]), order)
            stock_moved = status != order["status"] and orders.set_status(self.world, order, status)
            self._announce_new(order)
            self._changed(order)
            if stock_moved:
                self._stock_changed(order)
            return order

    def leave_draft(self, basket: Basket) -> Record:
        """A checkout that was begun and left: older stores leak its draft."""
        with self.world.lock:
            order = orders.from_checkout(self.world, self.home, basket)
            order["status"] = "checkout-draft"
            self.orders.put(str(order["id"]), order)
            self._changed(order)
            return order

    def order(self, id: str) -> Record | None:
        return self.orders.get(id)

    def _changed(self, order: Record) -> None:
        """Any save: the time of it and `order.updated`."""
        order["modified"] = int(self.world.clock.time())
        self.orders.touch(str(order["id"]))
        if order["status"] != "trash":
            self.webhooks.event("order.updated", order["id"])

    def _stock_changed(self, order: Record) -> None:
        for product in {line["product_id"] for line in order["lines"]}:
            stocked = self.products.get(str(product))
            if stocked is not None and stocked["manage_stock"]:
                self.webhooks.event("product.updated", product)

    def save(self, order: Record, status: str | None = None) -> None:
        """The order was edited; perhaps its status with it."""
        with self.world.lock:
            before = order["status"]
            if status is not None and before == "trash":
                order["status"] = status  # by REST: nothing is announced for it
                order.pop("trashed_from", None)
                order["modified"] = int(self.world.clock.time())
                self.orders.touch(str(order["id"]))
                return
            stock_moved = status is not None and orders.set_status(self.world, order, status)
            self._saved(order, before, stock_moved)

    def complete_payment(self, order: Record, transaction: str) -> None:
        """A program says that the money is there."""
        with self.world.lock:
            before = order["status"]
            stock_moved = orders.complete_payment(self.world, order, transaction)
            self._saved(order, before, stock_moved)

    def _saved(self, order: Record, before: str, stock_moved: bool) -> None:
        self._changed(order)
        if stock_moved:
            self._stock_changed(order)
        if order["status"] != before:
            self.webhooks.event(f"action.woocommerce_order_status_{order['status']}", order["id"])

    def pay(self, order: Record, transaction: str | None = None) -> None:
        with self.world.lock:
            if order["paid"] is not None and order["status"] in ("processing", "completed"):
                raise Refusal(f"Order {order['id']} is paid already.", 409)
            if order["status"] in ("cancelled", "refunded", "trash"):
                raise Refusal(f"Order {order['id']} is {order['status']}.", 409)
            order["awaiting_gateway"] = False
            order["transaction_id"] = transaction or (
                "" if order["payment_method"] == "cod" else f"pay_{secrets.token_hex(7)}"
            )
            if order["payment_method"] == "cod":
                self.save(order, "completed")
            else:
                order["paid"] = int(self.world.clock.time())
                self.save(order, "processing")

    def refund(self, order: Record, amount: str, reason: str) -> Record:
        with self.world.lock:
            one = {
                "id": self.world.next_number("woo_post", orders.FIRST_ID),
                "reason": reason,
                "amount": amount,
                "at": int(self.world.clock.time()),
            }
            order["refunds"].append(one)
            refunded = sum(float(refund["amount"]) for refund in order["refunds"])
            full = refunded >= float(orders.total_of(order)) - 0.001
            self.save(order, "refunded" if full else None)
            return one

    def trash(self, order: Record) -> None:
        with self.world.lock:
            if order["status"] == "trash":
                raise Refusal(f"Order {order['id']} is in the trash already.", 409)
            order["trashed_from"], order["status"] = order["status"], "trash"
            order["modified"] = int(self.world.clock.time())
            self.orders.touch(str(order["id"]))
            self.webhooks.event("order.deleted", order["id"])

    def restore(self, order: Record) -> None:
        with self.world.lock:
            if order["status"] != "trash":
                raise Refusal(f"Order {order['id']} is not in the trash.", 409)
            order["status"] = order.pop("trashed_from", "pending")
            order["modified"] = int(self.world.clock.time())
            self.orders.touch(str(order["id"]))
            self.webhooks.event("order.restored", order["id"])

    def erase(self, order: Record) -> None:
        """Gone for good. Nobody is told."""
        with self.world.lock:
            self.orders.drop(str(order["id"]))

    # What webhooks carry

    def _payload(self, topic: str, id: int) -> Any:
        resource, _, event = topic.partition(".")
        if resource == "action":
            return {"action": event, "arg": id}
        if event == "deleted":
            return {"id": id}
        if not self.store["owner_has_rights"]:  # the delivery runs as the webhook's owner
            return error_body("woocommerce_rest_cannot_view", "Sorry, you cannot view this resource.", 401)
        if resource == "order":
            order = self.orders.get(str(id))
            if order is None:
                return error_body("woocommerce_rest_shop_order_invalid_id", "Invalid ID.", 404)
            return orders.rendered(order, self.home, in_webhook=True)
        product = self.products.get(str(id))
        if product is None:
            return error_body("woocommerce_rest_product_invalid_id", "Invalid ID.", 404)
        return self.rendered_product(product)

    def rendered_product(self, product: Record) -> Record:
        others = [other["id"] for other in self.products.values() if other["id"] != product["id"]]
        return orders.rendered_product(product, self.home, others)


def error_body(code: str, message: str, status: int) -> Record:
    return {"code": code, "message": message, "data": {"status": status}}
