"""Who may be written to: STOP works at once, in six languages; silence is recorded with its reason."""

from __future__ import annotations

import pytest

from ..world import World


@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("word", "goodbye", "welcome"),
    [
        ("STOP", "You will get no more messages", "Welcome back"),
        ("Stop!!", "You will get no more messages", "Welcome back"),
        ("unsubscribe", "You will get no more messages", "Welcome back"),
        ("band karo", "Ab aap ko", "Khush aamdeed"),
        ("بند کریں", "اب آپ کو", "خوش آمدید"),
        ("बंद करो", "अब आपको", "फिर से स्वागत है"),
        ("No quiero mensajes.", "No recibirás más mensajes", "Bienvenido de nuevo"),
        ("Sair", "Você não receberá mais mensagens", "Bem-vindo de volta"),
    ],
)
def test_stop_works_at_once_and_start_undoes_it(world: World, word: str, goodbye: str, welcome: str) -> None:
    """One goodbye in the language of the STOP, then silence with a reason; after START orders are spoken of again."""
    placed = world.place("shopify")
    placed.phone.write(word)
    assert placed.phone.last.text.startswith(goodbye)
    heard = len(placed.phone.heard)

    silent = world.place("shopify", phone=placed.phone)
    assert len(placed.phone.heard) == heard
    assert world.touchpoints(silent)["ask"] == "skipped: opted_out"
    assert any("asked to get no messages" in m.detail for m in world.story(silent).past)
    world.advance("30h")
    assert len(placed.phone.heard) == heard

    placed.phone.write(word)  # saying it again needs no second confirmation
    assert len(placed.phone.heard) == heard

    placed.phone.write("START")
    assert placed.phone.last.text.startswith(welcome)
    again = world.place("shopify", phone=placed.phone)
    assert world.touchpoints(again)["ask"] == "sent"


def test_the_messengers_own_stop_is_for_marketing_only(world: World) -> None:
    """Order messages go on; the ledger holds that marketing was stopped by the customer's own setting."""
    placed = world.place("woocommerce")
    world.whatsapp("preference", phone=placed.phone.number, value="stop")
    again = world.place("woocommerce", phone=placed.phone)
    assert world.touchpoints(again)["ask"] == "sent"
    order = world.order(again)
    with world.looking("woocommerce") as session:
        contact = session.merge(order.contact, load=True)
        words = [(c.purpose, c.state, c.source) for c in contact.consents]
    assert ("utility", "granted", "checkout") in words
    assert ("marketing", "revoked", "channel") in words
