"""Money, phones, text: normalised once, on their way in."""

from __future__ import annotations

import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.values import LANGUAGES, Address, Money, clean, language_of, masked, phone, phone_variants


@pytest.mark.parametrize(
    ("raw", "country", "expected"),
    [
        ("0300 1234567", "PK", "+923001234567"),
        ("+92 (0)300-1234567", "PK", "+923001234567"),
        ("0092 300 1234567", "IN", "+923001234567"),
        ("923001234567", "PK", "+923001234567"),
        ("۰۳۰۰ ۱۲۳۴۵۶۷", "PK", "+923001234567"),
        ("٠٣٠٠١٢٣٤٥٦٧", "pk", "+923001234567"),
        ("९८१२३४५६७८", "IN", "+919812345678"),
        ("55 1234 5678", "MX", "+525512345678"),
        ("<b>0300</b> 1234567", "PK", "+923001234567"),
        ("+91", "IN", None),
        ("000000000", "PK", None),
        ("call me", "PK", None),
        ("", "PK", None),
        (None, "PK", None),
        ("1234567", "", None),
        ("0300 1234567", "", None),
        ("9" * 500, "PK", None),
    ],
)
def test_a_phone_is_what_can_be_dialled(raw: str | None, country: str, expected: str | None) -> None:
    assert phone(raw, country) == expected


@given(st.text(max_size=80), st.sampled_from(["PK", "IN", "MX", "BR", "", "XX"]))
def test_any_text_is_a_number_or_none(raw: str, country: str) -> None:
    found = phone(raw, country)
    assert found is None or (found.startswith("+") and found[1:].isdigit())
    assert found is None or phone(found, "") == found


@pytest.mark.parametrize(
    ("one", "other"),
    [("+525512345678", "+5215512345678"), ("+541112345678", "+5491112345678"), ("+551187654321", "+5511987654321")],
)
def test_a_messengers_spelling_is_the_same_line(one: str, other: str) -> None:
    """Mexico, Argentina and Brazil: the extra digit comes and goes."""
    assert set(phone_variants(one)) == set(phone_variants(other)) == {one, other}
    assert phone_variants("+923001234567") == ("+923001234567",)


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("9448.00", "PKR", {"en": "Rs 9,448", "ur": "Rs 9,448", "ur-Latn": "Rs 9,448"}),
        ("9448.50", "PKR", {"en": "Rs 9,448.50"}),
        ("1299.5", "INR", {"en": "₹ 1,299.50", "hi": "₹ 1,299.50"}),
        ("125000", "INR", {"en": "₹ 1,25,000", "hi": "₹ 1,25,000"}),
        ("1250", "MXN", {"es": "$ 1,250"}),
        ("125000", "COP", {"es": "$ 125.000"}),
        ("89.9", "BRL", {"pt": "R$ 89,90"}),
        ("-500", "PKR", {"en": "-Rs 500"}),
    ],
)
def test_money_reads_as_it_does_at_home(amount: str, currency: str, shown: dict[str, str]) -> None:
    for language, text in shown.items():
        assert Money.parse(amount, currency).shown(language) == text


@given(
    st.decimals(min_value=0, max_value=10**9, places=2),
    st.sampled_from(["PKR", "INR", "MXN", "BRL", "USD", "KWD", "JPY"]),
)
def test_no_amount_is_ever_rounded_on_the_way_out(amount: Decimal, currency: str) -> None:
    """A customer reads the amount that is due, to the last digit the store gave."""
    text = Money.parse(str(amount), currency).shown("en")
    assert Decimal("".join(c for c in text if c.isdigit() or c == ".")) == amount


@pytest.mark.parametrize("bad", [1.5, None, "", "abc", "NaN", "Infinity", "1e400", True, [], "99999999999999999"])
def test_what_is_no_amount_is_refused(bad: object) -> None:
    with pytest.raises(ValueError):
        Money.parse(bad, "PKR")


@pytest.mark.parametrize("bad", ["", None, "RUPEES", "P1R", 1.5])
def test_what_is_no_currency_is_refused(bad: object) -> None:
    with pytest.raises(ValueError):
        Money.parse("1", bad)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Khussa &times; 1", "Khussa × 1"), ("a\n\tb\x00c", "a b c"), ("  x  ", "x"), (None, ""), ("a  b", "a b"),
        ("<b>bold</b>", "<b>bold</b>"), ("سلام\u2028x", "سلام x"), (17, "17"), ("plain text", "plain text"),
    ],
)  # fmt: skip
def test_text_comes_in_as_one_plain_line(raw: object, text: str) -> None:
    """Entities decoded, control characters gone. Markup stays text: escaping is for those who show it."""
    assert clean(raw) == text


@given(st.text(max_size=300))
def test_clean_text_is_one_bounded_line(raw: str) -> None:
    text = clean(raw, 50)
    assert len(text) <= 50
    assert text == text.strip()
    assert "\n" not in text
    assert "\x00" not in text
    assert "  " not in text
    turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not turns & {unicodedata.bidirectional(c) for c in text}


def test_a_name_cannot_turn_our_sentence_round() -> None:
    """But what joins and separates letters in Urdu stays."""
    assert clean("\u202eAli\u2066 Raza") == "Ali Raza"
    assert clean("می\u200cخواہم") == "می\u200cخواہم"


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("en-PK", "en"),
        ("pt_BR", "pt"),
        ("ur", "ur"),
        ("ur-Latn", "ur-Latn"),
        ("HI-in", "hi"),
        ("fr", None),
        ("", None),
        (None, None),
    ],
)
def test_a_locale_is_a_language_we_speak_or_none(tag: str | None, language: str | None) -> None:
    assert language_of(tag) == language
    assert language is None or language in LANGUAGES


def test_a_masked_number_tells_nobody_who_it_is() -> None:
    assert masked("+923001234567") == "+92…4567"
    assert masked("+12345") == "…"
    assert masked(None) == "no number"


def test_an_address_reads_as_one_line_without_gaps() -> None:
    assert Address(line1="12 Mall Road", city="Lahore", country="PK").one_line() == "12 Mall Road, Lahore"
    assert Address().one_line() == ""
