"""What a shop may dress its customers' page in: a colour, kept readable, and a logo, looked at before any browser is
shown it. Nothing here knows whose they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, UnidentifiedImageError

# -- colours -------------------------------------------------------------------------------------------------------

OURS = "#0b6e4f"
"""The colour of a page whose shop chose none."""

LIGHT, DARK = "#f3f5f4", "#1c2321"
"""What the shop's colour is written on where it is no background itself, by day and by night."""

READABLE = 4.5
"""The least contrast of text to what is behind it (WCAG 2.2, AA)."""


@dataclass(frozen=True, slots=True)
class Palette:
    """A shop's colour and what follows from it. `ink` is read on it, `by_day` and `by_night` are itself as text."""

    brand: str
    ink: str
    by_day: str
    by_night: str


def colour(raw: str) -> str:
    """A colour as it is kept, `#rrggbb`, or empty where none was given. Raises ValueError with a sentence."""
    given = raw.strip().lower()
    if not given:
        return ""
    given = given if given.startswith("#") else f"#{given}"
    if not re.fullmatch(r"#[0-9a-f]{6}", given):
        raise ValueError("Write the colour as # and six digits or letters from a to f, such as #0b6e4f.")
    return given


def palette(brand: str) -> Palette:
    """Whatever the colour, everything is readable: black or white on it, and itself darker or lighter as text."""
    try:
        own = colour(brand) or OURS
    except ValueError:
        own = OURS
    ink = max("#ffffff", "#000000", key=lambda paper: contrast(own, paper))
    return Palette(own, ink, _readable(own, LIGHT, "#000000"), _readable(own, DARK, "#ffffff"))


def contrast(one: str, other: str) -> float:
    """From 1 (the same) to 21 (black and white), as WCAG counts it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _readable(own: str, paper: str, towards: str) -> str:
    """The colour, moved towards black or white as far as it must be."""
    mixed = own
    for twentieths in range(1, 21):
        if contrast(mixed, paper) >= READABLE:
            break
        parts = zip(_parts(own), _parts(towards), strict=True)
        mixed = "#" + "".join(f"{round(a + (b - a) * twentieths / 20):02x}" for a, b in parts)
    return mixed


def _luminance(own: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (p / 255 for p in _parts(own))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _parts(own: str) -> tuple[int, int, int]:
    return int(own[1:3], 16), int(own[3:5], 16), int(own[5:7], 16)


# -- logos ---------------------------------------------------------------------------------------------------------

MOST_BYTES = 100 * 1024
MOST_SIDE = 4000
"""Of a picture's width and height in pixels: a small file may unpack into something that stops a phone."""

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""The media type of each sort of picture that is taken, by Pillow's name of it."""

_REFUSED = "A logo is a PNG, JPEG or WebP picture."


@dataclass(frozen=True, slots=True)
class Picture:
    """What a file shows itself to be. `kind` is its media type."""

    kind: str
    width: int
    height: int


def picture(content: bytes) -> Picture:
    """Look at an uploaded logo, whatever its file was called: it is unpacked once. Raises ValueError with a sentence
    for the merchant. SVG is refused: it is a document that may hold scripts.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"The picture has {len(content) // 1024} KB; a logo has at most {MOST_BYTES // 1024}.")
    try:
        with Image.open(BytesIO(content), formats=tuple(KINDS)) as image:
            seen = Picture(KINDS[image.format or ""], image.width, image.height)
            if max(image.size) <= MOST_SIDE:
                image.load()
    except UnidentifiedImageError:
        raise ValueError(_REFUSED) from None
    except Exception:  # whatever a damaged file makes its decoder raise
        raise ValueError(f"This picture cannot be read. {_REFUSED}") from None
    if max(seen.width, seen.height) > MOST_SIDE:
        raise ValueError(f"The picture is {seen.width} by {seen.height}; a logo has at most {MOST_SIDE} either way.")
    return seen
