"""Money, phones, addresses: normalised once, here, on their way in."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache

import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.numbers import format_currency

LANGUAGES = ("en", "ur-Latn", "ur", "hi", "es", "pt")
"""The languages Dastak speaks, as BCP 47 tags. `ur-Latn` is Roman Urdu."""

RIGHT_TO_LEFT = frozenset({"ur"})

_BABEL = {"ur-Latn": "en_PK", "en": "en_001", "ur": "ur_PK", "hi": "hi_IN", "es": "es_419", "pt": "pt_BR"}


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a currency: Decimal and an ISO 4217 code, never a float."""

    amount: Decimal
    currency: str

    @classmethod
    def parse(cls, amount: object, currency: object) -> Money:
        """From a vendor's decimal string. Raises ValueError on anything that is not one."""
        if isinstance(amount, float | bool) or amount is None:
            raise ValueError("an amount must be a decimal string")
        try:
            value = Decimal(str(amount).strip())
        except InvalidOperation:
            raise ValueError("not an amount") from None
        if not value.is_finite() or abs(value) >= Decimal(10) ** 14:
            raise ValueError("not an amount")
        code = str(currency or "").strip().upper()
        if not re.fullmatch(r"[A-Z]{3}", code):
            raise ValueError("not a currency code")
        return cls(value, code)

    def shown(self, language: str) -> str:
        """As people of that language write it where the currency is at home: `Rs 9,448`, `$ 1.250`, `R$ 89,90`."""
        whole = self.amount == self.amount.to_integral_value()
        locale = _money_locale(language, self.currency)
        pattern = _pattern(locale, whole)
        text = format_currency(self.amount, self.currency, locale=locale, format=pattern, currency_digits=False)
        return " ".join(text.replace("\N{RIGHT-TO-LEFT MARK}", "").replace("\N{LEFT-TO-RIGHT MARK}", "").split())


_HOME = {
    "PKR": "PK",
    "INR": "IN",
    "MXN": "MX",
    "BRL": "BR",
    "COP": "CO",
    "ARS": "AR",
    "CLP": "CL",
    "PEN": "PE",
    "USD": "US",
}
"""Where a currency is at home, and so written by its own short sign."""


@cache
def _money_locale(language: str, currency: str) -> Locale:
    base = _BABEL.get(language, "en").split("_")[0]
    try:
        return Locale.parse(f"{base}_{_HOME[currency]}")
    except (KeyError, ValueError, UnknownLocaleError):
        return Locale.parse(_BABEL.get(language, "en"))


@cache
def _pattern(locale: Locale, whole: bool) -> str:
    """The locale's own pattern, with the sign set apart from the digits, and without decimals for whole amounts."""
    pattern: str = locale.currency_formats["standard"].pattern.split(";")[0]
    pattern = re.sub(r"\s*¤\s*", "¤ ", pattern) if pattern.lstrip("\u200e\u200f").startswith("¤") else pattern
    return re.sub(r"\.0+", "", pattern) if whole else pattern


def babel_locale(language: str) -> str:
    """The locale Babel formats dates and numbers with for one of our languages."""
    return _BABEL.get(language, "en")


def language_of(tag: str | None) -> str | None:
    """One of `LANGUAGES` for a vendor's locale tag (`en-PK`, `pt_BR`, `ur`), or None when we do not speak it."""
    if not tag:
        return None
    tag = tag.strip().replace("_", "-")
    if tag.lower() in ("ur-latn", "ur-latn-pk", "roman-urdu"):
        return "ur-Latn"
    primary = tag.split("-")[0].lower()
    return primary if primary in LANGUAGES else None


def is_locale(tag: str) -> bool:
    try:
        Locale.parse(tag.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return False
    return True


# -- phones --------------------------------------------------------------------------------------------------------

_NOT_PHONE = re.compile(r"[^0-9+]")


def phone(raw: str | None, country: str | None) -> str | None:
    """E.164 from what a customer typed, or None when it is no reachable number.

    `country` is the ISO 3166 alpha-2 code of the address, used for numbers in national form. Takes Urdu, Arabic and
    Devanagari digits, `00` prefixes, brackets and dashes. A bare dial code (a real store sent "+91") is None.
    """
    if not raw:
        return None
    text = "".join(_digit(character) for character in raw[:64])
    text = text.replace("(0)", "")
    text = _NOT_PHONE.sub("", text)
    text = ("+" if text.startswith("+") else "") + text.replace("+", "")
    if text.startswith("00"):
        text = "+" + text[2:]
    try:
        number = phonenumbers.parse(text, (country or "").upper() or None)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    national = str(number.national_number)
    if len(set(national)) == 1:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _digit(character: str) -> str:
    if character.isdigit() and not character.isascii():
        return str(unicodedata.digit(character))
    return character


def phone_variants(e164: str) -> tuple[str, ...]:
    """The spellings under which a messenger may know the same line.

    WhatsApp rewrites the extra digit of Mexican (52/521), Brazilian (55, the ninth digit) and Argentine (54/549)
    mobiles, so the id it reports differs from the number that was dialled.
    """
    for prefix, long in (("+52", "+521"), ("+54", "+549")):
        if e164.startswith(long) and len(e164) == len(long) + 10:
            return e164, prefix + e164[len(long) :]
        if e164.startswith(prefix) and len(e164) == len(prefix) + 10:
            return e164, long + e164[len(prefix) :]
    if e164.startswith("+55"):
        if len(e164) == 14 and e164[5] == "9":
            return e164, e164[:5] + e164[6:]
        if len(e164) == 13:
            return e164, e164[:5] + "9" + e164[5:]
    return (e164,)


def masked(number: str | None) -> str:
    """A phone fit for a log or a list: `+92…4567`."""
    if not number:
        return "no number"
    return f"{number[:3]}…{number[-4:]}" if len(number) > 7 else "…"


# -- text ----------------------------------------------------------------------------------------------------------


_PLAIN = re.compile(r"[!-%'-~]+(?: [!-%'-~]+)*")
"""Printable ASCII without `&`, single spaces inside only."""


_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the direction of the text after them: a name must not turn our sentence round."""


def clean(text: object, limit: int = 500) -> str:
    """A vendor's free text as plain text: entities decoded, bounded, no control or direction characters, no runs of
    space.
    """
    if text is None:
        return ""
    if isinstance(text, str) and _PLAIN.fullmatch(text):
        return text[:limit]  # nearly every value is plain already
    plain = html.unescape(str(text)[: limit * 8])
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in plain if c not in _TURNS)
    return re.sub(r"\s+", " ", plain).strip()[:limit]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a parcel goes. All parts are clean text and may be empty; `country` is ISO alpha-2."""

    name: str = ""
    line1: str = ""
    line2: str = ""
    city: str = ""
    region: str = ""
    postcode: str = ""
    country: str = ""

    def one_line(self) -> str:
        return ", ".join(part for part in (self.line1, self.line2, self.city) if part)
