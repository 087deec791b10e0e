"""Every courier that books, advises or proves, held to its recorded exchanges. It names none of them.

What an adapter asks is compared with the recording; what a courier can do to any call (no answer, garbage, 5xx, 401,
429) is done to each of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from adapters import discover
from integration.errors import ConfigurationError, DastakError, OutcomeUnknown, PermanentError, TransientError
from integration.ports import Account, Advises, Books, FindsBookings, Proves, offers

from .exchanges import COURIERS, NOW, Exchange, FakeVendor, build, exchanges, fake_vendor, parcel_of, perform

ERRORS = {kind.__name__: kind for kind in (ConfigurationError, OutcomeUnknown, PermanentError, TransientError)}
CHANGES = ("book", "cancel", "advise")
READS = ("cities", "find", "proof")

NEEDED: dict[type, dict[str, set[str]]] = {
    Books: {
        "book": {"result", "PermanentError", "ConfigurationError", "OutcomeUnknown"},
        "cancel": {"result", "PermanentError"},
        "labels": {"result", "PermanentError"},
        "cities": {"result"},
    },
    FindsBookings: {"find": {"result", "nothing"}},
    Advises: {"advise": {"result", "PermanentError"}},
    Proves: {"proof": {"result", "nothing"}},
}
"""What must be recorded of a courier with a power."""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeVendor]:
    with fake_vendor() as courier:
        yield courier


@pytest.fixture
def courier(server: FakeVendor) -> FakeVendor:
    server.asked.clear()
    server.answers.clear()
    return server


def _ends(exchange: Exchange) -> str:
    told = exchange.told
    silent = exchange.call in ("find", "proof") and told.get("result") is None
    return str(told["error"]["type"]) if "error" in told else "nothing" if silent else "result"


def _ends_in_a_change(exchange: Exchange) -> bool:
    told = exchange.told["exchanges"]
    return _ends(exchange) == "result" and told[-1]["request"]["method"] != "GET"


@pytest.mark.parametrize("name", discover()["couriers"])
def test_what_a_courier_can_do_is_recorded(name: str) -> None:
    adapter = object.__new__(discover()["couriers"][name])
    for power, calls in NEEDED.items():
        for call, ends in calls.items():
            found = {_ends(exchange) for exchange in exchanges(call) if exchange.adapter == name}
            assert not offers(adapter, power) or ends <= found, f"{call}: {ends - found} is not recorded"


@pytest.mark.parametrize("exchange", exchanges(), ids=str)
def test_it_asks_as_recorded_and_understands_the_answer(exchange: Exchange, courier: FakeVendor) -> None:
    told = exchange.told
    courier.answers.extend(one["response"] for one in told["exchanges"])
    adapter, account = build(exchange, courier.origin)
    if "error" in told:
        with pytest.raises(ERRORS[told["error"]["type"]]) as caught:
            perform(exchange, adapter, account, courier.origin)
        assert told["error"]["says"] in str(caught.value)
        assert len(str(caught.value)) < 300
        _says_nothing_private(str(caught.value), exchange, adapter, account)
    else:
        assert perform(exchange, adapter, account, courier.origin) == told["result"]
    expected = [one["request"] for one in told["exchanges"]]
    asked = [_seen(got, want) for got, want in zip(courier.asked, expected)]
    assert asked == expected
    assert len(courier.asked) == len(expected)


@pytest.mark.parametrize("exchange", [e for e in exchanges(*CHANGES) if _ends_in_a_change(e)], ids=str)
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
        ({"status": 404, "text": "<html>Not Found</html>"}, PermanentError),
    ],
    ids=lambda value: str(value.get("status", "hangs-up")) if isinstance(value, dict) else "",
)
def test_what_may_have_happened_is_never_called_a_failure(
    exchange: Exchange, courier: FakeVendor, answer: dict[str, Any], error: type[DastakError]
) -> None:
    """The last answer of a change that went well is lost, broken, or a refusal of any courier's."""
    told = exchange.told["exchanges"]
    courier.answers.extend([*(one["response"] for one in told[:-1]), answer])
    if error is PermanentError:
        courier.answers.append({"status": 204})  # whoever tidies up after a refusal may
    adapter, account = build(exchange, courier.origin)
    with pytest.raises(error) as caught:
        perform(exchange, adapter, account, courier.origin)
    if isinstance(caught.value, TransientError):
        assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    "exchange", [e for e in exchanges(*READS) if _ends(e) == "result" and e.told["exchanges"]], ids=str
)
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
    exchange: Exchange, courier: FakeVendor, answer: dict[str, Any], error: type[DastakError]
) -> None:
    courier.answers.append(answer)
    adapter, account = build(exchange, courier.origin)
    with pytest.raises(error):
        perform(exchange, adapter, account, courier.origin)


@pytest.mark.parametrize("exchange", [e for e in exchanges("labels") if _ends(e) == "result"], ids=str)
def test_labels_that_cannot_be_had_now_are_asked_for_again(exchange: Exchange, courier: FakeVendor) -> None:
    told = exchange.told["exchanges"]
    courier.answers.extend([*(one["response"] for one in told[:-1]), {"status": 503, "text": "busy"}])
    adapter, account = build(exchange, courier.origin)
    with pytest.raises(TransientError):
        perform(exchange, adapter, account, courier.origin)


@pytest.mark.parametrize("name", [n for n, a in discover()["couriers"].items() if offers(object.__new__(a), Books)])
def test_what_only_a_booking_needs_may_be_left_empty(name: str) -> None:
    """Whoever connected a courier to follow parcels stays connected."""
    recorded = json.loads((COURIERS / name / "credentials.json").read_text())
    optional = {field.name for field in discover()["couriers"][name].credentials if field.optional}
    booking_only = recorded["booking"].keys() - recorded["account"]["credentials"].keys()
    fields = {field.name for field in discover()["couriers"][name].credentials}
    assert booking_only & fields <= optional


@pytest.mark.parametrize("exchange", [e for e in exchanges("refresh") if _ends(e) == "result"], ids=str)
def test_access_is_renewed_once(exchange: Exchange, courier: FakeVendor) -> None:
    courier.answers.extend(one["response"] for one in exchange.told["exchanges"])
    adapter, account = build(exchange, courier.origin)
    assert adapter.refresh_due(account, NOW)
    grant = adapter.refresh(account)
    assert not adapter.refresh_due(Account("acc", grant.credentials, grant.state), NOW)


# -- helpers ---------------------------------------------------------------------------------------------------------


def _seen(got: dict[str, Any], want: dict[str, Any]) -> dict[str, Any]:
    """What was asked, with only those headers that the recording names."""
    headers = {name: got["headers"].get(name) for name in want.get("headers", {})}
    return {key: value for key, value in got.items() if key != "headers"} | ({"headers": headers} if headers else {})


def _says_nothing_private(said: str, exchange: Exchange, adapter: Any, account: Any) -> None:
    secrets = [account.credentials.get(field.name, "") for field in adapter.credentials if field.secret]
    parcel = parcel_of(exchange)
    people = [parcel.name, *parcel.name.split(), parcel.address.line1, parcel.phone[3:], parcel.note]
    for private in (*secrets, *people, account.credentials.get("token", "")):
        assert len(private) < 3 or private.casefold() not in said.casefold(), f"{private} is repeated"
