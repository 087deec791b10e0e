"""When WhatsApp throttles, fails, falls silent or changes its mind: every message once, none lost, all explained."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from integration.inbox import Conversation, Message
from integration.outbox import Outbox
from integration.stores import Policy

from ..world import WABAS, Placed, World


def _fate(world: World, placed: Placed) -> list[tuple[str, int, str]]:
    """(state, attempts, settled by) of the order's messages in the outbox."""
    order = world.order(placed)
    with world.looking(placed.store) as session:
        rows = session.scalars(select(Outbox).where(Outbox.order_id == order.id, Outbox.kind == "message"))
        return [(row.state, row.attempts, row.settled_by) for row in rows]


def test_an_accepted_send_whose_answer_was_lost_is_settled_by_its_status(world: World) -> None:
    """WhatsApp took it and never said so: the status webhook proves it, and it is not sent again."""
    world.advance("3s")  # a second look at templates of which two words came in one second is over
    world.fault("whatsapp.api", "timeout_after_accept", count=1)
    placed = world.place("shopify", settle=False)
    world.settle(wait_for_evidence=True)
    assert len(placed.phone.heard) == 1
    assert _fate(world, placed) == [("sent", 1, "status")]


def test_a_send_that_never_arrived_is_sent_once_more_after_a_wait(world: World) -> None:
    """The connection died and no proof comes: an order message is sent a second time, which is then its first."""
    world.fault("whatsapp.api", "drop", count=1)
    placed = world.place("shopify", settle=False)
    world.settle(wait_for_evidence=True)
    assert len(placed.phone.heard) == 1
    assert _fate(world, placed) == [("sent", 2, "answer")]


@pytest.mark.parametrize(("mode", "count"), [("throttle_429", 2), ("error_500", 3), ("garbage", 2)])
def test_a_refused_send_goes_through_later_and_once(world: World, mode: str, count: int) -> None:
    """Throttled, failed, or answered with noise: in the end the phone shows it, once."""
    world.fault("whatsapp.api", mode, count=count)
    placed = world.place("woocommerce", settle=False)
    for _ in range(3):
        world.settle(wait_for_evidence=True)
        world.advance("2m")
    assert len(placed.phone.heard) == 1
    assert [fate[0] for fate in _fate(world, placed)] == ["sent"]


def test_duplicated_and_reordered_statuses_change_nothing(world: World) -> None:
    """Delivered stays delivered when `sent` comes late, twice."""
    world.fault("whatsapp.webhooks", "duplicate")
    placed = world.place("shopify")
    world.whatsapp("status", message_id=placed.phone.last.id, status="read")
    world.whatsapp("status", message_id=placed.phone.last.id, status="sent")
    world.whatsapp("status", message_id=placed.phone.last.id, status="delivered")
    order = world.order(placed)
    with world.looking("shopify") as session:
        [message] = session.scalars(select(Message).where(Message.order_id == order.id))
        assert message.status == "read"


def test_a_number_without_whatsapp_is_tried_once_and_remembered(world: World) -> None:
    """The next order does not knock there again; a message from the customer opens the door anew."""
    phone = world.phone()
    world.whatsapp("fail_next", phone=phone.number, code=131026, when="send")
    placed = world.place("shopify", phone=phone)
    assert phone.heard == []
    assert world.touchpoints(placed)["ask"] == "failed: 131026"
    second = world.place("shopify", phone=phone)
    assert world.touchpoints(second)["ask"] == "skipped: unreachable"
    assert "cannot be reached on WhatsApp" in world.story(second).past[-1].detail


def test_a_failure_that_comes_later_and_without_contacts_is_seen(world: World) -> None:
    phone = world.phone()
    world.whatsapp("fail_next", phone=phone.number, code=131026, when="status")
    placed = world.place("woocommerce", phone=phone)
    assert world.touchpoints(placed)["ask"] == "failed: 131026"
    assert _fate(world, placed)[0][0] == "failed"


def test_a_dead_token_breaks_the_connection_and_holds_the_mail(world: World) -> None:
    """Nothing is burned: the message waits, the merchant is told, and it goes when the access is back."""
    world.whatsapp("revoke_token", token="sandbox-token-shopify")
    placed = world.place("shopify")
    assert placed.phone.heard == []
    with world.looking("shopify") as session:
        from integration.access import live_connection

        connection = live_connection(session, "channels")
        assert connection is not None
        assert (connection.health, connection.sentence) == (
            "broken",
            "WhatsApp no longer accepts our access. Connect the number again.",
        )
    world.whatsapp("renew_token", token="sandbox-token-shopify")
    with world.deciding("shopify") as store:
        found = store.connection("channels")
        assert found is not None
        found.mended()
    world.advance("15m")
    assert len(placed.phone.heard) == 1


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"status": "PAUSED"}, "skipped: template_rejected"),
        ({"status": "REJECTED"}, "skipped: template_rejected"),
        ({"category": "MARKETING"}, "skipped: template_category"),
    ],
)
def test_a_template_that_lost_its_standing_is_not_sent(world: World, change: dict[str, str], outcome: str) -> None:
    """Paused, rejected, or judged to be marketing without the customer's consent to it."""
    world.templates("woocommerce", name="dastak_cod_confirmation_v1", language="en", **change)
    placed = world.place("woocommerce")
    try:
        assert world.touchpoints(placed)["ask"] == outcome
        assert placed.phone.heard == []
    finally:
        world.templates(
            "woocommerce", name="dastak_cod_confirmation_v1", language="en", status="APPROVED", category="UTILITY"
        )


def test_verdicts_that_change_within_a_second_end_in_the_last_one(world: World) -> None:
    """Approved, rejected, approved again: the first and the last are the same bytes, so one of them looks like a
    repeat. Once the second is over WhatsApp is asked what holds.
    """
    for status in ("APPROVED", "REJECTED", "APPROVED") * 2:
        change = {"waba": WABAS["shopify"], "name": "dastak_cod_confirmation_v1", "language": "en", "status": status}
        world.control("POST", "/control/templates", change)
    world.settle()
    world.advance("3s")
    placed = world.place("shopify")
    assert world.touchpoints(placed)["ask"] == "sent"
    assert len(placed.phone.heard) == 1
    assert "template dastak_cod_confirmation_v1" in " ".join(m.detail for m in world.story(placed).past)


def test_a_template_in_review_is_waited_for(world: World) -> None:
    world.templates("woocommerce", name="dastak_cod_confirmation_v1", language="en", status="PENDING")
    placed = world.place("woocommerce")
    assert placed.phone.heard == []
    assert "not approved the template yet" in world.story(placed).planned[0].detail
    world.templates("woocommerce", name="dastak_cod_confirmation_v1", language="en", status="APPROVED")
    assert len(placed.phone.heard) == 1


def test_an_unapproved_language_falls_back_to_one_that_is(world: World) -> None:
    """Urdu is rejected: the same question goes in Roman Urdu rather than not at all."""
    world.templates("shopify", name="dastak_cod_confirmation_v1", language="ur", status="REJECTED")
    placed = world.place("shopify", customer={"locale": "ur"})
    try:
        assert placed.phone.last.buttons == ("Confirm Karen", "Cancel Karen")
    finally:
        world.templates("shopify", name="dastak_cod_confirmation_v1", language="ur", status="APPROVED")


@pytest.mark.parametrize(
    ("locale", "yes"),
    [
        ("ur", "کنفرم کریں"),
        ("hi-IN", "कन्फर्म करें"),
        ("es-MX", "Confirmar"),
        ("pt-BR", "Confirmar"),
        ("ur-Latn", "Confirm Karen"),
    ],
)
def test_the_customer_reads_their_own_language(world: World, locale: str, yes: str) -> None:
    placed = world.place("woocommerce" if locale == "none" else "shopify", customer={"locale": locale})
    assert placed.phone.last.buttons[0] == yes
    placed.phone.tap(yes)
    assert world.states(placed)[0] == "confirmed"


def test_a_reminder_waits_for_the_morning(world: World) -> None:
    """Whatever the hour, a reminder that comes due at night goes at the hour the merchant set, in the customer's
    zone.
    """
    with world.deciding("woocommerce") as store:
        zone = store.zone
        now = world.house.clock.now().astimezone(zone)
        night = Policy(quiet_from=(now.hour + 3) % 24, quiet_until=(now.hour + 9) % 24)
        store.decide(night)
    try:
        placed = world.place("woocommerce")
        assert len(placed.phone.heard) == 1  # answering an order just placed does not wait
        world.advance("5h")
        assert len(placed.phone.heard) == 1
        [waiting] = [m for m in world.story(placed).planned if "irst reminder" in m.title]
        assert waiting.at.astimezone(zone).hour == night.quiet_until
        world.advance("5h")
        assert len(placed.phone.heard) == 2
    finally:
        with world.deciding("woocommerce") as store:
            store.decide(Policy())


def test_a_customer_known_by_username_only_is_heard(world: World) -> None:
    """Webhooks carry no phone, only a user id: the tap still finds its order."""
    phone = world.phone()
    world.control("POST", f"/control/phones/{phone.number}", {"hides_number": True})
    placed = world.place("shopify", phone=phone)
    phone.tap("Confirm")
    assert world.states(placed)[0] == "confirmed"
    order = world.order(placed)
    assert order.contact is not None
    assert order.contact.user_id is not None


def test_a_changed_number_stays_the_same_person(world: World) -> None:
    placed = world.place("shopify")
    new = world.phone()
    world.whatsapp("number_changed", phone=placed.phone.number, new_phone=new.number)
    order = world.order(placed)
    assert order.contact is not None
    assert order.contact.phone == new.number


def test_the_owner_answering_by_phone_is_part_of_the_conversation(world: World) -> None:
    placed = world.place("woocommerce")
    placed.phone.write("where do you ship from?")
    world.whatsapp("echo", phone=placed.phone.number, text="From Karachi!")
    order = world.order(placed)
    with world.looking("woocommerce") as session:
        talk = session.scalars(
            select(Conversation).where(Conversation.contact_point_id == order.contact_point_id)
        ).one()
        said = session.scalars(
            select(Message).where(Message.conversation_id == talk.id, Message.sender == "owner")
        ).one()
        assert said.text == "From Karachi!"
        assert talk.needs_person == ""


@pytest.mark.parametrize("event", ["media", "unsupported", "location", "referral"])
def test_whatever_a_customer_sends_is_kept_and_calls_a_person(world: World, event: str) -> None:
    placed = world.place("shopify")
    world.whatsapp(event, phone=placed.phone.number)
    order = world.order(placed)
    with world.looking("shopify") as session:
        talk = session.scalars(
            select(Conversation).where(Conversation.contact_point_id == order.contact_point_id)
        ).one()
        assert talk.needs_person
        if event == "referral":
            assert talk.referral is not None
            assert talk.referral["source_type"] == "ad"


def test_a_reaction_is_kept_and_bothers_nobody(world: World) -> None:
    placed = world.place("shopify")
    world.whatsapp("reaction", phone=placed.phone.number)
    order = world.order(placed)
    with world.looking("shopify") as session:
        talk = session.scalars(
            select(Conversation).where(Conversation.contact_point_id == order.contact_point_id)
        ).one()
        assert talk.needs_person == ""


def test_an_answer_that_cannot_be_given_in_time_is_withheld(world: World) -> None:
    """The tap is heard a day late: outside the service window a free answer would be refused, so it is not tried."""
    placed = world.place("shopify")
    ask = placed.phone.heard[0]
    placed.phone.tap("Cancel", ask)
    placed.phone.tap_quietly("Confirm", ask)
    world.control("POST", "/control/clock", {"advance": "25h"})
    heard = len(placed.phone.heard)
    world.settle()
    assert len(placed.phone.heard) == heard
    assert world.touchpoints(placed)["cancelled_by_you"].startswith("skipped: stale")
