"""A cash on delivery order, told by what the customer's phone shows and what the store and the merchant see."""

from __future__ import annotations

import pytest

from ..world import World

STORES = ("shopify", "woocommerce")


@pytest.mark.parametrize("store", STORES)
def test_a_cash_order_is_confirmed_by_a_tap(world: World, store: str) -> None:
    """The phone asks, the customer taps Confirm, the order stands in Dastak and in the store, and the phone says so once."""
    placed = world.place(store)
    asked = placed.phone.last
    assert asked.buttons == ("Confirm", "Cancel")
    assert placed.name in asked.text
    assert "2 x Khussa Leather Shoes" in asked.text
    assert "Rs 7,248" in asked.text
    assert world.states(placed) == ("awaiting", "cod_due", "unfulfilled")

    placed.phone.tap("Confirm")

    assert world.states(placed) == ("confirmed", "cod_due", "unfulfilled")
    assert [m.text.split(",")[0] for m in placed.phone.heard[1:]] == ["Thank you Ayesha"]
    seen = world.in_store(placed)
    if store == "shopify":
        assert "dastak-confirmed" in seen["tags"]
    else:
        assert seen["meta"]["_dastak_confirmation"] == "confirmed"
        assert "The customer confirmed this order on WhatsApp." in [n["note"] for n in seen["notes"]]
