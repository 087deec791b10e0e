"""What the pages share that anybody may open who has their address: following.py and paying.py.

Such a page is made for a stranger. It sets no cookie and loads nothing from anywhere but here; its style is a part of
it, and the browser is told by a hash which style that is. It wears the shop's colours and speaks the language that its
reader chose.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Any

from flask import Response, make_response, render_template, request
from markupsafe import Markup
from sqlalchemy import select

from integration.branding import Palette, palette
from integration.catalogue import wording
from integration.db import Session
from integration.stores import Logo, Store
from integration.values import LANGUAGES, RIGHT_TO_LEFT

from .auth import house
from .channels import LANGUAGE_NAMES

_POLICY = (
    "default-src 'none'; style-src '{style}'; {scripts}img-src 'self' data:; base-uri 'none'; form-action {forms}; "
    "frame-ancestors 'none'"
)


def page(
    session: Session,
    store: Store,
    template: str,
    sheet: str,
    *,
    language: str,
    status: int = 200,
    script: str = "",
    forms: str = "'none'",
    cached: str = "private, max-age=60",
    **values: Any,
) -> Response:
    """A page of a shop's in its colours, from a template over public.html and a style sheet over public.css. `script`
    is the one script it may run, `forms` where its forms may go, as the content security policy has it.
    """
    colours = palette(store.policy.brand_colour)
    style, digest = _style(sheet, colours)
    html = render_template(
        template,
        language=language,
        rtl=language in RIGHT_TO_LEFT,
        asked=asked(),
        languages=LANGUAGE_NAMES,
        frame=wording(language).page,
        logo=session.execute(select(Logo.digest, Logo.width, Logo.height)).first(),  # not its bytes
        colours=colours,
        style=style,
        script=Markup(script),  # noqa: S704  a constant of ours
        **values,
    )
    return _answer(html, status, digest, scripts=f"script-src '{_hash(script)}'; " if script else "", forms=forms,
                   cached=cached)  # fmt: skip


def missing(section: str) -> Response:
    """There is nothing under this address, or not any more, or it is nobody's business: one page for all, which tells
    nothing. `section` of the wording has its words.
    """
    language = asked() or request.accept_languages.best_match(LANGUAGES) or "en"
    style, digest = _style("public.css", palette(""))
    html = render_template(
        "missing.html",
        words=getattr(wording(language), section),
        language=language,
        rtl=language in RIGHT_TO_LEFT,
        style=style,
    )
    answer = _answer(html, 404, digest)
    answer.headers["Vary"] = "Accept-Language"
    return answer


def logo(store_id: int) -> Response | None:
    """A shop's picture, of the type its bytes were found to be and of no other."""
    with house().db.read(store_id) as session:
        kept = session.scalars(select(Logo)).first()
    if kept is None:
        return None
    answer = Response(kept.content, content_type=kept.kind)
    answer.headers["Cache-Control"] = "private, max-age=86400"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return _unlisted(answer)


def asked() -> str:
    """The language that the reader chose, if any."""
    wanted = request.args.get("lang", "")
    return wanted if wanted in LANGUAGES else ""


def chat(store: Store, text: str) -> str:
    """Where a customer writes to the shop, a text laid ready; empty while it has no number."""
    channel = store.connection("channels")
    adapter = house().registry.find("channels", channel.adapter) if channel is not None else None
    if channel is None or adapter is None:
        return ""
    url: str = adapter.chat_url(str(channel.state.get("number", "")), text)
    return url


def _answer(
    html: str,
    status: int,
    digest: str,
    *,
    scripts: str = "",
    forms: str = "'none'",
    cached: str = "private, max-age=60",
) -> Response:
    answer = make_response(html, status)
    answer.headers["Content-Security-Policy"] = _POLICY.format(style=digest, scripts=scripts, forms=forms)
    answer.headers["Cache-Control"] = cached
    return _unlisted(answer)


def _unlisted(answer: Response) -> Response:
    """The address is the key, so no search engine is to keep it and no other site to learn it."""
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


@lru_cache(maxsize=256)
def _style(sheet: str, colours: Palette) -> tuple[Markup, str]:
    """A sheet in a shop's colours, and its hash."""
    css = render_template(sheet, colours=colours)
    return Markup(css), _hash(css)  # noqa: S704  ours; the colours in it are six hexadecimal digits


def _hash(text: str) -> str:
    """As the content security policy takes it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
