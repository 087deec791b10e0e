"""What a customer's answer means: every pair of answer and order state has one listed outcome."""

from __future__ import annotations

import itertools
import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from integration.catalogue import TEMPLATES, template_name, template_text, wording
from integration.orders import CONFIRMATION, FULFILMENT, Order
from integration.rendering import REASONS
from integration.replies import (
    DECISIONS,
    MEANINGS,
    confirm_outcome,
    decline_outcome,
    language_written,
    meaning,
    normalised,
    reason_outcome,
)
from integration.values import LANGUAGES

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def _order(
    confirmation: str = "awaiting", fulfilment: str = "unfulfilled", removed: bool = False, reason: str = ""
) -> Order:
    order = Order(
        store_id=1, id=7, external_id="7", name="#7", placed_at=NOW, changed_at=NOW, seen_at=NOW, currency="PKR",
        total=Decimal(100), confirmation=confirmation, fulfilment=fulfilment,
        removed_at=NOW if removed else None, cancel_reason=reason,
    )  # fmt: skip
    order.items.clear()
    return order


@pytest.mark.parametrize(
    ("confirmation", "fulfilment", "outcome"),
    [
        ("awaiting", "unfulfilled", "confirmed"), ("expired", "unfulfilled", "confirmed_late"),
        ("confirmed", "unfulfilled", "already_confirmed"), ("confirmed", "in_transit", "already_confirmed"),
        ("declined", "unfulfilled", "confirm_after_cancel"),
        ("cancelled", "unfulfilled", "confirm_after_store_cancelled"),
        ("not_needed", "unfulfilled", "nothing_to_confirm"), ("not_needed", "booked", "confirm_after_dispatch"),
        ("expired", "delivered", "confirm_after_dispatch"),
    ],
)  # fmt: skip
def test_what_a_yes_does(confirmation: str, fulfilment: str, outcome: str) -> None:
    assert confirm_outcome(_order(confirmation, fulfilment), "").name == outcome


@pytest.mark.parametrize(
    ("confirmation", "fulfilment", "outcome"),
    [
        ("awaiting", "unfulfilled", "cancelled"), ("expired", "unfulfilled", "cancelled_late"),
        ("confirmed", "unfulfilled", "cancelled_after_confirm"), ("confirmed", "booked", "cancel_after_dispatch"),
        ("confirmed", "out_for_delivery", "cancel_after_dispatch"), ("confirmed", "delivered", "cancel_after_delivery"),
        ("declined", "unfulfilled", "already_cancelled"), ("cancelled", "unfulfilled", "already_cancelled"),
        ("not_needed", "unfulfilled", "cancel_needs_person"),
    ],
)  # fmt: skip
def test_what_a_no_does(confirmation: str, fulfilment: str, outcome: str) -> None:
    assert decline_outcome(_order(confirmation, fulfilment), "").name == outcome


def test_a_reason_counts_for_a_customers_cancellation_only() -> None:
    assert reason_outcome(_order("declined"), "wrong_item").name == "reason_given"
    assert reason_outcome(_order("declined", reason="wrong_item"), "wrong_item").name == "reason_repeated"
    assert reason_outcome(_order("declined", reason="wrong_item"), "other").name == "reason_changed"
    assert reason_outcome(_order("confirmed"), "other").name == "reason_out_of_place"
    assert reason_outcome(_order("declined"), "made_up").name == "reason_out_of_place"


def test_every_state_has_an_outcome_that_can_be_carried_out() -> None:
    """All verbs over all states: the effect is one the order's tables allow, the reply one that all languages have."""
    replies = {language: wording(language).replies for language in LANGUAGES}
    for verb, confirmation, fulfilment, removed in itertools.product(
        DECISIONS, CONFIRMATION, FULFILMENT, (False, True)
    ):
        outcome = DECISIONS[verb](_order(confirmation, fulfilment, removed), "other" if verb == "reason" else "")
        if outcome.effect == "confirm":
            assert "confirmed" in CONFIRMATION[confirmation]
            assert fulfilment not in ("delivered", "in_transit", "booked")
        if outcome.effect == "decline":
            assert "declined" in CONFIRMATION[confirmation]
            assert fulfilment in ("unfulfilled", "unknown")
        assert outcome.effect or outcome.reply or outcome.tell or outcome.name == "reason_repeated"
        assert not outcome.reply or all(outcome.reply in replies[language] for language in LANGUAGES)


def test_a_yes_to_another_amount_is_no_yes() -> None:
    order = _order()
    assert confirm_outcome(order, order.revision).name == "confirmed"
    asked = order.revision
    order.total += 1
    assert confirm_outcome(order, asked).name == "changed_since_asked"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Confirm", "confirm"), ("  CONFIRM!! 👍 ", "confirm"), ("haan confirm kar dein", "confirm"),
        ("Sí, confirmo.", "confirm"), ("हाँ", "confirm"), ("جی ہاں", "confirm"),
        ("cancel kar do", "decline"), ("confirm na karein", "decline"), ("mat bhejna", "decline"),
        ("cancelar", "decline"), ("STOP", "stop"), ("stoppp", "stop"), ("não quero mensagens", "stop"),
        ("START", "start"), ("don't confirm", ""), ("I will confirm tomorrow", ""), ("cancel or not?", ""),
        ("", ""), ("👍", ""), ("yes but size M", ""), ("ok", ""),
    ],
)  # fmt: skip
def test_only_whole_phrases_mean_something(said: str, meant: str) -> None:
    assert meaning(said) == meant


def test_no_phrase_means_two_things() -> None:
    """Over all languages together, for a customer may write in any."""
    seen: dict[str, str] = {}
    for language in LANGUAGES:
        for meant, phrases in wording(language).phrases.items():
            for phrase in phrases:
                key = meaning(phrase)
                assert key == meant, f"{phrase!r} ({language}) means {key!r} and {meant!r}"
                assert seen.setdefault(phrase.casefold(), meant) == meant
    assert set(MEANINGS.values()) == {"stop", "start", "confirm", "decline", "where", "nobody_came"}


# -- wording: what a channel would refuse is refused here first ----------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything(language: str) -> None:
    english, words = wording("en"), wording(language)
    assert words.templates.keys() == english.templates.keys() == TEMPLATES.keys()
    assert tuple(words.reasons) == REASONS
    assert tuple(words.reasons.values()) == words.buttons("order_cancelled")
    for key in TEMPLATES:
        assert set(words.variables(key)) == set(english.variables(key)), key
        assert len(words.buttons(key)) == len(english.buttons(key))
        assert language == "en" or words.body(key) != english.body(key), key


@pytest.mark.parametrize("section", ["replies", "fallbacks", "places", "parcel_reasons", "choices", "lists", "pay"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_says_the_same_in_every_language(section: str, language: str) -> None:
    """The same sentences in the same order, with the same values, and none of them left in English."""
    english, said = getattr(wording("en"), section), getattr(wording(language), section)
    assert list(said) == list(english)
    for key, text in said.items():
        assert text.strip(), key
        assert sorted(re.findall(r"{\w*}", text)) == sorted(re.findall(r"{\w*}", english[key])), key
        assert language == "en" or len(text.split()) < 4 or text != english[key], key


@pytest.mark.parametrize(("key", "language"), list(itertools.product(TEMPLATES, LANGUAGES)))
def test_every_template_is_within_the_channels_rules(key: str, language: str) -> None:
    """Lengths, no variable at either end, none next to another, enough words around them, examples for all."""
    template = template_text(key, language)
    assert template.name == template.name.lower()
    assert len(template.body) <= 1024
    assert not template.body.startswith("{{")
    assert not template.body.rstrip().endswith("}}")
    assert "}}{{" not in template.body
    assert "}} {{" not in template.body
    variables = wording(language).variables(key)
    assert set(template.examples) == set(variables)
    assert len(template.body.split()) >= 2 * len(variables) + 1
    assert all(len(button) <= 20 for button in template.buttons)
    assert len(template.buttons) <= 10
    assert (template_name(key, language) != template_name(key, "en")) == (language == "ur-Latn")


@pytest.mark.parametrize("language", LANGUAGES)
def test_buttons_and_rows_fit_their_places(language: str) -> None:
    words = wording(language)
    assert all(len(title) <= 20 for title in words.buttons("cod_confirmation"))
    assert all(len(title) <= 24 for title in words.reasons.values())
    assert len(words.lists["reasons"]) <= 20


# -- which language somebody writes --------------------------------------------------------------------------------

LETTERS = {
    "hi": st.sampled_from("अआइकखगघचजटडतदनपबमयरलवशसह"),
    "ur": st.sampled_from("ابپتٹجچحخدڈرڑزسشعغفقکگلمنوہیے"),
    None: st.sampled_from("abcdefghijklmnopqrstuvwxyzñçãéäß"),
}
"""What decides: letters of a script that one of our languages alone is written in; Latin ones decide nothing."""

NO_LETTERS = st.text(st.sampled_from(" .,!?।۔،\n0123456789۱۲१२👍🙏😂#*"), max_size=8)


@given(st.text(st.characters(exclude_categories=())))
def test_the_language_of_any_text_is_one_of_ours_or_none(said: str) -> None:
    """Never an error, whatever a phone sends, and always the same answer."""
    found = language_written(said)
    assert found is None or found in LANGUAGES
    assert language_written(said) == found


@pytest.mark.parametrize("language", list(LETTERS))
@given(data=st.data())
def test_the_script_decides(language: str | None, data: st.DataObject) -> None:
    """Most of the letters decide; digits, signs and pictures have no say. Latin text that is no phrase decides
    nothing.
    """
    word = data.draw(st.text(LETTERS[language], min_size=3, max_size=20))
    others = [letters for other, letters in LETTERS.items() if other != language]
    few = data.draw(st.text(st.one_of(others), max_size=len(word) - 1))
    said = data.draw(NO_LETTERS) + word + data.draw(NO_LETTERS) + few
    assume(not meaning(said))
    assert language_written(said) == language


PHRASES = sorted({p for language in LANGUAGES for phrases in wording(language).phrases.values() for p in phrases})


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_of_one_language_tells_it_and_one_of_several_does_not(phrase: str) -> None:
    """In any case and with any signs around it; STOP and START are everybody's, for we teach them to all."""
    speakers = [
        language
        for language in LANGUAGES
        if normalised(phrase) in {normalised(p) for phrases in wording(language).phrases.values() for p in phrases}
    ]
    script = {"DEVANAGARI": "hi", "ARABIC": "ur"}.get(unicodedata.name(phrase[0]).split(" ")[0])
    told = script if phrase in ("stop", "start") or len(speakers) > 1 else speakers[0]
    for said in (phrase, phrase.upper(), phrase.title(), f"{phrase} 👍", f" {phrase}!! "):
        assert language_written(said) == told
