"""Chores: templates, numbers, webhooks and orders are looked after on a schedule, whether or not anybody rings."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from integration import ingest, privacy, upkeep
from integration.catalogue import TEMPLATES, Template
from integration.errors import ConfigurationError, NotUnderstood, PermanentError, TransientError
from integration.events import Fact, OrderChanged, PrivacyRequested
from integration.house import House
from integration.ingest import WebhookDelivery
from integration.outbox import Outbox
from integration.ports import WebhookRequest
from integration.stores import (
    CHANNEL_CHORES,
    COURIER_CHORES,
    EVERY,
    PAYMENT_CHORES,
    STORE_CHORES,
    Chore,
    Connection,
    Store,
    connect,
    hurry,
    uninstall,
)
from integration.values import LANGUAGES
from sandbox.testing import until

from . import factories
from .world import World

NAME = "dastak_cod_confirmation_v1"
NUMBER = {"shopify": "100000000000011", "woocommerce": "100000000000012"}


def _templates(world: World, store: str) -> dict[tuple[str, str], Template]:
    with world.looking(store) as session:
        return {(t.key, t.language): t for t in session.scalars(select(Template))}


def _chore(world: World, store: str, name: str) -> Chore:
    with world.looking(store) as session:
        return session.scalars(select(Chore).where(Chore.name == name)).one()


def _do(world: World, store: str, name: str) -> Chore:
    """One chore comes due, and is done."""
    with world.deciding(store) as shop:
        connection = shop.connection("channels" if name in CHANNEL_CHORES else "stores")
        assert connection is not None
        hurry_with = connection.id
    with world.house.db.lane(world.store_id(store)) as session:
        hurry(session, hurry_with, name)
    world.settle()
    return _chore(world, store, name)


# -- templates -----------------------------------------------------------------------------------------------------

FIRST = [key for key in TEMPLATES if key not in ("payment_received", "prepaid_offer")]
"""WhatsApp takes a hundred an hour, and these come first."""


@pytest.mark.parametrize("store", ["shopify", "woocommerce"])
def test_connecting_a_number_makes_every_template_in_every_language(world: World, store: str) -> None:
    """Submitted, as many an hour as WhatsApp takes, approved and remembered with what it calls them; a second look
    submits nothing again.
    """
    first = _templates(world, store)
    assert {t.status for t in first.values() if t.key in FIRST} == {"approved"}
    world.advance("61m")
    held = _templates(world, store)
    assert set(held) == {(key, language) for key in TEMPLATES for language in LANGUAGES}
    assert {(t.status, t.category, t.wanted) for t in held.values()} == {("approved", "utility", "utility")}
    assert len({t.vendor_id for t in held.values()}) == len(held)
    assert "" not in {t.vendor_id for t in held.values()}
    done = _do(world, store, "templates")
    assert (done.last_sentence, done.failures) == ("0 templates submitted", 0)
    assert set(_templates(world, store)) == set(held)


def test_a_verdict_that_no_webhook_told_is_read_within_the_hour(world: World) -> None:
    """Paused, re-classed, judged: WhatsApp's live word is kept, and taken back when it takes it back."""
    world.fault("whatsapp.webhooks", "drop")
    for status, category in (("PAUSED", "UTILITY"), ("APPROVED", "MARKETING"), ("APPROVED", "UTILITY")):
        world.templates("shopify", name=NAME, language="en", status=status, category=category)
        world.advance("61m")
        kept = _templates(world, "shopify")["cod_confirmation", "en"]
        assert (kept.status, kept.category, kept.wanted) == (status.lower(), category.lower(), "utility")
    other = _templates(world, "shopify")["cod_confirmation", "ur-Latn"]
    assert (other.status, other.category) == ("approved", "utility")


def test_an_order_that_comes_before_the_templates_were_read_waits_for_them(world: World) -> None:
    """The number was connected this very moment. Nothing is burned; the customer is asked once they are known."""
    with world.house.db.lane(world.store_id("woocommerce")) as session:
        session.execute(delete(Template))
    placed = world.place("woocommerce")
    assert placed.phone.heard == []
    order = world.order(placed)
    with world.looking("woocommerce") as session:
        [row] = session.scalars(select(Outbox).where(Outbox.order_id == order.id))
        assert row.state == "queued"
    assert world.story(placed).planned[0].detail == "waits: WhatsApp has not approved the template yet"

    _do(world, "woocommerce", "templates")

    assert len(placed.phone.heard) == 1
    assert world.touchpoints(placed)["ask"] == "sent"


def test_news_that_comes_while_templates_are_read_is_newer_than_what_was_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WhatsApp answers, then pauses a template and says so, before the answer is written down: paused it stays."""
    adapter: Any = world.house.registry.get("channels", "whatsapp")
    read, calls = adapter.fetch_templates, []

    def slowly(account: Any) -> list[Any]:
        seen = list(read(account))
        if not calls:
            calls.append(1)
            world.control("POST", "/control/templates", {
                "waba": "100000000000001", "name": NAME, "language": "en", "status": "PAUSED",
            })  # fmt: skip
            _until_processed(world)
        return seen

    monkeypatch.setattr(adapter, "fetch_templates", slowly)
    _do(world, "shopify", "templates")
    assert calls == [1]
    assert _templates(world, "shopify")["cod_confirmation", "en"].status == "paused"
    world.templates("shopify", name=NAME, language="en", status="APPROVED")
    assert _templates(world, "shopify")["cod_confirmation", "en"].status == "approved"


def _until_processed(world: World) -> None:
    """The webhook of what just happened has arrived and was understood."""
    store_id = world.store_id("shopify")
    deadline = time.monotonic() + 60
    while not world.control("GET", "/control/health")["idle"]:
        assert time.monotonic() < deadline, "the webhook never arrived"
    ingest.process(world.house, store_id)


# -- the number ----------------------------------------------------------------------------------------------------


def test_what_a_number_may_do_is_read_anew(world: World) -> None:
    """Throughput and quality are remembered; a number that may not send breaks the connection in a sentence, and one
    that may again mends it.
    """

    def channel() -> Connection:
        with world.looking("shopify") as session:
            return session.scalars(select(Connection).where(Connection.room == "channels")).one()

    number = NUMBER["shopify"]
    try:
        world.control("POST", "/control/numbers", {"id": number, "throughput": 1000, "quality_rating": "YELLOW"})
        done = _do(world, "shopify", "profile")
        assert (channel().state["rate"], channel().state["quality"], channel().health) == (1000, "medium", "ok")
        assert done.last_sentence == "+92 21 1111 0001, quality medium, 1000 messages a second"
        world.control("POST", "/control/numbers", {"id": number, "can_send": "BLOCKED"})
        _do(world, "shopify", "profile")
        assert channel().health == "broken"
        assert channel().sentence
    finally:
        world.control(
            "POST",
            "/control/numbers",
            {"id": number, "can_send": "AVAILABLE", "throughput": 80, "quality_rating": "GREEN"},
        )
    _do(world, "shopify", "profile")
    assert (channel().health, channel().sentence, channel().state["rate"]) == ("ok", "", 80)


# -- orders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["shopify", "woocommerce"])
def test_reconciliation_posts_only_what_no_webhook_told(world: World, store: str) -> None:
    world.place(store)
    with world.looking(store) as session:
        polled = session.scalars(select(WebhookDelivery.id).where(WebhookDelivery.source == "poll")).all()
    assert _do(world, store, "reconcile").last_sentence.endswith(", 0 that no webhook had told us")
    world.fault(f"{store}.webhooks", "drop")
    missed = world.place(store)
    world.calm()
    assert _do(world, store, "reconcile").last_sentence.endswith(", 1 that no webhook had told us")
    assert world.states(missed)[0] == "awaiting"
    with world.looking(store) as session:
        now = session.scalars(select(WebhookDelivery).where(WebhookDelivery.source == "poll")).all()
        assert len(now) == len(polled) + 1
        assert now[-1].state == "processed"


@pytest.mark.parametrize("store", ["shopify", "woocommerce"])
def test_an_order_that_cannot_be_read_holds_up_no_other(
    world: World, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows as not understood, once however often it is found; what was missed beside it is healed."""
    world.fault(f"{store}.webhooks", "drop")
    odd, missed = world.place(store), world.place(store)
    world.calm()
    adapter: Any = world.house.registry.get("stores", store)
    read = adapter.parse

    def parse(request: WebhookRequest) -> list[Fact]:
        facts: list[Fact] = read(request)
        if any(isinstance(fact, OrderChanged) and fact.external_id == odd.order_id for fact in facts):
            raise NotUnderstood("an order of a kind that nobody has seen")
        return facts

    monkeypatch.setattr(adapter, "parse", parse)
    for _ in range(2):
        assert _do(world, store, "reconcile").failures == 0
    assert world.states(missed)[0] == "awaiting"
    with world.looking(store) as session:
        [kept] = session.scalars(select(WebhookDelivery).where(WebhookDelivery.state == "not_understood"))
        assert kept.sentence == "an order of a kind that nobody has seen"


@pytest.mark.parametrize(
    ("store", "sentence"),
    [("shopify", "declared with the platform, nothing to watch"), ("woocommerce", "all in place")],
)
def test_webhooks_are_watched_where_there_are_any_to_watch(world: World, store: str, sentence: str) -> None:
    assert _do(world, store, "webhooks").last_sentence == sentence


# -- the schedule itself -------------------------------------------------------------------------------------------


@pytest.fixture
def shop(house: House, monkeypatch: pytest.MonkeyPatch) -> int:
    """A store all of whose chores are done, and cost nothing to do."""
    store_id = factories.store(house)
    with house.db.operator_writing() as session:
        for room, adapter in (("couriers", "leopards"), ("payments", "razorpay")):
            connect(
                session, store_id=store_id, room=room, adapter=adapter, account="a", credentials={}, state={},
                vault=house.vault,
            )  # fmt: skip
    for name in upkeep.CHORES:
        monkeypatch.setitem(upkeep.CHORES, name, lambda *_: "done")
    upkeep.run(house, store_id)
    return store_id


def _chores(house: House, store_id: int) -> dict[str, Chore]:
    with house.db.read(store_id) as session:
        return {chore.name: chore for chore in session.scalars(select(Chore))}


def _due(house: House, store_id: int, name: str, **values: Any) -> None:
    with house.db.lane(store_id) as session:
        chore = session.scalars(select(Chore).where(Chore.name == name)).one()
        chore.due_at = session.now()
        for field, value in values.items():
            setattr(chore, field, value)


def test_every_chore_is_done_and_comes_due_again_in_its_own_time(house: House, shop: int) -> None:
    chores = _chores(house, shop)
    assert set(chores) == {*STORE_CHORES, *CHANNEL_CHORES, *COURIER_CHORES, *PAYMENT_CHORES} == set(upkeep.CHORES)
    for name, chore in chores.items():
        assert chore.last_run_at is not None
        assert chore.due_at - chore.last_run_at == EVERY[name]
        assert (chore.leased_until, chore.failures, chore.last_sentence) == (None, 0, "done")
    assert list(upkeep.due_chores(house)) == []


@pytest.mark.parametrize(
    ("fault", "breaks"),
    [
        (TransientError("the store answered 503"), False), (PermanentError("the store refused"), True),
        (ConfigurationError("The access was withdrawn."), True),
    ],
)  # fmt: skip
def test_a_chore_that_fails_is_tried_again_sooner_each_time_later(
    house: House, shop: int, monkeypatch: pytest.MonkeyPatch, fault: Exception, breaks: bool
) -> None:
    """A minute, two, four, never more than its own time; what only the merchant can mend breaks the connection."""

    def failing(*_: Any) -> str:
        raise fault

    monkeypatch.setitem(upkeep.CHORES, "profile", failing)
    waits = []
    for _ in range(9):
        _due(house, shop, "profile")
        upkeep.run(house, shop)
        chore = _chores(house, shop)["profile"]
        assert chore.last_run_at is not None
        waits.append((chore.due_at - chore.last_run_at) / timedelta(minutes=1))
    assert waits == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert (chore.failures, chore.last_sentence) == (9, str(fault))
    with house.db.read(shop) as session:
        channel = session.scalars(select(Connection).where(Connection.room == "channels")).one()
        assert (channel.health, channel.sentence) == (("broken", str(fault)) if breaks else ("ok", ""))
    monkeypatch.setitem(upkeep.CHORES, "profile", lambda *_: "done")
    _due(house, shop, "profile")
    upkeep.run(house, shop)
    assert _chores(house, shop)["profile"].failures == 0


def test_a_chore_that_breaks_the_code_itself_is_tried_again_and_holds_up_no_other(
    house: House, shop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With where it broke, and without anybody's data."""

    def breaking(*_: Any) -> str:
        raise ZeroDivisionError("+923001234567 did it")

    monkeypatch.setitem(upkeep.CHORES, "profile", breaking)
    for name in ("profile", "templates"):
        _due(house, shop, name, last_sentence="")
    upkeep.run(house, shop)
    broken, other = (_chores(house, shop)[name] for name in ("profile", "templates"))
    assert (broken.failures, broken.leased_until, other.last_sentence) == (1, None, "done")
    assert broken.last_sentence.startswith("ZeroDivisionError in breaking")
    assert "+92" not in broken.last_sentence


def test_a_chore_hurried_while_it_runs_is_done_once_more(
    house: House, shop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it looked at may have changed after it looked."""
    done: list[int] = []

    def busy(_house: House, store_id: int, connection_id: int) -> str:
        done.append(connection_id)
        if len(done) == 1:
            with house.db.lane(store_id) as session:
                hurry(session, connection_id, "templates")
        return f"done {len(done)}"

    monkeypatch.setitem(upkeep.CHORES, "templates", busy)
    _due(house, shop, "templates")
    upkeep.run(house, shop)
    assert len(done) == 2
    chore = _chores(house, shop)["templates"]
    assert chore.last_run_at is not None
    assert chore.due_at - chore.last_run_at == EVERY["templates"]


def test_a_chore_under_way_elsewhere_is_left_alone_until_its_lease_is_over(
    house: House, shop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    monkeypatch.setitem(upkeep.CHORES, "profile", lambda *_: done.append(1) or "done")
    machine = house.clock.machine()
    _due(house, shop, "profile", leased_until=machine + timedelta(minutes=1))
    assert list(upkeep.due_chores(house)) == []
    upkeep.run(house, shop)
    assert done == []
    _due(house, shop, "profile", leased_until=machine - timedelta(seconds=1))
    assert list(upkeep.due_chores(house)) == [("chores", shop)]
    upkeep.run(house, shop)
    assert done == [1]


def test_a_long_chore_stays_its_workers(house: House, shop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease is short, so that a killed worker's chores do not wait, and is renewed for as long as it takes."""
    monkeypatch.setattr(upkeep, "_LEASE", timedelta(seconds=0.3))
    seen: set[Any] = set()

    def long(*_: Any) -> str:
        until(lambda: len(seen.add(_chores(house, shop)["profile"].leased_until) or seen) > 3)
        return "done"

    monkeypatch.setitem(upkeep.CHORES, "profile", long)
    _due(house, shop, "profile")
    upkeep.run(house, shop)
    assert len(seen - {None}) > 3
    assert _chores(house, shop)["profile"].leased_until is None


def test_for_a_shop_that_left_only_the_forgetting_goes_on(
    house: House, shop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(name: str) -> Callable[..., str]:
        return lambda *_: done.append(name) or "done"

    for name in upkeep.CHORES:
        monkeypatch.setitem(upkeep.CHORES, name, noted(name))
        _due(house, shop, name)
    with house.db.lane(shop) as session:
        uninstall(session.get_one(Store, shop), session.now())
    upkeep.run(house, shop)
    assert done == ["prune"]
    assert list(upkeep.due_chores(house)) == []


def test_a_privacy_request_is_met_without_waiting_for_any_chore(house: House, shop: int) -> None:
    with house.db.lane(shop) as session:
        asked = PrivacyRequested(kind="export", phone="+923001234567", occurred_at=session.now())
        privacy.record(session, asked)
    assert list(upkeep.due_chores(house)) == [("chores", shop)]
    upkeep.run(house, shop)
    assert list(upkeep.due_chores(house)) == []


def test_requests_that_are_done_with_are_forgotten_after_two_weeks_and_failures_after_ninety_days(house: House) -> None:
    store_id, other = factories.store(house), factories.store(house)
    ages = {
        "processed": (13, 15),
        "ignored": (13, 15),
        "not_understood": (89, 91),
        "failed": (89, 91),
        "received": (400,),
    }
    for at in (store_id, other):
        with house.db.lane(at) as session:
            for state, days in ages.items():
                for age in days:
                    received = {"received_at": session.now() - timedelta(days=age), "account": str(at)}
                    values = {"room": "stores", "adapter": "shopify", "body": b"{}", "state": state, **received}
                    session.add(WebhookDelivery(key=f"{state}{age}", **values))
    with house.db.read(store_id) as session:
        connection = session.scalars(select(Connection.id).where(Connection.room == "stores")).one()
    assert upkeep.prune(house, store_id, connection) == "4 old requests forgotten"
    assert upkeep.prune(house, store_id, connection) == "0 old requests forgotten"
    with house.db.read(store_id) as session:
        left = set(session.scalars(select(WebhookDelivery.key)))
    assert left == {"processed13", "ignored13", "not_understood89", "failed89", "received400"}
    with house.db.read(other) as session:
        assert len(session.scalars(select(WebhookDelivery.key)).all()) == 9
