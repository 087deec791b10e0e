"""Mail comes in: stored before it is acknowledged, once; understood, or set aside with its reason; replayable."""

from __future__ import annotations

import base64
import hmac
import io
import json
import re
import threading
from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import event, func, select, text, update
from sqlalchemy.exc import OperationalError

from integration import ingest, outbox
from integration.catalogue import Template
from integration.customers import ContactPoint, Customer
from integration.db import Base
from integration.groupcommit import GroupCommit, insert_ignoring
from integration.house import House
from integration.inbox import Message
from integration.ingest import DELIVERIES, Mailroom, WebhookDelivery, process, replay, sweep
from integration.orders import Order, Transition
from integration.outbox import Outbox, Touchpoint, settle_overdue
from integration.ports import WebhookRequest
from integration.stores import Chore, Connection
from integration.vault import token_hash
from webapp.webhooks import Webhooks

from . import factories
from .contract.recorded import FIXTURES
from .world import World

SECRET = b"sandbox-shopify-secret"


class Door:
    """The receiving end as a vendor meets it."""

    def __init__(self, house: House, limit: int = 100_000) -> None:
        self.house = house
        self.mailroom = Mailroom(house)
        self.app = Webhooks(self.mailroom, house.registry, limit)
        self._today = house.clock.now().isoformat(timespec="seconds")

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None, **environ: Any) -> int:
        seen: list[str] = []
        given = {
            "REQUEST_METHOD": "POST", "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
            **{f"HTTP_{k.upper().replace('-', '_')}": v for k, v in (headers or {}).items()}, **environ,
        }  # fmt: skip
        list(self.app(given, lambda status, _headers: seen.append(status)))
        return int(seen[0].split()[0])

    def shopify(self, account: str, order: dict[str, Any] | bytes, **headers: str) -> int:
        stamps = dict.fromkeys(("created_at", "processed_at", "updated_at"), self._today)
        body = order if isinstance(order, bytes) else json.dumps(stamps | order).encode()
        signature = base64.b64encode(hmac.digest(SECRET, body, "sha256")).decode()
        return self.post("/webhooks/stores/shopify", body, {
            "X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": account, "X-Shopify-Hmac-Sha256": signature,
            "X-Shopify-Webhook-Id": headers.pop("id", "w1"), **{k.replace("_", "-"): v for k, v in headers.items()},
        })  # fmt: skip

    def stored(self) -> int:
        with self.house.db.operator() as session:
            return session.scalar(select(func.count()).select_from(WebhookDelivery)) or 0


@pytest.fixture
def door(house: House) -> Door:
    return Door(house)


def _order(number: int = 1) -> dict[str, Any]:
    raw = json.loads((FIXTURES / "stores" / "shopify" / "orders-create__cod.json").read_text())["body_raw"]
    order: dict[str, Any] = json.loads(raw)
    for stamp in ("created_at", "processed_at", "updated_at"):
        del order[stamp]  # the door stamps it with today
    return {**order, "id": 6_000_000 + number, "name": f"#{number}"}


def _states(house: House) -> dict[str, int]:
    with house.db.operator() as session:
        return ingest.waiting(session)


# -- receive -------------------------------------------------------------------------------------------------------


def test_a_signed_order_is_stored_rung_for_and_acknowledged(door: Door) -> None:
    rung: list[tuple[str, int]] = []
    door.house.ring = lambda bell, store_id: rung.append((bell, store_id))
    store_id = factories.store(door.house, account="a.myshopify.com")
    assert door.shopify("a.myshopify.com", _order()) == 200
    assert door.stored() == 1
    for _ in range(200):  # the bell rings after the answer
        if rung:
            break
        threading.Event().wait(0.01)
    assert rung == [("process", store_id)]


def test_the_same_request_again_is_acknowledged_and_stored_once(door: Door) -> None:
    factories.store(door.house, account="a.myshopify.com")
    assert [door.shopify("a.myshopify.com", _order()) for _ in range(3)] == [200, 200, 200]
    assert door.stored() == 1
    assert door.shopify("a.myshopify.com", _order(), id="w2") == 200
    assert door.stored() == 2


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"X_Shopify_Hmac_Sha256": "wrong"}, 401),
        ({"X_Shopify_Hmac_Sha256": ""}, 401),
        ({"X_Shopify_Hmac_Sha256": "\xff\xfe"}, 401),
        ({"X_Shopify_Shop_Domain": "nobody.myshopify.com"}, 404),
        ({"X_Shopify_Shop_Domain": ""}, 404),
        ({"X_Shopify_Topic": ""}, 200),
        ({"X_Shopify_Topic": "orders/teleported"}, 200),
    ],
)
def test_who_does_not_prove_it_or_is_unknown_is_refused(door: Door, changes: dict[str, str], status: int) -> None:
    factories.store(door.house, account="a.myshopify.com")
    assert door.shopify("a.myshopify.com", _order(), **changes) == status
    assert door.stored() == (status == 200)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/webhooks/stores/nobody", "POST", 404),
        ("/webhooks/stores/woocommerce", "POST", 404),
        ("/webhooks/stores/woocommerce/unknown-token", "POST", 404),
        ("/webhooks/channels/woocommerce/unknown-token", "POST", 404),
        ("/webhooks/couriers/tcs/abc", "POST", 404),
        ("/webhooks/../etc/passwd", "POST", 404),
        ("/webhooks/", "POST", 404),
        ("/webhooks/stores/shopify", "GET", 404),
        ("/webhooks/stores/shopify", "PUT", 405),
        ("/webhooks/channels/whatsapp", "GET", 401),
    ],
)
def test_addresses_that_are_none(door: Door, path: str, method: str, status: int) -> None:
    assert door.post(path, b"{}", REQUEST_METHOD=method) == status


def test_a_body_too_large_is_refused_unread(house: House) -> None:
    door = Door(house, limit=1000)
    assert door.post("/webhooks/stores/shopify", b"x" * 1001) == 413
    assert door.post("/webhooks/stores/shopify", b"x" * 1001, CONTENT_LENGTH="") == 413
    assert door.post("/webhooks/stores/shopify", b"x", CONTENT_LENGTH="99999999999") == 413
    assert door.post("/webhooks/stores/shopify", b"x" * 1000) == 401


def test_a_body_shorter_than_it_says_fails_its_signature(door: Door) -> None:
    factories.store(door.house, account="a.myshopify.com")
    body = json.dumps(_order()).encode()
    signature = base64.b64encode(hmac.digest(SECRET, body, "sha256")).decode()
    headers = {
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Shop-Domain": "a.myshopify.com",
        "X-Shopify-Hmac-Sha256": signature,
    }
    assert door.post("/webhooks/stores/shopify", body[:100], headers, CONTENT_LENGTH=str(len(body))) == 401


def test_an_unreadable_body_that_is_signed_is_kept(door: Door) -> None:
    """Not understood, counted, shown, replayable; and the vendor is not asked to send it for ever."""
    store_id = factories.store(door.house, account="a.myshopify.com")
    assert door.shopify("a.myshopify.com", b"\xff not json") == 200
    process(door.house, store_id)
    assert _states(door.house) == {"not_understood": 1}

    body = b'{"object": "whatsapp_business_account", "entry": "?"}'
    signature = "sha256=" + hmac.digest(b"sandbox-whatsapp-secret", body, "sha256").hex()
    assert door.post("/webhooks/channels/whatsapp", body, {"X-Hub-Signature-256": signature}) == 200
    assert _states(door.house) == {"not_understood": 2}


def test_the_channels_challenge_is_answered_with_the_right_token_only(door: Door) -> None:
    seen: list[str] = []
    query = "hub.mode=subscribe&hub.verify_token=sandbox-verify-token&hub.challenge=12345"
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/webhooks/channels/whatsapp", "QUERY_STRING": query}
    assert b"".join(door.app(environ, lambda status, _headers: seen.append(status))) == b"12345"
    assert seen == ["200 OK"]
    environ["QUERY_STRING"] = query.replace("sandbox-verify-token", "guess")
    assert b"12345" not in b"".join(door.app(environ, lambda status, _headers: seen.append(status)))


def test_one_request_for_several_tenants_gives_each_its_own_part(door: Door) -> None:
    """A batch of the channel names two numbers: neither store sees the other's mail. An unknown third is left out."""
    first, second = factories.store(door.house), factories.store(door.house)
    with door.house.db.operator() as session:
        numbers = {
            c.store_id: c.account for c in session.scalars(select(Connection).where(Connection.room == "channels"))
        }
    change = lambda number, said: {"field": "messages", "value": {  # noqa: E731
        "metadata": {"phone_number_id": number}, "messages": [
            {"from": "923001234567", "id": f"wamid.{said}", "timestamp": "1795296003", "type": "text",
             "text": {"body": said}}]}}  # fmt: skip
    entries = [
        {"id": "w", "changes": [change(numbers[first], "one"), change(numbers[second], "two"), change("999", "three")]}
    ]
    body = json.dumps({"object": "whatsapp_business_account", "entry": entries}).encode()
    signature = "sha256=" + hmac.digest(b"sandbox-whatsapp-secret", body, "sha256").hex()
    assert door.post("/webhooks/channels/whatsapp", body, {"X-Hub-Signature-256": signature}) == 200
    with door.house.db.operator() as session:
        kept = {row.store_id: row.body for row in session.scalars(select(WebhookDelivery))}
    assert set(kept) == {first, second}
    assert b"one" in kept[first]
    assert b"two" not in kept[first]
    assert b"three" not in kept[first] + kept[second]


def test_a_body_replayed_under_another_shops_name_changes_nothing(door: Door) -> None:
    """The shop header is not signed. The order says whose it is, and the store knows its own id."""
    store_id = factories.store(door.house, account="victim.myshopify.com")
    with door.house.db.lane(store_id) as session:
        connection = session.scalars(select(Connection).where(Connection.room == "stores")).one()
        connection.remember(origin="424242")
    assert door.shopify("victim.myshopify.com", _order()) == 200
    process(door.house, store_id)
    assert _states(door.house) == {"not_understood": 1}
    with door.house.db.read(store_id) as session:
        assert session.scalar(select(Order.id)) is None


def test_a_secret_in_rotation_accepts_both(house: House) -> None:
    """Whoever signs with either live secret is believed."""
    adapter = house.registry.get("stores", "shopify")
    adapter._secrets = ("new-secret", "sandbox-shopify-secret")
    factories.store(house, account="a.myshopify.com")
    assert Door(house).shopify("a.myshopify.com", _order()) == 200


def test_a_database_that_is_away_is_said_and_not_swallowed(lite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 and come again: the vendor keeps the request until we have it."""
    factories.store(lite_house, account="a.myshopify.com")
    door = Door(lite_house)
    assert door.shopify("a.myshopify.com", _order(1), id="1") == 200
    with lite_house.db.receiving() as connection:
        connection.execute(text("ALTER TABLE webhook_deliveries RENAME TO away"))
    assert door.shopify("a.myshopify.com", _order(2), id="2") == 503
    with lite_house.db.receiving() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO webhook_deliveries"))
    assert door.shopify("a.myshopify.com", _order(2), id="2") == 200
    assert door.stored() == 2


def test_requests_that_come_together_share_a_commit_and_one_bad_one_fails_alone(house: House) -> None:
    factories.store(house, account="a.myshopify.com")
    commits: list[int] = []
    group = GroupCommit(house.db, DELIVERIES, lambda: commits.append(1), lambda _rows: None)
    good = {
        "room": "stores", "adapter": "shopify", "account": "a", "source": "webhook", "headers": {}, "body": b"{}",
        "state": "received", "sentence": "", "subjects": [], "received_at": house.clock.now(), "processed_at": None,
        "store_id": None, "connection_id": None,
    }  # fmt: skip
    faults: list[BaseException] = []

    def put(number: int) -> None:
        key: Any = f"k{number}" if number != 13 else None  # the schema wants a key
        try:
            group.put([{**good, "key": key}])
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(faults) == 1
    with house.db.operator() as session:
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 39


def test_a_connection_that_died_is_replaced_and_nobody_is_refused(house: House) -> None:
    """The database was restarted: the next request finds out, and is stored all the same."""
    if house.db.is_sqlite:
        pytest.skip("SQLite has no server")
    factories.store(house, account="a.myshopify.com")
    door = Door(house)
    assert door.shopify("a.myshopify.com", _order(1), id="1") == 200
    with house.db.receiving() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        ended = connection.execute(text(others + " AND datname = current_database()")).all()
    assert ended
    assert door.shopify("a.myshopify.com", _order(2), id="2") == 200
    assert door.stored() == 2


def test_what_follows_a_commit_may_fail_and_the_next_request_is_still_stored(lite_house: House) -> None:
    """A bell that cannot be rung must not end the thread that everybody waits for."""
    factories.store(lite_house, account="a.myshopify.com")

    def ring(door: str, store_id: int) -> None:
        raise RuntimeError("no bell")

    lite_house.ring = ring
    door = Door(lite_house)
    assert [door.shopify("a.myshopify.com", _order(n), id=str(n)) for n in (1, 2)] == [200, 200]
    assert door.stored() == 2


# -- process -------------------------------------------------------------------------------------------------------


def test_orders_become_records_and_messages_in_one_transaction(door: Door) -> None:
    store_id = factories.store(door.house, account="a.myshopify.com")
    for number in range(120):
        door.shopify("a.myshopify.com", _order(number), id=str(number))
    assert process(door.house, store_id, seconds=600) is False  # no slice of time ends here on a slow machine
    assert _states(door.house) == {"processed": 120}
    with door.house.db.read(store_id) as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 120
        assert session.scalar(select(func.count()).select_from(Outbox)) == 120


def test_a_larger_batch_asks_the_database_no_more_often(door: Door) -> None:
    """Neither while it is understood nor while it is sent is anything looked up order by order."""
    house = door.house
    store_id = factories.store(house, account="a.myshopify.com")
    asked: Counter[str] = Counter()

    @event.listens_for(house.db.engine, "before_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        found = re.match(r"SELECT .*?\bFROM (\w+)", statement, re.DOTALL)
        if found and found[1] in ("orders", "line_items", "contact_points", "consents", "conversations", "enrollments"):
            asked[found[1]] += 1

    seen: list[tuple[Counter[str], Counter[str]]] = []
    for first, size in ((0, 5), (100, 5), (200, 35)):
        for number in range(first, first + size):
            order = json.loads(json.dumps(_order(number)).replace("+923001234567", f"+9230012{number:05}"))
            order["customer"]["id"] = number + 1
            door.shopify("a.myshopify.com", order, id=str(number))
        asked.clear()
        assert process(house, store_id) is False
        understood = Counter(asked)
        asked.clear()
        outbox._claim_messages(house, store_id, outbox._Pump(house, store_id))
        seen.append((understood, Counter(asked)))
    with house.db.read(store_id) as session:
        assert session.scalar(select(func.count()).select_from(Outbox).where(Outbox.attempts == 1)) == 45
    assert seen[1] == seen[2]


def test_a_bad_request_is_set_aside_and_holds_up_nobody(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """One delivery breaks the code itself: it alone is marked failed, with where, and without anybody's data."""
    store_id = factories.store(door.house, account="a.myshopify.com")
    for number in range(5):
        door.shopify("a.myshopify.com", _order(number), id=str(number))
    real = ingest.APPLY[ingest.OrderChanged]

    def breaks(work: Any, fact: Any, letter: Any, subjects: set[str]) -> None:
        if fact.name == "#3":
            raise ZeroDivisionError("+923001234567 did it")
        real(work, fact, letter, subjects)

    monkeypatch.setitem(ingest.APPLY, ingest.OrderChanged, breaks)  # type: ignore[arg-type]
    process(door.house, store_id)
    assert _states(door.house) == {"processed": 4, "failed": 1}
    with door.house.db.read(store_id) as session:
        failed = session.scalars(select(WebhookDelivery).where(WebhookDelivery.state == "failed")).one()
        assert failed.sentence.startswith("ZeroDivisionError in breaks")
        assert "+92" not in failed.sentence

    monkeypatch.undo()  # the code has learned
    assert replay(door.house, store_id, failed.id) == "processed"
    with door.house.db.read(store_id) as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 5


def test_replaying_what_was_processed_changes_nothing(door: Door) -> None:
    store_id = factories.store(door.house, account="a.myshopify.com")
    door.shopify("a.myshopify.com", _order())
    process(door.house, store_id)
    with door.house.db.read(store_id) as session:
        delivery_id = session.scalars(select(WebhookDelivery.id)).one()
    assert replay(door.house, store_id, delivery_id) == "processed"
    with door.house.db.read(store_id) as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 1


def test_nobody_replays_for_another_store(door: Door) -> None:
    ours, theirs = factories.store(door.house, account="a.myshopify.com"), factories.store(door.house)
    door.shopify("a.myshopify.com", _order())
    process(door.house, ours)
    with door.house.db.read(ours) as session:
        delivery_id = session.scalars(select(WebhookDelivery.id)).one()
    with pytest.raises(LookupError):
        replay(door.house, theirs, delivery_id)


def test_a_drain_hands_back_after_its_slice(door: Door) -> None:
    """With no time at all one batch is done, and more is reported."""
    store_id = factories.store(door.house, account="a.myshopify.com")
    for number in range(30):
        door.shopify("a.myshopify.com", _order(number), id=str(number))
    assert process(door.house, store_id, seconds=0, batch=10) is True
    assert _states(door.house) == {"processed": 10, "received": 20}


def test_two_drains_of_one_store_process_each_request_once(door: Door) -> None:
    store_id = factories.store(door.house, account="a.myshopify.com")
    for number in range(60):
        door.shopify("a.myshopify.com", _order(number % 20), id=str(number))

    def drain() -> None:
        while process(door.house, store_id, batch=7):  # a slice of time may end before the mail does
            pass

    threads = [threading.Thread(target=drain) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _states(door.house) == {"processed": 60}
    with door.house.db.read(store_id) as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 20
        assert session.scalar(select(func.count()).select_from(Outbox)) == 20


def test_two_verdicts_of_one_second_have_the_channel_asked_when_the_second_is_over(door: Door) -> None:
    """Not before: what is read within the second may be the older of the two."""
    house = door.house
    store_id = factories.store(house)
    with house.db.read(store_id) as session:
        template = session.scalars(select(Template).where(Template.key == "cod_confirmation")).first()
        assert template is not None
        waba = (
            session.scalars(select(Connection.alias).where(Connection.room == "channels")).one().removeprefix("waba:")
        )
    now = int(house.clock.now().timestamp())
    for verdict in ("APPROVED", "REJECTED", "APPROVED"):
        value = {"event": verdict, "message_template_name": template.name, "message_template_language": template.code}
        changes = [{"field": "message_template_status_update", "value": value}]
        body = json.dumps({"entry": [{"id": waba, "time": now, "changes": changes}]}).encode()
        signature = "sha256=" + hmac.digest(b"sandbox-whatsapp-secret", body, "sha256").hex()
        assert door.post("/webhooks/channels/whatsapp", body, {"X-Hub-Signature-256": signature}) == 200
    with house.db.lane(store_id) as session:
        session.scalars(select(Chore).where(Chore.name == "templates")).one().due_at = house.clock.now()
    process(house, store_id)
    with house.db.read(store_id) as session:
        due_at = session.scalars(select(Chore.due_at).where(Chore.name == "templates")).one()
    assert now + 1 < due_at.timestamp() <= house.clock.now().timestamp() + 2


def test_a_message_in_doubt_waits_for_the_mail_that_may_prove_it_and_for_no_later_mail(door: Door) -> None:
    """The wait for proof is over. What arrived until then is read first; a shop that is never quiet delays nothing."""
    house = door.house
    store_id = factories.store(house, account="a.myshopify.com")
    door.shopify("a.myshopify.com", _order(1), id="w1")
    process(house, store_id)

    def look() -> str:
        with house.db.lane(store_id) as session:
            session.scalars(select(Outbox)).one().leased_until = house.clock.machine() - timedelta(seconds=1)
        settle_overdue(house, store_id)
        with house.db.read(store_id) as session:
            return session.scalars(select(Outbox)).one().state

    with house.db.lane(store_id) as session:
        session.scalars(select(Outbox)).one().state = "unknown"
    door.shopify("a.myshopify.com", _order(2), id="w2")
    assert look() == "unknown"
    door.shopify("a.myshopify.com", _order(3), id="w3")
    assert look() == "unknown"
    with house.db.lane(store_id) as session:
        session.execute(update(WebhookDelivery).where(WebhookDelivery.key == "w2").values(state="processed"))
    assert look() == "queued"


def test_a_lost_bell_is_found_by_the_sweep(door: Door) -> None:
    store_id = factories.store(door.house, account="a.myshopify.com")
    door.shopify("a.myshopify.com", _order())
    assert ("process", store_id) in set(sweep(door.house))
    process(door.house, store_id)
    assert set(sweep(door.house)) == {("deliver", store_id)}


def test_an_outage_of_the_database_leaves_everything_as_it_was(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    store_id = factories.store(door.house, account="a.myshopify.com")
    door.shopify("a.myshopify.com", _order())

    def away(*_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("connection lost"))

    monkeypatch.setitem(ingest.APPLY, ingest.OrderChanged, away)  # type: ignore[arg-type]
    with pytest.raises(OperationalError):
        process(door.house, store_id)
    assert _states(door.house) == {"received": 1}


# -- recorded requests of a real store -----------------------------------------------------------------------------

CAPTURED = FIXTURES / "stores" / "woocommerce"


def _captured_store(house: House) -> tuple[int, Door]:
    """The store that the recordings were made with: its webhook secret, and an address of ours."""
    store_id = factories.store(house)
    with house.db.operator_writing() as session:
        connection = session.scalars(
            select(Connection).where(Connection.store_id == store_id, Connection.room == "stores")
        ).one()
        connection.adapter, connection.account = "woocommerce", "https://localhost:8843"
        connection.token_hash = token_hash("captured-token")
        connection.sealed = house.vault.seal({"webhook_secret": "s3cret-local-test", "webhook_token": "captured-token"})
        connection.state = {}
    return store_id, Door(house)


def _replay_capture(door: Door, name: str) -> int:
    """Post a recorded request as it was: raw bytes, real headers, real signature."""
    raw = json.loads((CAPTURED / f"{name}.json").read_text())
    return door.post("/webhooks/stores/woocommerce/captured-token", raw["body_raw"].encode(), dict(raw["headers"]))


@pytest.mark.parametrize(
    ("names", "external_id", "expected"),
    [
        (["order-created-rest-cod-processing"], "17", ("awaiting", "cod_due", "unfulfilled", True)),
        (["order-created-rest-cod-processing", "order-updated-right-after-create"],
         "17", ("awaiting", "cod_due", "unfulfilled", True)),
        (["order-updated-right-after-create", "order-created-rest-cod-processing"],
         "17", ("awaiting", "cod_due", "unfulfilled", True)),
        (["order-created-rest-cod-processing", "order-updated-meta-only"],
         "17", ("awaiting", "cod_due", "unfulfilled", True)),
        (["order-created-rest-cod-processing", "order-updated-on-hold"],
         "17", ("awaiting", "cod_due", "unfulfilled", True)),
        (["order-created-rest-cod-processing", "order-updated-completed-cod"],
         "17", ("not_needed", "paid", "in_transit", True)),
        (["order-updated-completed-cod", "order-created-rest-cod-processing"],
         "17", ("not_needed", "paid", "in_transit", True)),
        (["order-updated-blocks-checkout-arrives-first"], "22", ("awaiting", "cod_due", "unfulfilled", True)),
        (["order-updated-blocks-checkout-arrives-first", "order-created-blocks-checkout-cod"],
         "22", ("awaiting", "cod_due", "unfulfilled", True)),
        (["order-created-bacs-pending"], "25", ("not_needed", "pending", "unfulfilled", False)),
        (["order-created-set-paid"], "26", ("not_needed", "paid", "unfulfilled", False)),
        (["order-updated-blocks-bacs-on-hold", "order-created-blocks-bacs-on-hold"],
         "28", ("not_needed", "pending", "unfulfilled", False)),
        (["order-updated-full-refund"], "30", ("not_needed", "refunded", "unfulfilled", True)),
    ],
)  # fmt: skip
def test_recorded_requests_end_in_the_right_order_state(
    house: House, names: list[str], external_id: str, expected: tuple[Any, ...]
) -> None:
    """Through the real endpoint with their real signatures, in either order of arrival."""
    store_id, door = _captured_store(house)
    for name in names:
        assert _replay_capture(door, name) == 200
        process(house, store_id)
    with house.db.read(store_id) as session:
        order = session.scalars(select(Order).where(Order.external_id == external_id)).one()
        assert (order.confirmation, order.payment, order.fulfilment, order.is_cod) == expected
    assert set(_states(house)) == {"processed"}


def test_the_whole_recorded_life_of_one_order(house: House) -> None:
    """Created, echoed, edited, held, completed, thrown away: in the order recorded."""
    store_id, door = _captured_store(house)
    for name in (
        "order-created-rest-cod-processing", "order-updated-right-after-create", "product-updated-stock-reduced",
        "order-updated-meta-only", "order-updated-on-hold", "order-updated-completed-cod", "order-deleted-trash",
    ):  # fmt: skip
        assert _replay_capture(door, name) == 200
        process(house, store_id)
    with house.db.read(store_id) as session:
        order = session.scalars(select(Order)).one()
        assert order.removed_at is not None
        assert (order.confirmation, order.payment, order.fulfilment) == ("not_needed", "paid", "in_transit")
        assert order.contact is not None
        assert order.contact.phone == "+923001234567"
        assert str(order.total) == "9448"
    assert _states(house) == {"processed": 6, "ignored": 1}


@pytest.mark.parametrize("name", ["coupon-created", "product-updated-stock-reduced", "action-order-status-completed"])
def test_recorded_requests_about_other_things_are_kept_and_ignored(house: House, name: str) -> None:
    store_id, door = _captured_store(house)
    assert _replay_capture(door, name) == 200
    process(house, store_id)
    assert _states(house) == {"ignored": 1}


def test_the_recorded_ping_is_answered_and_trusted_with_nothing(house: House) -> None:
    _, door = _captured_store(house)
    assert _replay_capture(door, "webhook-ping-on-create") == 200
    assert door.stored() == 0


def test_a_recorded_request_with_one_flipped_byte_is_refused(house: House) -> None:
    _, door = _captured_store(house)
    raw = json.loads((CAPTURED / "order-created-rest-cod-processing.json").read_text())
    body = raw["body_raw"].encode().replace(b'"9448.00"', b'"0448.00"')
    assert door.post("/webhooks/stores/woocommerce/captured-token", body, dict(raw["headers"])) == 401
    assert door.stored() == 0


def test_what_was_recorded_twice_under_one_delivery_id_is_two_requests(house: House) -> None:
    """The store's delivery id is the webhook's and the second's: two states of one order may share it."""
    adapter = house.registry.get("stores", "woocommerce")
    request = WebhookRequest(
        {"x-wc-webhook-topic": "order.updated", "x-wc-webhook-delivery-id": "same"}, b'{"id":1,"a":1}'
    )
    other = WebhookRequest(request.headers, b'{"id":1,"a":2}')
    assert adapter.delivery_key(request) != adapter.delivery_key(other)


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("order.deleted", b'{"id":17}'),
        ("order.updated", b'{"code":"woocommerce_rest_cannot_view","message":"Sorry","data":{"status":401}}'),
    ],
)
def test_what_tells_no_moment_of_its_own_is_told_apart_by_its_delivery(
    lite_house: House, topic: str, body: bytes
) -> None:
    """An order that is trashed, restored and trashed again says the same words twice, and means both."""
    adapter = lite_house.registry.get("stores", "woocommerce")
    first, again, later = (
        adapter.delivery_key(WebhookRequest({"x-wc-webhook-topic": topic, "x-wc-webhook-delivery-id": delivery}, body))
        for delivery in ("one", "one", "two")
    )
    assert first == again
    assert first != later


def test_a_state_is_one_request_however_often_it_is_delivered(lite_house: House) -> None:
    adapter = lite_house.registry.get("stores", "woocommerce")
    body = b'{"id":17,"date_modified_gmt":"2026-05-04T12:00:00","status":"processing"}'
    keys = {
        adapter.delivery_key(
            WebhookRequest({"x-wc-webhook-topic": "order.updated", "x-wc-webhook-delivery-id": delivery}, body)
        )
        for delivery in ("one", "two", "")
    }
    assert len(keys) == 1


# -- what is looked at --------------------------------------------------------------------------------------------


def test_no_step_reads_all_of_a_store(lite_world: World) -> None:
    """What a batch costs must not grow with what the store has: of the tables that grow, every statement of the way
    from an order to the store's hearing of the answer looks up its rows by something better than their store.
    """
    asked: dict[str, Any] = {}

    @event.listens_for(lite_world.house.db.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, sql: str, given: Any, _context: Any, many: bool) -> None:
        if sql.startswith(("SELECT", "UPDATE", "DELETE")):
            asked.setdefault(sql, given[0] if many else given)

    placed = lite_world.place("shopify")
    lite_world.settle()
    placed.phone.tap("Confirm")
    placed.phone.write("mera order kahan hai?")
    lite_world.settle()
    lite_world.advance("30h")
    lite_world.settle()
    event.remove(lite_world.house.db.engine, "before_cursor_execute", note)
    growing = "|".join(t.name for t in Base.metadata.sorted_tables if t.name not in SMALL)
    plans = {}
    with lite_world.house.db.operator() as session:
        for sql, given in asked.items():
            for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given):
                plans.setdefault(str(row[3]), sql)
    assert len(plans) > 20
    scan = rf"SCAN ({growing})\b(?! USING INDEX ({WAITING}))"
    by_store_alone = rf"SEARCH ({growing}) USING [A-Z ]*INDEX (?!{WAITING})\w+ \(store_id=\?\)$"
    whole = re.compile(f"{scan}|{by_store_alone}")
    assert {plan: sql for plan, sql in plans.items() if whole.match(plan)} == {}


SMALL = {"stores", "connections", "templates", "chores", "journey_settings", "unknown_words", "install_attempts",
         "privacy_requests"}  # fmt: skip
"""Tables with a handful of rows a store."""

WAITING = "deliveries_waiting|outbox_due|outbox_in_flight|enrollments_due"
"""Indexes that hold only what waits."""


# -- a batch is as good as one by one ------------------------------------------------------------------------------


@pytest.mark.in_turn
@pytest.mark.parametrize("seed", range(12))
def test_what_is_understood_in_a_batch_is_what_is_understood_one_by_one(
    house: House, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders that come in, change, move to another number and are sent, while their customers write: many per
    transaction or one, the house remembers the same. Only a person's two ids may have met by different ways.
    """
    broken: list[int] = []
    monkeypatch.setattr(ingest.log, "warning", lambda *_, **more: broken.append(more["size"]))
    rng = Random(seed)
    began = house.clock.now().replace(microsecond=0)
    mail = [_letter(rng, began, number) for number in range(28)]
    remembered = []
    for size in (1, 7, 100):
        ours = factories.store(house)
        _deliver_to(house, ours, mail)
        while process(house, ours, batch=size):
            pass
        remembered.append(_remembered(house, ours))
    assert remembered[0] == remembered[1] == remembered[2]
    assert len(remembered[0]["orders"]) > 1
    assert broken == []


def _letter(rng: Random, began: datetime, number: int) -> tuple[str, str, bytes]:
    """(room, topic, body) of something that happens to one of three orders, or that one of three people writes."""
    at = (began + timedelta(seconds=rng.randrange(40))).isoformat(timespec="seconds")
    who = f"92300123456{rng.randrange(3)}"
    if rng.random() < 0.3:
        body = json.loads((FIXTURES / "channels" / "whatsapp" / "messages__text.json").read_text())["body_raw"]
        body = body.replace("923001234567", who).replace("PK.13617121423241493873", f"PK.{who}")
        said = json.loads(body)
        message = said["entry"][0]["changes"][0]["value"]["messages"][0]
        message["id"] = f"wamid.{number}"
        message["timestamp"] = str(int(began.timestamp()) + number)
        message["text"]["body"] = rng.choice(["STOP", "START", "haan bhej dein", "mera order kahan hai?"])
        return "channels", "", json.dumps(said).encode()
    kind = rng.choice(["orders-create__cod", "orders-create__cod", "orders-fulfilled__with-tracking",
                       "orders-cancelled__by-merchant", "orders-create__prepaid"])  # fmt: skip
    order = json.loads(json.loads((FIXTURES / "stores" / "shopify" / f"{kind}.json").read_text())["body_raw"])
    which = rng.randrange(3)
    order |= {"id": 6_000_000 + which, "name": f"#{which}", "created_at": began.isoformat(timespec="seconds")}
    order |= {"processed_at": order["created_at"], "updated_at": at, "phone": f"+{who}"}
    order["line_items"][0]["quantity"] = rng.randrange(1, 3)
    for part in ("shipping_address", "billing_address", "customer"):
        if order.get(part):
            order[part]["phone"] = f"+{who}"
    return "stores", "orders/updated", json.dumps(order).encode()


def _deliver_to(house: House, store_id: int, mail: list[tuple[str, str, bytes]]) -> None:
    names = {"stores": "shopify", "channels": "whatsapp"}
    rows = [
        {
            **ingest.delivery_row(
                room,
                names[room],
                house.registry.get(room, names[room]),
                WebhookRequest({"x-shopify-topic": topic}, body),
                store_id=store_id,
                connection_id=None,
                account=f"{store_id}",
                source="webhook",
                at=house.clock.now(),
            ),
            "key": str(number),
        }
        for number, (room, topic, body) in enumerate(mail)
    ]
    insert_ignoring(house.db, DELIVERIES, rows)


def _remembered(house: House, store_id: int) -> dict[str, Any]:
    """All that is known of a store's orders and people, without our own ids and times."""
    with house.db.read(store_id) as session:
        orders = session.scalars(select(Order).order_by(Order.external_id)).all()
        people = session.scalars(select(ContactPoint).order_by(ContactPoint.phone)).all()
        messages = session.scalars(select(Message).order_by(Message.vendor_id)).all()
        touches = session.scalars(select(Touchpoint).order_by(Touchpoint.key)).all()
        names = {touch.id: touch.key for touch in touches}
        return {
            "orders": [
                (
                    *(getattr(o, n) for n in ("external_id", "name", "total", "payment", "confirmation", "fulfilment")),
                    *(getattr(o, n) for n in ("held", "changed_at", "cancelled_at", "tags", "content", "revision")),
                    o.contact.phone if o.contact else None,
                    o.contact_point_id == (o.contact.id if o.contact else None),
                    o.customer_id == (o.contact.customer_id if o.contact else None),
                    [(i.external_id, i.title, i.quantity, i.price) for i in o.items],
                    [(p.source, p.status, p.amount, p.at) for p in o.payments],
                    [
                        (
                            s.external_id,
                            s.courier,
                            s.tracking_number,
                            s.status,
                            [(e.status, e.raw_code) for e in s.events],
                        )
                        for s in o.shipments
                    ],
                    sorted((e.journey, e.state, e.sentence, len(e.plan)) for e in o.enrollments),
                    [
                        (t.axis, t.was, t.became, t.allowed, t.cause, t.note)
                        for t in session.scalars(
                            select(Transition).where(Transition.order_id == o.id).order_by(Transition.id)
                        )
                    ],
                )
                for o in orders
            ],
            "people": [
                (p.phone, p.user_id, p.customer.name, [(c.purpose, c.state, c.source) for c in p.consents])
                for p in people
            ],
            "customers": session.scalar(select(func.count()).select_from(Customer)),
            "messages": [(m.vendor_id, m.text, m.conversation.contact.phone, m.sender) for m in messages],
            "waits": [(m.conversation.contact.phone, m.conversation.needs_person) for m in messages],
            "touchpoints": [
                (t.key, t.state, t.reason, t.contact.phone if t.contact else None, t.order.name if t.order else None)
                for t in touches
            ],
            "outbox": sorted(
                (o.key.rpartition("/")[0], o.kind, o.state, names.get(o.touchpoint_id or 0), o.order_id is None)
                for o in session.scalars(select(Outbox))
            ),
            "deliveries": [
                (d.state, d.sentence, d.subjects if d.room == "stores" else len(d.subjects))
                for d in session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id))
            ],
        }
