"""Who carries what: cities as people type them, the merchant's rules, and how couriers did before."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.dispatch import Atlas, Courier, Rule, number, plain, rules_of, suggest, why_not
from integration.orders import Order
from integration.ports import City
from integration.stores import Connection, Policy

CITIES = [City(name, str(at)) for at, name in enumerate(
    ["KARACHI", "LAHORE", "RAWALPINDI", "HYDERABAD", "SIALKOT", "SAHIWAL", "Dera Ghazi Khan", "São Paulo"]
)]  # fmt: skip


def _order(city: str = "Lahore", total: int = 3_000, payment: str = "cod_due", **more: Any) -> Order:
    return Order(
        store_id=1, external_id="1", name="#1", currency="PKR", total=Decimal(total), payment=payment,
        confirmation=more.pop("confirmation", "confirmed"), address={"city": city, "line1": "1 Road"}, **more,
    )  # fmt: skip


def _courier(name: str, *cities: str, record: dict[str, tuple[int, int]] | None = None) -> Courier:
    connection = Connection(store_id=1, room="couriers", adapter=name, account=name)
    return Courier(connection, name.upper(), Atlas(City(city, city) for city in cities), record or {})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Lahore", "LAHORE"), (" lahore. ", "LAHORE"), ("Karachii", "KARACHI"), ("Rawal Pindi", "RAWALPINDI"),
        ("sao paulo", "São Paulo"), ("D.G. Khan", None), ("Multan", None), ("", None), ("???", None),
        ("Sahiwaal", "SAHIWAL"),
    ],
)  # fmt: skip
def test_a_city_is_found_by_what_people_type_and_never_guessed_from_afar(typed: str, meant: str | None) -> None:
    found = Atlas(CITIES).find(typed)
    assert (found.name if found else None) == meant


def test_a_spelling_near_to_two_cities_is_neither() -> None:
    assert Atlas([City("Sadiqabad", "1"), City("Sadikabad", "2")]).find("Sadihabad") is None


@given(st.text(max_size=60))
def test_any_text_is_a_city_or_none(typed: str) -> None:
    Atlas(CITIES).find(typed)
    Atlas(CITIES).nearest(typed)
    assert plain(plain(typed)) == plain(typed)


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (Rule("tcs"), True),
        (Rule("tcs", cities=("Lahore", "Karachi")), True),
        (Rule("tcs", cities=("Karachi",)), False),
        (Rule("tcs", payment="cod"), True),
        (Rule("tcs", payment="paid"), False),
        (Rule("tcs", weight_up_to="0.4"), False),
        (Rule("tcs", weight_up_to="0.5"), True),
        (Rule("tcs", value_over="3000"), False),
        (Rule("tcs", value_over="2999.5"), True),
    ],
)
def test_a_rule_fits_by_all_that_it_names(rule: Rule, fits: bool) -> None:
    assert rule.fits(_order(), "Lahore", Decimal("0.5")) is fits
    assert Rule.of(rule.stored()) == rule
    assert rules_of(Policy.of({"routes": [rule.stored()]})) == [rule]
    assert rule.told("PKR")


def test_the_first_fitting_rule_wins_over_the_record_and_only_where_its_courier_goes() -> None:
    couriers = [_courier("tcs", "Karachi"), _courier("leopards", "Lahore", record={"lahore": (9, 10)})]
    rules = [Rule("tcs", cities=("Lahore",)), Rule("leopards")]
    assert suggest(_order(), Decimal(1), couriers, rules).why.startswith("your rule")
    assert suggest(_order(), Decimal(1), couriers, rules).courier == "leopards"


def test_without_a_rule_the_better_record_in_that_city_is_suggested() -> None:
    couriers = [
        _courier("tcs", "Lahore", record={"lahore": (80, 100)}),
        _courier("leopards", "Lahore", record={"lahore": (19, 20)}),
        _courier("trax", "Lahore", record={"lahore": (9, 9)}),  # too few to say anything
    ]
    found = suggest(_order("LAHORE"), Decimal(1), couriers, [])
    assert (found.courier, found.why) == ("leopards", "delivered 19 of 20 in LAHORE")


def test_nobody_is_suggested_where_nobody_goes() -> None:
    assert suggest(_order("Atlantis"), Decimal(1), [_courier("tcs", "Lahore")], []).courier == ""
    assert "names no city" in suggest(_order(""), Decimal(1), [_courier("tcs", "Lahore")], []).why
    assert suggest(_order("Atlantis"), Decimal(1), [_courier("tcs")], []).courier == "tcs"  # its list is not known yet


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", Decimal("0.5")), (" 2 ", Decimal(2)), ("", None), ("-1", None), ("0", None), ("nan", None), ("1e9", None),
     ("inf", None), ("half", None)],
)  # fmt: skip
def test_a_number_is_positive_and_finite_or_none(text: str, value: Decimal | None) -> None:
    assert number(text) == value


def test_an_order_that_waits_says_why() -> None:
    told = {
        why_not(_order(confirmation="awaiting")), why_not(_order(confirmation="expired", held="no_answer")),
        why_not(_order(payment="pending")), why_not(_order(payment="claimed")), why_not(_order(payment="failed")),
        why_not(_order(payment="unknown")),
    }  # fmt: skip
    assert len(told) == 6
