"""What we can say: the wording in six languages, and the templates a channel has approved.

Wording lives in `wording/<language>.toml`, one file a translator can read. A template's name carries its version,
because an approved text cannot be edited freely; a changed text is a new name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from .db import Base, Id, Instant, Tenant
from .ports import TemplateText
from .values import LANGUAGES

TEMPLATES: dict[str, tuple[int, str]] = {
    "cod_confirmation": (1, "utility"),
    "cod_reminder": (1, "utility"),
    "order_confirmation": (1, "utility"),
    "order_cancelled": (1, "utility"),
    "order_cancelled_by_store": (1, "utility"),
    "dispatched": (1, "utility"),
    "out_for_delivery": (1, "utility"),
    "delivery_attempted": (1, "utility"),
    "ready_for_pickup": (1, "utility"),
    "delivered": (1, "utility"),
    "parcel_returning": (1, "utility"),
    "connection_test": (1, "utility"),
    "payment_transfer": (1, "utility"),
    "payment_transfer_reminder": (1, "utility"),
    "payment_link": (1, "utility"),
    "payment_link_reminder": (1, "utility"),
    "payment_received": (1, "utility"),
    "prepaid_offer": (1, "utility"),
}
"""The starter templates: key to (version of the wording, class we ask for)."""

EXAMPLES = {
    "name": "Ayesha", "order": "#1001", "store": "Lahore Lawn", "items": "2 x Khussa, 1 x Kurta",
    "total": "Rs 9,448", "due": "Rs 9,448", "address": "12 Mall Road, Lahore", "eta": "Expected between 3 and 5 May.",
    "courier": "TCS", "number": "779412345678", "link": "https://shop.example/t/5hJ2kQ", "reason": "nobody was there",
    "amount": "Rs 9,448", "paid": "Rs 9,448", "means": "bank transfer", "reference": "1001-1",
    "account": "Meezan Bank, 0123456789, Lahore Lawn",
    "pay": "Please keep Rs 9,448 ready for the rider.", "expected": "Expected between 3 and 5 May.",
}  # fmt: skip

_VARIABLE = re.compile(r"\{\{(\w+)\}\}")


class Template(Tenant, Base):
    """One template of ours in one language, as the channel holds it."""

    __tablename__ = "templates"
    __table_args__ = (UniqueConstraint("connection_id", "name", "code", name="one_template_per_name_and_language"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    connection_id: Mapped[int] = mapped_column(Id, ForeignKey("connections.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(64))
    language: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(128))
    code: Mapped[str] = mapped_column(String(12))
    """The channel's code for the language."""
    vendor_id: Mapped[str] = mapped_column(String(64), default="")
    wanted: Mapped[str] = mapped_column(String(16))
    """The class we asked for."""
    status: Mapped[str] = mapped_column(String(16), default="missing")
    """missing, pending, approved, rejected, paused, disabled or unknown."""
    category: Mapped[str] = mapped_column(String(16), default="unknown")
    """The class the channel bills and judges it by: the live truth."""
    quality: Mapped[str] = mapped_column(String(16), default="unknown")
    reason: Mapped[str] = mapped_column(String(300), default="")
    changed_at: Mapped[datetime | None] = mapped_column(Instant, default=None)


@dataclass(frozen=True, slots=True)
class Wording:
    """Everything we can say in one language."""

    language: str
    templates: dict[str, dict[str, Any]]
    replies: dict[str, str]
    choices: dict[str, str]
    """What can be tapped under replies."""
    reasons: dict[str, str]
    parcel_reasons: dict[str, str]
    places: dict[str, str]
    fallbacks: dict[str, str]
    lists: dict[str, str]
    phrases: dict[str, list[str]]
    page: dict[str, str]
    """The page on which a customer follows a parcel."""
    pay: dict[str, str]
    """The page on which a customer pays."""

    def body(self, key: str) -> str:
        text: str = self.templates[key]["body"]
        return text

    def buttons(self, key: str) -> tuple[str, ...]:
        return tuple(self.templates[key].get("buttons", ()))

    def variables(self, key: str) -> tuple[str, ...]:
        """The names of a body's variables, in order of appearance, once each."""
        return tuple(dict.fromkeys(_VARIABLE.findall(self.body(key))))


@cache
def wording(language: str) -> Wording:
    """The wording of a language we speak; English for any other."""
    name = language if language in LANGUAGES else "en"
    path = Path(__file__).parent / "wording" / f"{name}.toml"
    return Wording(language=name, **tomllib.loads(path.read_text(encoding="utf-8")))


def fill(text: str, values: dict[str, str]) -> str:
    """A template's text with its variables filled. Raises KeyError on a missing one: never a blank, never a brace."""
    return _VARIABLE.sub(lambda found: values[found[1]], text)


def template_name(key: str, language: str) -> str:
    """The channel-side name. Roman Urdu has no language code of its own, so it gets a name of its own."""
    version, _ = TEMPLATES[key]
    return f"dastak_{key}_v{version}" + ("_roman" if language == "ur-Latn" else "")


def template_text(key: str, language: str) -> TemplateText:
    """A starter template as it is submitted for approval."""
    words = wording(language)
    return TemplateText(
        name=template_name(key, language),
        language=language,
        category=TEMPLATES[key][1],
        body=words.body(key),
        buttons=words.buttons(key),
        examples={name: EXAMPLES[name] for name in words.variables(key)},
    )


def languages_to_try(wanted: str, shop: str) -> tuple[str, ...]:
    """The customer's language, then the shop's, then English. Urdu in the other script comes before a foreign
    tongue.
    """
    sibling = {"ur": ("ur-Latn",), "ur-Latn": ("ur",)}.get(wanted, ())
    return tuple(dict.fromkeys((wanted, *sibling, shop, "en")))


Shelf = Mapping[str, Mapping[str, Template]]
"""A channel's templates by key and language, in the version we now use."""


def shelve(templates: Iterable[Template]) -> Shelf:
    shelf: dict[str, dict[str, Template]] = {}
    for template in templates:
        if template.key in TEMPLATES and template.name == template_name(template.key, template.language):
            shelf.setdefault(template.key, {})[template.language] = template
    return shelf


def pick(shelf: Shelf, key: str, languages: Sequence[str]) -> Template | None:
    """The template to use: the first language with an approved one; else the best of the rest, to say why not."""
    held = shelf.get(key, {})
    for language in languages:
        if language in held and held[language].status == "approved":
            return held[language]
    return next((held[language] for language in languages if language in held), None)
