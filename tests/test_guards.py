"""May this message go now? Each guard says no for its own reason, in a fixed order, and writes down what it saw."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integration.catalogue import shelve
from integration.customers import GRANTED, REVOKED, Consent, ContactPoint, Customer
from integration.guards import GUARDS, Case, Verdict, may_send, zone_of
from integration.inbox import Conversation
from integration.orders import Order
from integration.outbox import Touchpoint
from integration.stores import Connection, Policy, Store

from . import factories

NOON = datetime(2026, 5, 4, 7, 0, tzinfo=UTC)
"""Noon in Karachi."""


def _case(**changes: Any) -> Case:
    """A message that may go: everything is as it should be, but for what the test changes."""
    store = Store(id=1, name="S", timezone="Asia/Karachi", country="PK", installed_at=NOON)
    store.decide(changes.pop("policy", Policy()))
    store.uninstalled_at = changes.pop("uninstalled_at", None)
    order = Order(
        store_id=1, id=7, external_id="7", name="#7", placed_at=NOON, changed_at=NOON, seen_at=NOON, currency="PKR",
        total=1, confirmation="awaiting", is_cod=True, payment="cod_due",
    )  # fmt: skip
    contact = ContactPoint(store_id=1, id=3, phone="+923001234567")
    contact.customer = Customer(store_id=1, name="Ayesha", created_at=NOON)
    contact.consents.extend(changes.pop("consents", [_word("utility", GRANTED, 0)]))
    order.contact = contact
    asked = Touchpoint(
        store_id=1, key="k", journey="j", step="s", template="cod_confirmation",
        relevance={"confirmation": ["awaiting"]}, due_at=NOON, made_at=NOON,
    )  # fmt: skip
    for name, value in changes.pop("asked", {}).items():
        setattr(asked, name, value)
    for name, value in changes.pop("order", {}).items():
        setattr(order, name, value)
    for name, value in changes.pop("contact", {}).items():
        setattr(contact, name, value)
    channel = Connection(store_id=1, id=5, room="channels", adapter="x", account="a", connected_at=NOON)
    for name, value in changes.pop("channel", {}).items():
        setattr(channel, name, value)
    templates = shelve(factories.templates(1, channel, **changes.pop("templates", {})))
    given: dict[str, Any] = {
        "now": NOON, "store": store, "asked": asked, "order": order, "contact": contact, "conversation": None,
        "channel": channel, "templates": templates, **changes,
    }  # fmt: skip
    return Case(**given)


def _word(purpose: str, state: str, days: int) -> Consent:
    return Consent(store_id=1, purpose=purpose, state=state, source="t", at=NOON - timedelta(days=30 - days))


def _talk(hours: float) -> Conversation:
    return Conversation(store_id=1, contact_point_id=3, last_inbound_at=NOON - timedelta(hours=hours))


def test_a_message_that_may_go_goes_as_a_template_and_says_why() -> None:
    verdict = may_send(_case())
    assert (verdict.outcome, verdict.form) == ("send", "template")
    assert verdict.template is not None
    assert verdict.template.name == "dastak_cod_confirmation_v1"
    assert [check["guard"] for check in verdict.checks] == [name for name, _ in GUARDS]
    assert all(check["outcome"] == "pass" and check["saw"] for check in verdict.checks)


@pytest.mark.parametrize(
    ("changes", "guard", "outcome", "reason"),
    [
        ({"uninstalled_at": NOON}, "relevance", "skip", "store_uninstalled"),
        ({"asked": {"stale_at": NOON}}, "relevance", "skip", "stale"),
        ({"order": {"confirmation": "confirmed"}}, "relevance", "skip", "not_relevant"),
        ({"order": {"removed_at": NOON}}, "relevance", "skip", "not_relevant"),
        ({"contact": {"phone": None}}, "contact point", "skip", "no_contact_point"),
        ({"contact": {"unreachable_at": NOON}}, "contact point", "skip", "unreachable"),
        ({"consents": [_word("utility", GRANTED, 0), _word("everything", REVOKED, 1)]}, "opt-out", "skip", "opted_out"),
        ({"consents": []}, "consent", "skip", "no_consent"),
        ({"asked": {"message_class": "marketing"}}, "consent", "skip", "no_consent"),
        ({"channel": {"health": "broken", "sentence": "pay Meta"}}, "channel", "defer", "channel_broken"),
        ({"templates": {"status": "missing"}}, "template", "defer", "template_pending"),
        ({"templates": {"status": "pending"}}, "template", "defer", "template_pending"),
        ({"templates": {"status": "rejected"}}, "template", "skip", "template_rejected"),
        ({"templates": {"status": "unknown"}}, "template", "skip", "template_rejected"),
        ({"templates": {"category": "marketing"}}, "template", "skip", "template_category"),
        ({"asked": {"template": "a_key_without_template"}}, "template", "skip", "template_missing"),
        ({"asked": {"free_only": True, "template": ""}}, "service window", "skip", "window_closed"),
        ({"asked": {"free_only": True}, "conversation": _talk(24)}, "service window", "skip", "window_closed"),
        ({"policy": Policy(quiet_from=11, quiet_until=13)}, "quiet hours", "defer", "quiet_hours"),
        ({"sent_today": {"utility": 40}}, "frequency cap", "defer", "frequency_cap"),
        (
            {
                "asked": {"message_class": "marketing"}, "consents": [_word("marketing", GRANTED, 1)],
                "sent_today": {"marketing": 1},
            },
            "frequency cap", "skip", "frequency_cap",
        ),
    ],
)  # fmt: skip
def test_each_guard_says_no_for_its_own_reason(changes: dict[str, Any], guard: str, outcome: str, reason: str) -> None:
    verdict = may_send(_case(**changes))
    assert (verdict.guard, verdict.outcome, verdict.reason) == (guard, outcome, reason)
    assert verdict.sentence
    assert verdict.checks[-1]["guard"] == guard
    assert (verdict.until is not None and verdict.until > NOON) == (outcome == "defer")


def test_without_a_channel_nothing_goes() -> None:
    case = _case()
    case.channel = None
    assert may_send(case).reason == "no_channel"


def test_without_a_contact_nothing_goes() -> None:
    case = _case(contact={"phone": None, "user_id": None})
    case.contact = None
    assert may_send(case).reason == "no_contact_point"


def test_inside_the_service_window_it_is_free_form_and_needs_no_template() -> None:
    """Even a rejected template does not matter then."""
    verdict = may_send(_case(conversation=_talk(1), templates={"status": "rejected"}))
    assert (verdict.outcome, verdict.form, verdict.template) == ("send", "free", None)


def test_a_marketing_template_goes_to_whoever_agreed_to_marketing() -> None:
    words = [_word("utility", GRANTED, 0), _word("marketing", GRANTED, 1)]
    assert may_send(_case(templates={"category": "marketing"}, consents=words)).outcome == "send"


def test_an_answer_passes_where_a_message_of_ours_would_not() -> None:
    """Who wrote STOP hears that it worked; who wrote at night is answered at night."""
    verdict = may_send(
        _case(
            asked={
                "answers": True, "free_only": True, "template": "", "reply": "opted_out", "message_class": "service",
            },
            consents=[_word("everything", REVOKED, 1)], conversation=_talk(0.1),
            policy=Policy(quiet_from=0, quiet_until=23),
            order={"removed_at": NOON, "confirmation": "cancelled"}, sent_today={"utility": 99},
        )
    )  # fmt: skip
    # the order's state is not what an answer depends on, but this touchpoint's relevance still names it
    assert verdict.reason == "not_relevant"
    case = _case(
        asked={"answers": True, "free_only": True, "template": "", "message_class": "service", "relevance": {}},
        consents=[_word("everything", REVOKED, 1)], conversation=_talk(0.1),
        policy=Policy(quiet_from=0, quiet_until=23), order={"removed_at": NOON}, sent_today={"utility": 99},
    )  # fmt: skip
    assert may_send(case).outcome == "send"


def test_what_answers_a_fresh_order_does_not_wait_for_the_morning_but_a_late_one_does() -> None:
    night = Policy(quiet_from=11, quiet_until=14)
    assert may_send(_case(policy=night, asked={"prompt": True})).outcome == "send"
    late = _case(policy=night, asked={"prompt": True, "due_at": NOON - timedelta(hours=2)})
    verdict = may_send(late)
    assert verdict.reason == "quiet_hours"
    assert verdict.until == datetime(2026, 5, 4, 9, 0, tzinfo=UTC)  # 14:00 in Karachi


@pytest.mark.parametrize(
    ("phone", "zone"),
    [
        ("+923001234567", "Asia/Karachi"),
        ("+919812345678", "Asia/Calcutta"),
        ("+5215512345678", None),
        ("+5511912345678", "America/Sao_Paulo"),
        ("+12125550123", "America/New_York"),
        (None, "Asia/Karachi"),
    ],
)
def test_quiet_hours_are_the_customers(phone: str | None, zone: str | None) -> None:
    """By the number; where that says nothing, by the store."""
    store = Store(id=1, name="S", timezone="Asia/Karachi", installed_at=NOON)
    found = zone_of(ContactPoint(store_id=1, phone=phone), store)
    if zone is not None:
        assert found.key == zone
    assert zone_of(ContactPoint(store_id=1, phone=phone, timezone="Europe/Lisbon"), store).key == "Europe/Lisbon"


@pytest.mark.parametrize(("hour", "quiet"), [(21, False), (22, True), (23, True), (0, True), (7, True), (8, False)])
def test_quiet_hours_span_midnight(hour: int, quiet: bool) -> None:
    assert Policy().is_quiet(NOON.replace(hour=hour).time()) is quiet


def test_the_verdict_is_a_value() -> None:
    """The same case gives the same verdict: guards look and change nothing."""
    case = _case()
    first, second = may_send(case), may_send(case)
    assert isinstance(first, Verdict)
    assert first == second
