"""Orders as WooCommerce 11 keeps and states them: the REST v3 object, field for field, and the rules of a status.

A stored order holds times as epoch seconds and no addresses of the store; `rendered` makes the object that both the
REST API and the webhooks carry.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.catalogue import CURRENCY, SHIPPING, Basket, Customer, Item, Product
from sandbox.world import Record, World

VERSION = "11.0.1"
WORDPRESS = "7.0.4"
ZONE = ZoneInfo("Asia/Karachi")
SYMBOL = "\u20a8"
FIRST_ID = 17
STATUSES = (
    "pending",
    "processing",
    "on-hold",
    "completed",
    "cancelled",
    "refunded",
    "failed",
    "checkout-draft",
)
SETTABLE = ("auto-draft", *STATUSES)
NAMES = {
    "pending": "Pending payment",
    "processing": "Processing",
    "on-hold": "On hold",
    "completed": "Completed",
    "cancelled": "Cancelled",
    "refunded": "Refunded",
    "failed": "Failed",
    "checkout-draft": "Draft",
    "auto-draft": "Draft",
    "trash": "Trash",
}
TRACKING = "_wc_shipment_tracking_items"  # what the usual tracking plugins write
STOCK_TAKEN = ("processing", "completed", "on-hold")
STOCK_BACK = ("cancelled", "pending")

# payment of a basket -> (gateway id, title, status after checkout, paid a little later by itself)
GATEWAYS = {
    "cod": ("cod", "Cash on delivery", "processing", False),
    "bank": ("bacs", "Direct bank transfer", "on-hold", False),
    "jazzcash": ("jazzcash", "JazzCash", "pending", False),
    "easypaisa": ("easypay_pk", "Easypaisa", "on-hold", False),
    "safepay": ("safepay_gateway", "Safepay", "pending", False),
    "razorpay": ("razorpay", "Credit Card/Debit Card/NetBanking", "pending", False),
    "cashfree": ("cashfree", "Cashfree Payments", "pending", False),
    "prepaid": ("bank_cards", "Credit or debit card", "pending", True),
}
TITLES = {gateway: title for gateway, title, _, _ in GATEWAYS.values()}


def money(amount: Decimal) -> str:
    return f"{amount:.2f}"


def local(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, ZONE).strftime("%Y-%m-%dT%H:%M:%S")


def gmt(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def order_key() -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "wc_order_" + "".join(secrets.choice(letters) for _ in range(13))


def meta(world: World, key: str, value: Any) -> Record:
    return {"id": world.next_number("woo_order_meta"), "key": key, "value": value}


def _item_meta(world: World, key: str, value: str, shown_key: str | None = None) -> Record:
    return {
        "id": world.next_number("woo_item_meta"),
        "key": key,
        "value": value,
        "display_key": shown_key or key,
        "display_value": value,
    }


def product_line(world: World, product: Product, quantity: int) -> Record:
    total = money(product.price * quantity)
    sized = product.variant is not None
    return {
        "id": world.next_number("woo_order_item"),
        "name": product.name,
        "product_id": product.product_number,
        "variation_id": product.variant_number,
        "quantity": quantity,
        "tax_class": "",
        "subtotal": total,
        "subtotal_tax": "0.00",
        "total": total,
        "total_tax": "0.00",
        "taxes": [],
        "meta_data": [_item_meta(world, "size", product.variant or "", "Size")] if sized else [],
        "sku": product.sku,
        "global_unique_id": "",
        "price": unit_price(product.price),
        "image": {"id": 0 if sized else "", "src": ""},
        "parent_name": product.title if sized else None,
    }


def unit_price(price: Decimal) -> int | float:
    """A JSON number: whole prices come without a fraction, as PHP writes them."""
    return int(price) if price == int(price) else float(price)


def shipping_line(world: World, items: tuple[Item, ...], from_checkout: bool) -> Record:
    listed = ", ".join(f"{item.product.name} &times; {item.quantity}" for item in items)
    return {
        "id": world.next_number("woo_order_item"),
        "method_title": "Standard courier",
        "method_id": "flat_rate",
        "instance_id": "1" if from_checkout else "",
        "total": money(SHIPPING),
        "total_tax": "0.00",
        "taxes": [],
        "tax_status": "taxable",
        "meta_data": [_item_meta(world, "Items", listed)] if from_checkout else [],
    }


EMPTY_ADDRESS = {
    "first_name": "",
    "last_name": "",
    "company": "",
    "address_1": "",
    "address_2": "",
    "city": "",
    "state": "",
    "postcode": "",
    "country": "",
}


def addresses(customer: Customer) -> tuple[Record, Record]:
    place = customer.place
    base = EMPTY_ADDRESS | {
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "address_1": place.street,
        "city": customer.city,
        "state": place.province_code,
        "postcode": place.zip,
        "country": place.country,
    }
    return base | {"email": customer.email, "phone": customer.phone}, base | {"phone": customer.phone}


def blank(world: World, created_via: str) -> Record:
    now = int(world.clock.time())
    return {
        "id": world.next_number("woo_post", FIRST_ID),
        "status": "pending",
        "created": now,
        "modified": now,
        "completed": None,
        "paid": None,
        "order_key": order_key(),
        "billing": EMPTY_ADDRESS | {"email": "", "phone": ""},
        "shipping": EMPTY_ADDRESS | {"phone": ""},
        "payment_method": "",
        "payment_method_title": "",
        "transaction_id": "",
        "ip": "",
        "user_agent": "",
        "created_via": created_via,
        "customer_note": "",
        "cart_hash": "",
        "meta": [],
        "lines": [],
        "shipping_lines": [],
        "refunds": [],
        "notes": [],
        "announced": False,
    }


BROWSER = (
    "Mozilla/5.0 (Linux; Android 13; SM-A155F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
    "Mobile Safari/537.36"
)
EMPTY_HASH = hashlib.md5(b"[]").hexdigest()  # what the block checkout stores for "no coupons, fees, taxes"


def from_checkout(world: World, home: str, basket: Basket) -> Record:
    """An order as the block checkout (Store API) leaves it."""
    order = blank(world, "store-api")
    gateway, title, _, _ = GATEWAYS[basket.payment]
    order["billing"], order["shipping"] = addresses(basket.customer)
    order |= {
        "payment_method": gateway,
        "payment_method_title": title,
        "ip": "127.0.0.1",
        "user_agent": BROWSER,
        "customer_note": basket.note,
        "currency": basket.currency,
        "cart_hash": hashlib.md5(order["order_key"].encode()).hexdigest(),
        "lines": [product_line(world, item.product, item.quantity) for item in basket.items],
        "shipping_lines": [shipping_line(world, basket.items, True)],
    }
    seen = datetime.fromtimestamp(order["created"] - 300, UTC).strftime("%Y-%m-%d %H:%M:%S")
    kept: list[tuple[str, str]] = [
        ("_shipping_hash", hashlib.md5(order["cart_hash"].encode()).hexdigest()),
        ("_coupons_hash", EMPTY_HASH),
        ("_fees_hash", EMPTY_HASH),
        ("_taxes_hash", EMPTY_HASH),
    ]
    if basket.opt_in is not None:
        kept.append(("_wc_other/dastak/whatsapp-optin", "1" if basket.opt_in else "0"))
    kept.append(("is_vat_exempt", "no"))
    attribution = {
        "source_type": "typein",
        "utm_source": "(direct)",
        "session_entry": f"{home}/",
        "session_start_time": seen,
        "session_pages": "3",
        "session_count": "1",
        "user_agent": BROWSER,
        "device_type": "Mobile",
    }
    kept += [(f"_wc_order_attribution_{name}", value) for name, value in attribution.items()]
    order["meta"] = [meta(world, key, value) for key, value in kept]
    order["debug_meta"] = meta(
        world, "_debug_log_source_pending_deletion", f"place-order-debug-{order['cart_hash'][:8]}"
    )
    order["phone"] = basket.customer.e164
    return order


# The rules of a status


def needs_payment(order: Record) -> bool:
    """WC_Order::needs_payment: not of an order on hold."""
    return order["status"] in ("pending", "failed") and Decimal(total_of(order)) > 0


def status_when_paid(order: Record) -> str:
    """Where a payment takes an order: the gateway for cash on delivery takes it for the end of one."""
    return "completed" if order["payment_method"] == "cod" else "processing"


def complete_payment(world: World, order: Record, transaction: str) -> bool:
    """WC_Order::payment_complete: it revives a cancelled order, and does nothing to one that is further on. True if
    stock moved.
    """
    if order["status"] not in ("on-hold", "pending", "failed", "cancelled"):
        return False
    if transaction:
        order["transaction_id"] = transaction
    if order["paid"] is None:
        order["paid"] = int(world.clock.time())
    return set_status(world, order, status_when_paid(order))


def set_status(world: World, order: Record, status: str) -> bool:
    """Any to any is allowed. Stock, dates and the note follow as WooCommerce does them. True if stock moved."""
    before, now = order["status"], int(world.clock.time())
    if before == status:
        return False
    order["status"] = status
    if order["paid"] is None and status in {status_when_paid(order), "completed"}:
        order["paid"] = now  # and it stays: cancelling, failing or reopening does not clear it
    if status == "completed":
        order["completed"] = now
    was = NAMES.get(before, before)
    note(world, order, f"Order status changed from {was} to {NAMES.get(status, status)}.")
    return _move_stock(world, order, status)


def _move_stock(world: World, order: Record, status: str) -> bool:
    moved = False
    products = world.shelf("woo_products")
    for line in order["lines"]:
        product = products.get(str(line["product_id"]))
        if product is None or not product["manage_stock"]:
            continue
        held = next((entry for entry in line["meta_data"] if entry["key"] == "_reduced_stock"), None)
        if status in STOCK_TAKEN and held is None:
            line["meta_data"].append(_item_meta(world, "_reduced_stock", str(line["quantity"])))
            product["stock"] -= line["quantity"]
            product["sold"] += line["quantity"]
        elif status in STOCK_BACK and held is not None:
            line["meta_data"].remove(held)
            product["stock"] += int(held["value"])
        else:
            continue
        product["modified"] = int(world.clock.time())
        products.touch(str(line["product_id"]))
        moved = True
    return moved


def note(world: World, order: Record, text: str, customer_note: bool = False, author: str = "WooCommerce") -> Record:
    written = {
        "id": world.next_number("woo_comment"),
        "author": author,
        "at": int(world.clock.time()),
        "note": text,
        "customer_note": customer_note,
    }
    order["notes"].append(written)
    return written


def set_meta(world: World, order: Record, stated: list[Record]) -> None:
    """An entry with an id changes or (value null) deletes that one; a known key is updated in place; else it is new."""
    for entry in stated:
        id, key, value = entry.get("id"), entry.get("key"), entry.get("value")
        known = next((kept for kept in order["meta"] if kept["id"] == id), None) if id else None
        if known is None and not id:
            known = next((kept for kept in order["meta"] if kept["key"] == key), None)
        if known is not None and value is None:
            order["meta"].remove(known)
        elif known is not None:
            known["value"] = value
            if isinstance(key, str) and key:
                known["key"] = key
        elif isinstance(key, str) and key and value is not None:
            order["meta"].append(meta(world, key, value))


def total_of(order: Record) -> str:
    lines = [*order["lines"], *order["shipping_lines"]]
    return money(sum((Decimal(line["total"]) for line in lines), Decimal(0)))


def rendered(order: Record, home: str, in_webhook: bool = False) -> Record:
    """The REST v3 order object. Key order is WooCommerce's own."""
    id, status, total = order["id"], order["status"], total_of(order)
    shipping = money(sum((Decimal(line["total"]) for line in order["shipping_lines"]), Decimal(0)))
    kept = list(order["meta"])
    if in_webhook and "debug_meta" in order and order["modified"] - order["created"] < 60:
        kept.append(order["debug_meta"])
    own = f"{home}/wp-json/wc/v3/orders/{id}"
    return {
        "id": id,
        "parent_id": 0,
        "status": status,
        "currency": order.get("currency", CURRENCY),
        "version": VERSION,
        "prices_include_tax": False,
        "date_created": local(order["created"]),
        "date_modified": local(order["modified"]),
        "discount_total": "0.00",
        "discount_tax": "0.00",
        "shipping_total": shipping,
        "shipping_tax": "0.00",
        "cart_tax": "0.00",
        "total": total,
        "total_tax": "0.00",
        "customer_id": 0,
        "order_key": order["order_key"],
        "billing": order["billing"],
        "shipping": order["shipping"],
        "payment_method": order["payment_method"],
        "payment_method_title": order["payment_method_title"],
        "transaction_id": order["transaction_id"],
        "customer_ip_address": order["ip"],
        "customer_user_agent": order["user_agent"],
        "created_via": order["created_via"],
        "customer_note": order["customer_note"],
        "date_completed": local(order["completed"]),
        "date_paid": local(order["paid"]),
        "cart_hash": order["cart_hash"],
        "number": str(id),
        "meta_data": kept,
        "line_items": order["lines"],
        "tax_lines": [],
        "shipping_lines": order["shipping_lines"],
        "fee_lines": [],
        "coupon_lines": [],
        "refunds": [
            {"id": one["id"], "reason": one["reason"], "total": f"-{one['amount']}", "total_tax": "0.00"}
            for one in order["refunds"]
        ],
        "payment_url": f"{home}/checkout/order-pay/{id}/?pay_for_order=true&key={order['order_key']}",
        "is_editable": status in ("pending", "on-hold", "auto-draft", "failed"),
        "needs_payment": needs_payment(order),
        "needs_processing": True,
        "date_created_gmt": gmt(order["created"]),
        "date_modified_gmt": gmt(order["modified"]),
        "date_completed_gmt": gmt(order["completed"]),
        "date_paid_gmt": gmt(order["paid"]),
        "currency_symbol": SYMBOL,
        "_links": {
            "self": [{"href": own, "targetHints": {"allow": ["GET", "POST", "PUT", "PATCH", "DELETE"]}}],
            "collection": [{"href": f"{home}/wp-json/wc/v3/orders"}],
            "email_templates": [{"embeddable": True, "href": f"{own}/actions/email_templates"}],
        },
    }


def rendered_note(one: Record, order: Record, home: str) -> Record:
    base = f"{home}/wp-json/wc/v3/orders/{order['id']}"
    return {
        "id": one["id"],
        "author": one["author"],
        "date_created": local(one["at"]),
        "date_created_gmt": gmt(one["at"]),
        "note": one["note"],
        "customer_note": one["customer_note"],
        "_links": {
            "self": [{"href": f"{base}/notes/{one['id']}"}],
            "collection": [{"href": f"{base}/notes"}],
            "up": [{"href": base}],
        },
    }


def rendered_product(product: Record, home: str, others: list[int]) -> Record:
    price = money(Decimal(product["price"]))
    own = f"{home}/wp-json/wc/v3/products/{product['id']}"
    return {
        "id": product["id"],
        "name": product["name"],
        "slug": product["slug"],
        "permalink": f"{home}/product/{product['slug']}/",
        "date_created": local(product["created"]),
        "date_created_gmt": gmt(product["created"]),
        "date_modified": local(product["modified"]),
        "date_modified_gmt": gmt(product["modified"]),
        "type": "variable" if product["variations"] else "simple",
        "status": "publish",
        "featured": False,
        "catalog_visibility": "visible",
        "description": "",
        "short_description": "",
        "sku": product["sku"],
        "price": price,
        "regular_price": "" if product["variations"] else price,
        "sale_price": "",
        "date_on_sale_from": None,
        "date_on_sale_from_gmt": None,
        "date_on_sale_to": None,
        "date_on_sale_to_gmt": None,
        "on_sale": False,
        "purchasable": True,
        "total_sales": product["sold"],
        "virtual": False,
        "downloadable": False,
        "downloads": [],
        "download_limit": -1,
        "download_expiry": -1,
        "external_url": "",
        "button_text": "",
        "tax_status": "taxable",
        "tax_class": "",
        "manage_stock": product["manage_stock"],
        "stock_quantity": product["stock"] if product["manage_stock"] else None,
        "backorders": "no",
        "backorders_allowed": False,
        "backordered": False,
        "low_stock_amount": None,
        "sold_individually": False,
        "weight": "0.8",
        "dimensions": {"length": "", "width": "", "height": ""},
        "shipping_required": True,
        "shipping_taxable": True,
        "shipping_class": "",
        "shipping_class_id": 0,
        "reviews_allowed": True,
        "average_rating": "0.00",
        "rating_count": 0,
        "upsell_ids": [],
        "cross_sell_ids": [],
        "parent_id": 0,
        "purchase_note": "",
        "categories": [{"id": 15, "name": "Uncategorized", "slug": "uncategorized"}],
        "brands": [],
        "tags": [],
        "images": [],
        "attributes": [],
        "default_attributes": [],
        "variations": product["variations"],
        "grouped_products": [],
        "menu_order": 0,
        "price_html": (
            '<span class="woocommerce-Price-amount amount"><bdi><span class="woocommerce-Price-currencySymbol" '
            f'translate="no">&#8360;</span>{Decimal(price):,.2f}</bdi></span>'
        ),
        "related_ids": others,
        "meta_data": [],
        "stock_status": "instock" if not product["manage_stock"] or product["stock"] > 0 else "outofstock",
        "has_options": bool(product["variations"]),
        "post_password": "",
        "global_unique_id": "",
        "_links": {
            "self": [{"href": own, "targetHints": {"allow": ["GET", "POST", "PUT", "PATCH", "DELETE"]}}],
            "collection": [{"href": f"{home}/wp-json/wc/v3/products"}],
        },
    }
