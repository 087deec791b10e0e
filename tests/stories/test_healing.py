"""Webhooks get lost, doubled, late and out of order; access expires; shops come and go. Orders do not notice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import object_session

from integration.ingest import WebhookDelivery
from integration.orders import Order
from integration.stores import Chore, Connection, Store

from ..conftest import build, settings_for
from ..world import World

STORES = ("shopify", "woocommerce")


@pytest.mark.parametrize("store", STORES)
def test_a_webhook_that_never_came_is_healed_by_reconciliation(world: World, store: str) -> None:
    """Every webhook of the order is lost; minutes later the order is found and asked about, once."""
    world.fault(f"{store}.webhooks", "drop")
    placed = world.place(store)
    assert placed.phone.heard == []
    world.calm()
    world.advance("6m")
    assert len(placed.phone.heard) == 1
    world.advance("6m")
    assert len(placed.phone.heard) == 1
    with world.looking(store) as session:
        assert session.scalar(select(WebhookDelivery.id).where(WebhookDelivery.source == "poll")) is not None


def test_an_order_placed_before_the_first_webhook_stood_is_found_at_once(
    fresh_url: Callable[[str], str], tmp_path: Path
) -> None:
    """A store has just been connected and looked through; a customer orders before its webhooks are made."""
    with World.begin(fresh_url("sqlite"), tmp_path, settings_for, build) as world:
        world.connect()
        with world.deciding("woocommerce") as store:
            looked_through = select(Chore).where(Chore.store_id == store.id, Chore.name == "reconcile")
            chore = object_session(store).scalars(looked_through).one()
            chore.due_at += timedelta(minutes=5)
        placed = world.place("woocommerce", settle=False)
        assert world.control("GET", "/control/stores")["woocommerce"]["webhooks"] == []
        world.settle()
        assert len(placed.phone.heard) == 1


@pytest.mark.in_turn
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("mode", ["duplicate", "reorder", "delay"])
def test_doubled_reordered_and_late_webhooks_change_nothing(world: World, store: str, mode: str) -> None:
    world.fault(f"{store}.webhooks", mode)
    placed = world.place(store)
    placed.phone.tap("Confirm")
    world.calm()
    world.settle()
    assert world.states(placed) == ("confirmed", "cod_due", "unfulfilled")
    assert len(placed.phone.heard) == 2


def test_a_payment_that_no_webhook_told_is_found(world: World) -> None:
    placed = world.place("woocommerce", "jazzcash")
    world.fault("woocommerce.webhooks", "drop")
    world.hand(placed, "pay")
    world.calm()
    world.advance("6m")
    assert world.states(placed)[1] == "paid"
    assert len(placed.phone.heard) == 1


def test_an_order_trashed_behind_our_back_is_found_missing(world: World) -> None:
    """The trash appears in no list of changes, so open orders are asked for by name once a day."""
    placed = world.place("woocommerce")
    world.fault("woocommerce.webhooks", "drop")
    world.hand(placed, "trash")
    world.calm()
    assert world.order(placed).removed_at is None
    world.advance("25h")
    assert world.order(placed).removed_at is not None


def test_webhooks_that_the_store_switched_off_are_repaired(world: World) -> None:
    """Seven failures in a row disable a webhook without a word; within the hour it is created anew."""
    hooks = [
        h for h in world.control("GET", "/control/stores")["woocommerce"]["webhooks"] if h["topic"] == "order.updated"
    ]
    assert [h["status"] for h in hooks] == ["active"]
    with world.deciding("woocommerce") as store:
        connection = store.connection("stores")
        assert connection is not None
        kept, connection.token_hash = connection.token_hash, "0" * 64
    placed = None
    world.forget_doors()
    for _ in range(8):  # each answered 404
        placed = world.place("woocommerce")
    statuses = {h["topic"]: h["status"] for h in world.control("GET", "/control/stores")["woocommerce"]["webhooks"]}
    with world.deciding("woocommerce") as store:
        connection = store.connection("stores")
        assert connection is not None
        connection.token_hash = kept
    assert "disabled" in statuses.values()
    world.advance("61m")
    hooks = world.control("GET", "/control/stores")["woocommerce"]["webhooks"]
    assert {h["status"] for h in hooks} == {"active"}
    assert len(hooks) == 4
    assert placed is not None
    assert world.states(placed)[0] == "awaiting"  # what fell into the gap was fetched


def test_a_draft_that_leaks_is_no_order(world: World) -> None:
    before = _orders(world, "woocommerce")
    world.control("POST", "/control/stores", {"store": "woocommerce", "action": "leak_draft"})
    world.settle()
    assert _orders(world, "woocommerce") == before


def test_a_store_whose_user_lost_its_rights_is_shown_as_broken(world: World) -> None:
    """The bodies are validly signed errors: no order is harmed, the merchant is told to reconnect."""
    world.control("POST", "/control/stores", {"store": "woocommerce", "action": "break_owner"})
    world.place("woocommerce")
    with world.looking("woocommerce") as session:
        connection = session.scalars(select(Connection).where(Connection.room == "stores")).one()
        assert connection.health == "broken"
        assert "Connect it again" in connection.sentence
    world.control("POST", "/control/stores", {"store": "woocommerce", "action": "mend_owner"})
    world.advance("6m")
    with world.looking("woocommerce") as session:
        assert session.scalars(select(Connection).where(Connection.room == "stores")).one().health == "ok"


def test_access_that_expires_is_refreshed_and_write_backs_go_on(world: World) -> None:
    """Offline tokens live an hour; a day later the tag still arrives."""
    placed = world.place("shopify")
    world.advance("3h")
    placed.phone.tap("Confirm")
    assert "dastak-confirmed" in world.in_store(placed)["tags"]


def test_our_own_echo_changes_nothing(world: World) -> None:
    """Tagging the order makes the store call us: recognised by content, no second message, no new transition."""
    placed = world.place("shopify")
    placed.phone.tap("Confirm")
    story = world.story(placed)
    world.hand(placed, "edit_note", note="gift wrap please")
    assert [m.title for m in world.story(placed).past] == [m.title for m in story.past]
    assert len(placed.phone.heard) == 2


def test_a_removed_app_falls_silent_and_a_late_notice_does_not_undo_a_new_install(world: World) -> None:
    """Nothing is sent after uninstall; after a reinstall the store works again, whenever the old notice comes."""
    placed = world.place("shopify")
    world.control("POST", "/control/stores", {"store": "shopify", "action": "uninstall"})
    world.settle()
    with world.looking("shopify") as session:
        assert not session.scalars(select(Store)).one().active
    world.advance("5h")
    assert len(placed.phone.heard) == 1

    world.control("POST", "/control/stores", {"store": "shopify", "action": "install"})
    world.install()
    with world.looking("shopify") as session:
        assert session.scalars(select(Store)).one().active
    again = world.place("shopify")
    assert len(again.phone.heard) == 1


def test_orders_from_before_the_install_are_known_but_not_written_to(world: World) -> None:
    """The back-fill shows yesterday's orders; their customers hear nothing out of the blue."""
    placed = world.place("woocommerce", settle=False)
    with world.deciding("woocommerce") as store:
        installed, store.installed_at = store.installed_at, world.house.clock.now().replace(year=2090)
    world.settle()
    with world.deciding("woocommerce") as store:
        store.installed_at = installed
    assert placed.phone.heard == []
    assert "before Dastak was installed" in " ".join(m.detail for m in world.story(placed).past)


def _orders(world: World, store: str) -> int:
    with world.looking(store) as session:
        return len(session.scalars(select(Order.id)).all())
