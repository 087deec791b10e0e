"""Orders as Shopify's REST-shaped webhooks state them (API 2026-07), and what can happen to one.

A record on the shelf is `{shop, body, transactions, metafields, events, elsewhere}`: `body` is exactly what a webhook
carries, the rest is what only the Admin API tells. No function here sends anything; each returns the topics that became
true.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.catalogue import COUNTRY_NAMES, CURRENCY, SHIPPING, Basket, Customer, Item, Product
from sandbox.world import Record, World

FIRST_ID = 6_100_000_000_001
LOCATIONS = {655_441_491: "Lahore warehouse", 655_441_492: "Karachi warehouse"}

# payment of a basket -> (gateway name, a manual method, paid at once)
GATEWAYS = {
    "cod": ("Cash on Delivery (COD)", True, False),
    "jazzcash": ("JazzCash", True, False),
    "easypaisa": ("Easypaisa", True, False),
    "bank": ("Bank Deposit", True, False),
    "safepay": ("Safepay", True, False),
    "razorpay": ("Razorpay", True, False),
    "cashfree": ("Cashfree Payments", True, False),
    "prepaid": ("shopify_payments", False, True),
}


def stamp(at: datetime, zone: str) -> str:
    """ISO-8601 with the store's offset, whole seconds."""
    return at.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")


def money(amount: Decimal) -> str:
    return f"{amount:.2f}"


def money_set(amount: str) -> Record:
    one = {"amount": amount, "currency_code": CURRENCY}
    return {"shop_money": one, "presentment_money": dict(one)}


def product_id(product: Product) -> int:
    return 8_200_000_000_000 + product.product_number


def variant_id(product: Product) -> int:
    return 44_300_000_000_000 + (product.variant_number or product.product_number)


def token_of(*parts: Any) -> str:
    return hashlib.md5(":".join(map(str, parts)).encode()).hexdigest()


def _address(customer: Customer) -> Record:
    place = customer.place
    return {
        "first_name": customer.first_name,
        "address1": place.street,
        "phone": customer.phone or None,
        "city": customer.city,
        "zip": place.zip or None,
        "province": place.province or None,
        "country": COUNTRY_NAMES.get(place.country, place.country),
        "last_name": customer.last_name or None,
        "address2": None,
        "company": None,
        "latitude": None,
        "longitude": None,
        "name": customer.name,
        "country_code": place.country,
        "province_code": place.province_code or None,
    }


def _customer(customer: Customer, id: int, created: str) -> Record:
    """A customer inside an order: since 2025-01 without tags, consents, totals and counts."""
    return {
        "id": id,
        "created_at": created,
        "updated_at": created,
        "first_name": customer.first_name,
        "last_name": customer.last_name or None,
        "state": "disabled",
        "note": None,
        "verified_email": True,
        "multipass_identifier": None,
        "tax_exempt": False,
        "email": customer.email or None,
        "phone": customer.e164,
        "currency": CURRENCY,
        "tax_exemptions": [],
        "admin_graphql_api_id": f"gid://shopify/Customer/{id}",
        "default_address": {"id": id + 1, "customer_id": id, **_address(customer), "default": True},
    }


def _line(item: Item, id: int) -> Record:
    product = item.product
    return {
        "id": id,
        "admin_graphql_api_id": f"gid://shopify/LineItem/{id}",
        "current_quantity": item.quantity,
        "fulfillable_quantity": item.quantity,
        "fulfillment_service": "manual",
        "fulfillment_status": None,
        "gift_card": False,
        "grams": 0,
        "name": product.name,
        "price": money(product.price),
        "price_set": money_set(money(product.price)),
        "product_exists": True,
        "product_id": product_id(product),
        "properties": [],
        "quantity": item.quantity,
        "requires_shipping": True,
        "sku": product.sku,
        "taxable": True,
        "title": product.title,
        "total_discount": "0.00",
        "variant_id": variant_id(product),
        "variant_title": product.variant,
        "vendor": "Dastak Demo",
        "tax_lines": [],
        "discount_allocations": [],
    }


def new_order(world: World, shop: Record, basket: Basket) -> Record:
    at = world.clock.now()
    now = stamp(at, shop["iana_timezone"])
    id = world.next_number("shopify_order", FIRST_ID)
    number = world.next_number(f"shopify_number:{shop['domain']}", 1001)
    customer = basket.customer
    gateway, manual, paid = GATEWAYS[basket.payment]
    total, subtotal = money(basket.total), money(basket.subtotal)
    order_token = token_of(shop["domain"], id)
    customer_id = int(token_of(shop["domain"], customer.e164 or customer.name)[:11], 16) % 10**12 + 7 * 10**12
    lines = [_line(item, id * 10 + n) for n, item in enumerate(basket.items)]
    address = _address(customer)
    body: Record = {
        "id": id,
        "admin_graphql_api_id": f"gid://shopify/Order/{id}",
        "app_id": 580111,
        "browser_ip": "127.0.0.1",
        "buyer_accepts_marketing": False,
        "cancel_reason": None,
        "cancelled_at": None,
        "cart_token": token_of("cart", id),
        "checkout_token": token_of("checkout", id),
        "closed_at": None,
        "confirmation_number": order_token[:9].upper(),
        "confirmed": True,
        "contact_email": customer.email or None,
        "created_at": now,
        "currency": CURRENCY,
        "current_subtotal_price": subtotal,
        "current_total_discounts": "0.00",
        "current_total_price": total,
        "current_total_price_set": money_set(total),
        "current_total_tax": "0.00",
        "customer_locale": customer.locale or None,
        "discount_codes": [],
        "email": customer.email or "",
        "estimated_taxes": False,
        "financial_status": "paid" if paid else "pending",
        "fulfillment_status": None,
        "landing_site": "/",
        "landing_site_ref": None,
        "location_id": None,
        "merchant_business_entity_id": "MTQ4NzUxMjA",
        "name": f"#{number}",
        "note": basket.note or None,
        "note_attributes": [],
        "number": number - 1000,
        "order_number": number,
        "order_status_url": f"https://{shop['domain']}/{shop['id']}/orders/{order_token}/authenticate?key={order_token[:16]}",
        "payment_gateway_names": [gateway],
        "phone": None,
        "presentment_currency": CURRENCY,
        "processed_at": now,
        "reference": None,
        "referring_site": "",
        "source_identifier": None,
        "source_name": "web",
        "source_url": None,
        "subtotal_price": subtotal,
        "tags": "",
        "tax_exempt": False,
        "tax_lines": [],
        "taxes_included": False,
        "test": False,
        "token": order_token,
        "total_discounts": "0.00",
        "total_line_items_price": subtotal,
        "total_outstanding": "0.00" if paid else total,
        "total_price": total,
        "total_price_set": money_set(total),
        "total_tax": "0.00",
        "total_weight": 0,
        "updated_at": now,
        "user_id": None,
        "billing_address": dict(address),
        "customer": _customer(customer, customer_id, now),
        "discount_applications": [],
        "fulfillments": [],
        "line_items": lines,
        "payment_terms": None,
        "refunds": [],
        "returns": [],
        "shipping_address": address,
        "shipping_lines": [
            {
                "id": id * 10 + 9,
                "code": "Standard courier",
                "discounted_price": money(SHIPPING),
                "price": money(SHIPPING),
                "source": "shopify",
                "title": "Standard courier",
                "tax_lines": [],
            }
        ],
    }
    if basket.opt_in is not None:
        body["note_attributes"] = [{"name": "whatsapp_opt_in", "value": "yes" if basket.opt_in else "no"}]
    transaction = {
        "id": id * 10 + 8,
        "kind": "SALE",
        "status": "SUCCESS" if paid else "PENDING",
        "gateway": gateway,
        "manual": manual,
        "amount": total,
        "created_at": now,
    }
    return {
        "key": str(id),
        "shop": shop["domain"],
        "body": body,
        "transactions": [transaction],
        "metafields": {},
        "events": [],
        "elsewhere": [],
        "phone": customer.e164,
    }


def new_checkout(world: World, shop: Record, basket: Basket) -> Record:
    """A cart left behind. Since 2026-04 a checkout webhook carries no `id`; `token` is its name."""
    now = stamp(world.clock.now(), shop["iana_timezone"])
    number = world.next_number("shopify_checkout", 1)
    token = token_of("checkout", shop["domain"], number)
    customer = basket.customer
    total, subtotal = money(basket.total), money(basket.subtotal)
    customer_id = int(token_of(shop["domain"], customer.e164 or customer.name)[:11], 16) % 10**12 + 7 * 10**12
    address = _address(customer)
    lines = []
    for item in basket.items:
        lines.append(
            {
                "key": token_of(token, item.product.sku),
                "product_id": product_id(item.product),
                "variant_id": variant_id(item.product),
                "sku": item.product.sku,
                "title": item.product.title,
                "variant_title": item.product.variant,
                "quantity": item.quantity,
                "price": money(item.product.price),
                "line_price": money(item.total),
                "requires_shipping": True,
                "vendor": "Dastak Demo",
                "properties": [],
            }
        )
    return {
        "token": token,
        "cart_token": token_of("cart", token),
        "email": customer.email or None,
        "gateway": None,
        "buyer_accepts_marketing": False,
        "buyer_accepts_sms_marketing": False,
        "sms_marketing_phone": None,
        "created_at": now,
        "updated_at": now,
        "landing_site": "/",
        "note": None,
        "note_attributes": [],
        "referring_site": "",
        "shipping_lines": [],
        "taxes_included": False,
        "total_weight": 0,
        "currency": CURRENCY,
        "presentment_currency": CURRENCY,
        "completed_at": None,
        "closed_at": None,
        "customer_locale": customer.locale or None,
        "phone": customer.e164,
        "name": f"#{30_000_000 + number}",
        "source_name": "web",
        "abandoned_checkout_url": f"https://{shop['domain']}/{shop['id']}/checkouts/ac/{token}/recover",
        "discount_codes": [],
        "line_items": lines,
        "subtotal_price": subtotal,
        "total_discounts": "0.00",
        "total_line_items_price": subtotal,
        "total_price": total,
        "total_tax": "0.00",
        "customer": _customer(customer, customer_id, now),
        "shipping_address": address,
        "billing_address": dict(address),
    }


# What can happen. Each change returns the webhook topics it causes, in Shopify's order of triggering.


def tag_list(body: Record) -> list[str]:
    return [tag for tag in body["tags"].split(", ") if tag]


def add_tags(order: Record, tags: list[str]) -> list[str]:
    """Additive and, like Shopify, blind to letter case."""
    present = tag_list(order["body"])
    known = {tag.casefold() for tag in present}
    new = []
    for tag in (part.strip() for given in tags for part in given.split(",")):
        if tag and tag.casefold() not in known:
            known.add(tag.casefold())
            new.append(tag)
    if not new:
        return []
    order["body"]["tags"] = ", ".join(sorted([*present, *new], key=str.casefold))
    return ["orders/updated"]


def remove_tags(order: Record, tags: list[str]) -> list[str]:
    gone = {tag.strip().casefold() for tag in tags}
    kept = [tag for tag in tag_list(order["body"]) if tag.casefold() not in gone]
    if len(kept) == len(tag_list(order["body"])):
        return []
    order["body"]["tags"] = ", ".join(kept)
    return ["orders/updated"]


def can_be_paid(order: Record) -> bool:
    """Something is outstanding and it is not paid; a card that was only authorised counts. Of a cancelled order
    nothing is outstanding.
    """
    body = order["body"]
    outstanding = float(body["total_outstanding"]) > 0 and body["financial_status"] != "paid"
    return outstanding and body["cancelled_at"] is None


def pay(order: Record, now: str) -> list[str]:
    """All that is outstanding: as a sale, or by capturing what was authorised."""
    body = order["body"]
    body["financial_status"] = "paid"
    paid = body["total_outstanding"]
    body["total_outstanding"] = "0.00"
    opened = next((t for t in order["transactions"] if t["status"] == "PENDING" or t["kind"] == "AUTHORIZATION"), None)
    captured = opened is not None and opened["kind"] == "AUTHORIZATION"
    order["transactions"].append(
        {
            "id": order["transactions"][-1]["id"] + 10**14,
            "kind": "CAPTURE" if captured else "SALE",
            "status": "SUCCESS",
            "gateway": opened["gateway"] if opened else "manual",
            "manual": not captured,
            "amount": paid,
            "created_at": now,
        }
    )
    return ["orders/paid", "orders/updated"]


def cancel(order: Record, now: str, reason: str, refund: bool) -> list[str]:
    body = order["body"]
    body["cancelled_at"] = now
    body["closed_at"] = now
    body["cancel_reason"] = reason
    topics = ["orders/cancelled", "orders/updated"]
    if body["financial_status"] in ("pending", "authorized"):
        body["financial_status"] = "voided"
        body["total_outstanding"] = "0.00"
    elif refund and body["financial_status"] in ("paid", "partially_paid"):
        _refund(order, now, body["current_total_price"])
        body["financial_status"] = "refunded"
        topics.insert(0, "refunds/create")
    for line in body["line_items"]:
        line["current_quantity"] = line["fulfillable_quantity"] = 0
    body["current_total_price"] = body["current_subtotal_price"] = "0.00"
    body["current_total_price_set"] = money_set("0.00")
    return topics


def _refund(order: Record, now: str, amount: str) -> None:
    body = order["body"]
    id = body["id"] * 10 + 7
    transaction = {
        "id": id + 10**14,
        "kind": "REFUND",
        "status": "SUCCESS",
        "gateway": order["transactions"][0]["gateway"],
        "manual": order["transactions"][0]["manual"],
        "amount": amount,
        "created_at": now,
    }
    order["transactions"].append(transaction)
    body["refunds"].append(
        {
            "id": id,
            "admin_graphql_api_id": f"gid://shopify/Refund/{id}",
            "created_at": now,
            "note": None,
            "order_id": body["id"],
            "processed_at": now,
            "restock": True,
            "user_id": None,
            "duties": [],
            "order_adjustments": [],
            "refund_line_items": [],
            "transactions": [
                {
                    "id": transaction["id"],
                    "order_id": body["id"],
                    "kind": "refund",
                    "status": "success",
                    "gateway": transaction["gateway"],
                    "amount": amount,
                    "currency": CURRENCY,
                    "created_at": now,
                }
            ],
        }
    )


def refund(order: Record, now: str) -> list[str]:
    _refund(order, now, order["body"]["total_price"])
    order["body"]["financial_status"] = "refunded"
    return ["refunds/create", "orders/updated"]


def fulfillment_orders(order: Record) -> list[Record]:
    """The work that an order is, one per location. Shopify makes them itself; no webhook of an order carries them.
    `elsewhere` lists the lines that the second location keeps.
    """
    body, elsewhere = order["body"], order.get("elsewhere") or []
    found = []
    for n, (location, name) in enumerate(LOCATIONS.items()):
        lines = [line for line in body["line_items"] if (line["id"] in elsewhere) == bool(n)]
        if lines:
            open_ = body["cancelled_at"] is None and any(line["fulfillable_quantity"] for line in lines)
            state = "OPEN" if open_ else "CLOSED"
            id = body["id"] * 10 + 4 + n
            found.append({"id": id, "status": state, "location": location, "location_name": name, "lines": lines})
    return found


def fulfil(
    order: Record, now: str, company: str | None, number: str | None, url: str | None, work: list[Record] | None = None
) -> list[str]:
    """One fulfilment, of what is left in these fulfilment orders; of all that is left unless told which."""
    body = order["body"]
    work = fulfillment_orders(order) if work is None else work
    lines = [line for one in work for line in one["lines"] if line["fulfillable_quantity"]]
    before = len(body["fulfillments"])
    id = body["id"] * 1000 + 600 + before if before else body["id"] * 10 + 6
    for line in lines:
        line["fulfillment_status"] = "fulfilled"
        line["fulfillable_quantity"] = 0
    body["fulfillments"].append(
        {
            "id": id,
            "admin_graphql_api_id": f"gid://shopify/Fulfillment/{id}",
            "created_at": now,
            "location_id": work[0]["location"],
            "name": f"{body['name']}.{before + 1}",
            "order_id": body["id"],
            "origin_address": {},
            "receipt": {},
            "service": "manual",
            "shipment_status": None,
            "status": "success",
            "tracking_company": company,
            "tracking_number": number,
            "tracking_numbers": [number] if number else [],
            "tracking_url": url,
            "tracking_urls": [url] if url else [],
            "updated_at": now,
            "line_items": [dict(line) for line in lines],
        }
    )
    whole = not any(line["fulfillable_quantity"] for line in body["line_items"])
    body["fulfillment_status"] = "fulfilled" if whole else "partial"
    return ["fulfillments/create", "orders/fulfilled" if whole else "orders/partially_fulfilled", "orders/updated"]


def cancel_fulfillment(order: Record, now: str, fulfillment: Record) -> list[str]:
    """It was not sent after all: its lines are open again."""
    body = order["body"]
    fulfillment["status"], fulfillment["updated_at"] = "cancelled", now
    for sent in fulfillment["line_items"]:
        for line in body["line_items"]:
            if line["id"] == sent["id"]:
                line["fulfillment_status"], line["fulfillable_quantity"] = None, line["current_quantity"]
    left = any(line["fulfillment_status"] == "fulfilled" for line in body["line_items"])
    body["fulfillment_status"] = "partial" if left else None
    return ["fulfillments/update", "orders/updated"]


def event(order: Record, now: str, fulfillment: Record, stated: Record) -> list[str]:
    """Something is said of a parcel; what was said last is the fulfilment's `shipment_status`."""
    places = ("city", "province", "country", "zip", "address1", "latitude", "longitude")
    order.setdefault("events", []).append(
        {
            "id": stated["id"],
            "fulfillment_id": fulfillment["id"],
            "status": stated["status"],
            "message": stated.get("message"),
            "happened_at": stated.get("happened_at") or now,
            **{name: stated.get(name) for name in places},
            "shop_id": stated["shop_id"],
            "created_at": now,
            "updated_at": now,
            "estimated_delivery_at": stated.get("estimated_delivery_at"),
            "order_id": order["body"]["id"],
            "admin_graphql_api_id": f"gid://shopify/FulfillmentEvent/{stated['id']}",
        }
    )
    fulfillment["shipment_status"] = stated["status"]
    fulfillment["updated_at"] = now
    return ["fulfillment_events/create", "fulfillments/update", "orders/updated"]


def visible_since(now: datetime) -> datetime:
    """`read_orders` sees the orders of the last 60 days."""
    return now - timedelta(days=60)
