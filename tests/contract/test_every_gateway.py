"""Every payment gateway, held to its recorded exchanges and recordings. It names none of them.

What an adapter asks is compared with the recording; what a gateway can do to any call (no answer, garbage, 5xx, 401,
429) is done to each of them. An exchange whose lost answer means nothing has happened says so (`lost`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from adapters import discover
from integration.errors import (
    ConfigurationError,
    DastakError,
    NotUnderstood,
    OutcomeUnknown,
    PermanentError,
    TransientError,
)
from integration.events import UNKNOWN, PaymentChanged
from integration.money import SAID
from integration.ports import FindsCheckouts, GoesOn, WebhookRequest, Withdraws, offers

from . import recorded
from .exchanges import Exchange, FakeVendor, asked_of, build, exchanges, fake_vendor, perform
from .recorded import Recorded

ERRORS = {kind.__name__: kind for kind in (ConfigurationError, OutcomeUnknown, PermanentError, TransientError)}
GATEWAYS = list(discover()["payments"])
READS = ("inquire", "find_checkout")

NEEDED: dict[type, dict[str, set[str]]] = {
    object: {"checkout": {"result"}, "inquire": {"result", "nothing"}},
    FindsCheckouts: {"find_checkout": {"result", "nothing"}},
    Withdraws: {"withdraw": {"result"}},
    GoesOn: {"go_on": {"result", "nothing"}},
}
"""What must be recorded of a gateway with a power, and of every one."""

NEEDED_OF_A_CALL = {"PermanentError", "ConfigurationError"}
"""And of a checkout that is opened by a call."""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeVendor]:
    with fake_vendor() as vendor:
        yield vendor


@pytest.fixture
def gateway(server: FakeVendor) -> FakeVendor:
    server.asked.clear()
    server.answers.clear()
    return server


def _ends(exchange: Exchange) -> str:
    told = exchange.told
    silent = exchange.call in (*READS, "go_on") and told.get("result") is None
    return str(told["error"]["type"]) if "error" in told else "nothing" if silent else "result"


def _of(*calls: str) -> list[Exchange]:
    return exchanges(*calls, room="payments")


def _ending_well(*calls: str, method: str) -> list[Exchange]:
    """Those that end well, by a last call of this kind (GET, or whatever changes something)."""
    good = [e for e in _of(*calls) if _ends(e) == "result" and e.told["exchanges"]]
    return [e for e in good if (e.told["exchanges"][-1]["request"]["method"] == "GET") == (method == "GET")]


# -- what a gateway says of itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_says_whom_and_what_it_takes(name: str) -> None:
    adapter, _ = recorded.build("payments", name)
    assert all(known == known.lower() for known in adapter.known_as)
    assert all(re.fullmatch("[A-Z]{3}", currency) for currency in adapter.currencies)
    assert adapter.shortest < adapter.longest
    assert adapter.merchant_field in {"", *(field.name for field in adapter.credentials)}
    assert isinstance(adapter.webhook_help, str)


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateways_words_are_ours_and_none_is_guessed_from_a_part_of_it(name: str) -> None:
    """Its table leads to words of the house. A word that only contains a known one is unknown: "not paid" is not paid,
    and no word that nobody knows is money.
    """
    adapter, _ = recorded.build("payments", name)
    assert set(adapter.statuses.values()) <= SAID
    changed = 0
    for told in _recorded(name):
        body = told.request.body.decode()
        for word in sorted(map(str, adapter.statuses), key=len, reverse=True):
            body = body.replace(f'"{word}"', f'"not {word}"')
        for fact in _facts(adapter, WebhookRequest(told.request.headers, body.encode())):
            if fact.raw_status.startswith("not "):
                changed += 1
                assert fact.status == UNKNOWN
    assert changed or not any(b'"' in told.request.body for told in _recorded(name))


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_webhook_and_an_answer_speak_of_one_payment(name: str) -> None:
    """What is paid is counted by what it is called and how much it was: told twice, it must be told alike. A gateway
    whose webhooks only hint tells it once.
    """
    adapter, _ = recorded.build("payments", name)
    heard: dict[bool, dict[str, set[Any]]] = {True: {}, False: {}}
    for told in _recorded(name):
        for fact in _facts(adapter, told.request):
            if fact.status == "paid":
                what = (fact.attempt_ref or fact.checkout_ref, fact.amount)
                heard[told.asked_for].setdefault(fact.order_ref, set()).add(what)
    both = heard[True].keys() & heard[False].keys() - {""}
    hints = not heard[False] and heard[True]
    assert both or hints, "no payment is recorded both as it is told and as it is asked for"
    assert {ref: heard[True][ref] for ref in both} == {ref: heard[False][ref] for ref in both}


# -- what is asked, and what becomes of it ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", GATEWAYS)
def test_what_a_gateway_can_do_is_recorded(name: str) -> None:
    adapter = object.__new__(discover()["payments"][name])
    for power, calls in NEEDED.items():
        for call, ends in calls.items():
            mine = [exchange for exchange in _of(call) if exchange.adapter == name]
            found = {_ends(exchange) for exchange in mine}
            assert not offers(adapter, power) or ends <= found, f"{call}: {ends - found} is not recorded"
            if call == "checkout" and any(exchange.told["exchanges"] for exchange in mine):
                assert found >= NEEDED_OF_A_CALL, f"{call}: {NEEDED_OF_A_CALL - found} is not recorded"


@pytest.mark.parametrize("exchange", _of(), ids=str)
def test_it_asks_as_recorded_and_understands_the_answer(exchange: Exchange, gateway: FakeVendor) -> None:
    told = json.loads(json.dumps(exchange.told).replace("{server}", gateway.origin))
    gateway.answers.extend(one["response"] for one in told["exchanges"])
    adapter, account = build(exchange, gateway.origin)
    if "error" in told:
        with pytest.raises(ERRORS[told["error"]["type"]]) as caught:
            perform(exchange, adapter, account, gateway.origin)
        assert told["error"]["says"] in str(caught.value)
        assert len(str(caught.value)) < 300
        _says_nothing_private(str(caught.value), exchange, adapter, account)
    else:
        assert perform(exchange, adapter, account, gateway.origin) == told["result"]
    expected = [one["request"] for one in told["exchanges"]]
    asked = [_seen(got, want) for got, want in zip(gateway.asked, expected)]
    assert asked == expected
    assert len(gateway.asked) == len(expected)


@pytest.mark.parametrize("exchange", _ending_well("checkout", "withdraw", "go_on", method="any"), ids=str)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 500, "body": {"message": "Server Error"}}, OutcomeUnknown),
        ({"status": 502, "text": "<html>Bad Gateway</html>"}, OutcomeUnknown),
        ({"status": 200, "text": "<html>maintenance</html>"}, OutcomeUnknown),
        ({"status": 200, "body": {}}, OutcomeUnknown),
        ({"status": 200, "body": ["?"]}, OutcomeUnknown),
        ({"hangs_up": True}, OutcomeUnknown),
        ({"status": 429, "text": "", "headers": {"Retry-After": "7"}}, TransientError),
        ({"status": 401, "text": "", "headers": {}}, ConfigurationError),
    ],
    ids=lambda value: str(value.get("status", "hangs-up")) if isinstance(value, dict) else "",
)
def test_what_may_have_happened_is_never_called_a_failure(
    exchange: Exchange, gateway: FakeVendor, answer: dict[str, Any], error: type[DastakError]
) -> None:
    """The last answer of a change that went well is lost, broken, or a refusal of any gateway's."""
    told = exchange.told
    gateway.answers.extend([*(one["response"] for one in told["exchanges"][:-1]), answer])
    adapter, account = build(exchange, gateway.origin)
    with pytest.raises(ERRORS[told.get("lost", "OutcomeUnknown")] if error is OutcomeUnknown else error) as caught:
        perform(exchange, adapter, account, gateway.origin)
    if error is TransientError:
        assert isinstance(caught.value, TransientError)
        assert caught.value.retry_after == 7


@pytest.mark.parametrize("exchange", _ending_well("checkout", method="any"), ids=str)
def test_a_door_that_is_not_there_opens_nothing(exchange: Exchange, gateway: FakeVendor) -> None:
    told = exchange.told["exchanges"]
    gateway.answers.extend([*(one["response"] for one in told[:-1]), {"status": 404, "text": "<html>Not Found</html>"}])
    adapter, account = build(exchange, gateway.origin)
    with pytest.raises(PermanentError):
        perform(exchange, adapter, account, gateway.origin)


@pytest.mark.parametrize("exchange", [e for e in _of(*READS) if _ends(e) == "result"], ids=str)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 500, "body": {"message": "Server Error"}}, TransientError),
        ({"status": 200, "text": "<html>maintenance</html>"}, TransientError),
        ({"hangs_up": True}, TransientError),
        ({"status": 429, "text": ""}, TransientError),
        ({"status": 401, "text": ""}, ConfigurationError),
    ],
    ids=lambda value: str(value.get("status", "hangs-up")) if isinstance(value, dict) else "",
)
def test_a_question_that_got_no_answer_is_asked_again(
    exchange: Exchange, gateway: FakeVendor, answer: dict[str, Any], error: type[DastakError]
) -> None:
    """Whichever of its calls it is that gets none: what is not known is never "nothing"."""
    for heard in range(len(exchange.told["exchanges"])):
        gateway.answers[:] = [*(one["response"] for one in exchange.told["exchanges"][:heard]), answer]
        adapter, account = build(exchange, gateway.origin)
        with pytest.raises(error):
            perform(exchange, adapter, account, gateway.origin)


# -- helpers ---------------------------------------------------------------------------------------------------------


def _recorded(name: str) -> list[Recorded]:
    return recorded.recordings("payments", name)


def _facts(adapter: Any, request: WebhookRequest) -> list[PaymentChanged]:
    try:
        return [fact for fact in adapter.parse(request) if isinstance(fact, PaymentChanged)]
    except NotUnderstood:
        return []


def _seen(got: dict[str, Any], want: dict[str, Any]) -> dict[str, Any]:
    """What was asked, with only those headers that the recording names."""
    headers = {name: got["headers"].get(name) for name in want.get("headers", {})}
    return {key: value for key, value in got.items() if key != "headers"} | ({"headers": headers} if headers else {})


def _says_nothing_private(said: str, exchange: Exchange, adapter: Any, account: Any) -> None:
    secrets = [account.credentials.get(field.name, "") for field in adapter.credentials if field.secret]
    asked = asked_of(exchange)
    for private in (*secrets, asked.name, *asked.name.split(), asked.email, asked.phone[3:], asked.return_url):
        assert len(private) < 3 or private.casefold() not in said.casefold(), f"{private} is repeated"
