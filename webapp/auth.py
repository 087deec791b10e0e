"""Who is the merchant, and which store do they see. The tenant scope of every page opens here.

Embedded pages carry a session token of the platform (in the address of a document, in the Authorization header of a
fetch) and no cookie at all. Merchants of other platforms have a signed first-party cookie, with a token against forged
forms.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, abort, current_app, g, redirect, render_template, request, session, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from integration.errors import InvalidSignature
from integration.house import House
from integration.ingest import Mailroom
from integration.ports import Embedded, SignsUpByCode
from integration.stores import Connection, Store

from .installing import enter

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Merchant:
    """Who is looking. `adapter` is the platform's name when the page is shown inside its admin."""

    store_id: int
    account: str
    adapter: str = ""


def house() -> House:
    here: House = current_app.extensions["house"]
    return here


def mailroom() -> Mailroom | None:
    found: Mailroom | None = current_app.extensions["mailroom"]
    return found


def merchant() -> Merchant:
    """The merchant of this request, on a page that `signed_in` guards."""
    found: Merchant = g.merchant
    return found


def signed_in(view: Callable[P, Any]) -> Callable[P, Any]:
    """Only for the merchant of a store. Everybody else is sent to where they can prove it."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        refused = _identify()
        if refused is not None:
            return refused
        return view(*args, **kwargs)

    return guarded


def _identify() -> AnyResponse | None:
    token = _bearer() or request.args.get("id_token", "")
    embedded = list(platforms())
    for name, adapter in embedded:
        if token:
            try:
                visitor = adapter.visitor(token)
                store_id = enter(house(), name, adapter, visitor, token)
            except InvalidSignature:
                return _retry(adapter) if _bearer() else _bounce(adapter)
            g.merchant, g.frame = Merchant(store_id, visitor.account, name), adapter.frame_ancestors(visitor.account)
            return None
        if account := adapter.account_hint(request.args):
            g.frame = adapter.frame_ancestors(account)
            return _bounce(adapter)
    return _by_cookie()


def _by_cookie() -> AnyResponse | None:
    store_id = session.get("store")
    if store_id is not None:
        with house().db.read(int(store_id)) as looking:
            store = looking.get(Store, int(store_id))
            connection = store.connection("stores") if store is not None else None
        if store is not None and store.active and connection is not None:
            if request.method == "POST":
                check_form()
            g.merchant = Merchant(store.id, connection.account)
            return None
        session.clear()
    return redirect(url_for("setup.landing"))


def platforms() -> list[tuple[str, Embedded]]:
    return [(name, a) for name, a in house().registry.room("stores").items() if isinstance(a, Embedded)]


# -- session tokens ------------------------------------------------------------------------------------------------


def _bearer() -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _retry(adapter: Embedded) -> Response:
    """A fetch whose token has run out: the platform's script gets a new one and asks again."""
    return Response("The session token has run out.", 401, {adapter.retry_header: "1"})


def _bounce(adapter: Embedded) -> AnyResponse:
    """A document without a fresh token: a page with nothing but the platform's script, which comes back with one."""
    kept = {k: v for k, v in request.args.items() if k not in ("id_token", adapter.reload_parameter)}
    if request.path == url_for("setup.bounce"):
        abort(400, "This page was opened without the platform around it.")
    here = f"{house().settings.public_url}{request.path}?{urlencode(kept)}"
    return redirect(f"{url_for('setup.bounce')}?{urlencode({**kept, adapter.reload_parameter: here})}")


# -- forms ---------------------------------------------------------------------------------------------------------


def form_token() -> str:
    """The token that proves a form came from a page of ours. Pages with a session token need none."""
    if getattr(g, "merchant", None) is not None and g.merchant.adapter:
        return ""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(32)
    token: str = session["csrf"]
    return token


def check_form() -> None:
    given, expected = request.form.get("csrf_token", ""), session.get("csrf", "")
    if not expected or not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
        abort(403, "This form has expired. Open the page again and repeat what you did.")


# -- every page ----------------------------------------------------------------------------------------------------


def guard(app: Flask) -> None:
    """Headers and template values that every page gets."""

    @app.context_processor
    def _values() -> dict[str, Any]:
        who: Merchant | None = getattr(g, "merchant", None)
        adapter = house().registry.find("stores", who.adapter) if who is not None and who.adapter else None
        head = adapter.page_head() if isinstance(adapter, Embedded) else {}
        return {"merchant": who, "head": head, "form_token": form_token, "link": link, "channel_name": channel_name()}

    @app.after_request
    def _headers(response: Response) -> Response:
        frame = getattr(g, "frame", "'none'")
        scripts, others = (" ".join(sorted(origins)) for origins in _origins())
        response.headers.setdefault(
            "Content-Security-Policy",
            f"default-src 'self'; script-src 'self' {scripts}; connect-src 'self' {scripts} {others}; "
            f"frame-src 'self' {others}; "
            f"style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data: https:; font-src 'self' data: https:; object-src 'none'; base-uri 'self'; "
            f"form-action 'self' https: {' '.join(house().settings.trusted_store_origins)}; frame-ancestors {frame}",
        )
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "strict-origin-when-cross-origin")
        if response.mimetype == "text/html":
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _origins() -> tuple[set[str], set[str]]:
    """Where pages may load scripts from, and whom else those scripts may talk to: the platforms' frames and the
    channels' signup windows say it.
    """
    heads = [a.page_head() for _, a in platforms()]
    urls = [value for head in heads for key, value in head.items() if not key.startswith("key") and value]
    windows = [a.signup_window() for a in house().registry.room("channels").values() if isinstance(a, SignsUpByCode)]
    urls += [window["script"] for window in windows if window]
    others = {origin for window in windows if window for origin in window["origins"].split()}
    return {f"{urlsplit(u).scheme}://{urlsplit(u).netloc}" for u in urls}, others


def link(endpoint: str, **values: Any) -> str:
    """An address of ours that keeps what an embedded page must not lose: whose admin it is shown in."""
    who: Merchant | None = getattr(g, "merchant", None)
    if who is not None and who.adapter:
        for name in ("shop", "host", "embedded"):
            if request.args.get(name):
                values.setdefault(name, request.args[name])
    return url_for(endpoint, **values)


def channel_name() -> str:
    """The messenger of this installation: the one adapter in its room."""
    return next(iter(house().registry.room("channels")), "")


def connection_of(adapter: str, account: str) -> Connection | None:
    with house().db.operator() as looking:
        return looking.scalars(
            select(Connection).where(Connection.adapter == adapter, Connection.account == account)
        ).first()


def page(template: str, status: int = 200, **values: Any) -> tuple[str, int]:
    return render_template(template, **values), status
