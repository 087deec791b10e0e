"""What couriers say is read row by row, and nothing in it can do harm."""

from __future__ import annotations

import json

import pytest

from integration.errors import NotUnderstood
from integration.events import ShipmentScanned
from integration.ports import WebhookRequest

from .contract.recorded import adapters, build, recordings

COURIERS = [name for room, name in adapters() if room == "couriers"]


@pytest.mark.parametrize(
    ("name", "variant", "stamp"),
    [
        ("leopards", "push__every-code", "2025-11-10 09:00:00"),
        ("leopards", "tracking__every-phrase", "2025-11-10 09:00:00"),
        ("tcs", "classic__detail", "20251112 13:20"),
        ("postex", "bulk__two-parcels", "2025-11-10 14:00:00"),
        ("shiprocket", "webhook__every-status", "2025-11-10 09:00:00"),
    ],
)
def test_one_scan_that_cannot_be_read_costs_the_others_nothing(name: str, variant: str, stamp: str) -> None:
    adapter, _ = build("couriers", name)
    [recorded] = [one for one in recordings("couriers", name) if one.name == variant]
    body = recorded.request.body.decode()
    whole = adapter.parse(recorded.request)
    assert stamp in body
    with pytest.raises(NotUnderstood) as refused:
        adapter.parse(WebhookRequest({}, body.replace(stamp, "soon", 1).encode()))
    assert len(refused.value.facts) == len(whole) - 1


@pytest.mark.parametrize("number", ["KI1\x00", "ki 1", " KI1\u200b"])
def test_a_number_is_what_can_be_printed_of_it(number: str) -> None:
    adapter, _ = build("couriers", "leopards")
    item = {"cn_number": number, "status": "DV\x00", "reason": "x\x00y", "activity_date": "2025-11-10 09:00:00"}
    [fact] = adapter.parse(WebhookRequest({}, json.dumps({"data": [item]}).encode()))
    assert isinstance(fact, ShipmentScanned)
    assert fact.tracking_number == "KI1"
    assert "\x00" not in fact.raw_text + fact.raw_code


@pytest.mark.parametrize("name", COURIERS)
@pytest.mark.parametrize("odd", [[], {}, None, 1.5, True, [[[]]], {"a": []}], ids=repr)
def test_a_field_of_another_kind_is_never_a_crash(name: str, odd: object) -> None:
    adapter, _ = build("couriers", name)
    for recorded in recordings("couriers", name):
        body = json.loads(recorded.request.body)
        for changed in _with(body, odd):
            try:
                adapter.parse(WebhookRequest({}, json.dumps(changed).encode()))
            except NotUnderstood:
                continue


def _with(body: object, odd: object) -> list[object]:
    """The body with each key of each object replaced everywhere, one key at a time."""
    keys = {key for value in _objects(body) for key in value}

    def replaced(value: object, key: str) -> object:
        if isinstance(value, dict):
            return {k: odd if k == key else replaced(v, key) for k, v in value.items()}
        return [replaced(item, key) for item in value] if isinstance(value, list) else value

    return [replaced(body, key) for key in sorted(keys)] + [{**body, "type": odd} if isinstance(body, dict) else odd]


def _objects(value: object) -> list[dict[str, object]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if isinstance(value, dict) else []) + [found for item in inner for found in _objects(item)]
