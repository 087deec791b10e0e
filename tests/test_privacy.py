"""What the law lets a person or a shop ask for, through Shopify's own three topics: all goes, the proof stays."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from itertools import count
from typing import Any

import pytest
from sqlalchemy import func, select

from integration import privacy, upkeep
from integration.customers import Consent, ContactPoint, Customer, contact_for_phone
from integration.db import Base, Session
from integration.events import PrivacyRequested
from integration.house import House
from integration.inbox import Conversation, Message
from integration.ingest import Mailroom, WebhookDelivery, process
from integration.orders import LineItem, Order, Payment, Transition
from integration.outbox import Outbox, Touchpoint
from integration.ports import StoreProfile
from integration.privacy import PrivacyRequest
from integration.stores import Connection, Store, install, uninstall
from webapp.webhooks import Webhooks

from . import factories
from .contract.recorded import FIXTURES
from .world import Placed, World

SECRET = b"sandbox-shopify-secret"
_ids = count(1)


# -- a customer's life, then her wish ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Life:
    """A customer, and what of her must not be found any more."""

    name: str
    email: str
    first: Placed

    @property
    def traces(self) -> set[str]:
        return {self.first.phone.number.lstrip("+"), self.name.split()[1], self.email, "the bell is broken"}

    def left(self, world: World) -> set[str]:
        with world.house.db.operator() as session:
            everything = _everything(session).lower()
        return {trace for trace in self.traces if trace.lower() in everything}


def _life(world: World) -> Life:
    """She orders, confirms, writes something nobody understands, and orders again."""
    nobody_else = f"Marvi{next(_ids)}x"
    customer = {"name": f"Zubaida {nobody_else}", "email": f"{nobody_else}@Example.test"}
    placed = world.place("shopify", customer=dict(customer))
    placed.phone.tap("Confirm")
    placed.phone.write("please ring twice, the bell is broken")
    world.place("shopify", "prepaid", phone=placed.phone, customer=dict(customer))
    return Life(customer["name"], customer["email"], placed)


def _ask(world: World, topic: str, placed: Placed) -> None:
    shop = {"store": "shopify", "action": "privacy", "topic": topic, "order_id": placed.order_id}
    world.control("POST", "/control/stores", shop)
    world.settle()


def _everything(session: Session) -> str:
    """All that this database holds, as one text."""
    rows = [row for table in Base.metadata.sorted_tables for row in session.connection().execute(table.select())]
    return "\n".join(repr(tuple(row)) for row in rows)


def test_a_customer_is_forgotten_everywhere_and_her_orders_stay_in_the_books(world: World) -> None:
    """customers/redact: no table holds her number, name, address or words any more, raw requests included; the shop's
    figures, the states and the proof of the erasure stay.
    """
    neighbour = world.place("shopify", customer={"name": "Bystander Bano", "email": "bano@example.test"})
    same_person_elsewhere = world.place("woocommerce", phone=world.phone(), customer={"name": "Other Shop"})
    life = _life(world)
    placed = life.first
    assert life.left(world) == life.traces
    before = world.order(placed)

    _ask(world, "customers/redact", placed)

    assert life.left(world) == set()
    after = world.order(placed)
    assert (after.total, after.currency, after.name) == (before.total, before.currency, before.name)
    assert (after.confirmation, after.payment, after.fulfilment) == (
        before.confirmation,
        before.payment,
        before.fulfilment,
    )
    assert after.customer_name == privacy.REDACTED
    assert after.contact_point_id is after.customer_id is None
    with world.looking("shopify") as session:
        met = session.scalars(select(PrivacyRequest).order_by(PrivacyRequest.id.desc()).limit(1)).one()
        assert (met.kind, met.sentence) == ("erase_customer", "1 customers and 2 orders were erased")
        assert met.met_at is not None
        moves = session.scalars(select(Transition.became).where(Transition.order_id == after.id)).all()
        assert "confirmed" in moves
        assert session.scalars(select(LineItem.title).where(LineItem.order_id == after.id)).all()
        bodies = session.scalars(
            select(WebhookDelivery.body).where(WebhookDelivery.subjects == []).order_by(WebhookDelivery.id)
        ).all()
        assert b"" in bodies
    assert world.order(neighbour).customer_name == "Bystander Bano"
    assert world.order(neighbour).contact is not None
    assert world.order(same_person_elsewhere).customer_name == "Other Shop"


def test_who_is_forgotten_hears_nothing_more(world: World) -> None:
    """What was planned for her falls silent, with its reason."""
    placed = world.place("shopify")
    heard = len(placed.phone.heard)
    _ask(world, "customers/redact", placed)
    world.advance("30h")
    assert len(placed.phone.heard) == heard
    silent = {step: state for step, state in world.touchpoints(placed).items() if step != "ask"}
    assert silent["remind_again"] == "skipped: no_contact_point"
    assert all(state.startswith("skipped") for state in silent.values())


def test_she_may_become_a_customer_again(world: World) -> None:
    life = _life(world)
    _ask(world, "customers/redact", life.first)
    again = world.place("shopify", phone=life.first.phone, customer={"name": life.name, "email": life.email})
    assert world.touchpoints(again)["ask"] == "sent"
    assert world.order(life.first).customer_name == privacy.REDACTED


def test_who_was_forgotten_is_not_brought_back_by_the_stores_next_word(world: World) -> None:
    """Reconciliation finds her orders unchanged and stores nothing; a later change moves the order, not the person."""
    life = _life(world)
    _ask(world, "customers/redact", life.first)
    world.advance("10m")
    assert life.left(world) == set()
    world.hand(life.first, "fulfil")
    order = world.order(life.first)
    assert order.fulfilment == "booked"
    assert (order.customer_name, order.address, order.contact, order.customer) == (privacy.REDACTED, {}, None, None)
    with world.looking("shopify") as session:
        assert contact_for_phone(session, life.first.phone.number) is None


def test_a_customer_sees_all_that_is_kept_until_it_is_erased(world: World) -> None:
    """customers/data_request: her contact, consent, orders and every message, for the merchant to hand over; nothing of
    anybody else. What was laid ready goes with the rest when she asks to be forgotten.
    """
    world.place("shopify", customer={"name": "Bystander Bano", "email": "bano@example.test"})
    life = _life(world)
    placed = life.first
    _ask(world, "customers/data_request", placed)

    with world.looking("shopify") as session:
        [request] = session.scalars(select(PrivacyRequest).where(PrivacyRequest.result.is_not(None)))
        told: dict[str, Any] = request.result or {}
    assert request.met_at is not None
    assert request.sentence == "1 customers and 2 orders are ready to hand over"
    assert [(c["name"], c["email"]) for c in told["customers"]] == [(life.name, life.email)]
    [contact] = told["contact_points"]
    assert contact["phone"] == placed.phone.number
    assert [(c["purpose"], c["state"], c["source"]) for c in contact["consents"]] == [
        ("utility", "granted", "checkout")
    ]
    assert {order["customer_name"] for order in told["orders"]} == {life.name}
    assert placed.name in {order["name"] for order in told["orders"]}
    assert sorted(m["text"] for m in told["messages"]) == sorted(m.text for m in placed.phone.messages)
    assert "Bano" not in json.dumps(told)

    _ask(world, "customers/redact", placed)
    assert life.left(world) == set()
    with world.looking("shopify") as session:
        kept = session.get_one(PrivacyRequest, request.id)
        assert kept.result is None
        assert kept.sentence == "1 customers and 2 orders are ready to hand over"


# -- one topic at a time, over a bare house ------------------------------------------------------------------------


class Shopify:
    """Shopify as the sender of signed compliance webhooks."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._app = Webhooks(Mailroom(house), house.registry, 100_000)

    def say(self, account: str, topic: str, body: dict[str, Any], *, id: str = "", secret: bytes = SECRET) -> int:
        raw, seen = json.dumps(body).encode(), []
        environ = {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/webhooks/stores/shopify", "CONTENT_LENGTH": str(len(raw)),
            "wsgi.input": BytesIO(raw), "HTTP_X_SHOPIFY_TOPIC": topic, "HTTP_X_SHOPIFY_SHOP_DOMAIN": account,
            "HTTP_X_SHOPIFY_HMAC_SHA256": base64.b64encode(hmac.digest(secret, raw, "sha256")).decode(),
            "HTTP_X_SHOPIFY_WEBHOOK_ID": id or f"w{next(_ids)}",
            "HTTP_X_SHOPIFY_TRIGGERED_AT": self.house.clock.now().isoformat(),
        }  # fmt: skip
        list(self._app(environ, lambda status, _headers: seen.append(int(status.split()[0]))))
        return seen[0]

    def write(self, number_id: str) -> int:
        """A customer writes to a number on WhatsApp."""
        value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": number_id}, "messages": []}
        entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
        raw = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
        seen: list[int] = []
        environ = {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/webhooks/channels/whatsapp", "CONTENT_LENGTH": str(len(raw)),
            "wsgi.input": BytesIO(raw),
            "HTTP_X_HUB_SIGNATURE_256": "sha256=" + hmac.digest(b"sandbox-whatsapp-secret", raw, "sha256").hex(),
        }  # fmt: skip
        list(self._app(environ, lambda status, _headers: seen.append(int(status.split()[0]))))
        return seen[0]

    def order(self, account: str, phone: str, **changes: Any) -> str:
        """A cash order arrives and is understood. Returns the store's id of it."""
        recorded = json.loads((FIXTURES / "stores" / "shopify" / "orders-create__cod.json").read_text())["body_raw"]
        order = json.loads(recorded.replace("+923001234567", phone)) | {"id": 7_000_000 + next(_ids)} | changes
        assert self.say(account, "orders/create", order) == 200
        return str(order["id"])

    def asks(self, account: str, topic: str, **about: Any) -> int:
        return self.say(account, topic, {"shop_id": 1, "shop_domain": account, **about})


@pytest.fixture
def shopify(house: House) -> Iterator[Shopify]:
    yield Shopify(house)


def _meet(house: House, store_id: int) -> None:
    """What a worker does when the bells ring."""
    process(house, store_id)
    with house.db.lane(store_id) as session:
        privacy.meet_requests(session)


def _count(house: House, store_id: int) -> dict[str, int]:
    with house.db.read(store_id) as session:
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0
            for table in (
                Customer, ContactPoint, Consent, Conversation, Message, Order, LineItem, Payment, Transition,
                Touchpoint, Outbox, WebhookDelivery,
            )
        }  # fmt: skip


def test_a_shop_is_forgotten_whole_and_the_one_beside_it_not_at_all(house: House, shopify: Shopify) -> None:
    """shop/redact comes two days after the app was removed: nothing of the shop's customers and orders is left, only
    that it was here and when it was erased; its neighbour, with the very same customer, keeps every row.
    """
    ours = factories.store(house, account="ours.myshopify.com")
    theirs = factories.store(house, account="theirs.myshopify.com")
    for account in ("ours.myshopify.com", "theirs.myshopify.com"):
        shopify.order(account, "+923001112233")
        shopify.asks(
            account, "customers/data_request", customer={"id": 1, "phone": "+923001112233"}, data_request={"id": 5}
        )
    for store_id in (ours, theirs):
        _meet(house, store_id)
    with house.db.lane(ours) as session:
        uninstall(session.get_one(Store, ours), session.now() - timedelta(days=2))
    with house.db.read(ours) as session:
        number = session.scalars(select(Connection.account).where(Connection.room == "channels")).one()
    assert shopify.write(number) == 200
    before = _count(house, theirs)
    assert all(_count(house, ours)[table] for table in ("customers", "orders", "line_items", "webhook_deliveries"))

    assert shopify.asks("ours.myshopify.com", "shop/redact") == 200
    _meet(house, ours)

    assert Shopify(house).write(number) == 404
    assert not any(_count(house, ours).values())
    assert _count(house, theirs) == before
    with house.db.read(ours) as session:
        store = session.get_one(Store, ours)
        assert store.erased_at is not None
        assert store.email == ""
        assert all(connection.sealed is None for connection in session.scalars(select(Connection)))
        requests = session.scalars(select(PrivacyRequest).order_by(PrivacyRequest.id)).all()
        assert [(r.kind, r.met_at is not None) for r in requests] == [("export", True), ("erase_store", True)]
        assert [r.result for r in requests] == [None, None]
        assert "923001112233" not in repr([(r.wanted, r.sentence) for r in requests])
    assert list(upkeep.due_chores(house)) == [("chores", theirs)]


def test_a_late_notice_spares_a_shop_that_came_back(house: House, shopify: Shopify) -> None:
    store_id = factories.store(house, account="back.myshopify.com")
    shopify.order("back.myshopify.com", "+923001112233")
    process(house, store_id)
    assert shopify.asks("back.myshopify.com", "shop/redact") == 200
    process(house, store_id)
    with house.db.operator_writing() as session:
        profile = StoreProfile("Back", "back.myshopify.com", "Asia/Karachi", "PKR", "PK")
        uninstall(session.get_one(Store, store_id), session.now())
        install(session, adapter="shopify", profile=profile, credentials={}, state={}, vault=house.vault)
    _meet(house, store_id)
    assert _count(house, store_id)["orders"] == 1
    with house.db.read(store_id) as session:
        assert session.scalars(select(PrivacyRequest.sentence)).one() == (
            "the store was installed again since, so nothing was erased"
        )


def test_a_request_that_comes_again_is_one(house: House, shopify: Shopify) -> None:
    """The same delivery again, or the same request in a new delivery: one row, one answer."""
    store_id = factories.store(house, account="a.myshopify.com")
    about = {"shop_id": 1, "shop_domain": "a.myshopify.com", "customer": {"id": 1}, "data_request": {"id": 77}}
    for id in ("same", "same", "another"):
        assert shopify.say("a.myshopify.com", "customers/data_request", about, id=id) == 200
    _meet(house, store_id)
    _meet(house, store_id)
    with house.db.read(store_id) as session:
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 2
        assert len(session.scalars(select(PrivacyRequest)).all()) == 1


def test_an_erasure_that_is_asked_for_again_is_not_done_again(house: House) -> None:
    """Also once it was met, when nothing of whom it was about is left to compare with."""
    store_id = factories.store(house)
    with house.db.lane(store_id) as session:
        fact = PrivacyRequested(
            kind="erase_customer", phone="+923001112233", request_id="r1", occurred_at=session.now()
        )
        first = privacy.record(session, fact)
        session.flush()
        assert privacy.meet_requests(session) == 1
        session.flush()
        assert privacy.record(session, fact) is first
        assert privacy.meet_requests(session) == 0
        assert "923001112233" not in repr(first.wanted)


@pytest.mark.parametrize(
    "about",
    [
        {"customer": {"id": 7607431463169, "email": None, "phone": None}},
        {"customer": {"id": None, "email": "ZUBAIDA@example.test", "phone": None}},
        {"customer": {"id": None, "email": None, "phone": "0300 1112233"}},
        {"customer": {}, "orders_to_redact": ["the order"]},
    ],
    ids=["by the shop's id", "by e-mail in any case", "by phone in any spelling", "by her order alone"],
)
def test_she_is_found_by_whatever_names_her(house: House, shopify: Shopify, about: dict[str, Any]) -> None:
    """Even when she wrote on WhatsApp before she ever ordered, so that only her number was known then."""
    store_id = factories.store(house, account="a.myshopify.com")
    with house.db.lane(store_id) as session:
        contact = factories.contact(session, "+923001112233")
        contact.customer.name = ""
    customer = {"id": 7607431463169, "email": "zubaida@example.test", "first_name": "Zubaida", "phone": "+923001112233"}
    order_id = shopify.order(
        "a.myshopify.com",
        "+923001112233",
        email="zubaida@example.test",
        contact_email="zubaida@example.test",
        customer=customer,
    )
    process(house, store_id)
    about = {name: [int(order_id)] if name == "orders_to_redact" else value for name, value in about.items()}
    assert shopify.asks("a.myshopify.com", "customers/redact", **about) == 200
    _meet(house, store_id)
    with house.db.operator() as session:
        everything = _everything(session).lower()
    assert "923001112233" not in everything
    assert "zubaida" not in everything
    assert _count(house, store_id) | {"orders": 1, "customers": 0, "contact_points": 0} == _count(house, store_id)


def test_raw_requests_under_another_spelling_of_her_number_are_emptied_too(house: House) -> None:
    """WhatsApp writes some countries' mobiles with an extra digit; its status reports name nothing else."""
    store_id, other = factories.store(house), factories.store(house)
    bodies = {
        "as dialled": b'{"to":"525512345678"}', "as WhatsApp writes it": b'{"recipient_id":"5215512345678"}',
        "by her id there": b'{"user_id":"MX.abc123"}', "somebody else": b'{"recipient_id":"5215599999999"}',
    }  # fmt: skip
    with house.db.operator_writing() as session:
        for at in (store_id, other):
            for key, body in bodies.items():
                row = {"room": "channels", "adapter": "whatsapp", "account": str(at), "key": key, "body": body}
                session.add(WebhookDelivery(store_id=at, state="processed", received_at=session.now(), **row))
    with house.db.lane(store_id) as session:
        contact = factories.contact(session, "+525512345678", user_id="MX.abc123", channel_id="5215512345678")
        privacy.erase(session, [contact.customer], [], {})
    with house.db.operator() as session:
        rows = session.scalars(select(WebhookDelivery)).all()
        assert {r.key for r in rows if r.store_id == store_id and r.body} == {"somebody else"}
        assert {r.key for r in rows if r.store_id == other and r.body} == set(bodies)


def test_a_wish_nobody_signed_is_no_wish(house: House, shopify: Shopify) -> None:
    store_id = factories.store(house, account="a.myshopify.com")
    shopify.order("a.myshopify.com", "+923001112233")
    body = {"shop_id": 1, "shop_domain": "a.myshopify.com"}
    assert shopify.say("a.myshopify.com", "shop/redact", body, secret=b"somebody-else") == 401
    assert shopify.say("nobody.myshopify.com", "shop/redact", body) == 404
    _meet(house, store_id)
    assert _count(house, store_id)["orders"] == 1


def test_a_signed_wish_for_one_shop_is_no_wish_for_another(house: House, shopify: Shopify) -> None:
    """The shop in the header is not signed, the one in the body is."""
    store_id = factories.store(house, account="victim.myshopify.com")
    shopify.order("victim.myshopify.com", "+923001112233")
    assert shopify.say("victim.myshopify.com", "shop/redact", {"shop_id": 1, "shop_domain": "a.myshopify.com"}) == 200
    _meet(house, store_id)
    assert _count(house, store_id)["orders"] == 1
    with house.db.read(store_id) as session:
        assert session.scalars(select(PrivacyRequest)).all() == []
