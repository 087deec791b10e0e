"""The operator's commands, `flask --app webapp <command> [--json]`: what they say, what they refuse, what they keep."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from sqlalchemy import select

from integration.house import House
from integration.inbox import Message
from integration.ingest import WebhookDelivery
from integration.outbox import Outbox
from integration.privacy import REDACTED, PrivacyRequest
from integration.stores import Chore, Connection, Store, uninstall
from integration.unknown import UnknownWord
from integration.vault import Vault
from webapp import build_app

from . import factories
from .world import Placed, World

Run = Callable[..., Result]


def _runner(house: House) -> Run:
    runner = build_app(house).test_cli_runner()

    def run(*args: object) -> Result:
        done = runner.invoke(args=[str(arg) for arg in args])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.output
        return done

    return run


@pytest.fixture
def flask(house: House) -> Run:
    """The command line over a bare house."""
    return _runner(house)


def _json(done: Result) -> Any:
    return json.loads(done.stdout)


def _refused(done: Result, sentence: str) -> None:
    assert done.exit_code != 0
    assert sentence in done.stderr
    assert done.stdout == ""


@pytest.fixture
def placed(world: World) -> Placed:
    placed = world.place("shopify", customer={"name": "Zubaida Marvi", "email": "zubaida@example.test"})
    placed.phone.tap("Confirm")
    return placed


# -- stores --------------------------------------------------------------------------------------------------------


def test_stores_lists_who_is_installed_and_what_works(house: House, flask: Run) -> None:
    assert flask("stores").stdout == "no store is installed yet\n"
    assert _json(flask("stores", "--json")) == []
    first, second = factories.store(house, account="a.myshopify.com"), factories.store(house, channel=False)
    with house.db.lane(first) as session:
        factories.order(session)
    with house.db.lane(second) as session:
        uninstall(session.get_one(Store, second), session.now())

    done = flask("stores", "--json")

    assert done.exit_code == 0
    ours, theirs = _json(done)
    assert (ours["id"], ours["active"], ours["orders"]) == (first, True, 1)
    assert [(c["adapter"], c["health"]) for c in ours["connections"]] == [("shopify", "ok"), ("whatsapp", "ok")]
    assert ours["connections"][0]["account"] == "a.myshopify.com"
    assert (theirs["id"], theirs["active"], theirs["orders"]) == (second, False, 0)
    plain = flask("stores").stdout.splitlines()
    assert plain[0].endswith("(active, 1 orders)  shopify: ok, whatsapp: ok")
    assert "(removed, 0 orders)  shopify: broken" in plain[1]
    for secret in ("shpat_test", "shprt_test"):
        assert secret not in done.stdout + flask("stores").stdout


# -- why -----------------------------------------------------------------------------------------------------------


def test_why_tells_an_orders_story(world: World, placed: Placed) -> None:
    """The same story as a page would, by the order's name with or without its sign, or by the store's id of it."""
    flask = _runner(world.house)
    told = _json(flask("why", placed.name, "--json"))
    assert (told["order"], told["store"]) == (placed.name, world.store_id("shopify"))
    assert (told["confirmation"], told["payment"], told["held"]) == ("confirmed", "cod_due", "")
    titles = [moment["title"] for moment in told["story"]]
    assert titles[0] == f"Order {placed.name} placed"
    for title in ("The customer tapped", "Confirmation: confirmed", "The store was told: confirmed"):
        assert title in titles
    asked = next(m for m in told["story"] if m["kind"] == "message")
    assert [check["guard"] for check in asked["checks"]][:3] == ["relevance", "contact point", "opt-out"]
    for name in (placed.name.lstrip("#"), placed.order_id):
        assert _json(flask("why", name, "--json")) == told

    plain = flask("why", placed.name).stdout.splitlines()
    assert plain[0] == f"{placed.name}: confirmation confirmed, cash on delivery, not sent yet"
    assert len(plain) == len(told["story"]) + 1
    assert any("because the order is cash on delivery" in line for line in plain)


def test_why_needs_nobodys_number_to_explain(world: World, placed: Placed) -> None:
    flask = _runner(world.house)
    for form in ((), ("--json",)):
        said = flask("why", placed.name, *form).stdout
        for private in (placed.phone.number.lstrip("+"), "Zubaida", "zubaida@", "Mall Road"):
            assert private not in said


def test_an_order_of_two_stores_wants_its_store_named(house: House, flask: Run) -> None:
    stores = [factories.store(house), factories.store(house)]
    for store_id in stores:
        with house.db.lane(store_id) as session:
            factories.order(session, name="#1001")
    _refused(flask("why", "1001"), "several stores have an order 1001; name one with --store (see `stores`)")
    assert [_json(flask("why", "1001", "--store", s, "--json"))["store"] for s in stores] == stores
    _refused(flask("why", "1001", "--store", 999), "no order 1001 is known")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("why", "#4711"), "no order #4711 is known"),
        (("why",), "Missing argument 'ORDER'"),
        (("why", "1", "--store", "lahore"), "'lahore' is not a valid integer"),
        (("replay", "99"), "no delivery 99 of a known store"),
        (("replay", "last"), "'last' is not a valid integer"),
        (("redact", "1"), "name the person by --phone or --email"),
        (("redact", "99", "--phone", "+923001234567"), "there is no store 99"),
        (("stores", "--yaml"), "No such option"),
        (("dance",), "No such command 'dance'"),
    ],
)
def test_what_it_cannot_do_it_says_in_a_sentence(flask: Run, arguments: tuple[str, ...], sentence: str) -> None:
    _refused(flask(*arguments), sentence)


# -- replay --------------------------------------------------------------------------------------------------------


def test_replay_understands_a_request_again_and_changes_nothing_twice(world: World, placed: Placed) -> None:
    flask = _runner(world.house)
    with world.looking("shopify") as session:
        deliveries = session.scalars(select(WebhookDelivery.id)).all()
    heard, states = len(placed.phone.heard), world.states(placed)
    for delivery in deliveries:
        assert _json(flask("replay", delivery, "--json")) == {"delivery": delivery, "state": "processed"}
    world.settle()
    assert len(placed.phone.heard) == heard
    assert world.states(placed) == states
    assert flask("replay", deliveries[0]).stdout == f"delivery {deliveries[0]}: processed\n"


def test_replay_mends_what_was_not_understood(house: House, flask: Run) -> None:
    store_id = factories.store(house)
    with house.db.lane(store_id) as session:
        values = {"room": "stores", "adapter": "shopify", "received_at": session.now(), "state": "failed"}
        session.add(WebhookDelivery(key="1", headers={"x-shopify-topic": "orders/teleported"}, body=b"{}", **values))
        session.add(WebhookDelivery(key="2", headers={"x-shopify-topic": "orders/create"}, body=b"", **values))
        session.flush()
        torn, erased = session.scalars(select(WebhookDelivery.id).order_by(WebhookDelivery.key))
    assert _json(flask("replay", torn, "--json"))["state"] == "not_understood"
    _refused(flask("replay", erased), f"what delivery {erased} held was erased; nothing is left to understand")


# -- doctor --------------------------------------------------------------------------------------------------------


def test_doctor_finds_nothing_in_a_sound_house(world: World, placed: Placed) -> None:
    flask = _runner(world.house)
    done = flask("doctor", "--json")
    assert (done.exit_code, _json(done)) == (0, {"well": True, "ills": []})
    assert flask("doctor").stdout == "all is well\n"


def test_doctor_names_every_ill_and_ends_with_one(house: House, flask: Run) -> None:
    """Each in a sentence with where to look; nothing of an uninstalled store, where nobody needs to act."""
    store_id, left = factories.store(house), factories.store(house)
    with house.db.lane(left) as session:
        uninstall(session.get_one(Store, left), session.now())
    with house.db.lane(store_id) as session:
        now = session.now()
        channel = session.scalars(select(Connection).where(Connection.room == "channels")).one()
        channel.broke("Meta says that the token has expired.")
        values = {"room": "stores", "adapter": "shopify", "body": b"{}"}
        for number, (state, age) in enumerate((("failed", 1), ("not_understood", 1), ("received", 300))):
            at = now - timedelta(seconds=age)
            session.add(WebhookDelivery(key=str(number), state=state, received_at=at, **values))
        session.add(Outbox(key="m", kind="message", state="unknown", due_at=now, created_at=now))
        word = {"adapter": "shopify", "kind": "payment", "first_at": now, "last_at": now}
        session.add(UnknownWord(word="paid_in_rice", count=3, **word))
        chore = session.scalars(select(Chore).where(Chore.name == "reconcile")).one()
        chore.failures, chore.last_sentence = 3, "The store answered 503."

    done = flask("doctor", "--json")

    assert done.exit_code == 1
    said = _json(done)
    assert said["well"] is False
    waited = next(ill for ill in said["ills"] if "oldest" in ill)
    assert waited.startswith("the oldest unprocessed request has waited 30")
    assert waited.endswith("s: is a worker running?")
    assert sorted(ill for ill in said["ills"] if ill != waited) == sorted([
        f"store {store_id}: whatsapp is broken: Meta says that the token has expired.",
        "1 stored requests are failed; see `replay`",
        "1 stored requests are not understood; see `replay`",
        "1 messages have an unknown outcome and wait for evidence",
        "shopify says “paid_in_rice” of a payment, which no table knows (3 times)",
        f"store {store_id}: reconcile failed 3 times: The store answered 503.",
    ])  # fmt: skip
    plain = flask("doctor")
    assert plain.exit_code == 1
    assert len(plain.stdout.splitlines()) == len(said["ills"])


# -- redact --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["--phone", "--email"])
def test_redact_forgets_one_person_of_one_store(world: World, by: str) -> None:
    """Said in counts only; the number that was typed is repeated nowhere, neither on the screen nor in the database."""
    flask = _runner(world.house)
    email = f"forget.{by.strip('-')}@example.test"
    placed = world.place("shopify", customer={"name": "Zubaida Marvi", "email": email})
    neighbour = world.place("shopify", customer={"name": "Bystander Bano", "email": "bano@example.test"})
    named = placed.phone.number if by == "--phone" else email

    done = flask("redact", world.store_id("shopify"), by, named, "--json")

    assert _json(done) == {"store": world.store_id("shopify"), "done": "1 customers and 1 orders were erased"}
    assert named not in done.output
    assert world.order(placed).customer_name == REDACTED
    assert world.order(neighbour).customer_name == "Bystander Bano"
    with world.looking("shopify") as session:
        assert named not in repr([r.wanted for r in session.scalars(select(PrivacyRequest))])
        assert session.scalars(select(Message).where(Message.text.contains(placed.name))).all() == []
    assert flask("redact", world.store_id("shopify"), by, named).stdout == "0 customers and 0 orders were erased\n"


# -- keys ----------------------------------------------------------------------------------------------------------


def test_rotate_keys_seals_anew_so_that_the_old_key_may_go(house: House, flask: Run) -> None:
    old, new = house.settings.encryption_keys[0], Fernet.generate_key().decode()
    for _ in range(2):
        factories.store(house)
    with house.db.operator() as session:
        before = {c.id: house.vault.open(c.sealed) for c in session.scalars(select(Connection))}
    house.vault = Vault([new, old])
    house.settings = dataclasses.replace(house.settings, encryption_keys=(new, old))

    done = flask("rotate-keys", "--json")

    assert _json(done) == {"rotated": 4}
    for secret in (old, new, "shpat_test"):
        assert secret not in done.output
    with house.db.operator() as session:
        assert {c.id: Vault([new]).open(c.sealed) for c in session.scalars(select(Connection))} == before
    assert flask("rotate-keys").stdout == "4 connections sealed anew\n"


def test_a_key_that_was_dropped_too_early_is_said_and_nothing_is_touched(house: House, flask: Run) -> None:
    factories.store(house)
    with house.db.operator() as session:
        before = session.scalars(select(Connection.sealed).order_by(Connection.id)).all()
    house.vault = Vault([Fernet.generate_key().decode()])
    _refused(flask("rotate-keys"), "Stored credentials cannot be decrypted, so they cannot be rotated.")
    with house.db.operator() as session:
        assert session.scalars(select(Connection.sealed).order_by(Connection.id)).all() == before
