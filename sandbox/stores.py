"""Both stores behind one door: place an order, find it, change it with the merchant's hand, tell of it.

The control API and the face speak of stores in these words; which vendor it is matters only behind this door.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sandbox.catalogue import Basket
from sandbox.errors import Refusal
from sandbox.shopify import DEMO, Shopify
from sandbox.shopify import merchant as shopify_merchant
from sandbox.woocommerce import WooCommerce
from sandbox.woocommerce import merchant as woo_merchant
from sandbox.woocommerce.orders import ZONE
from sandbox.world import Record

STORES = ("shopify", "woocommerce")


class Stores:
    def __init__(self, shopify: Shopify, woo: WooCommerce) -> None:
        self._shopify = shopify
        self._woo = woo

    def place(self, stated: dict[str, Any]) -> dict[str, str]:
        store = stated.get("store", "shopify")
        self.check(store)
        basket = Basket.from_json(stated)
        if store == "shopify":
            order = self._shopify.place(self.shop(stated)["domain"], basket)
            return {"order_id": order["key"], "name": order["body"]["name"], "store": store}
        order = self._woo.place(basket)
        return {"order_id": str(order["id"]), "name": f"#{order['id']}", "store": store}

    def shop(self, stated: dict[str, Any]) -> Record:
        shop = stated.get("shop", DEMO)
        if not isinstance(shop, str):
            raise Refusal("shop is a name like dastak-demo.myshopify.com.")
        return self._shopify.shop(shop)

    def find(self, order_id: str) -> tuple[str, Record]:
        """By id, or by the name people see."""
        order_id = order_id.strip()
        if order := self._shopify.order(order_id):
            return "shopify", order
        if order := self._woo.order(order_id.lstrip("#")):
            return "woocommerce", order
        name = f"#{order_id.lstrip('#')}"
        for order in self._shopify.orders.values():
            if order["body"]["name"] == name:
                return "shopify", order
        raise Refusal(f"There is no order {order_id[:40]!r} in either store.", 404)

    def act(self, order_id: str, stated: dict[str, Any]) -> dict[str, Any]:
        store, order = self.find(order_id)
        if store == "shopify":
            shopify_merchant.act(self._shopify, order, stated)
        else:
            woo_merchant.act(self._woo, order, stated)
        return self.told(store, order)

    def pay(self, order_id: str) -> dict[str, Any]:
        return self.act(order_id, {"action": "pay"})

    def told(self, store: str, order: Record) -> dict[str, Any]:
        with self._shopify.world.lock:
            return shopify_merchant.told(order) if store == "shopify" else woo_merchant.told(order)

    def newest(self, limit: int, store: str | None = None) -> tuple[list[dict[str, Any]], int]:
        """The newest orders, and how many there are."""
        if store:
            self.check(store)
        found: list[tuple[datetime, str, Record]] = []
        if store in (None, "", "shopify"):
            recent = self._shopify.orders.values()[-limit:]
            found += [(datetime.fromisoformat(one["body"]["created_at"]), "shopify", one) for one in recent]
        if store in (None, "", "woocommerce"):
            recent = self._woo.orders.values()[-limit:]
            found += [(datetime.fromtimestamp(one["created"], ZONE), "woocommerce", one) for one in recent]
        found.sort(key=lambda entry: entry[0], reverse=True)
        total = (len(self._shopify.orders) if store != "woocommerce" else 0) + (
            len(self._woo.orders) if store != "shopify" else 0
        )
        return [self.told(store, order) for _, store, order in found[:limit]], total

    @staticmethod
    def check(store: Any) -> None:
        if store not in STORES:
            raise Refusal(f"There is no store {store!r}. Stores: {', '.join(STORES)}.")
