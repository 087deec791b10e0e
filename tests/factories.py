"""The smallest valid record of each noun, for tests below the level of stories."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

from integration.catalogue import TEMPLATES, Template, template_name
from integration.customers import GRANTED, UTILITY, Consent, ContactPoint, Customer
from integration.db import Session
from integration.events import Item, OrderChanged
from integration.house import House
from integration.orders import Order
from integration.ports import StoreProfile
from integration.stores import Connection, connect, install
from integration.values import LANGUAGES, Address, Money

_numbers = itertools.count(1)


def store(house: House, *, account: str = "", channel: bool = True) -> int:
    """An installed store, with a connected number whose templates are approved. Returns its id."""
    number = next(_numbers)
    with house.db.operator_writing() as session:
        made = install(
            session,
            adapter="shopify",
            profile=StoreProfile(
                name=f"Store {number}",
                account=account or f"store-{number}.myshopify.com",
                timezone="Asia/Karachi",
                currency="PKR",
                country="PK",
            ),
            credentials={"access_token": "shpat_test", "refresh_token": "shprt_test"},
            state={"expires_at": (session.now() + timedelta(hours=1)).isoformat()},
            vault=house.vault,
        )
        made.installed_at = session.now() - timedelta(days=365)
        store_id = made.id
        if channel:
            made_channel = connect(
                session,
                store_id=store_id,
                room="channels",
                adapter="whatsapp",
                account=f"num-{number}",
                alias=f"waba:{number}",
                credentials={"access_token": "t", "waba_id": str(number)},
                state={"rate": 80},
                vault=house.vault,
            )
            session.add_all(templates(store_id, made_channel))
    return store_id


def templates(store_id: int, channel: Connection, **changes: Any) -> list[Template]:
    """Every starter template, approved unless told otherwise."""
    codes = {"en": "en", "ur-Latn": "en", "ur": "ur", "hi": "hi", "es": "es", "pt": "pt_BR"}
    values = {"status": "approved", "category": "utility", **changes}
    return [
        Template(
            store_id=store_id,
            connection_id=channel.id,
            key=key,
            language=language,
            name=template_name(key, language),
            code=codes[language],
            wanted="utility",
            **values,
        )
        for key in TEMPLATES
        for language in LANGUAGES
    ]


def contact(session: Session, phone: str | None = None, *, consent: bool = True, **values: Any) -> ContactPoint:
    """A customer who can be reached and agreed to order messages."""
    made = ContactPoint(store_id=session.store_id, phone=phone or f"+92300{next(_numbers):07d}", **values)
    made.customer = Customer(store_id=session.store_id, name="Ayesha Khan", created_at=session.now())
    session.add(made)
    session.flush()
    if consent:
        session.add(
            Consent(
                store_id=session.store_id,
                contact_point_id=made.id,
                purpose=UTILITY,
                state=GRANTED,
                source="checkout",
                at=session.now(),
            )
        )
        session.flush()
    return made


def order(session: Session, **values: Any) -> Order:
    """A cash on delivery order that waits for its answer."""
    number = next(_numbers)
    now = session.now()
    given = {
        "external_id": str(number), "name": f"#{number}", "placed_at": now, "changed_at": now, "seen_at": now,
        "currency": "PKR", "total": Money.parse("7248", "PKR").amount, "is_cod": True, "confirmation": "awaiting",
        "payment": "cod_due", **values,
    }  # fmt: skip
    made = Order(store_id=session.store_id, **given)
    session.add(made)
    session.flush()
    return made


def order_fact(at: datetime, **values: Any) -> OrderChanged:
    """What a store says of a cash on delivery order."""
    given: dict[str, Any] = {
        "external_id": "17", "name": "#17", "occurred_at": at, "placed_at": at, "total": Money.parse("7248", "PKR"),
        "payment": "pending", "fulfilment": "unfulfilled", "gateways": ("Cash on Delivery (COD)",),
        "customer_name": "Ayesha Khan", "phones": ("0300 1234567",), "address": Address(city="Lahore", country="PK"),
        "items": (Item(external_id="1", title="Khussa", quantity=2),), **values,
    }  # fmt: skip
    return OrderChanged(**given)
