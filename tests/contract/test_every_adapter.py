"""One suite over every adapter: what the house relies on, whoever the vendor. It names none of them.

A new adapter is its module and its fixtures; this suite then holds it to the contract.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.errors import InvalidSignature, NotUnderstood
from integration.events import UNKNOWN, Fact, ShipmentScanned
from integration.parcels import REASONS, REMARKS, STATUSES
from integration.ports import AppWide, Pings, WebhookRequest
from integration.values import Money

from .recorded import FIXTURES, Recorded, adapters, build, everything, plain, recordings, understood

ALL = everything()
SIGNED = [
    recorded
    for recorded in ALL
    if build(recorded.room, recorded.adapter)[0].authenticates_by == "signature" and not recorded.asked_for
]


def _read(recorded: Recorded) -> tuple[Any, Any, WebhookRequest]:
    adapter, account = build(recorded.room, recorded.adapter)
    return adapter, account, recorded.request


def _account(adapter: Any, account: Any) -> Any:
    return None if isinstance(adapter, AppWide) else account


# -- what an adapter says of itself --------------------------------------------------------------------------------


@pytest.mark.parametrize(("room", "name"), adapters())
def test_it_introduces_itself(room: str, name: str) -> None:
    adapter, _ = build(room, name)
    assert adapter.name == name
    assert adapter.label
    assert adapter.website.startswith("https://")
    assert adapter.authenticates_by in ("signature", "secret_url", "basic")
    assert not adapter.handles & adapter.ignores
    assert len({field.name for field in adapter.credentials}) == len(adapter.credentials)
    assert all(header == header.lower() for header in adapter.keeps)
    assert not any(
        word in header for header in adapter.keeps for word in ("hmac", "signature", "authorization", "token")
    )


@pytest.mark.parametrize(("room", "name"), adapters())
def test_every_event_it_handles_has_a_recording(room: str, name: str) -> None:
    """Declared means recorded: a type without a fixture is a type nobody has seen."""
    adapter, _ = build(room, name)
    names = {re.sub(r"[^a-z0-9]+", "-", r.name.lower()) for r in recordings(room, name)}
    for event in adapter.handles:
        slug = re.sub(r"[^a-z0-9]+", "-", event.lower())
        assert any(recorded.startswith(slug) for recorded in names), f"no fixture begins with {slug}"


@pytest.mark.parametrize(("room", "name"), adapters())
def test_every_status_it_knows_has_a_recording(room: str, name: str) -> None:
    """Couriers and gateways translate codes by a table; each code of it stands in some recorded request."""
    adapter, _ = build(room, name)
    bodies = b"".join(recorded.request.body for recorded in recordings(room, name))
    for table in ("statuses", "phrases", "reasons"):
        for code in getattr(adapter, table, {}):
            said = json.dumps(str(code), ensure_ascii=False)[1:-1].encode()
            assert said in bodies or said.upper() in bodies, f"no fixture shows {code!r} of its {table}"


@pytest.mark.parametrize("name", [name for room, name in adapters() if room == "couriers"])
def test_a_couriers_words_are_ours_and_none_is_guessed_from_a_part_of_it(name: str) -> None:
    """Its tables lead to words of the house. A phrase that only contains a known one is unknown: "undelivered" is not
    delivered, "not returned to shipper" is not returned.
    """
    adapter, _ = build("couriers", name)
    meanings = [m if isinstance(m, tuple) else (m, "") for m in adapter.statuses.values()]
    assert {status for status, _ in meanings} <= STATUSES.keys() | REMARKS
    assert {reason for _, reason in meanings} | set(getattr(adapter, "reasons", {}).values()) <= REASONS | {""}
    for recorded in recordings("couriers", name):
        body, known = recorded.request.body.decode(), 0
        for phrase in sorted((str(code) for code in adapter.statuses), key=len, reverse=True):
            if len(phrase) > 5 and f'"{phrase}"' in body:
                body, known = body.replace(f'"{phrase}"', f'"Not {phrase} yet"'), known + 1
        if known:
            facts = _facts(adapter, WebhookRequest(recorded.request.headers, body.encode()))
            guessed = [f for f in facts if isinstance(f, ShipmentScanned) and f.raw_code.startswith("Not ")]
            assert {fact.status for fact in guessed} <= {UNKNOWN}


@pytest.mark.parametrize("recorded", ALL, ids=str)
def test_every_recording_has_its_facts(recorded: Recorded) -> None:
    assert recorded.facts_path.exists(), "python -m tests.contract.recorded writes it"


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", ALL, ids=str)
def test_a_recorded_request_becomes_its_facts_every_time(recorded: Recorded) -> None:
    adapter, _, request = _read(recorded)
    assert understood(adapter, request) == recorded.facts
    assert understood(adapter, request) == recorded.facts


@pytest.mark.parametrize("recorded", ALL, ids=str)
def test_facts_hold_aware_times_and_exact_amounts(recorded: Recorded) -> None:
    adapter, _, request = _read(recorded)
    for value in _leaves(_facts(adapter, request)):
        assert not isinstance(value, float) or "latitude" in str(plain(_facts(adapter, request)))
        if isinstance(value, datetime):
            assert value.utcoffset() is not None
            assert value.utcoffset().total_seconds() == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("recorded", ALL, ids=str)
def test_a_field_nobody_knows_is_harmless(recorded: Recorded) -> None:
    """Vendors add fields; at any depth they change nothing."""
    adapter, _, request = _read(recorded)
    try:
        body = json.loads(request.body, parse_float=orjson.Fragment)  # 1500.00 is to stay 1500.00
    except ValueError:
        return
    _add_everywhere(body)
    more = WebhookRequest(request.headers, orjson.dumps(body), request.query)
    assert understood(adapter, more) == recorded.facts


@pytest.mark.parametrize("recorded", ALL, ids=str)
def test_a_truncated_body_is_not_understood_and_never_worse(recorded: Recorded) -> None:
    adapter, _, request = _read(recorded)
    for kept in (0.0, 0.3, 0.7, 0.999):
        cut = WebhookRequest(request.headers, request.body[: int(len(request.body) * kept)], request.query)
        answer = understood(adapter, cut)
        assert answer == [] or "not_understood" in answer, f"cut to {kept}"


@pytest.mark.parametrize("recorded", ALL, ids=str)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_body_is_facts_or_not_understood(recorded: Recorded, data: st.DataObject) -> None:
    """Any value anywhere replaced or removed: never a crash, for one would lose the batch it came in."""
    adapter, _, request = _read(recorded)
    try:
        body = json.loads(request.body)
    except ValueError:
        return
    paths = list(_paths(body))
    for _ in range(data.draw(st.integers(1, 3))):
        _replace(body, data.draw(st.sampled_from(paths)), data.draw(_JUNK))
    mangled = WebhookRequest(request.headers, json.dumps(body).encode(), request.query)
    answer = understood(adapter, mangled)
    assert isinstance(answer, list) or "not_understood" in answer


# -- proof of origin -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", SIGNED, ids=str)
def test_its_own_signature_is_accepted_and_no_other(recorded: Recorded) -> None:
    adapter, account, request = _read(recorded)
    who = _account(adapter, account)
    if isinstance(adapter, Pings) and adapter.is_ping(request):
        with pytest.raises(InvalidSignature):
            adapter.verify(request, who)
        return
    adapter.verify(request, who)

    flipped = bytes([request.body[0] ^ 1]) + request.body[1:]
    grown = request.body + b"0"  # not a blank: some sign what a body says, not how it is set
    for body in (flipped, grown, request.body[:-1]):
        with pytest.raises(InvalidSignature):
            adapter.verify(WebhookRequest(request.headers, body, request.query), who)
    for signature in [name for name in request.headers if "signature" in name or "hmac" in name]:
        for wrong in ("", "x", "é" * 40, request.headers[signature][:-1], request.headers[signature] + "="):
            with pytest.raises(InvalidSignature):
                adapter.verify(WebhookRequest({**request.headers, signature: wrong}, request.body, request.query), who)
        without = {name: value for name, value in request.headers.items() if name != signature}
        with pytest.raises(InvalidSignature):
            adapter.verify(WebhookRequest(without, request.body, request.query), who)


@pytest.mark.parametrize(("room", "name"), adapters())
def test_delivery_keys_are_stable_and_distinct(room: str, name: str) -> None:
    keys: dict[str, bytes] = {}
    adapter, _ = build(room, name)
    for recorded in recordings(room, name):
        request = recorded.request
        key = adapter.delivery_key(request)
        assert key == adapter.delivery_key(request)
        assert 0 < len(key) <= 128
        marked = request.body + repr(sorted(request.headers.items())).encode()
        assert keys.setdefault(key, marked) == marked, f"{recorded} shares its key with another request"


@pytest.mark.parametrize(("room", "name"), adapters())
def test_fixtures_name_no_real_person(room: str, name: str) -> None:
    """Mail addresses of recordings end in reserved names."""
    for path in (FIXTURES / room / name).glob("*.json"):
        for address in re.findall(r"[\w.+-]+@[\w-]+\.[\w.]+", path.read_text()):
            assert address.endswith((".test", ".example", "example.com")), f"{path.name}: {address}"


# -- helpers -------------------------------------------------------------------------------------------------------

_JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=20),
    st.just([]), st.just({}), st.just([None]), st.just({"a": {"b": []}}), st.just("\x00" * 3),
)  # fmt: skip


def _facts(adapter: Any, request: WebhookRequest) -> list[Fact]:
    try:
        found: list[Fact] = adapter.parse(request)
    except NotUnderstood:
        return []
    return found


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, Money):
        yield value.amount
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _leaves(getattr(value, name))
    else:
        yield value


def _add_everywhere(value: Any) -> None:
    for item in list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        _add_everywhere(item)
    if isinstance(value, dict):
        value["a_field_of_tomorrow"] = {"nested": [1, None, "x"]}


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


def _replace(body: Any, path: tuple[Any, ...], junk: Any) -> None:
    at = body
    try:
        for key in path[:-1]:
            at = at[key]
        if path:
            at[path[-1]] = copy.deepcopy(junk)
    except (KeyError, IndexError, TypeError):
        return  # an earlier replacement took this place away
