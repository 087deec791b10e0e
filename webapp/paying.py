"""/pay/<token>: the page on which a customer pays. Whoever has the address may look and pay; nobody signs in.

To look calls nobody: links are opened by previews too. To pay is a POST, which opens a checkout at the gateway and
sends the browser there. The browser comes back to /pay/<token>/back, and what it brings is believed in nothing: the
gateway is asked, and the page waits for what it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import structlog
from babel.dates import format_skeleton, format_time
from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from integration.catalogue import Wording, wording
from integration.collecting import NotAsked, came_back, open_checkout
from integration.db import Session
from integration.errors import DastakError, OutcomeUnknown, PermanentError, TransientError
from integration.intents import (
    CHECKOUT,
    PaymentIntent,
    TransferAccount,
    account_of,
    current,
    intent_of,
    payable,
    store_of,
)
from integration.money import standing
from integration.orders import language_for, words_of
from integration.ports import Checkout
from integration.rendering import isolated
from integration.stores import Store
from integration.values import babel_locale, clean

from . import public
from .auth import house

log = structlog.get_logger(__name__)

pages = Blueprint("paying", __name__, url_prefix="/pay")

LOOKS, SECONDS = 6, 5
"""How often a page that waits for a gateway's word looks again by itself, and after how long."""

PICTURES = {
    "open": "card", "claimed": "clock", "paid": "tick", "failed": "alert", "closed": "cross", "expired": "clock",
}  # fmt: skip
_TONES = {"claimed": "wait", "paid": "good", "failed": "bad", "expired": "wait"}

_SCRIPT = (
    "const here = location.pathname;"
    'history.replaceState(null, "", here.endsWith("/back") ? here.slice(0, -5) : location.href);'
    "HTMLFormElement.prototype.submit.call(document.forms[0])"
)
"""Posts the form to the gateway. Whoever goes back then comes to the page on which to pay, and not to this form again,
which a gateway takes only once. A field of the form may be called `submit`.
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page shows of a payment, in words of one language: nothing of the person. Empty is what there is nothing
    to say of.
    """

    words: dict[str, str]
    store: str
    order: str
    state: str
    """open, claimed, paid, failed, closed or expired."""
    tone: str
    headline: str
    sentence: str
    by_hand: bool
    """It is a transfer and no checkout."""
    opens: bool
    """A checkout can be opened for it."""
    amount: str
    means: str
    reference: str
    account: TransferAccount | None
    until: str
    items: tuple[tuple[int, str], ...]


@pages.get("/<token>")
def show(token: str) -> AnyResponse:
    return _shown(token)


@pages.post("/<token>")
def pay(token: str) -> AnyResponse:
    """Open a checkout and go there."""
    store_id = _whose(token)
    if store_id is None:
        return missing()
    try:
        return _going(store_id, token, open_checkout(house(), store_id, token, _return_url(token)))
    except NotAsked:
        return redirect(_here(token), 303)
    except (TransientError, OutcomeUnknown) as fault:
        log.warning("paying.away", store_id=store_id, fault=type(fault).__name__)
        return _shown(token, "away", 503)
    except DastakError as fault:
        log.warning("paying.refused", store_id=store_id, fault=type(fault).__name__)
        return _shown(token, "refused", 422)


@pages.route("/<token>/back", methods=["GET", "POST"])
def back(token: str) -> AnyResponse:
    """A browser comes back from a gateway, with whatever the gateway gave it. Nothing is decided by that, so it needs
    no proof.
    """
    store_id = _whose(token)
    if store_id is None:
        return missing()
    try:
        further = came_back(house(), store_id, token, request.values.to_dict(), _return_url(token))
        if further is not None:
            return _going(store_id, token, further)
    except DastakError as fault:
        log.warning("paying.back", store_id=store_id, fault=type(fault).__name__)
    return redirect(_here(token, back=1), 303)


@pages.get("/<token>/logo")
def logo(token: str) -> Response:
    """The shop's picture."""
    store_id = store_of(house().db, token)
    return (public.logo(store_id) if store_id is not None else None) or missing()


@pages.get("/")
@pages.get("/<path:_rest>")
def missing(_rest: str = "") -> Response:
    """There is nothing to pay here."""
    return public.missing("pay")


def _whose(token: str) -> int | None:
    """The store of a payment, unless its customer was forgotten."""
    store_id = store_of(house().db, token)
    if store_id is None:
        return None
    with house().db.read(store_id) as session:
        return store_id if _asked_now(session, token) is not None else None


def _asked_now(session: Session, token: str) -> PaymentIntent | None:
    """What the order behind a token is asked for now. Of a customer who was forgotten nothing is."""
    named = intent_of(session, token)
    return current(named.order) if named is not None and named.order.erased_at is None else None


def _return_url(token: str) -> str:
    return f"{house().settings.public_url}{url_for('.back', token=token)}"


def _here(token: str, back: int | None = None) -> str:
    return url_for(".show", token=token, lang=public.asked() or None, back=back)


def _shown(token: str, fault: str = "", status: int = 200) -> Response:
    """The page as things stand, or as a fault left them: `fault` is a row of the wording."""
    store_id = store_of(house().db, token)
    if store_id is None:
        return missing()
    with house().db.read(store_id) as session:
        intent = _asked_now(session, token)
        if intent is None:
            return missing()
        store = session.get_one(Store, store_id)
        language = public.asked() or language_for(intent.order, store.policy)
        seen = _see(intent, store, language, session.now())
        frame = wording(language).page
        asks = fault == "refused" or (seen.state in ("closed", "expired") and not seen.opens)  # to write to the shop
        looked = _looked() if seen.state == "open" and not seen.by_hand and not fault else 0
        return public.page(
            session,
            store,
            "paying.html",
            "paying.css",
            language=language,
            status=status,
            forms="'self'",
            cached="no-store",
            seen=seen,
            words=seen.words,
            named=_named(seen, language),
            token=token,
            image=PICTURES[seen.state],
            fault=fault,
            waiting=bool(looked),
            again=_here(token, back=1),
            next=_here(token, back=looked + 1) if 0 < looked <= LOOKS else "",
            seconds=SECONDS,
            write=public.chat(store, seen.words["greeting"].format(order=seen.order)),
            question=public.chat(store, frame["greeting"].format(order=seen.order)) if asks else "",
        )


def _going(store_id: int, token: str, checkout: Checkout) -> Response:
    """The page that sends the browser on: to a page of the gateway, or there with a form. Raises PermanentError when
    the gateway's address is none that a browser should be sent to.
    """
    origin = _origin(checkout.url)
    if not origin:
        raise PermanentError("the gateway named no address that can be opened")
    with house().db.read(store_id) as session:
        intent = _asked_now(session, token)
        if intent is None:
            return missing()
        store = session.get_one(Store, store_id)
        language = public.asked() or language_for(intent.order, store.policy)
        seen = _see(intent, store, language, session.now())
        answer = public.page(
            session,
            store,
            "going.html",
            "paying.css",
            language=language,
            script=_SCRIPT if checkout.fields else "",
            # 'self' too: browsers hold a form to this wherever it is redirected, and a gateway may send it back at once
            forms=f"'self' {origin}" if checkout.fields else "'none'",
            cached="no-store",
            seen=seen,
            words=seen.words,
            named=_named(seen, language),
            token=token,
            url=checkout.url,
            fields=checkout.fields,
        )
    # an assumption: a gateway may refuse a form that tells no origin. Ours, without the address, gives nothing away
    answer.headers["Referrer-Policy"] = "strict-origin"
    return answer


def _origin(url: str) -> str:
    """Scheme and host of an address that a browser may be sent to; empty of any other."""
    if not url.isascii() or not url.isprintable() or any(letter in url for letter in '<>" '):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    schemes = ("https",) if house().settings.secure else ("https", "http")
    if parts.scheme not in schemes or not re.fullmatch(r"[A-Za-z0-9.-]+(:\d{1,5})?", parts.netloc):
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _looked() -> int:
    """How often a page that waits has looked already, this time included; 0 of one that does not wait."""
    said = request.args.get("back", "")
    return int(said) if re.fullmatch(r"[1-9]", said) else 0


# -- what is shown -------------------------------------------------------------------------------------------------


def _see(intent: PaymentIntent, store: Store, language: str, now: datetime) -> Asked:
    """Everything that the holder of the address may know."""
    words, order, account = wording(language), intent.order, account_of(intent, store)
    by_hand = intent.kind != CHECKOUT
    state = _state(intent, account, now)
    opens = not by_hand and state in ("open", "failed", "expired")
    amount = intent.anew if opens and state != "open" else intent.money
    return Asked(
        words=words.pay,
        store=clean(store.name, 60),
        order=clean(order.name, 40),
        state=state,
        tone=_TONES.get(state, "going"),
        headline=words.pay[f"is_{state}"],
        sentence=words.pay[f"{state}_text"] if _is_true(state, intent, opens) else "",
        by_hand=by_hand,
        opens=opens,
        amount=amount.shown(language),
        means=clean(intent.label, 60) or words.fallbacks["means"],
        reference=intent.reference,
        account=_plain(account) if account is not None and state == "open" else None,
        until=_when(intent.expires_at, store, words),
        items=tuple((item.quantity, clean(item.title, 120)) for item in order.items),
    )


def _state(intent: PaymentIntent, account: TransferAccount | None, now: datetime) -> str:
    order = intent.order
    if order.payment in ("paid", "partially_refunded"):
        return "paid"
    if order.payment == "refunded" or order.gone:
        return "closed"
    # of an order that is to be paid at the door, too, the customer may say that it is paid by now
    if standing(words_of(order), order.owed, is_cod=False).status == "claimed":
        return "claimed"
    if intent.state == "paid":
        return "paid"
    if not payable(intent):
        return "closed"
    if intent.state == "failed":
        return "failed"
    return "open" if intent.waits(now) and (intent.kind == CHECKOUT or account is not None) else "expired"


def _is_true(state: str, intent: PaymentIntent, opens: bool) -> bool:
    """May the sentence be said that the wording has for a state? Of a state without one there is nothing to say."""
    order = intent.order
    return {
        "claimed": True,
        "failed": True,
        "paid": order.payment in ("paid", "partially_refunded"),  # and not of a part of it
        "closed": order.gone or order.dispatched,
        "expired": not opens,  # a new one is had by the button
    }.get(state, False)


def _plain(account: TransferAccount) -> TransferAccount:
    """As it is shown: what merchants write is free text."""
    title, number, bank = (clean(text, 80) for text in (account.title, account.number, account.bank))
    return TransferAccount(account.wallet, title, number, bank)


def _when(at: datetime, store: Store, words: Wording) -> str:
    local, locale = at.astimezone(store.zone), babel_locale(words.language)
    return f"{format_skeleton('MMMEd', local, locale=locale)}, {format_time(local, 'short', locale=locale)}"


def _named(seen: Asked, language: str) -> dict[str, str]:
    return isolated(
        {
            "order": seen.order,
            "store": seen.store,
            "amount": seen.amount,
            "means": seen.means,
            "reference": seen.reference,
        },
        language,
    )
